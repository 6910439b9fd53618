"""Estimates: a figure with the 95 % interval of its true value.

The intervals hold at the ends of the scale too: 20 of 20 found is not "100 % to 100 %".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from defectory.errors import InputError
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


class Difference(FrozenModel):
    """A difference of two figures, -1..1, and the interval that holds its true value."""

    value: float
    low: float
    high: float


def proportion(successes: float, trials: int) -> Estimate | None:
    """``successes`` of ``trials``, with Wilson's score interval (1927); None of no trials."""
    if trials == 0:
        return None
    low, high = _wilson(successes, trials, Z)
    return Estimate(value=successes / trials, low=low, high=high, n=trials)


def _wilson(successes: float, trials: float, z: float) -> tuple[float, float]:
    value = successes / trials
    centre = value + z * z / (2 * trials)
    reach = z * math.sqrt(value * (1 - value) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # At the ends the interval touches the value, which rounding would miss by one digit.
    return min(value, max(0.0, (centre - reach) / scale)), max(value, min(1.0, (centre + reach) / scale))


def proportion_difference(
    first: tuple[float, float], second: tuple[float, float], *, comparisons: float = 1.0, design_effect: float = 1.0
) -> Difference:
    """The first proportion less the second, each ``(successes, trials)`` of cases that are independent of the other's.

    The interval is Newcombe's hybrid score interval (method 10 of "Interval estimation for the difference between
    independent proportions", Statistics in Medicine 17, 1998), which holds for few cases and at the ends of the scale.

    Args:
        first, second: with one trial at least.
        comparisons: how many such differences are looked at together; all intervals hold at once with 95 % certainty
            (Bonferroni).
        design_effect: how many cases that come in clusters are worth one independent case (`design_effect`).

    >>> proportion_difference((56, 70), (48, 80)).model_dump(include={"low", "high"})  # table II (a) of the paper
    {'low': 0.0524..., 'high': 0.3338...}
    """
    z = NormalDist().inv_cdf(1 - 0.025 / comparisons)
    (a, b), (low_a, high_a), (low_b, high_b) = (
        (first[0] / first[1], second[0] / second[1]),
        _wilson(first[0] / design_effect, first[1] / design_effect, z),
        _wilson(second[0] / design_effect, second[1] / design_effect, z),
    )
    value = a - b
    return Difference(
        value=value, low=value - math.hypot(a - low_a, high_b - b), high=value + math.hypot(high_a - a, b - low_b)
    )


def exceeds_by_chance(first: tuple[float, float], second: tuple[float, float], *, design_effect: float = 1.0) -> float:
    """How probable it is that the first share is so much higher by chance alone, if the two do not differ.

    Fisher's exact test, one-sided; it holds for a handful of successes, where intervals by formula promise too much.

    Args:
        first, second: ``(successes, trials)``.
        design_effect: see `proportion_difference`; what is left of cases is rounded against a difference.

    >>> round(exceeds_by_chance((3, 4), (1, 4)), 4)  # the lady tasting tea
    0.2429
    """
    trials, others = (max(1, round(count / design_effect)) for _, count in (first, second))
    successes = min(trials, math.floor(first[0] / design_effect))
    together = successes + min(others, math.ceil(second[0] / design_effect))

    def log_ways(total: int, chosen: int) -> float:
        return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)

    ways = log_ways(trials + others, together)
    return min(
        1.0,
        sum(
            math.exp(log_ways(trials, count) + log_ways(others, together - count) - ways)
            for count in range(max(successes, together - others), min(trials, together) + 1)
        ),
    )


def false_discoveries_held(chances: Sequence[float], share: float = 0.025) -> list[bool]:
    """Which of many findings stand if at most ``share`` of those that do may be chance, by their probabilities.

    Source: Benjamini & Hochberg, "Controlling the false discovery rate", J. R. Statist. Soc. B 57 (1995).

    >>> false_discoveries_held([0.04, 0.001, 0.02, 0.8], share=0.05)
    [False, True, True, False]
    """
    ordered = sorted(chances)
    limits = [chance for place, chance in enumerate(ordered, 1) if chance <= share * place / len(ordered)]
    return [bool(limits) and chance <= limits[-1] for chance in chances]


def design_effect(successes: NDArray[np.float64], trials: NDArray[np.float64]) -> float:
    """By how much the variance of a proportion grows because its cases come in clusters; 1 at least.

    Kish, "Survey Sampling" (1965): the variance of the ratio of totals over clusters against that of independent cases.

    Args:
        successes, trials: of each cluster, ``(clusters,)``.

    >>> design_effect(np.array([4.0, 0.0, 4.0, 0.0]), np.full(4, 4.0))  # all or nothing: a cluster is worth one case
    5.33...
    """
    filled = trials > 0
    count, total = int(filled.sum()), float(trials.sum())
    rate = float(successes.sum()) / total if total else 0.0
    if count < 2 or not 0 < rate < 1:
        return 1.0
    residuals = successes[filled] - rate * trials[filled]
    clustered = count / (count - 1) * float((residuals**2).sum()) / total**2
    return max(1.0, clustered / (rate * (1 - rate) / total))


def f1_score(hits: int, false_alarms: int, misses: int) -> Estimate | None:
    """F1, with the interval of F* = hits / (hits + false alarms + misses), of which F1 is a monotone function.

    Hand, Christen & Kirielle, "F*: an interpretable transformation of the F-measure", Machine Learning 110 (2021).
    """
    share = proportion(hits, hits + false_alarms + misses)
    if share is None:
        return None
    value, low, high = (2 * f_star / (1 + f_star) for f_star in (share.value, share.low, share.high))
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


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """The mean of ``first`` less ``second``, pair by pair, with Student's 95 % interval.

    Raises:
        InputError: they are not of one length of 2 to 31.

    >>> paired_difference([0.52, 0.55, 0.53], [0.50, 0.50, 0.51]).model_dump()
    {'value': 0.03..., 'low': -0.013..., 'high': 0.073...}
    """
    if len(first) != len(second) or not 2 <= len(first) <= len(_STUDENT) + 1:
        raise InputError("pairs", f"2 to {len(_STUDENT) + 1} of them", f"{len(first)} and {len(second)} figures")
    differences = np.asarray(first, float) - np.asarray(second, float)
    value, count = float(differences.mean()), len(differences)
    reach = _STUDENT[count - 2] * float(differences.std(ddof=1)) / math.sqrt(count)
    return Difference(value=value, low=value - reach, high=value + reach)


# The 0.975 quantiles of Student's t for 1 to 30 degrees of freedom.
_STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
