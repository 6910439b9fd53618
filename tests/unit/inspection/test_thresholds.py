"""Thresholds and confidence mean what their documentation says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from defectory.errors import InputError
from defectory.inspection.numerics import SMALLEST_SCALE
from defectory.inspection.thresholds import (
    Costs,
    Rates,
    confidence_of,
    confidence_scale,
    thresholds_from_costs,
    thresholds_from_good,
)

SCORES = st.lists(st.floats(1e-4, 10), min_size=2, max_size=60).map(np.array)


def good_scores(count: int, seed: int = 0) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).normal(-2, 0.2, count))


@given(SCORES, st.floats(0.001, 0.3), st.floats(0.001, 0.3))
@settings(max_examples=60)
def test_review_never_lies_above_fail(scores, one, other):
    thresholds = thresholds_from_good(scores, Rates(review=max(one, other), fail=min(one, other)))

    assert 0 <= thresholds.review <= thresholds.fail < float("inf")


@given(SCORES, st.floats(0.1, 10))
@settings(max_examples=40)
def test_thresholds_scale_with_the_scores(scores, factor):
    plain, scaled = thresholds_from_good(scores), thresholds_from_good(scores * factor)

    assert scaled.fail == pytest.approx(plain.fail * factor, rel=1e-2)


@pytest.mark.parametrize("count", [20, 40, 2000])
def test_about_the_asked_share_of_good_parts_is_held_back(count):
    new = good_scores(4000, seed=1)
    shares = [
        np.mean(new >= thresholds_from_good(good_scores(count, seed), Rates(review=0.05, fail=0.05)).review)
        for seed in range(10, 40)
    ]

    assert 0.02 < np.mean(shares) < 0.08


def test_fewer_images_make_wider_limits():
    few = np.mean([thresholds_from_good(good_scores(8, seed)).fail for seed in range(40)])
    many = np.mean([thresholds_from_good(good_scores(200, seed)).fail for seed in range(40)])

    assert few > many


def test_near_twins_do_not_move_the_limit():
    scores = good_scores(30)
    with_twins = np.concatenate([scores, [1e-5, 1e-5]])

    assert thresholds_from_good(with_twins).fail == pytest.approx(thresholds_from_good(scores).fail, rel=0.1)


# The logarithms of five scores lie at -0.2, -0.1, 0, 0.1 and 0.2 around that of 0.5.
FIVE = 0.5 * np.exp([-0.2, -0.1, 0.0, 0.1, 0.2])


@pytest.mark.parametrize(
    ("rate", "limit"),
    [
        # Normal 1.6449; Student, near enough, 1.6449 + (1.6449**3 + 1.6449) / (4 * 4) = 2.0258.  The deviation above
        # the median is sqrt((0.1**2 + 0.2**2) / 2) = 0.15811, and for a sixth score sqrt(1 + 1/5) = 1.09545 times that.
        # 0.5 * exp(2.0258 * 0.15811 * 1.09545) = 0.5 * exp(0.35088)
        (0.05, 0.71016),
        # Normal 2.3263; 2.3263 + (2.3263**3 + 2.3263) / 16 = 3.2586; 0.5 * exp(3.2586 * 0.15811 * 1.09545)
        (0.01, 0.87921),
    ],
)
def test_the_limit_of_a_few_scores_is_that_for_one_more_of_them(rate, limit):
    thresholds = thresholds_from_good(FIVE, Rates(review=rate, fail=rate))

    assert (thresholds.review, thresholds.fail) == pytest.approx((limit, limit), rel=1e-4)


def test_each_rate_has_its_own_limit():
    thresholds = thresholds_from_good(FIVE, Rates(review=0.05, fail=0.01))

    assert (thresholds.review, thresholds.fail) == pytest.approx((0.71016, 0.87921), rel=1e-4)


@pytest.mark.parametrize("count", [11, 21, 41])
@pytest.mark.parametrize("rate", [0.05, 0.02])
def test_the_limit_of_scores_that_lie_evenly_is_students(count, rate):
    logs = np.linspace(-0.1, 0.1, count)
    deviation = np.sqrt(np.mean(np.square(logs[logs > 1e-9])))

    limit = thresholds_from_good(np.exp(logs), Rates(review=rate, fail=rate)).fail

    wanted = stats.t.ppf(1 - rate, count - 1) * deviation * np.sqrt(1 + 1 / count)
    assert np.log(limit) == pytest.approx(wanted, rel=0.03)


def test_no_limit_lies_beyond_twice_the_highest_score():
    scores = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 8.0])

    assert thresholds_from_good(scores).fail == 16.0


def test_where_the_quantile_for_review_lies_above_the_limit_for_fail_the_limit_is_for_both():
    # Six of 100 scores are 10: five of 100 reach 10.  One of 100 is told from the deviation of the 50 above the median,
    # ln 10 * sqrt(6/50) = 0.79764.  Student for 99 degrees: 2.3263 + (2.3263**3 + 2.3263) / 396 = 2.3640.
    # exp(2.3640 * 0.79764 * sqrt(1.01)) = 6.653
    scores = np.concatenate([np.full(50, 1.0), np.full(44, 1.0 + 1e-9), np.full(6, 10.0)])
    assert np.quantile(scores, 0.95) == pytest.approx(10)

    thresholds = thresholds_from_good(scores, Rates(review=0.05, fail=0.01))

    assert thresholds.fail == pytest.approx(6.653, rel=1e-4)
    assert thresholds.review == thresholds.fail


def test_with_five_images_beyond_it_a_limit_is_the_quantile():
    # 0.95 of the way from the first of 100 to the last: 1 + 0.95 * 99
    scores = np.arange(1.0, 101.0)

    assert thresholds_from_good(scores, Rates(review=0.05, fail=0.05)).fail == pytest.approx(95.05)
    # With 99 only 4.95 are beyond it, and the limit is that of a distribution with a tail.
    assert thresholds_from_good(scores[:-1], Rates(review=0.05, fail=0.05)).fail > 99


@pytest.mark.parametrize("field", ["review", "fail"])
@pytest.mark.parametrize("value", [0, 1, -0.1, 1.1])
def test_rates_lie_between_0_and_1(field, value):
    with pytest.raises(ValidationError, match=field):
        Rates(**{field: value})


def test_without_a_word_one_in_twenty_is_held_back_and_one_in_a_hundred_fails():
    assert (Rates().review, Rates().fail) == (0.05, 0.01)


def test_equal_rates_are_in_order():
    assert Rates(review=0.02, fail=0.02).fail == 0.02


def test_rates_out_of_order_are_refused():
    with pytest.raises(ValidationError, match="FAIL"):
        Rates(review=0.01, fail=0.05)


# ------------------------------------------------------------------ costs

GOOD, BAD = good_scores(200), np.exp(np.random.default_rng(1).normal(-1.2, 0.2, 60))


def test_a_dearer_escape_makes_the_model_stricter():
    cheap, dear = (thresholds_from_costs(GOOD, BAD, Costs(escape=escape, false_reject=1)).fail for escape in (10, 1000))

    assert dear < cheap


def test_a_dearer_false_reject_makes_the_model_laxer():
    cheap, dear = (thresholds_from_costs(GOOD, BAD, Costs(escape=100, false_reject=reject)).fail for reject in (1, 100))

    assert dear > cheap


def test_a_cheap_review_opens_a_gap_and_a_dear_one_closes_it():
    cheap = thresholds_from_costs(GOOD, BAD, Costs(escape=100, false_reject=10, review=1))
    dear = thresholds_from_costs(GOOD, BAD, Costs(escape=100, false_reject=10, review=50))

    assert cheap.review < dear.review == dear.fail < cheap.fail


def test_the_cost_at_the_threshold_is_near_the_least():
    costs = Costs(escape=20, false_reject=1, defect_rate=0.1)
    threshold = thresholds_from_costs(GOOD, BAD, costs).fail

    def spent(limit):
        return 0.1 * 20 * np.mean(limit > BAD) + 0.9 * np.mean(limit <= GOOD)

    assert spent(threshold) <= 1.5 * min(spent(limit) for limit in np.linspace(0.05, 0.5, 300)) + 0.02


# Scores of 0 and 1 alone.  Of 10 good parts 1 scores 1, of 5 defects 4 do, and both classes weigh the same: the odds of
# a defect are (1/5) / (9/10) = 2/9 at 0 and (4/5) / (1/10) = 8 at 1.  So the slope is ln 8 - ln(2/9) = 3.5835, and the
# odds are even at ln(9/2) / 3.5835 = 0.4197.  The penalty on the slope moves that by less than a hundredth.
TEN_GOOD, FIVE_BAD = np.array([0.0] * 9 + [1.0]), np.array([0.0] + [1.0] * 4)


@pytest.mark.parametrize(
    ("costs", "review", "fail"),
    [
        # A review pays from a risk of 0.2/2 = 0.1 on (odds -2.1972), a reject from 1 - 0.2/1 = 0.8 on (1.3863).  On the
        # line the odds of any part are ln(0.2/0.8) = -1.3863: 0.4197 + (-2.1972 + 1.3863) / 3.5835 = 0.1934, and
        # 0.4197 + (1.3863 + 1.3863) / 3.5835 = 1.1934.
        ({"review": 0.2}, 0.1934, 1.1934),
        # Without a review the risk is 1 / (2 + 1): 0.4197 + (-0.6931 + 1.3863) / 3.5835.
        ({}, 0.6131, 0.6131),
        # A review that costs more than 2 * 1 / (2 + 1) is never the cheapest.
        ({"review": 0.7}, 0.6131, 0.6131),
        # Where nine of ten are defective the threshold would lie at -0.3868.
        ({"defect_rate": 0.9}, 0.0, 0.0),
        # An escape of 8: 0.4197 + (ln(1/8) + 1.3863) / 3.5835.
        ({"escape": 8}, 0.2263, 0.2263),
    ],
)
def test_thresholds_of_least_cost_worked_out_by_hand(costs, review, fail):
    thresholds = thresholds_from_costs(
        TEN_GOOD, FIVE_BAD, Costs(**{"escape": 2, "false_reject": 1, "defect_rate": 0.2, **costs})
    )

    assert (thresholds.review, thresholds.fail) == pytest.approx((review, fail), abs=0.012)


@pytest.mark.parametrize(
    ("field", "refused"),
    [
        ("escape", 0),
        ("false_reject", 0),
        ("review", -0.1),
        ("defect_rate", 0),
        ("defect_rate", 1),
    ],
)
def test_costs_out_of_range_are_refused(field, refused):
    with pytest.raises(ValidationError, match=field):
        Costs(**{"escape": 1, "false_reject": 1, field: refused})


def test_without_a_word_a_review_is_not_asked_for_and_one_part_in_a_hundred_is_defective():
    assert (Costs(escape=0.5, false_reject=0.5).review, Costs(escape=1, false_reject=1).defect_rate) == (0, 0.01)


def test_five_defects_are_enough():
    assert thresholds_from_costs(GOOD, BAD[:5], Costs(escape=1, false_reject=1)).fail > 0


def test_too_few_defects_are_refused():
    with pytest.raises(InputError, match="at least 5"):
        thresholds_from_costs(GOOD, BAD[:4], Costs(escape=1, false_reject=1))


@pytest.mark.parametrize("defects", [np.full(6, 0.9), np.full(6, 0.1)])
def test_scores_without_overlap_or_without_difference_still_give_thresholds(defects):
    thresholds = thresholds_from_costs(np.full(20, 0.1), defects, Costs(escape=10, false_reject=1, review=0.1))

    assert 0 <= thresholds.review <= thresholds.fail < float("inf")


# ------------------------------------------------------------------ confidence


@given(st.floats(0, 1e6), st.floats(1e-3, 1e3), st.floats(1e-6, 1e3))
def test_confidence_lies_between_a_half_and_one(score, fail, scale):
    assert 0.5 <= confidence_of(score, fail, scale) <= 1


def test_confidence_is_a_half_at_the_threshold_and_grows_away_from_it():
    values = [confidence_of(score, 1.0, 0.3) for score in (0.0, 0.5, 1.0, 1.5, 3.0)]

    assert values[2] == 0.5
    assert values[0] > values[1] > values[2] < values[3] < values[4]


def test_of_images_with_confidence_c_about_a_share_c_is_right():
    rng = np.random.default_rng(3)
    good, bad = rng.logistic(0.8, 0.15, 4000), rng.logistic(1.2, 0.15, 4000)
    scale, basis = confidence_scale(good[:400], bad[:400], 1.0)
    truth, scores = np.repeat([False, True], 3600), np.concatenate([good[400:], bad[400:]])
    confidence = np.array([confidence_of(score, 1.0, scale) for score in scores])
    right = (scores >= 1.0) == truth

    assert "400 defective" in basis
    for low, high in ((0.5, 0.65), (0.65, 0.8), (0.8, 0.95), (0.95, 1.0)):
        chosen = (confidence >= low) & (confidence < high)
        assert abs(right[chosen].mean() - confidence[chosen].mean()) < 0.07


def test_from_good_images_alone_confidence_says_so():
    _, basis = confidence_scale(GOOD, np.empty(0), 0.3)

    assert basis == "the spread of 200 held-out good images"


def test_the_scale_is_that_at_which_the_confidence_is_the_share_that_is_right():
    # All scores lie 1 from the threshold; 1 of 10 good parts and 1 of 5 defects on the wrong side.  Both classes weigh
    # the same: 1 - (1/10 + 1/5) / 2 = 0.85 are right, and a confidence of 0.85 at 1 is a scale of 1 / ln(0.85 / 0.15).
    good, defects = np.array([2.0] * 9 + [4.0]), np.array([2.0] + [4.0] * 4)

    scale, basis = confidence_scale(good, defects, 3.0)

    assert scale == pytest.approx(0.5765, rel=0.031)  # the scales tried lie 6 % apart
    assert basis == "10 held-out good and 5 defective images"


def test_with_four_defects_the_scale_is_the_spread_of_the_good_ones():
    # Above the median of 3 lie 4 and 5: sqrt((1 + 4) / 2)
    assert confidence_scale(np.arange(1.0, 6.0), np.full(4, 9.0), 6.0)[0] == pytest.approx(1.5811, rel=1e-4)


@pytest.mark.parametrize(("fail", "scale"), [(1000.0, 1000 * SMALLEST_SCALE), (0.0, 1e-6)])
def test_scores_without_spread_still_have_a_scale(fail, scale):
    assert confidence_scale(np.full(20, 0.1), np.empty(0), fail)[0] == pytest.approx(scale)


@pytest.mark.parametrize(
    ("score", "good_images", "confidence"),
    [
        (1.3, 10, 0.7311),  # one scale from the threshold: 1 / (1 + 1/e)
        (0.7, 10, 0.7311),
        (1.3, 9, 0.7311),
        (2.3785, 10, 0.99),  # 0.3 * ln 99 above it
        (2.3785, 9, 0.9),  # of fewer than ten good images nobody is surer
    ],
)
def test_confidence_by_the_distance_from_the_threshold(score, good_images, confidence):
    assert confidence_of(score, 1.0, 0.3, good_images) == pytest.approx(confidence, abs=1e-4)
