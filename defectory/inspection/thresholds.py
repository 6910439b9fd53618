"""Thresholds and confidence: from held-out good images, or from what mistakes cost."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from defectory.errors import InputError
from defectory.inspection.numerics import SMALLEST_SCALE
from defectory.inspection.verdicts import Thresholds
from defectory.metrics.logistic import fit_logistic, sigmoid
from defectory.validation import FrozenModel

Scores = NDArray[np.float64]

MIN_LABELLED = 5
"""Fewer held-out defects say too little to calibrate on."""

MIN_CERTAIN = 10
"""With fewer good parts nobody can be sure of anything."""

MOST_UNCERTAIN = 0.9
"""The highest confidence of a model that has seen fewer than `MIN_CERTAIN` good parts."""

_SMALLEST = 1e-6
_FARTHEST = 2.0
"""No limit is set beyond this many times the highest score of a good image."""


class Rates(FrozenModel):
    """Shares of good images that may be held back: ``review`` as REVIEW or worse, ``fail`` as FAIL."""

    review: float = Field(default=0.05, gt=0, lt=1)
    fail: float = Field(default=0.01, gt=0, lt=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.fail > self.review:
            raise ValueError("the share that may FAIL must not exceed the share that may be held back for REVIEW")
        return self


class Costs(FrozenModel):
    """What one mistake costs, in any unit: a missed defect, a good part rejected, a part looked at by a person.

    ``defect_rate`` is the share of defective parts on the line.
    """

    escape: float = Field(gt=0)
    false_reject: float = Field(gt=0)
    review: float = Field(default=0.0, ge=0)
    defect_rate: float = Field(default=0.01, gt=0, lt=1)


def thresholds_from_good(scores: Scores, rates: Rates | None = None) -> Thresholds:
    """The scores that the given shares of good images reach.

    With enough images to see a share (five of them beyond it) the empirical quantile; with fewer, the prediction limit
    of a log-normal distribution of the scores above the median, which widens as images get fewer.

    Args:
        scores: of good images that the model was not fitted to, at least 2.
    """
    rates = rates or Rates()
    fail = _upper_limit(scores, rates.fail)
    return Thresholds(min(_upper_limit(scores, rates.review), fail), fail)


def thresholds_from_costs(good: Scores, defects: Scores, costs: Costs) -> Thresholds:
    """The thresholds of least expected cost.

    A part is passed while the risk of an escape costs less than a review, and failed once the risk of a false reject
    does; the probability of a defect comes from a logistic fit to held-out scores, moved to the line's defect rate.
    Where a review is never the cheapest (or is free of charge: not asked for), both thresholds coincide.

    Args:
        good: scores of held-out good images.
        defects: scores of held-out defective images, at least ``MIN_LABELLED``.

    Raises:
        InputError: there are too few defects.
    """
    if len(defects) < MIN_LABELLED:
        fix = "Label more defects, or let the thresholds come from the good images alone."
        raise InputError("costs", f"used with at least {MIN_LABELLED} labelled defects", len(defects), fix)
    slope, middle = _fit_logistic(good, defects)
    prior = math.log(costs.defect_rate / (1 - costs.defect_rate))

    def score_of(probability: float) -> float:
        return max(0.0, middle + (math.log(probability / (1 - probability)) - prior) / slope)

    even = score_of(costs.false_reject / (costs.escape + costs.false_reject))
    worth = costs.escape * costs.false_reject / (costs.escape + costs.false_reject)
    if not 0 < costs.review < worth:
        return Thresholds(even, even)
    return Thresholds(score_of(costs.review / costs.escape), score_of(1 - costs.review / costs.false_reject))


def confidence_scale(good: Scores, defects: Scores, fail: float) -> tuple[float, str]:
    """How fast certainty grows with the distance from the threshold, in units of score, and what that rests on.

    With at least ``MIN_LABELLED`` held-out defects the scale is fitted to them and to the good images, both classes
    weighing the same, so that of images with confidence c about a share c is predicted right.  With good images alone
    it is the spread of their scores: then confidence orders images, but is no probability.
    """
    if len(defects) >= MIN_LABELLED:
        distances = np.concatenate([fail - good, defects - fail])
        weights = np.concatenate([np.full(len(good), 0.5 / len(good)), np.full(len(defects), 0.5 / len(defects))])
        spread = max(float(np.abs(distances).mean()), _SMALLEST)
        candidates = spread * np.geomspace(0.02, 20, 121)
        losses = [float(weights @ np.logaddexp(0, -distances / scale)) for scale in candidates]
        scale = float(candidates[int(np.argmin(losses))])
        basis = f"{len(good)} held-out good and {len(defects)} defective images"
    else:
        scale, basis = _upper_spread(good), f"the spread of {len(good)} held-out good images"
    return max(scale, fail * SMALLEST_SCALE, _SMALLEST), basis


def confidence_of(score: float, fail: float, scale: float, good_images: int = MIN_CERTAIN) -> float:
    """Certainty of the predicted class: 0.5 at the threshold, towards 1 on either side of it.

    A model of fewer than `MIN_CERTAIN` good images is never surer than `MOST_UNCERTAIN`.
    """
    confidence = float(sigmoid(abs(score - fail) / scale))
    return confidence if good_images >= MIN_CERTAIN else min(confidence, MOST_UNCERTAIN)


def _upper_limit(scores: Scores, rate: float) -> float:
    if len(scores) * rate >= 5:
        return float(np.quantile(scores, 1 - rate))
    logs = np.log(np.maximum(scores, _SMALLEST))
    middle = float(np.median(logs))
    freedom = len(logs) - 1
    normal = NormalDist().inv_cdf(1 - rate)
    student = normal + (normal**3 + normal) / (4 * freedom)  # first term of Cornish and Fisher's expansion
    limit = math.exp(middle + student * _upper_spread(logs) * math.sqrt(1 + 1 / len(logs)))
    # Where most images have a near-twin, the few that have none would carry the limit out of all proportion.
    return min(limit, _FARTHEST * float(np.max(scores)))


def _upper_spread(values: Scores) -> float:
    """The deviation of what lies above the median: near-twins among the images score low, which says nothing of it."""
    above = values[values > np.median(values)] - np.median(values)
    return float(np.sqrt(np.mean(np.square(above)))) if len(above) else 0.0


def _fit_logistic(good: Scores, defects: Scores) -> tuple[float, float]:
    """Slope (> 0) and middle of the balanced logistic curve of a defect's probability by score, slightly shrunk."""
    scores = np.concatenate([good, defects])
    centre, spread = float(scores.mean()), max(float(scores.std()), _SMALLEST)
    slopes, (intercept,), _ = fit_logistic(
        ((scores - centre) / spread)[:, None],
        np.repeat([0, 1], [len(good), len(defects)]),
        strength=1000,
        weights=np.repeat([0.5 / len(good), 0.5 / len(defects)], [len(good), len(defects)]),
        exact=True,
    )
    slope = max(float(slopes[0, 0]), 1e-3)
    return slope / spread, centre - float(intercept) / slope * spread
