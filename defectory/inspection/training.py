"""Train an inspection model from photos of good parts, and labelled defects where there are any."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from defectory.datasets.masks import UNNAMED, read_classes
from defectory.datasets.photo_folders import find_images, labelled_photos, match_masks
from defectory.datasets.records import Dataset, ImageRecord, file_digest
from defectory.errors import ImageError, InputError
from defectory.inspection.backbone import EMBEDDED, Backbone, BackboneName, embedded_backbone
from defectory.inspection.candidates import FOLDS, MIN_TELLING, CandidateSearch, Sample, Trial, find_outliers
from defectory.inspection.detectors import Patches
from defectory.inspection.detectors.registry import DETECTORS
from defectory.inspection.known_defects import fit_known_defects, label_warnings
from defectory.inspection.model import DefectClass, LeaderboardEntry, Model, ModelCard, assemble
from defectory.inspection.numerics import one_thread
from defectory.inspection.perturbation import perturb
from defectory.inspection.preparation import RESOLUTION, Preparation, Region, patches_of
from defectory.inspection.rules import RuleSet
from defectory.inspection.thresholds import (
    MIN_LABELLED,
    Costs,
    Rates,
    Scores,
    confidence_scale,
    thresholds_from_costs,
    thresholds_from_good,
)
from defectory.inspection.verdicts import Thresholds
from defectory.progress import OnProgress, Progress, ignore_progress
from defectory.vision.images import load_image

MIN_GOOD = 2
MAX_FITTED = 400
"""More good images (or tiles of them) than this add little to the memory: a random choice of them is used."""

MARKED_SHARE = 0.2
"""A patch is defective where a mask covers this share of it."""

PALETTE = ("#D0021B", "#F5A623", "#4A90E2", "#7ED321", "#9013FE", "#50E3C2", "#8B572A", "#417505", "#BD10E0", "#F8E71C")
ANOMALY = "anomaly"

MaskSource = Path | ImageRecord | NDArray[np.generic] | Mapping[str, NDArray[np.generic]]


class TrainingOptions(BaseModel):
    """How to train.

    ``detector`` is ``auto`` (chosen on held-out data) or the name of one.  ``resolution`` is the shorter side, in
    pixels, of what the backbone sees of an image (or of a tile); ``tiles`` are rows and columns, for small defects on
    large images.  ``region`` is what is inspected; ``ignore`` a grey image, as large as the photos or of their aspect,
    not black where nothing is to be inspected.  ``exclude_suspects`` forgets good images unlike all others, which may
    be defects; otherwise they are only named and kept out of the thresholds.  ``backbone`` is an embedded one by name
    or an ONNX file; None is the default embedded one.  ``costs`` set the thresholds where there
    are labelled defects to learn their scores from; ``rates`` set them from good images alone.  ``synthetic`` defects
    are learned from where that helps as ``measured`` on held-out real ones, or ``always`` where it can be measured.

    >>> TrainingOptions(resolution=128, detector="padim").resolution
    128
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    detector: str = "auto"
    resolution: int = Field(default=RESOLUTION, ge=64, le=1024)
    tiles: tuple[int, int] = (1, 1)
    region: Region = Region()
    ignore: Path | None = None
    exclude_suspects: bool = False
    rates: Rates = Rates()
    costs: Costs | None = None
    rules: RuleSet = RuleSet()
    colors: dict[str, str] = {}
    backbone: BackboneName | Path | None = None
    synthetic: Literal["measured", "always"] = "measured"
    seed: int = Field(default=0, ge=0)


