"""An inspection model: from an image to its verdict, score, confidence, heatmap and mask; kept in one bundle."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from defectory.errors import InputError, shorten
from defectory.inspection.backbone import Backbone, BackboneError
from defectory.inspection.bundle import BundleError, pack, pack_arrays, unpack, unpack_arrays
from defectory.inspection.detectors import Detector, DistanceMap
from defectory.inspection.detectors.image_head import ImageHead
from defectory.inspection.detectors.patch_head import PatchHead
from defectory.inspection.detectors.registry import DETECTORS
from defectory.inspection.detectors.signature import Signature
from defectory.inspection.numerics import one_thread
from defectory.inspection.preparation import Preparation, patches_of
from defectory.inspection.rules import RuleSet
from defectory.inspection.thresholds import confidence_of
from defectory.inspection.verdicts import DefectArea, Inspection, Thresholds
from defectory.validation import FrozenModel
from defectory.vision.regions import find_regions
from defectory.writing import write_whole, writing_to

FORMAT = 1
TOP_SHARE = 0.01
"""An image's score is the mean of this share of its map, the highest of it."""

HEATMAP_SIDE = 512
"""Heatmaps are at most this long."""

_CARD, _BACKBONE, _DETECTOR, _VALID = "model.json", "backbone.onnx", "detector.npz", "valid.npz"
_HEAD, _SIGNATURE, _IMAGE_HEAD = "head.npz", "signature.npz", "image-head.npz"
_FILES = (_CARD, _BACKBONE, _DETECTOR, _VALID, _HEAD, _SIGNATURE, _IMAGE_HEAD)


class DefectClass(FrozenModel):
    """A kind of defect, and its colour in masks."""

    name: str = Field(min_length=1, max_length=255)
    color: str = Field(pattern=r"^#[0-9A-Fa-f]{6}$")


class LeaderboardEntry(FrozenModel):
    """How a candidate did on held-out data."""

    name: str
    auroc: float = Field(ge=0, le=1)
    average_precision: float = Field(ge=0, le=1)
    chosen: bool = False


