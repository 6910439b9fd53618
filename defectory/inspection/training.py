"""Train an inspection model from photos of good parts, and labelled defects where there are any."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from defectory.errors import ImageError, InputError
from defectory.inspection.backbone import Backbone, embedded_backbone
from defectory.inspection.detectors.registry import DETECTORS
from defectory.inspection.images import load_image
from defectory.inspection.model import DefectClass, LeaderboardEntry, Model, ModelCard, Scorer, assemble
from defectory.inspection.perturbation import perturb
from defectory.inspection.preparation import RESOLUTION, Preparation, Region, patches_of, resize
from defectory.inspection.rules import RuleSet
from defectory.inspection.thresholds import (
    MIN_LABELLED,
    Costs,
    Rates,
    confidence_scale,
    thresholds_from_costs,
    thresholds_from_good,
)

MIN_GOOD = 5
MAX_FITTED = 400
"""More good images than this add little to the memory: an even choice of them is used."""

FOLDS = 4
PALETTE = ("#D0021B", "#F5A623", "#4A90E2", "#7ED321", "#9013FE", "#50E3C2", "#8B572A", "#417505", "#BD10E0", "#F8E71C")
ANOMALY = "anomaly"

MaskSource = Path | NDArray[np.generic] | Mapping[str, NDArray[np.generic]]


class TrainingOptions(BaseModel):
    """How to train.

    ``detector`` is ``auto`` (chosen on held-out data) or the name of one.  ``resolution`` is the shorter side, in
    pixels, of what the backbone sees of an image (or of a tile); ``tiles`` are rows and columns, for small defects on
    large images.  ``region`` is what is inspected; ``ignore`` a grey image, as large as the photos or of their aspect,
    not black where nothing is to be inspected.  ``costs`` set the thresholds where there are labelled defects to learn
    their scores from; ``rates`` set them from good images alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    detector: str = "auto"
    resolution: int = Field(default=RESOLUTION, ge=64, le=1024)
    tiles: tuple[int, int] = (1, 1)
    region: Region = Region()
    ignore: Path | None = None
    rates: Rates = Rates()
    costs: Costs | None = None
    rules: RuleSet = RuleSet()
    colors: dict[str, str] = {}
    backbone: Path | None = None
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True, slots=True)
class Progress:
    """Work done in a stage of training."""

    stage: str
    done: int
    total: int


