"""Calibration: scores that mean something, and from which score on a detection is reported, by class.

Source: Platt, "Probabilistic outputs for support vector machines" (1999).  Platt's curve keeps the order of scores, and
so every average precision, where a staircase (isotonic) would make ties of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from defectory.detection.detectors.card import DetectedClass
from defectory.detection.matching import BoxTable, match
from defectory.metrics.logistic import fit_logistic, sigmoid

OVERLAP = 0.5
"""A detection is right that overlaps an object of its class by so much."""

_FEWEST = 10
# Of the regression; weak, so that many cases fit the curve and few do not overstate it.
_STRENGTH = 10.0
_LOWEST_SCORE = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class _Cases:
    """Detections of one class: raw scores, whether each is right, and how many objects there are to find."""

    scores: NDArray[np.float64]
    hits: NDArray[np.bool_]
    objects: int


def calibrate(
    classes: Sequence[DetectedClass], objects: BoxTable, detections: BoxTable, *, precision: float | None = None
) -> tuple[DetectedClass, ...]:
    """The classes with curves and thresholds fitted on detections whose scores are raw.

    A class with fewer than ten right or wrong detections gets what all classes together give.

    Args:
        classes: as they are; labels are places among them.
        objects: what is on the images.
        detections: what was found there, down to the lowest score.
        precision: choose the lowest threshold of at least this precision; by default that of the best F1.
    """
    matches = match(objects, detections, ious=[OVERLAP])
    found, hits = matches.detections, matches.truth[0, 0] >= 0
    everything = _Cases(found.scores, hits, len(objects))
    shared = _curve(everything) or (1.0, 0.0)
    fitted = []
    for number, item in enumerate(classes):
        rows = found.labels == number
        cases = _Cases(found.scores[rows], hits[rows], int((objects.labels == number).sum()))
        slope, intercept = _curve(cases) or shared
        deciding, curve = (cases, (slope, intercept)) if cases.objects >= _FEWEST else (everything, shared)
        threshold = float(sigmoid(curve[0] * _threshold(deciding, precision) + curve[1]))
        changes = {"slope": slope, "intercept": intercept, "threshold": min(max(threshold, _LOWEST_SCORE), 1.0)}
        fitted.append(item.model_copy(update=changes))
    return tuple(fitted)


def _curve(cases: _Cases) -> tuple[float, float] | None:
    """Slope and intercept; None where there is too little to tell."""
    if min(int(cases.hits.sum()), int((~cases.hits).sum())) < _FEWEST:
        return None
    weights = np.ones(len(cases.scores))
    slopes, intercepts, _ = fit_logistic(
        cases.scores[:, None], cases.hits, strength=_STRENGTH, weights=weights, exact=True
    )
    slope = float(slopes[0, 0])
    return (slope, float(intercepts[0])) if slope > 0 else None


def _threshold(cases: _Cases, precision: float | None) -> float:
    """The raw score to report from, half-way to the next lower one."""
    order = np.argsort(-cases.scores, kind="stable")
    scores, right = cases.scores[order], np.cumsum(cases.hits[order])
    if not len(scores) or not right[-1]:
        return float(scores[0]) if len(scores) else 0.5
    reported = np.arange(1, len(scores) + 1)
    best = int(np.argmax(2 * right / (reported + cases.objects)))
    if precision is not None and (precise := np.flatnonzero(right / reported >= precision)).size:
        best = int(precise[-1])
    below = scores[best + 1] if best + 1 < len(scores) else scores[best]
    return float((scores[best] + below) / 2)
