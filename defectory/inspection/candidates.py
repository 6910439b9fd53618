"""The candidates for a model: made of parts, scored on images they were not fitted to, and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from defectory.inspection.detectors import DistanceMap, Patches
from defectory.inspection.detectors.image_head import ImageHead
from defectory.inspection.detectors.patch_head import PatchHead
from defectory.inspection.detectors.registry import DETECTORS
from defectory.inspection.detectors.signature import Signature
from defectory.inspection.model import Scorer
from defectory.inspection.thresholds import Scores
from defectory.metrics.ranking import area_under_roc, precision_recall_area
from defectory.progress import OnProgress, Progress

FOLDS = 4
BLEND_WEIGHTS = (1.0, 3.0)
"""How much a patch head may count, in what a good image's max_score is worth."""

IMAGE_BLEND_WEIGHT = 0.7
"""How much an image head may count, as the logarithm of what it multiplies a score with."""

CREDIBLE_GAIN, CREDIBLE_GAIN_SYNTHETIC = 0.01, 0.05
"""By how much another candidate's AUROC must exceed the default's: on real defects, beyond what may be chance, and on
good images damaged on purpose.
"""

MIN_TELLING = 10
"""Of fewer real defects, even the standard error of a difference is not known well."""

_CERTAIN = 2.0
"""Standard errors that a difference has to exceed: with fewer, the best of many candidates is so by chance."""

MAX_EXPONENT = 2.0
SIGNATURE_IMAGES = 100.0
"""Of this many good images a signature gets half its weight: of few, it takes every new image for odd."""

SUSPECT_DEVIATIONS = 3.5
"""Robust deviations from the median, as in Iglewicz and Hoaglin, "How to Detect and Handle Outliers" (1993)."""

_LITTLE = 1e-6


