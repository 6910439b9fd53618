"""A detector: from an image to labelled boxes with scores; kept in one bundle of a card and an ONNX model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from defectory.detection.detectors.boxes import suppress
from defectory.detection.detectors.card import FORMAT, DetectorCard
from defectory.detection.detectors.decoding import Candidates, decode, join, prepare
from defectory.errors import InputError, shorten
from defectory.inspection.backbone.session import BackboneError, open_session
from defectory.inspection.bundle import BundleError, pack, unpack
from defectory.validation import FrozenModel
from defectory.writing import write_whole, writing_to

CARD, MODEL = "detector.json", "detector.onnx"
# Candidates of a class that are compared with each other.
_MOST_CANDIDATES = 1000
_FIX = "Use a bundle written by `defectory detect train`."


class Detection(FrozenModel):
    """An object found: its class, how sure that is (0..1), and its box: left, top, width, height in pixels."""

    label: str
    score: float
    box: tuple[float, float, float, float]


class DetectionReply(FrozenModel):
    """What is answered to an image: its width and height in pixels, and the objects on it by falling score.

    ``model_version`` is the detector's, "" where it has none; ``classes`` are all that it knows.
    """

    width: int
    height: int
    detections: tuple[Detection, ...]
    model_version: str = ""
    classes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        image: NDArray[np.uint8],
        detections: Sequence[Detection],
        model_version: str = "",
        classes: Sequence[str] = (),
    ) -> DetectionReply:
        """The reply of the detector ``model_version`` to ``image``, an array ``(height, width, 3)``."""
        height, width = image.shape[:2]
        return cls(
            width=width,
            height=height,
            detections=tuple(detections),
            model_version=model_version,
            classes=tuple(classes),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Detector:
    """A trained detector; make one with `load_detector` or `assemble`.

    Example::

        detector = load_detector(Path("detector.tar.gz"))
        for detection in detector.detect(load_image(Path("aisle.jpg"))):
            print(detection.label, detection.score, detection.box)
    """

    card: DetectorCard
    content: bytes
    session: Any

    def detect(self, image: NDArray[np.uint8], *, min_score: float | None = None) -> tuple[Detection, ...]:
        """The objects on one image, by falling score.

        Args:
            image: uint8 RGB ``(height, width, 3)``, of any size.
            min_score: report from this score on, in place of each class's threshold; 0 reports all that evaluations
                need.

        Raises:
            InputError: it is no such array, or the model answers other than its card says.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise InputError("image", "a uint8 RGB array of shape (height, width, 3)", f"{image.dtype} {image.shape}")
        card = self.card
        candidates = join([self._look(image, scale) for scale in card.scales])
        found: list[Detection] = []
        for number, item in enumerate(card.classes):
            least = item.threshold if min_score is None else min_score
            rows = np.flatnonzero((candidates.labels == number) & (candidates.scores >= least))
            rows = rows[np.argsort(-candidates.scores[rows], kind="stable")][:_MOST_CANDIDATES]
            stays = rows[suppress(candidates.boxes[rows], candidates.scores[rows], card.nms_iou)]
            for row in stays[: card.most_detections]:
                left, top, right, bottom = candidates.boxes[row].tolist()
                box = (left, top, right - left, bottom - top)
                found.append(Detection(label=item.name, score=float(candidates.scores[row]), box=box))
        found.sort(key=lambda detection: -detection.score)
        return tuple(found[: card.most_detections])

    def reply(self, image: NDArray[np.uint8], *, min_score: float | None = None) -> DetectionReply:
        """What is answered to ``image``; arguments and errors are those of `detect`."""
        detections = self.detect(image, min_score=min_score)
        return DetectionReply.of(image, detections, self.card.version, self.card.names)

    def _look(self, image: NDArray[np.uint8], scale: float) -> Candidates:
        card, (height, width) = self.card, image.shape[:2]
        prepared = prepare(image, card.input.scaled(scale))
        feeds: dict[str, NDArray[Any]] = {card.input.name: prepared.tensor}
        if card.input.size_name:
            feeds[card.input.size_name] = np.array([[width, height]], np.int64)
        names = [name for name in (card.output.scores, card.output.boxes, card.output.labels) if name]
        try:
            outputs = dict(zip(names, self.session.run(names, feeds), strict=True))
        except Exception as error:  # onnxruntime raises a class of its own for each kind of failure
            raise InputError("model", f"one that takes its input ({shorten(str(error))})") from None
        return decode(outputs, card, prepared, width, height)

    def save(self, path: Path) -> Path:
        """Write the bundle to ``path``, whole or not at all.

        Raises:
            InputError: it cannot be written there.
        """
        with writing_to(path):
            return write_whole(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The bundle, as ``save`` writes it."""
        return pack(self.files())

    def files(self) -> dict[str, bytes]:
        """The bundle's files by name, as an unpacked bundle has them."""
        return {CARD: _card_json(self.card), MODEL: self.content}


def load_detector(path: Path | bytes) -> Detector:
    """Read a detector's bundle: its file, its content, or the folder it was unpacked to.

    Nothing in it is executed or unpickled, and its content must match its version.

    Raises:
        BundleError: it is no bundle, was altered, or its model is not as its card says.
    """
    files = unpack(path, (CARD, MODEL))
    if missing := [name for name in (CARD, MODEL) if name not in files]:
        got = None if isinstance(path, bytes) else str(path)
        raise BundleError("model", f"a detector's bundle, which holds {', '.join(missing)}", got, _FIX)
    try:
        is_current = json.loads(files[CARD]).get("format") == FORMAT
        card = DetectorCard.model_validate_json(files[CARD]) if is_current else None
    except (ValidationError, ValueError, AttributeError) as error:
        raise BundleError("model", f"a bundle with a valid {CARD} ({shorten(str(error))})", fix=_FIX) from None
    if card is None:
        raise BundleError("model", f"a detector's bundle of format {FORMAT}", fix="Train it again with this release.")
    if card.version != _version(card, files[MODEL]):
        fix = "Its content does not match its version; fetch it again."
        raise BundleError("model", "unaltered", card.version, fix)
    return _open(card, files[MODEL])


def assemble(card: DetectorCard, content: bytes) -> Detector:
    """A detector of a card and a serialised ONNX model; its card gets the version of both.

    Args:
        card: says how the model is fed and read.
        content: the model, with its weights inside.

    Raises:
        BundleError: the model does not load, or is not as the card says.
    """
    return _open(card.model_copy(update={"version": _version(card, content)}), content)


def _open(card: DetectorCard, content: bytes) -> Detector:
    try:
        session = open_session(content, field="model")
    except BackboneError as error:
        raise BundleError("model", error.rule, error.got, error.fix) from None
    inputs = {tensor.name: tensor.type for tensor in session.get_inputs()}
    wanted = {card.input.name: "tensor(float)"}
    if card.input.size_name:
        wanted[card.input.size_name] = "tensor(int64)"
    if inputs != wanted:
        raise BundleError("model", f"one whose inputs are as its card says ({wanted})", inputs)
    outputs = {tensor.name: tensor.type for tensor in session.get_outputs()}
    expected = {card.output.scores: "tensor(float)", card.output.boxes: "tensor(float)"}
    if card.output.labels:
        expected[card.output.labels] = "tensor(int64)"
    if any(outputs.get(name) != kind for name, kind in expected.items()):
        raise BundleError("model", f"one whose outputs are as its card says ({expected})", outputs)
    return Detector(card, content, session)


def _card_json(card: DetectorCard) -> bytes:
    content = card.model_dump(mode="json")
    # Bundles made before there was this field keep their version.
    if not content["sketch"]:
        del content["sketch"]
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True).encode()


def _version(card: DetectorCard, content: bytes) -> str:
    digest = hashlib.sha256(_card_json(card.model_copy(update={"version": "", "created": ""})))
    digest.update(MODEL.encode() + hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]
