"""Estimates: a figure with the 95 % interval of its true value.

The intervals hold at the ends of the scale too: 20 of 20 found is not "100 % to 100 %".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from defectory.validation import FrozenModel

Z = 1.959963984540054
"""The normal deviate of a two-sided interval of 95 %."""

RESAMPLES = 500


class Estimate(FrozenModel):
    """A figure measured on ``n`` cases, and the interval that holds its true value with 95 % certainty; all 0..1."""

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


def mean(values: Sequence[float], seed: int = 0) -> Estimate | None:
    """The mean, with the bootstrap interval over the values; None of none."""
    if not values:
        return None
    measured = np.asarray(values, float)
    return bootstrap_interval(
        float(measured.mean()), resampling_counts(measured.size, seed) @ measured / measured.size, measured.size
    )


def resampling_counts(count: int, seed: int) -> NDArray[np.float64]:
    """How often each of ``count`` cases is in each resample of a bootstrap, shape ``(RESAMPLES, count)``."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES).astype(float)


def bootstrap_interval(value: float, resampled: NDArray[np.float64], n: int) -> Estimate:
    """``value``, with the percentile interval of the same figure ``resampled``; of no resample, the value alone."""
    low, high = np.quantile(resampled, [0.025, 0.975]) if resampled.size else (value, value)
    return Estimate(value=value, low=min(value, float(low)), high=max(value, float(high)), n=n)
