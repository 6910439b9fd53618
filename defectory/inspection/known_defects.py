"""A handful of labelled defects: too few to hold some out and measure on, and known all the same.

They are held against every model.  Where it would let one of them pass, an image head is fitted to all of them; what
that does to good parts is measured on good photos held out, or, where these are few as well, not at all, and said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from defectory.inspection.detectors import Patches
from defectory.inspection.detectors.image_head import ImageHead
from defectory.inspection.thresholds import MIN_CERTAIN, MIN_LABELLED, Rates, Scores, thresholds_from_good
from defectory.inspection.verdicts import Thresholds

BLEND_WEIGHTS = (0.7, 1.5, 3.0, 5.0)
"""How much the image head counts, the least that does it: what it is sure of scores ``exp(blend_weight)`` as high."""

LEAST_RATIO = 10.0
"""Without good photos held out, known defects must score this many times as high as known good parts: the head has seen
both, and new photos lie nearer to each other.
"""

REVIEW_SHARE, FAIL_SHARE = 0.45, 0.6
"""Where the thresholds lie between known good parts (0) and known defects (1), by the logarithm of the score."""

FOLDS = 4
_NAMED = 5
_LITTLE = 1e-6


@dataclass(frozen=True, slots=True)
class KnownDefectsFit:
    """Thresholds that fail every labelled defect, and what they take: an image head fitted to all defects, or nothing.

    ``good`` and ``defects`` are the images' scores, in their order, with the head's word; ``basis`` is what the
    thresholds rest on, "" where they are still those of held-out good images.
    """

    head: ImageHead | None
    good: Scores
    defects: Scores
    thresholds: Thresholds
    basis: str


def fit_known_defects(
    good: Sequence[Patches],
    defects: Sequence[Patches],
    valid: NDArray[np.bool_],
    *,
    good_scores: Scores,
    defect_scores: Scores,
    left_out: Sequence[int] = (),
    rates: Rates | None = None,
) -> KnownDefectsFit | None:
    """The least that makes every labelled defect fail, or None if nothing does.

    Where no good photos can be held out: thresholds between the scores of both, if these are apart already.  Else an
    image head, trusted as little as does it.

    Args:
        good: patches of good images, at least 2.
        defects: patches of the labelled defects, at least 1.
        valid: where patches are inspected, ``(h, w)``.
        good_scores: of the good images, from a model not fitted to them.
        defect_scores: of the defects, from a model of good images alone.
        left_out: indices of good images that the thresholds take no account of.
        rates: shares of good parts that may be held back.
    """
    held_out = len(good) >= MIN_CERTAIN
    basis = "" if held_out else f"between {len(good) - len(left_out)} good and {len(defects)} defective photos"
    apart = None if held_out else thresholds_between(np.delete(good_scores, list(left_out)), defect_scores)
    if apart is not None:
        return KnownDefectsFit(None, good_scores, defect_scores, apart, basis)
    head = ImageHead.fit(good, defects, (), valid, blend_weight=1.0)
    chances = _held_out_chances(good, defects, valid) if held_out else _chances(head, good, valid)
    defect_chances = _chances(head, defects, valid)
    for blend_weight in BLEND_WEIGHTS:
        scores = np.maximum(good_scores, _LITTLE) * np.exp(blend_weight * chances)
        raised_scores = np.maximum(defect_scores, _LITTLE) * np.exp(blend_weight * defect_chances)
        counted = np.delete(scores, list(left_out))
        thresholds = (
            thresholds_from_good(counted, rates)
            if held_out
            else thresholds_between(counted, raised_scores, LEAST_RATIO)
        )
        if thresholds is not None and raised_scores.min() >= thresholds.fail:
            basis = basis and f"{basis}, none of them held out"
            return KnownDefectsFit(replace(head, blend_weight=blend_weight), scores, raised_scores, thresholds, basis)
    return None


def thresholds_between(good: Scores, defects: Scores, least_ratio: float = 1.0) -> Thresholds | None:
    """Thresholds between known good parts and known defects, or None unless all of these score more than
    ``least_ratio`` times as high as all of those.

    Example: good parts up to 1 and defects from 100 on are REVIEW from ``100 ** 0.45 = 7.94`` and FAIL from
    ``100 ** 0.6 = 15.8``.
    """
    low, high = float(good.max()), float(defects.min())
    if low <= 0 or high <= least_ratio * low:
        return None
    return Thresholds(low * (high / low) ** REVIEW_SHARE, low * (high / low) ** FAIL_SHARE)


def label_warnings(
    good: Scores,
    defects: Scores,
    thresholds: Thresholds,
    *,
    names: Sequence[str],
    masks: int,
    fit: KnownDefectsFit | None,
) -> tuple[str, ...]:
    """What is to be known of a model beside its figures, in plain sentences.

    Args:
        good: scores of good photos, held out where that could be.
        defects: scores of the labelled defects, in the order of ``names``.
        thresholds: the model's.
        names: the labelled defects' files.
        masks: how many of the defects are masked.
        fit: what was fitted to defects that are too few to hold out.
    """
    warnings = []
    if len(good) < MIN_CERTAIN:
        warnings.append(
            f"With {len(good)} good photos the thresholds are a guess, and confidence stays below 0.9: "
            f"add photos of good parts, {MIN_CERTAIN} at least."
        )
    if 0 < len(defects) < MIN_LABELLED:
        few = f"{_count(len(defects), 'labelled defect is', 'labelled defects are')} too few to hold some out"
        use = "the model was fitted to all of them, and nobody knows how it does on others"
        use = use if fit and fit.head else "the model has not learned from them"
        unused = f"; {_count(masks, 'mask was', 'masks were')} not used" if masks else ""
        warnings.append(f"{few} ({MIN_LABELLED} needed): {use}{unused}.")
    passed = [name for name, score in zip(names, defects, strict=True) if score < thresholds.review]
    if passed:
        listing = ", ".join(passed[:_NAMED]) + (f" and {len(passed) - _NAMED} more" if len(passed) > _NAMED else "")
        level = float(defects.min())
        back = int((good >= level).sum())
        warnings.append(
            f"{len(passed)} of {_count(len(defects), 'labelled defect', 'labelled defects')} would PASS: {listing}. "
            f"REVIEW from {level:.4f} would catch them all and hold back {back} of {len(good)} good photos."
        )
    return tuple(warnings)


def _count(number: int, singular: str, plural: str) -> str:
    return f"{number} {singular if number == 1 else plural}"


def _chances(head: ImageHead, images: Sequence[Patches], valid: NDArray[np.bool_]) -> Scores:
    return np.array([head.probability(image, valid) for image in images])


def _held_out_chances(good: Sequence[Patches], defects: Sequence[Patches], valid: NDArray[np.bool_]) -> Scores:
    chances = np.zeros(len(good))
    for fold in range(FOLDS):
        fitted = [image for index, image in enumerate(good) if index % FOLDS != fold]
        head = ImageHead.fit(fitted, defects, (), valid, blend_weight=1.0)
        chances[fold::FOLDS] = _chances(head, good[fold::FOLDS], valid)
    return chances