class ModelCard(FrozenModel):
    """What a model is, where it comes from, and what it was measured to do.

    ``version`` is the first 16 hex digits of the SHA-256 of the bundle's content, without the time it was created.
    ``backbone_license`` is the licence of the backbone's weights, an SPDX identifier, "" where it states none.
    ``leaderboard_basis`` says what the candidates were compared on; ``confidence_basis`` what confidence rests on.
    ``normal_level`` is the median of the maps of good images, drawn as the heatmaps' zero, and ``map_level`` what the
    patches of an image must reach for it to fail by them alone, drawn as 0.5.  ``suspects`` are training images that
    look unlike the other good ones: the thresholds take no account of them.  ``defect_images`` and ``masked_images``
    are real; ``synthetic_images`` is how many synthetic ones were learned from besides, and ``synthetic_basis`` why, or
    why not.  ``warnings`` say in plain sentences what is to be known beside the figures, such as labelled defects that
    would pass.  ``dataset`` is the version of the dataset trained on, if it was one, ``dataset_parent`` the version it
    was made from and ``dataset_changes`` how.
    """

    format: int = FORMAT
    version: str = ""
    created: str
    detector: str
    backbone: str
    backbone_sha256: str
    backbone_license: str = ""
    preparation: Preparation
    thresholds: Thresholds
    threshold_basis: str
    normal_level: float = Field(ge=0)
    map_level: float = Field(ge=0)
    confidence_scale: float = Field(gt=0)
    confidence_basis: str
    classes: tuple[DefectClass, ...]
    rules: RuleSet = RuleSet()
    leaderboard: tuple[LeaderboardEntry, ...] = ()
    leaderboard_basis: str = ""
    good_images: int = Field(ge=1)
    defect_images: int = Field(default=0, ge=0)
    masked_images: int = Field(default=0, ge=0)
    synthetic_images: int = Field(default=0, ge=0)
    synthetic_basis: str = ""
    suspects: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    training_manifest_sha256: str
    dataset: str = ""
    dataset_parent: str = ""
    dataset_changes: tuple[str, ...] = ()
    metrics: dict[str, float] = Field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """From a prepared image's patches to one map and one score: the detector, corrected by heads and signature if there
    are.

    ``valid``, of shape ``(h, w)``, is false where a patch is ignored.
    """

    detector: Detector
    valid: NDArray[np.bool_]
    head: PatchHead | None = None
    signature: Signature | None = None
    image_head: ImageHead | None = None

    def map(self, patches: NDArray[np.float32]) -> DistanceMap:
        """Anomaly of each patch, >= 0, smoothed; 0 where ignored."""
        return self.map_of(self.detector.distances(patches), patches)

    def map_of(self, distances: DistanceMap, patches: NDArray[np.float32]) -> DistanceMap:
        """The map by the detector's distances, where they are known already."""
        if self.head is not None:
            distances = self.head.correct(distances, patches)
        return smooth_map(distances, self.valid)

    def max_score(self, anomaly: DistanceMap) -> float:
        """The mean of the highest hundredth of a map: what the patches say of the image."""
        return top_mean(anomaly, self.valid)

    def score(self, anomaly: DistanceMap, patches: NDArray[np.float32]) -> float:
        """The map's highest value, changed by how unusual (signature) and how like a defective one (image head) the
        image is as a whole, where there are such.
        """
        factor = 1.0
        for image_factor in (self.signature, self.image_head):
            if image_factor is not None:
                factor *= image_factor.factor(patches, self.valid)
        return self.max_score(anomaly) * factor


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A trained inspection model.

    Example::

        model = load_model(Path("model.tar.gz"))
        inspection = model.inspect(load_image(Path("part.png")))
        print(inspection.verdict, inspection.score)
    """

    card: ModelCard
    backbone: Backbone
    scorer: Scorer

    def inspect(self, image: NDArray[np.uint8]) -> Inspection:
        """Inspect one image, on one thread: the numbers are the same in every process, and from one kind of processor
        to another within `numerics.SCORE_TOLERANCE` and `numerics.CONFIDENCE_TOLERANCE`.

        Args:
            image: uint8 RGB of shape ``(height, width, 3)``, of any size.

        Raises:
            InputError: it is no such array.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise InputError("image", "a uint8 RGB array of shape (height, width, 3)", f"{image.dtype} {image.shape}")
        card, thresholds = self.card, self.card.thresholds
        height, width = image.shape[:2]
        with one_thread():
            patches = patches_of(card.preparation.apply(image), card.preparation, self.backbone)
            anomaly = self.scorer.map(patches)
            score = self.scorer.score(anomaly, patches)
            heatmap, mask, classes = self._draw(self._agreeing(anomaly, score), patches, height, width)
        defects, classes = self._measure(classes)
        confidence = confidence_of(score, thresholds.fail, card.confidence_scale, card.good_images)
        verdict, reasons = card.rules.decide(thresholds.verdict(score), confidence, defects)
        return Inspection(
            verdict=verdict,
            score=score,
            confidence=confidence,
            thresholds=thresholds,
            model_version=card.version,
            heatmap=heatmap,
            mask=mask,
            classes=classes,
            defects=defects,
            width=width,
            height=height,
            reasons=reasons,
        )

    def inspect_many(self, images: Iterable[NDArray[np.uint8]]) -> Iterator[Inspection]:
        """Inspect images one after the other, as they come."""
        return map(self.inspect, images)

    def save(self, path: Path) -> Path:
        """Write the bundle to ``path``, whole or not at all.

        Raises:
            InputError: it cannot be written there.
        """
        content = self.to_bytes()
        with writing_to(path):
            return write_whole(path, content)

    def to_bytes(self) -> bytes:
        """The bundle, as ``save`` writes it."""
        return pack(self.files())

    def files(self) -> dict[str, bytes]:
        """The bundle's files by name, as an unpacked bundle has them."""
        return {_CARD: _card_json(self.card), **self._content()}

    def _content(self) -> dict[str, bytes]:
        files = {
            _BACKBONE: self.backbone.content,
            _DETECTOR: pack_arrays(self.scorer.detector.arrays()),
            _VALID: pack_arrays({"valid": self.scorer.valid}),
        }
        if self.scorer.head is not None:
            files[_HEAD] = pack_arrays(self.scorer.head.arrays())
        if self.scorer.signature is not None:
            files[_SIGNATURE] = pack_arrays(self.scorer.signature.arrays())
        if self.scorer.image_head is not None:
            files[_IMAGE_HEAD] = pack_arrays(self.scorer.image_head.arrays())
        return files

    def _agreeing(self, anomaly: DistanceMap, score: float) -> DistanceMap:
        """The map, moved to the other side of its level where the whole image decided otherwise than its patches."""
        level, max_score = self.card.map_level, self.scorer.max_score(anomaly)
        fails = score >= self.card.thresholds.fail
        if fails == (max_score >= level) or not max_score:
            return anomaly
        return anomaly * np.float32(level / max_score * (1.0001 if fails else 0.9999))

    def _draw(
        self, anomaly: DistanceMap, patches: NDArray[np.float32], height: int, width: int
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]]:
        """Heatmap, mask and classes in the image's aspect."""
        shrink = min(1.0, HEATMAP_SIDE / max(height, width))
        size = max(1, round(height * shrink)), max(1, round(width * shrink))
        left, top, right, bottom = self.card.preparation.region.pixels(size[1], size[0])
        inner = (right - left, bottom - top)
        window = np.s_[top:bottom, left:right]
        valid = cv2.resize(self.scorer.valid.astype(np.uint8), inner, interpolation=cv2.INTER_NEAREST) > 0
        level = np.where(valid, cv2.resize(anomaly, inner, interpolation=cv2.INTER_LINEAR), 0)
        fail = self.card.map_level
        reach = max(fail - self.card.normal_level, fail * 0.05, 1e-9)
        excess = (level - fail) / reach
        heatmap, mask, classes = np.zeros(size, np.float32), np.zeros(size, np.uint8), np.zeros(size, np.uint8)
        heatmap[window] = np.where(
            excess < 0, np.maximum(0.5 + excess / 2, 0), 1 - 0.5 * np.exp(-np.maximum(excess, 0))
        )
        heatmap[window][~valid] = 0
        defective = valid & (level >= fail)
        mask[window] = np.where(defective, 255, 0)
        kinds = np.ones(anomaly.shape, np.uint8) if self.scorer.head is None else self.scorer.head.kinds(patches)
        classes[window] = np.where(defective, cv2.resize(kinds, inner, interpolation=cv2.INTER_NEAREST), 0)
        return heatmap, mask, classes

    def _measure(self, classes: NDArray[np.uint8]) -> tuple[tuple[DefectArea, ...], NDArray[np.uint8]]:
        """The classes found, and the map of them renumbered to their places among those."""
        areas: list[DefectArea] = []
        renumbered = np.zeros_like(classes)
        for number, kind in enumerate(self.card.classes, start=1):
            places = classes == number
            if not places.any():
                continue
            regions = len(find_regions(places))
            areas.append(DefectArea(name=kind.name, area=float(places.mean()), regions=regions, color=kind.color))
            renumbered[places] = len(areas)
        return tuple(areas), renumbered


