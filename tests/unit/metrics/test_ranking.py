"""Metrics: the textbook's values, and intervals that hold what they promise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from sklearn import metrics as peers

from defectory.metrics.estimates import Estimate, bootstrap_interval, f1_score, mean, proportion, resampling_counts
from defectory.metrics.ranking import PixelRanks, area_of_counts, area_under_roc, auroc, average_precision, level_counts

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


# ------------------------------------------------------------------ by figures


@pytest.mark.parametrize(("successes", "trials"), [(8, 12), (1, 3), (99, 100), (0, 4), (4, 4)])
def test_wilson_intervals_are_scipys(successes, trials):
    estimate, peer = proportion(successes, trials), stats.binomtest(successes, trials)
    interval = peer.proportion_ci(method="wilson")

    assert (estimate.value, estimate.n) == (successes / trials, trials)
    assert (estimate.low, estimate.high) == pytest.approx((interval.low, interval.high))


def test_f1_of_8_hits_2_false_alarms_and_2_misses():
    # 2 * 8 / (2 * 8 + 2 + 2), with the ends of 8 of 12 as F* / (1 + F*) twice.
    estimate = f1_score(8, 2, 2)
    interval = stats.binomtest(8, 12).proportion_ci(method="wilson")

    assert (estimate.value, estimate.n) == (pytest.approx(0.8), 12)
    assert estimate.low == pytest.approx(2 * interval.low / (1 + interval.low))
    assert estimate.high == pytest.approx(2 * interval.high / (1 + interval.high))


def test_the_interval_of_a_mean_is_that_of_its_resamples():
    # Of four drawn from 0, 0, 0, 1 none is 1 in 0.75**4 = 32 % of cases, and more than three are in 0.25**4 = 0.4 %,
    # more than two in 5 %: from 0 to 3/4.
    assert mean([0.0, 0.0, 0.0, 1.0]) == Estimate(value=0.25, low=0.0, high=0.75, n=4)


def test_resamples_draw_as_many_cases_as_there_are():
    counts = resampling_counts(7, seed=3)

    assert counts.shape == (500, 7)
    assert (counts.sum(axis=1) == 7).all()
    assert (counts == resampling_counts(7, seed=3)).all()
    assert (counts != resampling_counts(7, seed=4)).any()


@pytest.mark.parametrize(
    ("value", "resampled", "low", "high"),
    [
        (50.0, np.arange(101.0), 2.5, 97.5),
        (0.0, np.arange(101.0), 0.0, 97.5),
        (99.0, np.arange(101.0), 2.5, 99.0),
        (0.4, np.array([]), 0.4, 0.4),
    ],
)
def test_an_interval_leaves_out_a_fortieth_on_each_side_and_holds_the_value(value, resampled, low, high):
    assert bootstrap_interval(value, resampled, 9) == Estimate(value=value, low=low, high=high, n=9)


def test_the_interval_of_auroc_ends_where_newcombes_equation_holds():
    # Of 3 x 5 pairs 2 + 4 + 5 are in order.
    normal, anomalous = np.array([1.0, 2, 3, 4, 6]), np.array([2.5, 5, 7])
    estimate = auroc(normal, anomalous)

    def excess(area):
        hanley_mcneil = area * (1 - area) / 15 * (1 + 3 * ((1 - area) / (2 - area) + area / (1 + area)))
        return (area - 11 / 15) ** 2 - 1.959964**2 * hanley_mcneil

    assert (estimate.value, estimate.n) == (pytest.approx(11 / 15), 8)
    assert estimate.low == pytest.approx(optimize.brentq(excess, 1e-6, 11 / 15), abs=1e-6)
    assert estimate.high == pytest.approx(optimize.brentq(excess, 11 / 15, 1 - 1e-6), abs=1e-6)


def test_the_interval_of_average_precision_is_wilsons_of_the_anomalous_images():
    # scikit-learn's own example: 0.8333 for two positives.  (0.8333 + 3.8415 / 4 -+ 1.96 * sqrt(0.8333 * 0.1667 / 2 +
    # 3.8415 / 16)) / (1 + 3.8415 / 2)
    estimate = average_precision(np.array([0.1, 0.4]), np.array([0.35, 0.8]))

    assert (estimate.value, estimate.n) == (pytest.approx(0.8333, abs=1e-4), 2)
    assert (estimate.low, estimate.high) == pytest.approx((0.2408, 0.9875), abs=1e-4)


@pytest.mark.parametrize(
    ("normal", "anomalous", "area"),
    [
        # 2 at the lowest level, 1 at the middle; of the anomalous 1 at the middle, 1 on top: (2.5 + 3) / (2 * 3)
        ([2, 1, 0], [0, 1, 1], 5.5 / 6),
        ([1, 0, 0], [1, 0, 0], 0.5),
        ([0, 0, 4], [3, 0, 0], 0.0),
    ],
)
def test_the_area_of_counts_worked_out_by_hand(normal, anomalous, area):
    assert area_of_counts(np.array([normal], float), np.array([anomalous], float)) == pytest.approx([area])


@pytest.mark.parametrize(("normal", "anomalous"), [([0, 0], [1, 1]), ([1, 1], [0, 0])])
def test_without_cases_of_one_kind_there_is_no_area(normal, anomalous):
    assert np.isnan(area_of_counts(np.array([normal], float), np.array([anomalous], float))).all()


def test_pixels_are_counted_by_level():
    heatmap = np.array([[0.0, 0.24, 0.25], [0.5, 0.999, 1.0]], np.float32)
    truth = np.array([[False, True, False], [False, True, True]])

    good, defective = level_counts(heatmap, truth, levels=4)

    assert (good.tolist(), defective.tolist()) == ([1, 1, 1, 0], [1, 0, 0, 2])


def test_the_interval_of_pixels_is_over_images():
    # One image told apart and one told the wrong way round: a resample of one of them alone, one in two, is 1 or 0.
    ranks = PixelRanks()
    for defective in (0.9, 0.1):
        ranks.add(np.array([[1 - defective, defective]], np.float32), np.array([[False, True]]))

    assert ranks.auroc() == Estimate(value=0.5, low=0.0, high=1.0, n=2)


def test_pixels_are_not_ranked_where_no_image_was_seen_or_all_is_defect():
    ranks = PixelRanks()
    assert ranks.auroc() is None
    ranks.add(np.ones((4, 4), np.float32), np.ones((4, 4), bool))
    assert ranks.auroc() is None


def test_ties_count_half():
    assert area_under_roc([1.0, 2.0], [2.0]) == 0.75
