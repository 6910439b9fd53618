"""Differences of figures, against published examples."""

from __future__ import annotations

import numpy as np
import pytest

from defectory.errors import InputError
from defectory.metrics.estimates import (
    design_effect,
    exceeds_by_chance,
    false_discoveries_held,
    paired_difference,
    proportion_difference,
)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 20), 0.6791, 1.0),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_differences_are_newcombes(first, second, low, high):
    """Method 10 of table II of Newcombe (1998)."""
    difference = proportion_difference(first, second)

    assert (difference.low, difference.high) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


def test_many_comparisons_and_clusters_widen_the_interval():
    narrow = proportion_difference((9, 10), (3, 10))

    for wide in (
        proportion_difference((9, 10), (3, 10), comparisons=10),
        proportion_difference((9, 10), (3, 10), design_effect=2),
    ):
        assert wide.value == narrow.value
        assert wide.low < narrow.low and wide.high > narrow.high
    twice = proportion_difference((18, 20), (6, 20), design_effect=2)
    assert (twice.low, twice.high) == (pytest.approx(narrow.low), pytest.approx(narrow.high))


def test_cases_that_fail_together_are_worth_fewer():
    # All or nothing in clusters of 4: one case a cluster, and 4 / 3 for 4 clusters.
    assert design_effect(np.array([4.0, 0, 4, 0]), np.full(4, 4.0)) == pytest.approx(16 / 3)
    assert design_effect(np.array([1.0, 1, 1, 1]), np.full(4, 4.0)) == 1
    assert design_effect(np.zeros(3), np.ones(3)) == 1


def test_pairs_have_students_interval():
    difference = paired_difference([0.52, 0.55, 0.53], [0.50, 0.50, 0.51])

    # Differences .02, .05, .02: mean .03, standard deviation .01732, 4.303 / sqrt(3) of it.
    assert difference.value == pytest.approx(0.03)
    assert (difference.low, difference.high) == (pytest.approx(-0.01303, abs=1e-4), pytest.approx(0.07303, abs=1e-4))
    with pytest.raises(InputError, match="2 to 31"):
        paired_difference([0.1], [0.2])


def test_a_handful_of_failures_is_judged_exactly():
    # The lady tasting tea: (16 + 1) / 70.
    assert exceeds_by_chance((3, 4), (1, 4)) == pytest.approx(17 / 70)
    assert exceeds_by_chance((0, 4), (3, 4)) == 1
    assert exceeds_by_chance((6, 8), (2, 8), design_effect=2) == pytest.approx(17 / 70)


def test_of_many_findings_those_stand_that_are_seldom_chance():
    assert false_discoveries_held([0.04, 0.001, 0.02, 0.8], share=0.05) == [False, True, True, False]
    # The last that is small enough takes those before it along.
    assert false_discoveries_held([0.03, 0.035, 0.037, 0.04], share=0.05) == [True] * 4
    assert false_discoveries_held([], share=0.05) == []
