"""The gate: whether synthetic images make a model better at real defects that it has not seen.

Real images are split anew for each seed; a model trained on one side, without and with the synthetic images, is tested
on the other.  Synthetic images that were made from an image on the test side are left out of that seed's training.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from defectory.datasets.masks import read_mask
from defectory.datasets.records import Dataset, ImageRecord
from defectory.datasets.splits import Split, split
from defectory.errors import InputError
from defectory.images.gate_result import GateResult, Lift
from defectory.inspection.candidates import FOLDS
from defectory.inspection.model import Model
from defectory.inspection.thresholds import MIN_LABELLED
from defectory.inspection.training import TrainingOptions, train_dataset
from defectory.metrics.ranking import area_of_counts, level_counts
from defectory.progress import OnProgress, Progress, ignore_progress
from defectory.vision.images import load_image

IMAGE_AUROC, PIXEL_AUROC = "image AUROC", "pixel AUROC"
SATURATED = 0.995
"""Where images are told apart this well without synthetic ones, they cannot help there: the pixels decide."""

MIN_DEFECTS, MIN_TRAINED = 4, MIN_LABELLED
"""Real defects for a measurement at all, and on each training side: with fewer, synthetic ones are not learned from."""

MIN_SEEDS = 3
_TEST_SHARE = 0.4
_RESAMPLES = 1000
_LEVELS = 256

_Array = NDArray[np.float64]


def run_gate(
    real: Dataset,
    synthetic: Dataset,
    *,
    seeds: int = 3,
    options: TrainingOptions | None = None,
    on_progress: OnProgress = ignore_progress,
) -> GateResult:
    """Train without and with ``synthetic``, test on real images held out, and decide.

    The images are kept if the deciding figure rises for certain, that is if the 95 % interval of its difference lies
    above 0, and no other figure falls for certain.  It decides the image AUROC, or the pixel AUROC where without
    synthetic images the former is 0.995 at least.

    Args:
        real: real images; groups stay on one side.  Synthetic ones among them are not looked at.
        synthetic: images of defects that were made, with what they were made from.
        seeds: how many splits to try, 3 at least.
        options: how to train; both sides alike, but for what is learned from.
        on_progress: hears of each model trained and tested.

    Raises:
        InputError: there are too few seeds or good images, or an image cannot be read.

    >>> from pathlib import Path
    >>> from defectory import load_dataset
    >>> from dataclasses import replace
    >>> parts = load_dataset(Path("parts"))
    >>> few = parts.select([*parts.normal, *parts.anomalous[:3]])
    >>> painted = parts.select([replace(parts.anomalous[3], synthetic=True)])
    >>> run_gate(few, painted).decision
    'unmeasured'
    """
    if seeds < MIN_SEEDS:
        raise InputError("seeds", f"at least {MIN_SEEDS}", seeds)
    options = options or TrainingOptions()
    labelled = real.select([record for record in real.records if not record.synthetic and record.label])
    painted = [record for record in synthetic.anomalous if record.synthetic]
    counts = {"real_good": len(labelled.normal), "real_defects": len(labelled.anomalous), "synthetic": len(painted)}
    if not painted:
        raise InputError("synthetic", "a dataset of images of defects that were made", len(synthetic.records))
    splits = [_split(labelled, seed) for seed in range(seeds)] if len(labelled.anomalous) >= MIN_DEFECTS else []
    shortage = _shortage(labelled, splits)
    if shortage:
        return GateResult(decision="unmeasured", reason=shortage, **counts)
    pairs = []
    for seed, parts in enumerate(splits):
        tested_on = {labelled.digest(record.path) for record in parts.test.records}
        allowed = [record for record in painted if tested_on.isdisjoint(record.made_from)]
        digests = {**synthetic.digests, **labelled.digests}
        joined = Dataset((*parts.train.records, *allowed), labelled.root, digests=digests)
        results = []
        for trial, (training, use) in enumerate(((parts.train, "measured"), (joined, "always"))):
            model = train_dataset(training, options=options.model_copy(update={"seed": seed, "synthetic": use}))
            results.append(_Results.of(model, parts.test))
            on_progress(Progress("trying whether they help", 2 * seed + trial + 1, 2 * seeds))
        pairs.append((results[0], results[1]))
    figures = _figures(pairs)
    decision, reason = _decide(figures)
    return GateResult(decision=decision, reason=reason, seeds=tuple(range(seeds)), figures=figures, **counts)


def _split(labelled: Dataset, seed: int) -> Split:
    """Held out is a share of the images, or less where too few defects would be left to learn from."""
    spare = (len(labelled.anomalous) - MIN_TRAINED) / len(labelled.anomalous)
    return split(labelled, test=max(min(_TEST_SHARE, spare), 0.05), seed=seed)


def _shortage(labelled: Dataset, splits: Sequence[Split]) -> str:
    """Why nothing can be measured with so few real defects; "" where it can."""
    defects = len(labelled.anomalous)
    if defects < MIN_DEFECTS:
        return f"There are {defects} real defects, too few to hold some out; it takes at least {MIN_DEFECTS}."
    fewest = min(len(parts.train.anomalous) for parts in splits)
    fewest_parts = min(_count_parts(parts.train.anomalous) for parts in splits)
    if fewest < MIN_TRAINED or fewest_parts < FOLDS or not all(parts.test.anomalous for parts in splits):
        return (
            f"There are {defects} real defects. When some are held out, {fewest} are left to learn from, "
            f"on {fewest_parts} different parts; it takes at least {MIN_TRAINED}, on at least {FOLDS}."
        )
    return ""


def _count_parts(records: Sequence[ImageRecord]) -> int:
    return len({record.group or str(record.path) for record in records})


def _figures(pairs: Sequence[tuple[_Results, _Results]]) -> dict[str, Lift]:
    """The lift of each figure, the deciding one first, of what was tried without and with synthetic images."""
    images = _compare([(_Ranks.of_images(without), _Ranks.of_images(with_them)) for without, with_them in pairs])
    if not all(results.has_pixels for pair in pairs for results in pair):
        return {IMAGE_AUROC: images}
    pixels = _compare([(_Ranks.of_pixels(without), _Ranks.of_pixels(with_them)) for without, with_them in pairs])
    if statistics.fmean(images.without) >= SATURATED:
        return {PIXEL_AUROC: pixels, IMAGE_AUROC: images}
    return {IMAGE_AUROC: images, PIXEL_AUROC: pixels}


def _decide(figures: dict[str, Lift]) -> tuple[Literal["kept", "dropped"], str]:
    (name, deciding), *other_figures = figures.items()
    measured = (
        f"{name} {statistics.fmean(deciding.without):.3f} without, {statistics.fmean(deciding.with_synthetic):.3f} "
        f"with synthetic images; difference {deciding.difference:+.3f}, 95 % interval {deciding.low:+.3f} to "
        f"{deciding.high:+.3f}"
    )
    fallen = [other_name for other_name, figure in other_figures if figure.high < 0]
    if deciding.low > 0 and not fallen:
        return "kept", f"{measured}: they help."
    if deciding.low > 0:
        return "dropped", f"{measured}, but {fallen[0]} falls."
    if deciding.high < 0:
        return "dropped", f"{measured}: they hurt."
    return "dropped", f"{measured}: that they help is not certain."


@dataclass(frozen=True, slots=True)
class _Results:
    """What a model says of each test image: a score, and how many of its good and defective pixels have which heat.

    ``units`` number the part that each image shows; ``heat`` is None for defects without a mask.
    """

    scores: _Array
    defective: NDArray[np.bool_]
    units: NDArray[np.intp]
    heat: tuple[tuple[_Array, _Array] | None, ...]

    @classmethod
    def of(cls, model: Model, dataset: Dataset) -> _Results:
        records = [record for record in dataset.records if record.label]
        scores, heat = [], []
        for record in records:
            inspection = model.inspect(load_image(record.path))
            scores.append(inspection.score)
            heat.append(_heat(inspection.heatmap, record))
        names = [record.group or f"image {number}" for number, record in enumerate(records)]
        _, units = np.unique(names, return_inverse=True)
        defective = np.array([record.label == "anomaly" for record in records])
        return cls(np.array(scores, float), defective, units, tuple(heat))

    @property
    def has_pixels(self) -> bool:
        """Whether there are defects whose pixels are known."""
        return any(pair is not None and bad for pair, bad in zip(self.heat, self.defective, strict=True))


def _heat(heatmap: NDArray[np.float32], record: ImageRecord) -> tuple[_Array, _Array] | None:
    """Counts of good and of defective pixels by heat."""
    if record.label == "normal":
        truth = np.zeros(heatmap.shape, bool)
    else:
        mask = read_mask(record)
        if mask is None:
            return None
        truth = _stretched(mask, heatmap.shape) > 0
    return level_counts(heatmap, truth, _LEVELS)


@dataclass(frozen=True, slots=True)
class _Ranks:
    """Cases of good and of defective, ``(cases, levels)`` counts each, in order of suspicion, and the units they belong
    to: with weights for the units, the area under the ROC curve is a matter of sums.
    """

    good: _Array
    bad: _Array
    units: int
    good_units: NDArray[np.intp]
    bad_units: NDArray[np.intp]

    @classmethod
    def of_images(cls, results: _Results) -> _Ranks:
        _, ranks = np.unique(results.scores, return_inverse=True)
        cases = np.eye(int(ranks.max()) + 1)[ranks]
        bad = results.defective
        return cls(cases[~bad], cases[bad], int(results.units.max()) + 1, results.units[~bad], results.units[bad])

    @classmethod
    def of_pixels(cls, results: _Results) -> _Ranks:
        masked = [(pair, unit) for pair, unit in zip(results.heat, results.units, strict=True) if pair is not None]
        good, bad = (np.stack([pair[side] for pair, _ in masked]) for side in (0, 1))
        units = np.array([unit for _, unit in masked])
        return cls(good, bad, int(results.units.max()) + 1, units, units)

    def areas(self, weights: _Array) -> _Array:
        """The AUROC for each row of ``weights``, ``(n, units)``; not a number where one side weighs nothing."""
        return area_of_counts(weights[:, self.good_units] @ self.good, weights[:, self.bad_units] @ self.bad)


def _compare(pairs: Sequence[tuple[_Ranks, _Ranks]]) -> Lift:
    """Both figures for each seed, and the interval of the mean difference by a bootstrap over seeds and, within each,
    over the parts tested.

    Of so few seeds, resamples vary less than seeds do; their deviations are widened by that.
    """
    rng = np.random.default_rng(0)
    values = [tuple(float(ranks.areas(np.ones((1, ranks.units)))[0]) for ranks in pair) for pair in pairs]
    resampled = []
    for without, with_synthetic in pairs:
        weights = rng.multinomial(without.units, np.full(without.units, 1 / without.units), _RESAMPLES).astype(float)
        difference = with_synthetic.areas(weights) - without.areas(weights)
        own = with_synthetic.areas(np.ones((1, without.units))) - without.areas(np.ones((1, without.units)))
        resampled.append(np.where(np.isfinite(difference), difference, own))
    seeds = rng.integers(len(pairs), size=(_RESAMPLES, len(pairs)))
    means = np.stack(resampled)[seeds, np.arange(_RESAMPLES)[:, None]].mean(axis=1)
    gained = statistics.fmean(after - before for before, after in values)
    away = (means - gained) * np.sqrt(len(pairs) / (len(pairs) - 1))
    low, high = gained + np.quantile(away, [0.025, 0.975])
    return Lift(
        without=tuple(before for before, _ in values),
        with_synthetic=tuple(after for _, after in values),
        difference=gained,
        low=float(min(low, gained)),
        high=float(max(high, gained)),
    )


def _stretched(mask: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """``mask`` in the heatmap's size; the nearest pixel keeps the share of a scratch; averages do not."""
    return np.asarray(Image.fromarray(mask).resize((shape[1], shape[0]), Image.Resampling.NEAREST))