def load_model(path: Path | bytes) -> Model:
    """Read a model's bundle: its file, its content, or the folder it was unpacked to.

    Nothing in it is executed or unpickled, and its content must match its version.

    Raises:
        BundleError: it is no bundle, was altered, or is of a format this release does not know.

    >>> from defectory import load_image
    >>> model = load_model(Path("model.tar.gz"))
    >>> inspection = model.inspect(load_image(Path("parts/anomaly/missing-hole-000.png")))
    >>> inspection.verdict, inspection.heatmap.shape
    ('FAIL', (256, 256))
    """
    files = unpack(path, _FILES)
    missing = [name for name in (_CARD, _BACKBONE, _DETECTOR, _VALID) if name not in files]
    if missing:
        raise BundleError(
            "model", f"a bundle that holds {', '.join(missing)}", None if isinstance(path, bytes) else str(path)
        )
    try:
        is_current = json.loads(files[_CARD]).get("format") == FORMAT
        card = ModelCard.model_validate_json(files[_CARD]) if is_current else None
    except (ValidationError, ValueError, AttributeError) as error:
        raise BundleError("model", f"a bundle with a valid {_CARD} ({shorten(str(error))})") from None
    if card is None:
        raise BundleError("model", f"a bundle of format {FORMAT}", fix="Train it again with this release.")
    if card.detector not in DETECTORS:
        raise BundleError("model", f"of a known detector ({', '.join(DETECTORS)})", card.detector)
    content = {name: file for name, file in files.items() if name != _CARD}
    if card.version != _version(card, content):
        raise BundleError("model", "unaltered", card.version, "Its content does not match its version; fetch it again.")
    try:
        detector = DETECTORS[card.detector].from_arrays(unpack_arrays(files[_DETECTOR]))
        head = PatchHead.from_arrays(unpack_arrays(files[_HEAD])) if _HEAD in files else None
        valid = unpack_arrays(files[_VALID])["valid"].astype(np.bool_)
        signature = Signature.from_arrays(unpack_arrays(files[_SIGNATURE])) if _SIGNATURE in files else None
        image_head = ImageHead.from_arrays(unpack_arrays(files[_IMAGE_HEAD])) if _IMAGE_HEAD in files else None
        return Model(card, Backbone(files[_BACKBONE]), Scorer(detector, valid, head, signature, image_head))
    except BackboneError as error:
        raise BundleError("model", f"a bundle of a working backbone ({error})") from None
    except (KeyError, ValueError) as error:
        raise BundleError("model", f"a bundle of the arrays its detector needs ({error})") from None


