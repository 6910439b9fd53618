"""Ranking: how well scores tell anomalous cases from normal ones, whatever the threshold.

A positive is an anomaly.  The areas are scikit-learn's; the intervals are from the papers named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from defectory.metrics.estimates import Estimate, Z, bootstrap_interval, proportion, resampling_counts

Scores = Sequence[float] | NDArray[np.float64]

LEVELS = 1024
"""Levels of a heatmap, for the ranks of its pixels."""


def area_under_roc(normal: Scores, anomalous: Scores) -> float:
    """The chance that an anomalous case scores above a normal one (ties count half), 0..1; both have at least one.

    >>> area_under_roc([0.1, 0.2, 0.4], [0.3, 0.9])
    0.8333333333333334
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(*_joined(normal, anomalous)))


def auroc(normal: Scores, anomalous: Scores) -> Estimate | None:
    """The chance that an anomalous image scores above a normal one (ties count half); None without both.

    Interval: method 5 of Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney
    statistic. Part 2", Statistics in Medicine 25 (2006), which solves for the area whose Hanley-McNeil spread
    reaches the measured one.
    """
    if not len(normal) or not len(anomalous):
        return None
    value, cases = area_under_roc(normal, anomalous), len(normal) + len(anomalous)
    pairs, degrees = len(normal) * len(anomalous), cases / 2 - 1

    def exceeds(area: float) -> bool:
        spread = area * (1 - area) / pairs * (1 + degrees * ((1 - area) / (2 - area) + area / (1 + area)))
        return abs(area - value) > Z * math.sqrt(spread)

    def limit(outside: float) -> float:
        inside = value
        if not exceeds(outside):
            return outside
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if exceeds(middle) else (middle, outside)
        return inside

    return Estimate(value=value, low=limit(0.0), high=limit(1.0), n=cases)


def precision_recall_area(normal: Scores, anomalous: Scores) -> float:
    """Average precision: the area under the precision-recall steps, 0..1; there is at least one anomalous case."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(*_joined(normal, anomalous)))


def average_precision(normal: Scores, anomalous: Scores) -> Estimate | None:
    """The area under the precision-recall steps; None without anomalous images.

    Interval: the binomial one of Boyd, Eng & Page, "Area under the precision-recall curve" (ECML 2013), whose trials
    are the anomalous images, in Wilson's form.
    """
    if not len(anomalous):
        return None
    return proportion(min(precision_recall_area(normal, anomalous), 1.0) * len(anomalous), len(anomalous))


def area_of_counts(normal: NDArray[np.float64], anomalous: NDArray[np.float64]) -> NDArray[np.float64]:
    """The area under the ROC curve from histograms of scores, as bootstraps need it a thousand times.

    Args:
        normal: how many normal cases have each level, in rising order, shape ``(n, levels)``; weights will do.
        anomalous: the same of the anomalous cases.

    Returns:
        Shape ``(n,)``, not a number where either has no case.
    """
    below = np.cumsum(normal, axis=1) - normal / 2
    with np.errstate(invalid="ignore"):
        return np.asarray((anomalous * below).sum(axis=1) / (anomalous.sum(axis=1) * normal.sum(axis=1)))


def level_counts(
    heatmap: NDArray[np.float32], truth: NDArray[np.bool_], levels: int = LEVELS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How many good and how many defective pixels have which heat; ``heatmap`` 0..1 and ``truth`` have one shape."""
    level = np.clip(heatmap * levels, 0, levels - 1).astype(np.intp)
    good, defective = (np.bincount(level[pixels], minlength=levels).astype(float) for pixels in (~truth, truth))
    return good, defective


class PixelRanks:
    """Pixel AUROC over many heatmaps, kept as a histogram an image, so that no heatmap has to stay."""

    def __init__(self) -> None:
        self._good: list[NDArray[np.float64]] = []
        self._bad: list[NDArray[np.float64]] = []

    def add(self, heatmap: NDArray[np.float32], truth: NDArray[np.bool_]) -> None:
        """Count the pixels of one image; ``heatmap`` 0..1 and ``truth`` (True = defect) have one shape."""
        good, bad = level_counts(heatmap, truth)
        self._good.append(good)
        self._bad.append(bad)

    def auroc(self, seed: int = 0) -> Estimate | None:
        """The area under the ROC curve of all pixels, with the bootstrap interval over images; None without both."""
        if not self._bad or not sum(map(np.sum, self._bad)) or not sum(map(np.sum, self._good)):
            return None
        good, bad = np.array(self._good), np.array(self._bad)
        draws = resampling_counts(len(bad), seed)
        areas = area_of_counts(draws @ good, draws @ bad)
        (value,) = area_of_counts(good.sum(0, keepdims=True), bad.sum(0, keepdims=True))
        return bootstrap_interval(float(value), areas[np.isfinite(areas)], len(bad))


def _joined(normal: Scores, anomalous: Scores) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    truth = np.repeat([0, 1], [len(normal), len(anomalous)])
    return truth, np.concatenate([np.asarray(normal, float), np.asarray(anomalous, float)])