def train(
    good: Sequence[Path],
    *,
    defects: Sequence[Path] = (),
    masks: Mapping[Path, MaskSource] | None = None,
    classes: Mapping[Path, Sequence[str]] | None = None,
    options: TrainingOptions | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Model:
    """Train a model.

    Every figure in its card comes from images the figure's model was not fitted to: by turns, a quarter of the good
    images is held out.

    Args:
        good: photos of good parts, at least ``MIN_GOOD`` different ones.
        defects: photos of defective parts, if there are any.
        masks: by photo in ``defects``, where its defects are: a grey image or array, not 0 = defect, as large as the
            photo or of its aspect; or one such array for each class by name.
        classes: by photo in ``defects``, the names of the defects it shows; "anomaly" where not given.
        options: see `TrainingOptions`.
        on_progress: told of each image read and each model fitted.

    Raises:
        InputError: an image cannot be read, or there are too few different ones; the message names them.
    """
    return _Training(options or TrainingOptions(), on_progress or (lambda progress: None)).run(
        list(good), list(defects), dict(masks or {}), dict(classes or {})
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """One photo, ready for the backbone, and what it shows."""

    path: Path
    prepared: NDArray[np.uint8]
    patches: NDArray[np.float16]
    digest: str


class _Training:
    def __init__(self, options: TrainingOptions, on_progress: Callable[[Progress], None]) -> None:
        self._options = options
        self._tell = on_progress
        self._backbone = Backbone.from_file(options.backbone) if options.backbone else embedded_backbone()
        if options.detector not in ("auto", *DETECTORS):
            raise InputError("detector", f"auto or one of {', '.join(DETECTORS)}", options.detector)

    def run(
        self,
        good: list[Path],
        defects: list[Path],
        masks: dict[Path, MaskSource],
        classes: dict[Path, Sequence[str]],
    ) -> Model:
        options = self._options
        if not good:
            raise InputError("good", f"at least {MIN_GOOD} images of good parts", 0)
        images = self._read(good)
        sizes = [image.shape[:2] for image in images.values()]
        self._preparation = Preparation.fitting(
            [(height, width) for height, width, *_ in sizes],
            self._backbone,
            region=options.region,
            resolution=options.resolution,
            tiles=options.tiles,
        )
        parts = self._distinct(self._describe(images, "good parts"))
        if len(parts) < MIN_GOOD:
            rule = f"at least {MIN_GOOD} different images of good parts"
            raise InputError("good", rule, f"{len(parts)} different of {len(good)}", "Add photos of more good parts.")
        labelled = self._describe(self._read(defects), "defects")
        self._valid = self._inspected(parts[0].patches.shape[:2])
        rng = np.random.default_rng(options.seed)
        if len(parts) > MAX_FITTED:
            parts = [parts[index] for index in np.sort(rng.permutation(len(parts))[:MAX_FITTED])]
        folds = rng.permutation(len(parts)) % min(FOLDS, len(parts))
        names = list(DETECTORS) if options.detector == "auto" else [options.detector]
        damaged = [] if len(labelled) >= MIN_LABELLED else self._damage(parts, rng)
        trials = {name: self._try(name, parts, folds, labelled, damaged) for name in names}
        chosen = max(names, key=lambda name: trials[name].auroc)
        trial = trials[chosen]
        detector = DETECTORS[chosen].fit([part.patches for part in parts], self._valid, seed=options.seed)
        scorer = Scorer(detector, None, self._valid)
        if options.costs:
            thresholds = thresholds_from_costs(trial.good, trial.defects, options.costs)
            basis = f"costs, on {len(trial.good)} held-out good and {len(trial.defects)} defective images"
        else:
            thresholds = thresholds_from_good(trial.good, options.rates)
            basis = (
                f"{options.rates.review:.1%} and {options.rates.fail:.1%} of good images, {len(trial.good)} held out"
            )
        scale, confidence_basis = confidence_scale(trial.good, trial.defects, thresholds.fail)
        card = ModelCard(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            detector=chosen,
            backbone=self._backbone.name,
            backbone_sha256=self._backbone.digest,
            preparation=self._preparation,
            thresholds=thresholds,
            threshold_basis=basis,
            normal_level=trial.level,
            confidence_scale=scale,
            confidence_basis=confidence_basis,
            classes=self._classes(classes.values()),
            rules=options.rules,
            leaderboard=tuple(
                LeaderboardEntry(name=name, auroc=each.auroc, average_precision=each.precision, chosen=name == chosen)
                for name, each in sorted(trials.items(), key=lambda item: -item[1].auroc)
            ),
            leaderboard_basis="synthetic perturbations of held-out good images"
            if damaged
            else "held-out labelled defects",
            good_images=len(parts),
            defect_images=len(labelled),
            masked_images=len(masks),
            training_manifest_sha256=self._manifest(parts, labelled),
            seed=options.seed,
        )
        return assemble(card, self._backbone, scorer)

    def _read(self, paths: Sequence[Path]) -> dict[Path, NDArray[np.uint8]]:
        images, problems = {}, []
        for path in paths:
            try:
                images[path] = load_image(path)
            except ImageError as error:
                problems.append(str(error))
        if problems:
            more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
            raise InputError("images", f"photos that can all be read{more}", fix=" ".join(problems[:5]))
        return images

    def _describe(self, images: Mapping[Path, NDArray[np.uint8]], stage: str) -> list[_Part]:
        parts = []
        for number, (path, image) in enumerate(images.items(), start=1):
            prepared = self._preparation.apply(image)
            patches = patches_of(prepared, self._preparation, self._backbone).astype(np.float16)
            parts.append(_Part(path, prepared, patches, hashlib.sha256(image.tobytes()).hexdigest()))
            self._tell(Progress(stage, number, len(images)))
        return parts

    @staticmethod
    def _distinct(parts: Sequence[_Part]) -> list[_Part]:
        return list({part.digest: part for part in reversed(parts)}.values())[::-1]

    def _inspected(self, grid: tuple[int, ...]) -> NDArray[np.bool_]:
        valid = np.ones((grid[0], grid[1]), bool)
        if self._options.ignore is not None:
            ignored = self._preparation.apply(load_image(self._options.ignore)).max(axis=2)
            valid = resize(np.where(ignored > 0, 255, 0).astype(np.uint8), *valid.shape) < 128
        if valid.sum() < 4:
            raise InputError("ignore", "a mask that leaves something to inspect (black where parts are inspected)")
        return valid

    def _damage(self, parts: Sequence[_Part], rng: np.random.Generator) -> list[NDArray[np.float16]]:
        damaged = []
        for number, part in enumerate(parts, start=1):
            image = perturb(part.prepared, self._valid, rng)
            damaged.append(patches_of(image, self._preparation, self._backbone).astype(np.float16))
            self._tell(Progress("perturbations", number, len(parts)))
        return damaged

    def _try(
        self,
        name: str,
        parts: Sequence[_Part],
        folds: NDArray[np.intp],
        labelled: Sequence[_Part],
        damaged: Sequence[NDArray[np.float16]],
    ) -> _Trial:
        good, levels = np.zeros(len(parts)), np.zeros(len(parts))
        altered, defects = np.zeros(len(damaged)), np.zeros(len(labelled))
        turns = int(folds.max()) + 1
        for fold in range(turns):
            fitted = [part.patches for part, other in zip(parts, folds, strict=True) if other != fold]
            scorer = Scorer(DETECTORS[name].fit(fitted, self._valid, seed=self._options.seed), None, self._valid)
            for index in np.flatnonzero(folds == fold):
                anomaly = scorer.map(parts[index].patches.astype(np.float32))
                good[index], levels[index] = scorer.score(anomaly), np.median(anomaly[self._valid])
                if damaged:
                    altered[index] = scorer.score(scorer.map(damaged[index].astype(np.float32)))
            for index in range(fold, len(labelled), turns):
                defects[index] = scorer.score(scorer.map(labelled[index].patches.astype(np.float32)))
            self._tell(Progress(name, fold + 1, turns))
        return _Trial.of(good, defects, altered if damaged else defects, float(np.median(levels)))

    def _classes(self, named: Sequence[Sequence[str]] | object) -> tuple[DefectClass, ...]:
        names = sorted({name for each in named for name in each}) or [ANOMALY]  # type: ignore[attr-defined]
        return tuple(
            DefectClass(name=name, color=self._options.colors.get(name, PALETTE[number % len(PALETTE)]))
            for number, name in enumerate(names)
        )

    @staticmethod
    def _manifest(parts: Sequence[_Part], labelled: Sequence[_Part]) -> str:
        rows = [(label, part.digest) for label, group in (("good", parts), ("defect", labelled)) for part in group]
        return hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Trial:
    """Held-out scores of one candidate, and how well they part good from defective."""

    good: NDArray[np.float64]
    defects: NDArray[np.float64]
    level: float
    auroc: float
    precision: float

    @classmethod
    def of(
        cls, good: NDArray[np.float64], defects: NDArray[np.float64], compared: NDArray[np.float64], level: float
    ) -> _Trial:
        from sklearn.metrics import average_precision_score, roc_auc_score

        truth, scores = np.repeat([0, 1], [len(good), len(compared)]), np.concatenate([good, compared])
        return cls(
            good, defects, level, float(roc_auc_score(truth, scores)), float(average_precision_score(truth, scores))
        )
