"""The candidates for a model: made of parts, scored on images they were not fitted to, and compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from defectory.inspection.detectors import Patches
from defectory.inspection.detectors.patch_head import PatchHead
from defectory.inspection.detectors.registry import DETECTORS
from defectory.inspection.detectors.signature import Signature
from defectory.inspection.model import Scorer
from defectory.inspection.thresholds import Scores

FOLDS = 4
TRUSTS = (0.0, 1.0, 3.0)
"""How much a patch head may count, in what a good image's peak is worth."""

TRUSTED_GAIN, TRUSTED_GAIN_SYNTHETIC = 0.01, 0.05
"""By how much another candidate's AUROC must exceed the default's, on real defects and on synthetic ones."""

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
    """

    patches: Patches
    kind: int = 0
    marks: NDArray[np.uint8] | None = None
    group: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a candidate is made of: a detector, a signature or none, and a patch head that is trusted or not."""

    detector: str
    signature: bool
    trust: float = 0.0

    @property
    def label(self) -> str:
        """The recipe as a person reads it."""
        head = f" + patch head x{self.trust:g}" if self.trust else ""
        return self.detector + " + signature" * self.signature + head


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

    def weighed(self, oddness: HeldOut, typical: float, exponent: float) -> HeldOut:
        """These scores with the signature's word on each image."""
        return HeldOut(
            self.good * (oddness.good / typical) ** exponent,
            self.damaged * (oddness.damaged / typical) ** exponent,
            self.defects * (oddness.defects / typical) ** exponent,
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate and how it did: its held-out scores, and how well they part good images from the others.

    ``peaks`` are the good images' scores without the signature; ``level`` is the median of their maps; ``typical`` and
    ``exponent`` are the signature's.
    """

    recipe: Recipe
    scores: HeldOut
    peaks: Scores
    level: float
    typical: float
    exponent: float
    auroc: float
    average_precision: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Fits and compares candidates on one set of images.

    ``damaged`` are the good images again, damaged on purpose, or nothing where ``defects`` are enough to compare on.
    ``kinds`` is the number of classes of defect; ``tell`` hears of each fold done.
    """

    good: Sequence[Sample]
    defects: Sequence[Sample]
    damaged: Sequence[Patches]
    valid: NDArray[np.bool_]
    kinds: int
    seed: int
    tell: Callable[[str, int, int], None]

    def trials(self, detectors: Sequence[str]) -> list[Trial]:
        """Every candidate, the default first."""
        masked = sum(sample.marks is not None for sample in self.defects)
        trusts = TRUSTS if masked >= FOLDS and not self.damaged else (0.0,)
        folds = self._folds()
        return [trial for name in detectors for trial in self._try(name, trusts, folds)]

    def fit(self, trial: Trial, good: Sequence[Sample]) -> Scorer:
        """A candidate fitted to ``good`` and to all defects."""
        trust = trial.recipe.trust
        scorer = self._scorers(trial.recipe.detector, (trust,), good, self.defects)[trust]
        if not trial.recipe.signature:
            return scorer
        signature = Signature.fit([sample.patches for sample in good], self.valid)
        return replace(scorer, signature=signature.tuned(trial.typical, trial.exponent))

    def best(self, trials: Sequence[Trial]) -> Trial:
        """The first, unless another is better by more than chance would often make it."""
        best = max(trials, key=lambda trial: trial.auroc)
        gain = TRUSTED_GAIN_SYNTHETIC if self.damaged else TRUSTED_GAIN
        return best if best.auroc > trials[0].auroc + gain else trials[0]

    def _folds(self) -> list[int]:
        """The fold of each good image; those of one group share it, unless there are too few groups for that."""
        names = [sample.group or f"image {index}" for index, sample in enumerate(self.good)]
        if len(set(names)) < FOLDS:
            names = [str(index) for index in range(len(names))]
        distinct = list(dict.fromkeys(names))
        turns = np.random.default_rng(self.seed).permutation(len(distinct)) % FOLDS
        turn = dict(zip(distinct, turns.tolist(), strict=True))
        return [turn[name] for name in names]

    def _try(self, detector: str, trusts: Sequence[float], folds: Sequence[int]) -> list[Trial]:
        """The candidates of one detector, each image scored by a fit to the folds it is not in."""
        sizes = len(self.good), len(self.damaged), len(self.defects)
        oddness, levels = HeldOut.empty(*sizes), np.zeros(len(self.good))
        scores = {trust: HeldOut.empty(*sizes) for trust in trusts}
        for fold in range(FOLDS):
            fitted = [sample for sample, other in zip(self.good, folds, strict=True) if other != fold]
            seen = [sample for index, sample in enumerate(self.defects) if index % FOLDS != fold]
            scorers = self._scorers(detector, trusts, fitted, seen)
            signature = Signature.fit([sample.patches for sample in fitted], self.valid)
            turn = [index for index, other in enumerate(folds) if other == fold]
            groups: list[tuple[str, list[tuple[int, Patches]]]] = [
                ("good", [(index, self.good[index].patches) for index in turn]),
                ("damaged", [(index, self.damaged[index]) for index in turn if self.damaged]),
                ("defects", [(index, self.defects[index].patches) for index in range(fold, sizes[2], FOLDS)]),
            ]
            for group, members in groups:
                for index, patches in members:
                    getattr(oddness, group)[index] = signature.oddness(patches, self.valid)
                    for trust, scorer in scorers.items():
                        anomaly = scorer.map(patches)
                        getattr(scores[trust], group)[index] = scorer.peak(anomaly)
                        if group == "good":
                            levels[index] = np.median(anomaly[self.valid])
            self.tell(detector, fold + 1, FOLDS)
        typical, level = max(float(np.median(oddness.good)), _LITTLE), float(np.median(levels))
        found = []
        for signed in (True, False):
            for trust, held_out in scores.items():
                exponent = _balance(held_out.good, oddness.good) if signed else 0.0
                weighed = held_out.weighed(oddness, typical, exponent)
                auroc, precision = _separation(weighed)
                found.append(
                    Trial(
                        Recipe(detector, signed, trust),
                        weighed,
                        held_out.good,
                        level,
                        typical,
                        exponent,
                        auroc,
                        precision,
                    )
                )
        return found

    def _scorers(
        self, detector: str, trusts: Sequence[float], good: Sequence[Sample], defects: Sequence[Sample]
    ) -> dict[float, Scorer]:
        """A detector for good images by the trust in its head, if there is something for a head to tell apart."""
        patches = [sample.patches for sample in good]
        plain = Scorer(DETECTORS[detector].fit(patches, self.valid, seed=self.seed), self.valid)
        bare = dict.fromkeys(trusts, plain)
        if not any(trusts) and self.kinds == 1:
            return bare
        marked = [(sample.patches, self._marks(sample, plain)) for sample in defects]
        marked = [(each, marks) for each, marks in marked if marks.any()]
        if not marked:
            return bare
        unit = float(np.median([plain.peak(plain.map(each)) for each in patches[:50]]))
        head = PatchHead.fit(patches, marked, self.valid, self.kinds, unit=unit, seed=self.seed)
        return {trust: replace(plain, head=replace(head, trust=trust)) for trust in trusts}

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


def _balance(scores: Scores, oddness: Scores) -> float:
    """The power that makes oddness spread as much as scores, so that neither drowns the other; less for few images."""
    spread = float(np.std(np.log(np.maximum(oddness, _LITTLE))))
    if spread < _LITTLE:
        return 0.0
    even = min(float(np.std(np.log(np.maximum(scores, _LITTLE)))) / spread, MAX_EXPONENT)
    return even * len(scores) / (len(scores) + SIGNATURE_IMAGES)


def _separation(scores: HeldOut) -> tuple[float, float]:
    """AUROC and average precision of good images against the damaged ones, or the defective where none are damaged."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    others = scores.damaged if len(scores.damaged) else scores.defects
    truth, joined = np.repeat([0, 1], [len(scores.good), len(others)]), np.concatenate([scores.good, others])
    return float(roc_auc_score(truth, joined)), float(average_precision_score(truth, joined))