def assemble(card: ModelCard, backbone: Backbone, scorer: Scorer) -> Model:
    """A model whose card carries the version of its content."""
    content = Model(card, backbone, scorer)._content()
    return Model(card.model_copy(update={"version": _version(card, content)}), backbone, scorer)


def retune(model: Model, thresholds: Thresholds, rules: RuleSet | None = None) -> Model:
    """The same model with other thresholds (and rules), under a version of its own.

    Raises:
        InputError: the thresholds are not ``0 <= review <= fail``.
    """
    if not 0 <= thresholds.review <= thresholds.fail < float("inf"):
        raise InputError("thresholds", "0 <= review <= fail", dataclasses.astuple(thresholds))
    changes: dict[str, object] = {"thresholds": thresholds, "threshold_basis": "set by hand"}
    if model.card.thresholds.fail > 0:
        changes["map_level"] = model.card.map_level * thresholds.fail / model.card.thresholds.fail
    if rules is not None:
        changes["rules"] = rules
    return assemble(model.card.model_copy(update=changes), model.backbone, model.scorer)


def smooth_map(distances: DistanceMap, valid: NDArray[np.bool_]) -> DistanceMap:
    """A map without the jitter of single patches; what is ignored neither shows nor spreads."""
    blurred = cv2.GaussianBlur(np.where(valid, distances, 0).astype(np.float32), (0, 0), 1.0)
    if valid.all():
        return np.asarray(blurred, np.float32)
    share = cv2.GaussianBlur(valid.astype(np.float32), (0, 0), 1.0)
    return np.where(valid, blurred / np.maximum(share, 1e-6), 0).astype(np.float32)


def top_mean(anomaly: DistanceMap, valid: NDArray[np.bool_]) -> float:
    """The mean of the highest hundredth of a map's valid places."""
    values = anomaly[valid]
    count = max(1, int(len(values) * TOP_SHARE))
    return float(np.sort(values)[-count:].mean(dtype=np.float64))


def _card_json(card: ModelCard) -> bytes:
    content = card.model_dump(mode="json")
    # Bundles of releases that did not know these fields keep their version.
    for field in ("warnings", "backbone_license"):
        if not content[field]:
            del content[field]
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True).encode()


def _version(card: ModelCard, content: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256(_card_json(card.model_copy(update={"version": "", "created": ""})))
    for name in sorted(content):
        digest.update(name.encode() + hashlib.sha256(content[name]).digest())
    return digest.hexdigest()[:16]