@dataclass(frozen=True, slots=True)
class Sample:
    """One image's patches and what it shows: its class of defect by number, the class of each patch if masked.

    Samples of one ``group`` show the same part and are never on both sides of a fold; "" is a group of its own.
    ``sources`` are the groups that a synthetic sample was made from: it is never fitted where one of them is held out.
    """

    patches: Patches
    kind: int = 0
    marks: NDArray[np.uint8] | None = None
    group: str = ""
    sources: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Heads:
    """What labelled defects add to a detector: how much a patch head and an image head weigh (0: nothing),
    and whether they learn from synthetic defects, too.
    """

    patch: float = 0.0
    image: float = 0.0
    synthetic: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a candidate is made of: a detector, a signature or none, and heads that weigh in or not."""

    detector: str
    signature: bool
    heads: Heads = Heads()

    @property
    def label(self) -> str:
        """The recipe as a person reads it."""
        patch = f" + patch head x{self.heads.patch:g}" if self.heads.patch else ""
        image = " + image head" if self.heads.image else ""
        return self.detector + " + signature" * self.signature + patch + image + ", synthetic" * self.heads.synthetic


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A number for each good, damaged and defective image, each from a fit that did not see it."""

    good: Scores
    damaged: Scores
    defects: Scores

    @classmethod
    def empty(cls, good: int, damaged: int, defects: int) -> HeldOut:
        """Zeros, to be filled."""
        return cls(np.zeros(good), np.zeros(damaged), np.zeros(defects))

    def combine_signature(self, image_scores: HeldOut, typical: float, exponent: float) -> HeldOut:
        """These scores with the signature's word on each image."""
        return self._times(image_scores, lambda values: (values / typical) ** exponent)

    def combine_image_head(self, probability: HeldOut, blend_weight: float) -> HeldOut:
        """These scores with the image head's word on each image."""
        return self._times(probability, lambda values: np.exp(blend_weight * values)) if blend_weight else self

    def _times(self, factors: HeldOut, factor: Callable[[Scores], Scores]) -> HeldOut:
        return HeldOut(
            self.good * factor(factors.good),
            self.damaged * factor(factors.damaged),
            self.defects * factor(factors.defects),
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate and how it did: its held-out scores, and how well they part good images from the others.

    ``max_scores`` are the good images' scores by their patches alone; ``level`` is the median of their maps;
    ``typical`` and ``exponent`` are the signature's.
    """

    recipe: Candidate
    scores: HeldOut
    max_scores: Scores
    level: float
    typical: float
    exponent: float
    auroc: float
    average_precision: float


@dataclass(frozen=True, slots=True)
class _HeldOutScores:
    """What each image scores with the fit that has not seen it: by its patches, its image head and its signature.

    ``levels`` are the medians of the good images' maps.
    """

    image_scores: HeldOut
    max_scores: dict[Heads, HeldOut]
    probabilities: dict[Heads, HeldOut]
    levels: dict[Heads, Scores]

    @classmethod
    def empty(cls, candidates: Sequence[Heads], good: int, damaged: int, defects: int) -> Self:
        sizes = good, damaged, defects
        return cls(
            HeldOut.empty(*sizes),
            {heads: HeldOut.empty(*sizes) for heads in candidates},
            {heads: HeldOut.empty(*sizes) for heads in candidates},
            {heads: np.zeros(good) for heads in candidates},
        )


@dataclass(frozen=True, slots=True)
class CandidateSearch:
    """Fits and compares candidates on one set of images.

    ``damaged`` are the good images again, damaged on purpose, or nothing where ``defects`` are enough to compare on.
    ``synthetic`` defects are fitted to by some candidates, and no candidate is ever compared on them.  ``kinds`` is the
    number of classes of defect; ``on_progress`` hears of each fold done.
    """

    good: Sequence[Sample]
    defects: Sequence[Sample]
    damaged: Sequence[Patches]
    valid: NDArray[np.bool_]
    kinds: int
    seed: int
    on_progress: OnProgress
    synthetic: Sequence[Sample] = ()

    def trials(self, detectors: Sequence[str]) -> list[Trial]:
        """Every candidate, the default first."""
        good_folds, defect_folds = self._folds()
        candidates = self._heads(defect_folds)
        return [trial for name in detectors for trial in self._try(name, candidates, good_folds, defect_folds)]

    def fit(self, trial: Trial, good: Sequence[Sample]) -> Scorer:
        """A candidate fitted to ``good`` and to all defects."""
        heads = trial.recipe.heads
        synthetic = self.synthetic if heads.synthetic else ()
        scorer = self._scorers(trial.recipe.detector, (heads,), good, self.defects, synthetic)[heads]
        if not trial.recipe.signature:
            return scorer
        signature = Signature.fit([sample.patches for sample in good], self.valid)
        return replace(scorer, signature=signature.tuned(trial.typical, trial.exponent))

    def best(self, trials: Sequence[Trial], *, synthetic: Literal["measured", "always"] = "measured") -> Trial:
        """The first, unless another is better by more than chance would often make it: there are many candidates, and
        few real defects to compare them on.

        One with synthetic images has to be better than the best without them, too, on as many real defects as tell
        what is chance; ``always`` takes one of those, if there are any.
        """
        without, helped = (
            self._best([trial for trial in trials if trial.recipe.heads.synthetic == synthetic_ones])
            for synthetic_ones in (False, True)
        )
        assert without is not None  # the default learns from no synthetic images
        if helped is None or synthetic == "always":
            return helped or without
        enough = len(self.defects) >= MIN_TELLING
        return helped if enough and self._is_better(helped, without) else without

    def _best(self, trials: Sequence[Trial]) -> Trial | None:
        best = max(trials, key=lambda trial: trial.auroc, default=None)
        return best if best is None or self._is_better(best, trials[0]) else trials[0]

    def _is_better(self, trial: Trial, baseline: Trial) -> bool:
        if self.damaged:
            return trial.auroc > baseline.auroc + CREDIBLE_GAIN_SYNTHETIC
        return trial.auroc > baseline.auroc + CREDIBLE_GAIN + _CERTAIN * _deviation(baseline.scores, trial.scores)

    def _heads(self, defect_folds: Sequence[int]) -> tuple[Heads, ...]:
        """The heads to try, the default first: none where there are too few real defects to hold some out, then an
        image head, and a patch head where there are masks, as both helped on average (`benchmarks/synthetic_lift.py`).
        """
        if self.damaged or len(set(defect_folds)) < FOLDS:
            return (Heads(),)
        masked_folds = {
            fold for fold, defect in zip(defect_folds, self.defects, strict=True) if defect.marks is not None
        }
        patch = [Heads(blend_weight) for blend_weight in BLEND_WEIGHTS] if len(masked_folds) == FOLDS else []
        both_heads = Heads(BLEND_WEIGHTS[0], IMAGE_BLEND_WEIGHT)
        heads = [*[both_heads] * bool(patch), Heads(0.0, IMAGE_BLEND_WEIGHT), Heads(), *patch]
        if not self.synthetic:
            return tuple(heads)
        marked = any(sample.marks is not None for sample in self.synthetic)
        synthetic = [both_heads, Heads(BLEND_WEIGHTS[0])] * marked + [Heads(0.0, IMAGE_BLEND_WEIGHT)]
        return (*heads, *(replace(head, synthetic=True) for head in synthetic))

    def _folds(self) -> tuple[list[int], list[int]]:
        """The fold of each good and of each defective image; those of one group share it, unless there are too few
        groups of good images for that.
        """
        good_groups = [sample.group or f"image {index}" for index, sample in enumerate(self.good)]
        if len(set(good_groups)) < FOLDS:
            good_groups = [str(index) for index in range(len(good_groups))]
        distinct = list(dict.fromkeys(good_groups))
        fold_ids = np.random.default_rng(self.seed).permutation(len(distinct)) % FOLDS
        fold_of = dict(zip(distinct, fold_ids.tolist(), strict=True))
        defect_groups = [sample.group or f"defect {index}" for index, sample in enumerate(self.defects)]
        of_defects_alone = [group for group in dict.fromkeys(defect_groups) if group not in fold_of]
        fold_of_defect = fold_of | {group: index % FOLDS for index, group in enumerate(of_defects_alone)}
        return [fold_of[group] for group in good_groups], [fold_of_defect[group] for group in defect_groups]

    def _try(
        self, detector: str, candidates: Sequence[Heads], good_folds: Sequence[int], defect_folds: Sequence[int]
    ) -> list[Trial]:
        """The candidates of one detector, each image scored by a fit to the folds it is not in."""
        held_out = _HeldOutScores.empty(candidates, len(self.good), len(self.damaged), len(self.defects))
        for fold in range(FOLDS):
            self._score_fold(detector, candidates, fold, good_folds, defect_folds, held_out)
            self.on_progress(Progress(detector, fold + 1, FOLDS))
        image_scores = held_out.image_scores
        typical = max(float(np.median(image_scores.good)), _LITTLE)
        trials = []
        for signed in (True, False):
            for heads, max_scores in held_out.max_scores.items():
                exponent = _balance(max_scores.good, image_scores.good) if signed else 0.0
                scores = max_scores.combine_signature(image_scores, typical, exponent)
                scores = scores.combine_image_head(held_out.probabilities[heads], heads.image)
                auroc, precision = _separation(scores)
                trials.append(
                    Trial(
                        Candidate(detector, signed, heads),
                        scores,
                        max_scores.good,
                        float(np.median(held_out.levels[heads])),
                        typical,
                        exponent,
                        auroc,
                        precision,
                    )
                )
        return trials

    def _score_fold(
        self,
        detector: str,
        candidates: Sequence[Heads],
        fold: int,
        good_folds: Sequence[int],
        defect_folds: Sequence[int],
        held_out: _HeldOutScores,
    ) -> None:
        """Fit the candidates to all folds but ``fold``, and score its images into ``held_out``."""
        fitted = [sample for sample, sample_fold in zip(self.good, good_folds, strict=True) if sample_fold != fold]
        fitted_defects = [
            sample for sample, sample_fold in zip(self.defects, defect_folds, strict=True) if sample_fold != fold
        ]
        held_out_groups = {
            sample.group
            for sample, sample_fold in zip([*self.good, *self.defects], [*good_folds, *defect_folds], strict=True)
            if sample_fold == fold
        }
        synthetic = [sample for sample in self.synthetic if not sample.sources & held_out_groups]
        scorers = self._scorers(detector, candidates, fitted, fitted_defects, synthetic)
        signature = Signature.fit([sample.patches for sample in fitted], self.valid)
        good = [index for index, sample_fold in enumerate(good_folds) if sample_fold == fold]
        defects = [index for index, sample_fold in enumerate(defect_folds) if sample_fold == fold]
        groups: list[tuple[str, list[tuple[int, Patches]]]] = [
            ("good", [(index, self.good[index].patches) for index in good]),
            ("damaged", [(index, self.damaged[index]) for index in good if self.damaged]),
            ("defects", [(index, self.defects[index].patches) for index in defects]),
        ]
        for group, members in groups:
            for index, patches in members:
                getattr(held_out.image_scores, group)[index] = signature.image_score(patches, self.valid)
                # The candidates' detector is the same one.
                distances = scorers[candidates[0]].detector.distances(patches)
                maps: dict[tuple[float, bool], DistanceMap] = {}
                for heads, scorer in scorers.items():
                    # Without a patch head the map is the detector's alone.
                    same = heads.patch, heads.synthetic and heads.patch > 0
                    if same not in maps:
                        maps[same] = scorer.map_of(distances, patches)
                    anomaly = maps[same]
                    getattr(held_out.max_scores[heads], group)[index] = scorer.max_score(anomaly)
                    if scorer.image_head is not None:
                        probability = scorer.image_head.probability(patches, self.valid)
                        getattr(held_out.probabilities[heads], group)[index] = probability
                    if group == "good":
                        held_out.levels[heads][index] = np.median(anomaly[self.valid])

    def _scorers(
        self,
        detector: str,
        candidates: Sequence[Heads],
        good: Sequence[Sample],
        defects: Sequence[Sample],
        synthetic: Sequence[Sample],
    ) -> dict[Heads, Scorer]:
        """A detector for good images with each of the heads, as far as there is something for a head to tell apart."""
        patches = [sample.patches for sample in good]
        plain = Scorer(DETECTORS[detector].fit(patches, self.valid, seed=self.seed), self.valid)
        scorers = {}
        fitted: dict[bool, PatchHead | None] = {}
        for heads in candidates:
            learned_from = synthetic if heads.synthetic else ()
            if heads.synthetic not in fitted and (any(head.patch for head in candidates) or self.kinds > 1):
                fitted[heads.synthetic] = self._patch_head([*defects, *learned_from], plain, patches)
            patch, image = fitted.get(heads.synthetic), None
            if heads.image and (defects or learned_from):
                real, painted = ([sample.patches for sample in samples] for samples in (defects, learned_from))
                image = ImageHead.fit(patches, real, painted, self.valid, blend_weight=heads.image)
            scorers[heads] = replace(plain, head=patch and replace(patch, blend_weight=heads.patch), image_head=image)
        return scorers

    def _patch_head(self, samples: Iterable[Sample], plain: Scorer, good: Sequence[Patches]) -> PatchHead | None:
        marked = [(sample.patches, self._marks(sample, plain)) for sample in samples]
        marked = [(patches, marks) for patches, marks in marked if marks.any()]
        if not marked:
            return None
        unit = float(np.median([plain.max_score(plain.map(patches)) for patches in good[:50]]))
        return PatchHead.fit(good, marked, self.valid, self.kinds, unit=unit, seed=self.seed)

    def _marks(self, sample: Sample, plain: Scorer) -> NDArray[np.uint8]:
        """A defective image's mask, or, where it has none, the few patches that are farthest from good ones."""
        if sample.marks is not None:
            return sample.marks
        anomaly = plain.map(sample.patches)
        limit = np.quantile(anomaly[self.valid], 0.99)
        return np.asarray(np.where(self.valid & (anomaly >= limit), sample.kind, 0), np.uint8)


def find_outliers(scores: Scores) -> list[int]:
    """Indices of scores far above all others, a fifteenth of them at most, or one."""
    logs = np.log(np.maximum(scores, _LITTLE))
    middle = float(np.median(logs))
    spread = 1.4826 * float(np.median(np.abs(logs - middle)))
    far = np.flatnonzero(logs > middle + SUSPECT_DEVIATIONS * max(spread, 0.05))
    return sorted(far[np.argsort(-logs[far])][: max(1, len(scores) // 15)].tolist())


def _balance(scores: Scores, image_scores: Scores) -> float:
    """The power that makes image scores spread as much as patches' do, so that neither drowns the other."""
    spread = float(np.std(np.log(np.maximum(image_scores, _LITTLE))))
    if spread < _LITTLE:
        return 0.0
    even = min(float(np.std(np.log(np.maximum(scores, _LITTLE)))) / spread, MAX_EXPONENT)
    return even * len(scores) / (len(scores) + SIGNATURE_IMAGES)


def _separation(scores: HeldOut) -> tuple[float, float]:
    """AUROC and average precision of good images against the damaged ones, or the defective where none are damaged."""
    anomalous = scores.damaged if len(scores.damaged) else scores.defects
    return area_under_roc(scores.good, anomalous), precision_recall_area(scores.good, anomalous)


def _deviation(first: HeldOut, second: HeldOut) -> float:
    """The standard error of the difference of two AUROC on the same real images.

    DeLong, DeLong & Clarke-Pearson, "Comparing the areas under two or more correlated ROC curves" (1988).
    """
    defects, good = np.zeros(len(first.defects)), np.zeros(len(first.good))
    for sign, scores in ((1.0, second), (-1.0, first)):
        above = np.sign(scores.defects[:, None] - scores.good[None]) / 2 + 0.5
        defects, good = defects + sign * above.mean(axis=1), good + sign * above.mean(axis=0)
    return float(np.sqrt(defects.var(ddof=1) / len(defects) + good.var(ddof=1) / len(good)))
