"""Metrics: the textbook's values, and intervals that hold what they promise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as peers

from defectory.metrics.estimates import f1_score, mean, proportion
from defectory.metrics.ranking import PixelRanks, auroc, average_precision

# Few distinct values, so that ties are common.
scores = st.lists(st.integers(0, 12).map(lambda value: value / 4), min_size=1, max_size=30).map(
    lambda values: np.array(values, float)
)


@given(normal=scores, anomalous=scores)
@settings(max_examples=60, deadline=None)
def test_ranks_agree_with_scikit_learn(normal, anomalous):
    labels = np.concatenate([np.zeros(normal.size), np.ones(anomalous.size)])
    values = np.concatenate([normal, anomalous])
    area, precision = auroc(normal, anomalous), average_precision(normal, anomalous)
    assert area.value == pytest.approx(peers.roc_auc_score(labels, values))
    assert precision.value == pytest.approx(peers.average_precision_score(labels, values))
    for estimate in (area, precision):
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Newcombe (1998), table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_are_the_published_ones(successes, trials, low, high):
    estimate = proportion(successes, trials)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-4)


def test_a_perfect_result_on_few_images_is_not_certain():
    twenty = proportion(20, 20)
    assert twenty.value == twenty.high == 1
    assert twenty.low == pytest.approx(0.839, abs=1e-3)
    few, many = (auroc(np.zeros(n), np.ones(n)) for n in (5, 500))
    assert few.value == many.value == few.high == 1
    assert few.low < 0.75
    assert many.low > 0.98


def test_the_interval_of_auroc_holds_the_truth_19_times_of_20():
    rng = np.random.default_rng(1)
    shift = 1.5
    truth = 0.5 * (1 + math.erf(shift / 2))
    measured = [auroc(rng.normal(size=30), rng.normal(shift, size=15)) for _ in range(300)]
    held = np.mean([estimate.low <= truth <= estimate.high for estimate in measured])
    assert 0.91 <= held <= 0.99


def test_nothing_is_measured_without_both_kinds():
    none, some = np.array([]), np.array([0.3])
    assert auroc(none, some) is auroc(some, none) is average_precision(some, none) is proportion(0, 0) is None
    assert f1_score(0, 0, 0) is mean([]) is None


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_f1_lies_in_its_interval(hits, false_alarms, misses):
    estimate = f1_score(hits, false_alarms, misses)
    if estimate is None:
        assert hits + false_alarms + misses == 0
        return
    assert estimate.value == pytest.approx(2 * hits / (2 * hits + false_alarms + misses))
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_pixels_of_many_heatmaps_rank_as_if_they_were_one():
    rng = np.random.default_rng(3)
    heatmaps = [rng.random((12, 9)).astype(np.float32) for _ in range(6)]
    truths = [heatmap + rng.normal(0, 0.3, heatmap.shape) > 0.8 for heatmap in heatmaps]
    truths[0][:] = False  # a good image
    ranks = PixelRanks()
    for heatmap, truth in zip(heatmaps, truths, strict=True):
        ranks.add(heatmap, truth)
    estimate = ranks.auroc()
    expected = peers.roc_auc_score(np.ravel(truths), np.ravel(heatmaps))
    assert estimate.value == pytest.approx(expected, abs=2e-3)
    assert estimate.low < estimate.value < estimate.high
    assert estimate == ranks.auroc()  # the same images give the same interval


def test_pixels_are_not_ranked_where_no_mask_shows_a_defect():
    ranks = PixelRanks()
    ranks.add(np.ones((4, 4), np.float32), np.zeros((4, 4), bool))
    assert ranks.auroc() is None