def train(
    good: Sequence[Path],
    *,
    defects: Sequence[Path] = (),
    masks: Mapping[Path, MaskSource] | None = None,
    classes: Mapping[Path, Sequence[str]] | None = None,
    groups: Mapping[Path, str] | None = None,
    synthetic: Mapping[Path, Sequence[str]] | None = None,
    options: TrainingOptions | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Model:
    """Train a model.

    Every figure in its card comes from real images the figure's model was not fitted to: by turns, a quarter of them is
    held out.  Synthetic defects are learned from only where that makes the model better at the real ones held out, and
    none is learned from that was made from a photo of a part held out.

    Args:
        good: photos of good parts, at least ``MIN_GOOD`` different ones.
        defects: photos of defective parts, if there are any.
        masks: by photo in ``defects``, where its defects are: a grey image or array, not 0 = defect, as large as the
            photo or of its aspect; one such array for each class by name; or the photo's record, with its own colours.
        classes: by photo in ``defects``, the names of the defects it shows; "anomaly" where not given.
        groups: by photo, which part it shows, where there are several photos of one part: they are held out together,
            since a part's other photos would make it look more familiar than a new part is.
        synthetic: by photo in ``defects`` that is none but was made, the SHA-256 of the files it was made from.
        options: see `TrainingOptions`.
        on_progress: hears of each image read and each model fitted; a stage is a set of images or a detector.

    Raises:
        InputError: an image cannot be read, or there are too few different ones; the message names them.

    >>> model = train(sorted(Path("parts/normal").iterdir()), options=TrainingOptions(resolution=128))
    >>> model.save(Path("flanges.tar.gz")).name
    'flanges.tar.gz'
    """
    training = _Training(options or TrainingOptions(), dict(groups or {}), dict(synthetic or {}), on_progress)
    # Before the limit, which holds for what is loaded by then.
    import sklearn.linear_model  # noqa: F401

    with one_thread():
        return training.run(
            list(good), list(defects), dict(masks or {}), {key: tuple(names) for key, names in (classes or {}).items()}
        )


def train_dataset(
    dataset: Dataset, *, options: TrainingOptions | None = None, on_progress: OnProgress = ignore_progress
) -> Model:
    """Train a model from all labelled images of a dataset, with its masks, classes and colours.

    Synthetic images are learned from as `train` says, or always where the dataset's notes say that the gate kept them,
    which tried more splits than training does; good ones among them are not, since nothing is learned of good parts
    that way.  The card names the dataset's version, and what changed from the one that it was made from.

    Raises:
        InputError: as `train` does.
    """
    options = options or TrainingOptions()
    options = options.model_copy(update={"colors": {**dataset.colour_map, **options.colors}})
    gate = dataset.notes.get("gate")
    if isinstance(gate, dict) and gate.get("decision") == "kept":
        options = options.model_copy(update={"synthetic": "always"})
    model = train(
        [record.path for record in dataset.normal if not record.synthetic],
        defects=[record.path for record in dataset.anomalous],
        masks={record.path: record for record in dataset.anomalous if record.mask},
        classes={record.path: record.classes for record in dataset.anomalous if record.classes},
        groups={record.path: record.group for record in dataset.records if not record.synthetic},
        synthetic={record.path: record.made_from for record in dataset.anomalous if record.synthetic},
        options=options,
        on_progress=on_progress,
    )
    origin = {"dataset": dataset.version, "dataset_parent": dataset.parent, "dataset_changes": dataset.changes}
    return assemble(model.card.model_copy(update=origin), model.backbone, model.scorer)


def train_folders(
    good: Path,
    *,
    defects: Path | None = None,
    masks: Path | None = None,
    options: TrainingOptions | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Model:
    """Train a model from folders of photos.

    Args:
        good: photos of good parts.
        defects: photos of defective parts, or one folder of them a class.
        masks: masks named as the photos in ``defects``; not black = defect.
        options: see `TrainingOptions`.
        on_progress: as for `train`.

    Raises:
        InputError: a folder has no photos or no fitting masks, or as `train` does.
    """
    photos, classes = labelled_photos(defects)
    return train(
        find_images(good, "good"),
        defects=photos,
        masks=match_masks(masks, photos),
        classes=classes,
        options=options,
        on_progress=on_progress,
    )


@dataclass(frozen=True, slots=True)
class _Photo:
    """One photo, ready for the backbone."""

    path: Path
    prepared: NDArray[np.uint8]
    patches: Patches
    digest: str


class _Training:
    """One training, from files to model."""

    def __init__(
        self,
        options: TrainingOptions,
        groups: dict[Path, str],
        synthetic: dict[Path, Sequence[str]],
        on_progress: OnProgress,
    ) -> None:
        if options.detector not in ("auto", *DETECTORS):
            raise InputError("detector", f"auto or one of {', '.join(DETECTORS)}", options.detector)
        self._options, self._groups, self._synthetic = options, groups, synthetic
        self._on_progress = on_progress
        backbone = options.backbone or EMBEDDED[0]
        self._backbone = Backbone.from_file(backbone) if isinstance(backbone, Path) else embedded_backbone(backbone)

    def run(
        self,
        good: list[Path],
        defects: list[Path],
        masks: dict[Path, MaskSource],
        classes: dict[Path, tuple[str, ...]],
    ) -> Model:
        options = self._options
        if not good:
            raise InputError("good", f"at least {MIN_GOOD} images of good parts", 0)
        real = [path for path in defects if path not in self._synthetic]
        made = [path for path in defects if path in self._synthetic]
        enough = len(real) >= MIN_LABELLED
        if options.costs and not enough:
            fix = "Label more defects, or let the thresholds come from the good images alone."
            raise InputError("costs", f"used with at least {MIN_LABELLED} labelled defects", len(real), fix)
        seen = _look_at(good)
        _look_at(defects)
        self._preparation = Preparation.fitting(
            [size for size, _ in seen.values()],
            self._backbone,
            region=options.region,
            resolution=options.resolution,
            tiles=options.tiles,
        )
        photos = self._describe(self._distinct({path: digest for path, (_, digest) in seen.items()}), "good parts")
        grid = photos[0].patches.shape
        self._valid = self._inspected(grid[0], grid[1])
        # Nobody can tell whether synthetic images help where there are no real defects to hold out.
        used = [*real, *made] if enough else real
        self._kinds = self._define_classes({path: classes[path] for path in used if path in classes})
        parts = self._parts([*good, *real]) if made else {}
        labelled = self._describe(real, "defects")
        samples = [self._label(photo, classes.get(photo.path, ()), masks.get(photo.path)) for photo in labelled]
        copies = self._describe(made if enough else [], "synthetic defects")
        synthetic = [self._label(photo, classes.get(photo.path, ()), masks.get(photo.path)) for photo in copies]
        # Real defects tell more than made-up ones, once there are enough of them.
        damaged = () if enough else self._damage(photos)
        comparison = CandidateSearch(
            good=[Sample(photo.patches, group=self._part(photo.path, parts)) for photo in photos],
            defects=[
                replace(sample, group=self._part(photo.path, parts))
                for sample, photo in zip(samples, labelled, strict=True)
            ],
            synthetic=[
                replace(sample, sources=frozenset(parts.get(digest, digest) for digest in self._synthetic[photo.path]))
                for sample, photo in zip(synthetic, copies, strict=True)
            ],
            damaged=damaged,
            valid=self._valid,
            kinds=len(self._kinds),
            seed=options.seed,
            on_progress=self._on_progress,
        )
        trials = comparison.trials(tuple(DETECTORS) if options.detector == "auto" else (options.detector,))
        best = comparison.best(trials, synthetic=options.synthetic)
        # What no other good part resembles may be a defect or a rare good part: it must not move the thresholds.
        unlike = find_outliers(best.scores.good) if len(best.scores.good) >= MIN_LABELLED else []
        left_out = unlike if options.exclude_suspects else ()
        kept = [sample for index, sample in enumerate(comparison.good) if index not in left_out]
        held_out, defective = np.delete(best.scores.good, unlike), best.scores.defects
        helped = best.recipe.heads.synthetic
        thresholds, threshold_basis = self._thresholds(held_out, defective)
        known = None
        if labelled and not enough and defective.min() < thresholds.review:
            known = fit_known_defects(
                [sample.patches for sample in comparison.good],
                [sample.patches for sample in comparison.defects],
                self._valid,
                good_scores=best.scores.good,
                defect_scores=defective,
                left_out=unlike,
                rates=options.rates,
            )
        if known is not None:
            held_out, defective, thresholds = np.delete(known.good, unlike), known.defects, known.thresholds
            threshold_basis = known.basis or threshold_basis
        scale, confidence_basis = confidence_scale(held_out, defective, thresholds.fail)
        card = ModelCard(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            detector=best.recipe.detector,
            backbone=self._backbone.name,
            backbone_sha256=self._backbone.digest,
            backbone_license=self._backbone.license,
            preparation=self._preparation,
            thresholds=thresholds,
            threshold_basis=threshold_basis,
            normal_level=best.level,
            map_level=self._map_level(best, unlike, thresholds, whole=known is not None and known.head is not None),
            confidence_scale=scale,
            confidence_basis=confidence_basis,
            classes=self._kinds,
            rules=options.rules,
            leaderboard=tuple(
                LeaderboardEntry(
                    name=trial.recipe.label,
                    auroc=trial.auroc,
                    average_precision=trial.average_precision,
                    chosen=trial is best,
                )
                for trial in sorted(trials, key=lambda trial: -trial.auroc)
            ),
            leaderboard_basis=(
                "synthetic perturbations of held-out good images, for the choice only"
                if damaged
                else f"{len(photos)} good images and {len(labelled)} labelled defects, held out by turns"
            ),
            good_images=len(kept),
            defect_images=len(labelled),
            masked_images=sum(sample.marks is not None for sample in samples),
            synthetic_images=len(copies) if helped else 0,
            synthetic_basis=_synthetic_basis(best, trials, len(made), len(real)),
            suspects=tuple(photos[index].path.name for index in unlike),
            warnings=label_warnings(
                held_out,
                defective,
                thresholds,
                names=[photo.path.name for photo in labelled],
                masks=sum(sample.marks is not None for sample in samples),
                fit=known,
            ),
            training_manifest_sha256=_manifest(
                photos, labelled, samples, *((copies, synthetic) if helped else ((), ()))
            ),
            metrics=_held_out_metrics(held_out, defective, thresholds),
            seed=options.seed,
        )
        scorer = comparison.fit(best, kept)
        if known is not None and known.head is not None:
            scorer = replace(scorer, image_head=known.head)
        return assemble(card, self._backbone, scorer)

    def _parts(self, paths: Sequence[Path]) -> dict[str, str]:
        """Which part the photo in a file shows, by the file's SHA-256; each its own where nobody says."""
        return {digest: self._groups.get(path) or digest for path in paths for digest in [file_digest(path)]}

    def _part(self, path: Path, parts: Mapping[str, str]) -> str:
        return parts[file_digest(path)] if parts else self._groups.get(path, "")

    def _distinct(self, digests: Mapping[Path, str]) -> list[Path]:
        """Good photos, each once, and no more than are of use."""
        paths = list({digest: path for path, digest in reversed(list(digests.items()))}.values())[::-1]
        if len(paths) < MIN_GOOD:
            rule = f"at least {MIN_GOOD} different images of good parts"
            got = f"{len(paths)} different of {len(digests)}"
            raise InputError("good", rule, got, "Add photos of more good parts.")
        rows, columns = self._options.tiles
        most = max(MAX_FITTED // (rows * columns), MIN_GOOD)
        if len(paths) <= most:
            return paths
        chosen = np.random.default_rng(self._options.seed).permutation(len(paths))[:most]
        return [paths[index] for index in np.sort(chosen)]

    def _describe(self, paths: Sequence[Path], stage: str) -> list[_Photo]:
        photos = []
        for number, path in enumerate(paths, start=1):
            image = load_image(path)
            prepared = self._preparation.apply(image)
            photos.append(_Photo(path, prepared, self._patches(prepared), _digest(image)))
            self._on_progress(Progress(stage, number, len(paths)))
        return photos

    def _patches(self, prepared: NDArray[np.uint8]) -> Patches:
        return patches_of(prepared, self._preparation, self._backbone)

    def _damage(self, photos: Sequence[_Photo]) -> list[Patches]:
        rng = np.random.default_rng(self._options.seed)
        damaged = []
        for number, photo in enumerate(photos, start=1):
            damaged.append(self._patches(perturb(photo.prepared, self._valid, rng)))
            self._on_progress(Progress("perturbations", number, len(photos)))
        return damaged

    def _thresholds(self, good: Scores, defects: Scores) -> tuple[Thresholds, str]:
        rates, costs = self._options.rates, self._options.costs
        if costs:
            basis = f"costs, from {len(good)} held-out good and {len(defects)} defective images"
            return thresholds_from_costs(good, defects, costs), basis
        basis = f"{rates.review:.1%} of good parts held back and {rates.fail:.1%} failed, from {len(good)} held out"
        return thresholds_from_good(good, rates), basis

    def _map_level(self, best: Trial, unlike: Sequence[int], thresholds: Thresholds, *, whole: bool) -> float:
        if not best.recipe.signature and not best.recipe.heads.image and not whole:
            return thresholds.fail
        return thresholds_from_good(np.delete(best.max_scores, unlike), self._options.rates).fail

    def _inspected(self, rows: int, columns: int) -> NDArray[np.bool_]:
        valid = np.ones((rows, columns), np.bool_)
        if self._options.ignore is not None:
            ignored = self._preparation.crop(load_image(self._options.ignore)).max(axis=2) > 0
            valid = _shares(ignored, rows, columns) < 0.5
        if valid.sum() < 4:
            raise InputError("ignore", "a mask that leaves something to inspect (black where parts are inspected)")
        return valid

    def _define_classes(self, classes: Mapping[Path, tuple[str, ...]]) -> tuple[DefectClass, ...]:
        names = sorted({name for each in classes.values() for name in each}) or [ANOMALY]
        chosen = self._options.colors
        free = [color for color in PALETTE if color not in chosen.values()] or list(PALETTE)
        try:
            return tuple(
                DefectClass(name=name, color=chosen.get(name, free[number % len(free)]))
                for number, name in enumerate(names)
            )
        except ValidationError as error:
            raise InputError("classes", f"of a name and a colour #rrggbb ({error.errors()[0]['msg']})") from None

    def _label(self, photo: _Photo, names: tuple[str, ...], mask: MaskSource | None) -> Sample:
        numbers = {kind.name: number for number, kind in enumerate(self._kinds, start=1)}
        kind = numbers[names[0]] if names else 1
        if mask is None:
            return Sample(photo.patches, kind)
        field = f"mask of {photo.path.name}"
        layers = _layers(mask, photo.path, names, kind, numbers, self._options.colors, field)
        rows, columns = self._valid.shape
        marks, most = np.zeros((rows, columns), np.uint8), np.full((rows, columns), MARKED_SHARE, np.float32)
        for number, layer in layers.items():
            if layer.ndim != 2 or not layer.size:
                raise InputError(field, "of shape (height, width)", layer.shape)
            share = _shares(self._preparation.crop(layer), rows, columns)
            # A defect smaller than that share of a patch still marks the patch that holds most of it.
            covered = (share >= most) | ((share > 0) & (share == share.max()))
            marks[covered] = number
            most = np.maximum(most, share)
        return Sample(photo.patches, kind, np.asarray(np.where(self._valid, marks, 0), np.uint8))


def _look_at(paths: Sequence[Path]) -> dict[Path, tuple[tuple[int, int], str]]:
    """Height, width and digest of each photo; photos are read one at a time, since many do not fit into memory."""
    seen, problems = {}, []
    for path in paths:
        try:
            image = load_image(path)
        except ImageError as error:
            problems.append(str(error))
        else:
            seen[path] = (image.shape[0], image.shape[1]), _digest(image)
    if problems:
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        raise InputError("images", f"photos that can all be read{more}", fix=" ".join(problems[:5]))
    return seen


def _layers(
    mask: MaskSource,
    path: Path,
    names: tuple[str, ...],
    kind: int,
    numbers: Mapping[str, int],
    colors: Mapping[str, str],
    field: str,
) -> dict[int, NDArray[np.bool_]]:
    """Where each class is, by its number, in a mask of any form."""
    if isinstance(mask, Path):
        mask = ImageRecord(path, "anomaly", names, mask, colors)
    if isinstance(mask, ImageRecord):
        found = read_classes(mask, tuple(numbers))
        assert found is not None  # the record has a mask
        found[found == UNNAMED] = kind
        return {number: found == number for number in numbers.values()}
    if not isinstance(mask, Mapping):
        return {kind: np.asarray(mask, np.float64) > 0}
    unknown = set(mask) - set(numbers)
    if unknown:
        raise InputError(field, f"of the classes {', '.join(numbers)}", sorted(unknown))
    return {numbers[name]: np.asarray(layer, np.float64) > 0 for name, layer in mask.items()}


def _shares(layer: NDArray[np.bool_], rows: int, columns: int) -> NDArray[np.float32]:
    """The share of each cell of a grid that ``layer`` covers."""
    shrinks = rows <= layer.shape[0] and columns <= layer.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(layer.astype(np.float32), (columns, rows), interpolation=how), np.float32)


def _held_out_metrics(good: Scores, defects: Scores, thresholds: Thresholds) -> dict[str, float]:
    """Shares by verdict of images whose scores no fit has seen; the thresholds have seen them."""
    metrics = {
        "good_held_back": float(np.mean(good >= thresholds.review)),
        "good_failed": float(np.mean(good >= thresholds.fail)),
    }
    if len(defects):
        metrics["defects_failed"] = float(np.mean(defects >= thresholds.fail))
        metrics["defects_passed"] = float(np.mean(defects < thresholds.review))
    return metrics


def _synthetic_basis(best: Trial, trials: Sequence[Trial], made: int, real: int) -> str:
    """Whether synthetic images are learned from, and what speaks for it or against."""
    if not made:
        return ""
    tried = [trial.auroc for trial in trials if trial.recipe.heads.synthetic]
    if not tried:
        return f"left out: {real} real defects are too few to measure on ({MIN_LABELLED} of {FOLDS} parts at least)"
    without = max(trial.auroc for trial in trials if not trial.recipe.heads.synthetic)
    few = f"left out, as {real} real defects do not tell whether they help ({MIN_TELLING} at least)"
    said = few if real < MIN_TELLING else "left out, as they do not clearly help"
    if best.recipe.heads.synthetic:
        said = "used"
    return f"{said}: AUROC {max(tried):.3f} with them, {without:.3f} without, on {real} real defects held out by turns"


def _digest(image: NDArray[np.uint8]) -> str:
    return hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).hexdigest()


def _manifest(
    good: Sequence[_Photo],
    labelled: Sequence[_Photo],
    samples: Sequence[Sample],
    made: Sequence[_Photo],
    synthetic: Sequence[Sample],
) -> str:
    """A hash of what was trained on: pixels, labels and masks, in any order and wherever the files lie."""
    rows = [("good", photo.digest, "") for photo in good]
    for photo, sample, what in (
        *((photo, sample, "defect") for photo, sample in zip(labelled, samples, strict=True)),
        *((photo, sample, "synthetic defect") for photo, sample in zip(made, synthetic, strict=True)),
    ):
        marks = b"" if sample.marks is None else sample.marks.tobytes()
        rows.append((f"{what} {sample.kind}", photo.digest, hashlib.sha256(marks).hexdigest()))
    return hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()
