"""Metrics: how well scores and masks match the truth, each with its 95 % interval.

The intervals hold at the ends of the scale too: 20 of 20 found is not "100 % to 100 %".  A positive is an anomaly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

Scores = Sequence[float] | NDArray[np.float64]

Z = 1.959963984540054  # two-sided 95 %
RESAMPLES = 500
LEVELS = 1024  # of a heatmap, for the ranks of its pixels


class Estimate(BaseModel):
    """A figure measured on ``n`` cases, and the interval that holds its true value with 95 % certainty; all 0..1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    low: float
    high: float
    n: int


def proportion(successes: float, trials: int) -> Estimate | None:
    """``successes`` of ``trials``, with Wilson's score interval (1927); None of no trials."""
    if trials == 0:
        return None
    value = successes / trials
    centre = value + Z * Z / (2 * trials)
    reach = Z * math.sqrt(value * (1 - value) / trials + Z * Z / (4 * trials * trials))
    scale = 1 + Z * Z / trials
    # At the ends the interval touches the value, which rounding would miss by one digit.
    low = min(value, max(0.0, (centre - reach) / scale))
    high = max(value, min(1.0, (centre + reach) / scale))
    return Estimate(value=value, low=low, high=high, n=trials)


def f1_score(hits: int, false_alarms: int, misses: int) -> Estimate | None:
    """F1, with the interval of F* = hits / (hits + false alarms + misses), of which F1 is a monotone function.

    Hand, Christen & Kirielle, "F*: an interpretable transformation of the F-measure", Machine Learning 110 (2021).
    """
    share = proportion(hits, hits + false_alarms + misses)
    if share is None:
        return None
    value, low, high = (2 * each / (1 + each) for each in (share.value, share.low, share.high))
    return Estimate(value=value, low=low, high=high, n=share.n)


def auroc(normal: Scores, anomalous: Scores) -> Estimate | None:
    """The chance that an anomalous image scores above a normal one (ties count half); None without both.

    Interval: method 5 of Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney
    statistic. Part 2", Statistics in Medicine 25 (2006), which solves for the area whose Hanley-McNeil spread
    reaches the measured one.
    """
    good, bad = np.sort(np.asarray(normal, float)), np.asarray(anomalous, float)
    if not good.size or not bad.size:
        return None
    below = np.searchsorted(good, bad, "left") + np.searchsorted(good, bad, "right")
    pairs = good.size * bad.size
    value = float(below.sum()) / (2 * pairs)
    others = (good.size + bad.size) / 2 - 1

    def exceeds(area: float) -> bool:
        spread = area * (1 - area) / pairs * (1 + others * ((1 - area) / (2 - area) + area / (1 + area)))
        return abs(area - value) > Z * math.sqrt(spread)

    def limit(outside: float) -> float:
        inside = value
        if not exceeds(outside):
            return outside
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if exceeds(middle) else (middle, outside)
        return inside

    return Estimate(value=value, low=limit(0.0), high=limit(1.0), n=good.size + bad.size)


def average_precision(normal: Scores, anomalous: Scores) -> Estimate | None:
    """The area under the precision-recall steps; None without anomalous images.

    Interval: the binomial one of Boyd, Eng & Page, "Area under the precision-recall curve" (ECML 2013), whose trials
    are the anomalous images, in Wilson's form.
    """
    good, bad = np.sort(np.asarray(normal, float)), np.sort(np.asarray(anomalous, float))
    if not bad.size:
        return None
    levels = np.unique(np.concatenate([good, bad]))[::-1]
    hits = bad.size - np.searchsorted(bad, levels, "left")
    calls = hits + good.size - np.searchsorted(good, levels, "left")
    gains = np.diff(hits, prepend=0)
    value = float((gains * hits / calls).sum()) / bad.size
    return proportion(min(value, 1.0) * bad.size, bad.size)


class PixelRanks:
    """Pixel AUROC over many heatmaps, kept as a histogram an image, so that no heatmap has to stay."""

    def __init__(self) -> None:
        self._good: list[NDArray[np.int64]] = []
        self._bad: list[NDArray[np.int64]] = []

    def add(self, heatmap: NDArray[np.float32], truth: NDArray[np.bool_]) -> None:
        """Count the pixels of one image; ``heatmap`` 0..1 and ``truth`` (True = defect) have one shape."""
        level = np.clip(heatmap * LEVELS, 0, LEVELS - 1).astype(np.int64)
        self._good.append(np.bincount(level[~truth], minlength=LEVELS))
        self._bad.append(np.bincount(level[truth], minlength=LEVELS))

    def auroc(self, seed: int = 0) -> Estimate | None:
        """The area under the ROC curve of all pixels, with the bootstrap interval over images; None without both."""
        if not self._bad or not sum(map(np.sum, self._bad)) or not sum(map(np.sum, self._good)):
            return None
        good, bad = np.array(self._good, float), np.array(self._bad, float)
        draws = _draws(len(bad), seed)
        areas = _ranked_area(draws @ good, draws @ bad)
        (value,) = _ranked_area(good.sum(0, keepdims=True), bad.sum(0, keepdims=True))
        return _around(float(value), areas[np.isfinite(areas)], len(bad))


def mean(values: Sequence[float], seed: int = 0) -> Estimate | None:
    """The mean, with the bootstrap interval over the values; None of none."""
    if not values:
        return None
    measured = np.asarray(values, float)
    return _around(float(measured.mean()), _draws(measured.size, seed) @ measured / measured.size, measured.size)


def _ranked_area(good: NDArray[np.float64], bad: NDArray[np.float64]) -> NDArray[np.float64]:
    below = np.cumsum(good, 1) - good / 2
    with np.errstate(invalid="ignore"):
        return np.asarray((bad * below).sum(1) / (bad.sum(1) * good.sum(1)))


def _draws(count: int, seed: int) -> NDArray[np.float64]:
    """How often each of ``count`` cases is in each resample, shape ``(RESAMPLES, count)``."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES).astype(float)


def _around(value: float, resampled: NDArray[np.float64], n: int) -> Estimate:
    low, high = np.quantile(resampled, [0.025, 0.975]) if resampled.size else (value, value)
    return Estimate(value=value, low=min(value, float(low)), high=max(value, float(high)), n=n)
