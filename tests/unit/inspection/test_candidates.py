"""The choice among candidates, with figures that a person can check."""

from __future__ import annotations

import numpy as np
import pytest

from defectory.inspection.candidates import (
    Candidate,
    CandidateSearch,
    Heads,
    HeldOut,
    Sample,
    Trial,
    _balance,
    _deviation,
    _separation,
    find_outliers,
)

NONE = np.array([])
PATCHES = np.zeros((2, 2, 3), np.float32)


def held_out(good, defects, damaged=NONE) -> HeldOut:
    return HeldOut(np.array(good, float), np.array(damaged, float), np.array(defects, float))


def search(*, damaged: bool = False, defects: int = 12, masked: bool = True, synthetic: int = 0) -> CandidateSearch:
    marks = np.ones((2, 2), np.uint8)
    return CandidateSearch(
        good=[Sample(PATCHES) for _ in range(8)],
        defects=[Sample(PATCHES, 1, marks if masked else None) for _ in range(defects)],
        damaged=[PATCHES] if damaged else (),
        valid=np.ones((2, 2), np.bool_),
        kinds=1,
        seed=0,
        on_progress=lambda progress: None,
        synthetic=[Sample(PATCHES, 1, marks if masked else None) for _ in range(synthetic)],
    )


def trial(auroc: float, scores: HeldOut, *, synthetic: bool = False, detector: str = "patchcore") -> Trial:
    recipe = Candidate(detector, False, Heads(synthetic=synthetic))
    return Trial(recipe, scores, NONE, 0.0, 1.0, 0.0, auroc, 0.0)


# ------------------------------------------------------------------ outliers


@pytest.mark.parametrize(
    ("logs", "outliers"),
    [
        # Median 0; the deviations are 0, 0.1 and 0.2 twice each, 0.3 and the last one's: their median is 0.2, and the
        # limit 3.5 * 1.4826 * 0.2 = 1.0378.
        ([-0.3, -0.2, -0.1, 0, 0.1, 0.2, 1.03], []),
        ([-0.3, -0.2, -0.1, 0, 0.1, 0.2, 1.05], [6]),
        # Far below is not suspect.
        ([-0.3, -0.2, -0.1, 0, 0.1, 0.2, -9.0], []),
        # Where all are alike the spread counts as 0.05: a limit of 0.175.
        ([0.0] * 9 + [0.17], []),
        ([0.0] * 9 + [0.18], [9]),
        # A fifteenth at most, the farthest, in their order: two of 30, and one of 29.
        ([1.0, 3.0, 2.0] + [0.0] * 27, [1, 2]),
        ([1.0, 3.0, 2.0] + [0.0] * 26, [1]),
    ],
)
def test_outliers_lie_three_and_a_half_robust_deviations_above_the_median(logs, outliers):
    assert find_outliers(np.exp(logs)) == outliers


# ------------------------------------------------------------------ what is certain


def test_the_standard_error_of_two_areas_is_that_of_delong():
    # The first candidate puts 2.5 above two of three good ones and 4 above all, the second 0.5 above none and 4 above
    # all: by defect the difference is -2/3 and 0, of variance 2/9.  By good image it is -1/2, -1/2 and 0, of variance
    # 1/12.  sqrt(2/9 / 2 + 1/12 / 3)
    one, other = held_out([1, 2, 3], [2.5, 4]), held_out([1, 2, 3], [0.5, 4])

    assert _deviation(one, other) == pytest.approx((5 / 36) ** 0.5)
    assert _deviation(other, one) == pytest.approx((5 / 36) ** 0.5)
    assert _deviation(one, one) == 0


@pytest.mark.parametrize(("auroc", "better"), [(0.855, False), (0.856, True)])
def test_on_real_defects_a_gain_has_to_exceed_two_standard_errors(auroc, better):
    # 0.1 + 0.01 + 2 * 0.37268 = 0.85536
    default = trial(0.1, held_out([1, 2, 3], [0.5, 4]))
    other = trial(auroc, held_out([1, 2, 3], [2.5, 4]), detector="padim")

    assert (search().best([default, other]) is other) is better


@pytest.mark.parametrize(("auroc", "better"), [(0.549, False), (0.551, True)])
def test_on_good_images_damaged_on_purpose_a_gain_has_to_exceed_a_twentieth(auroc, better):
    scores = held_out([1, 2], [], [1.5, 3])
    default, other = trial(0.5, scores), trial(auroc, scores, detector="padim")

    assert (search(damaged=True).best([default, other]) is other) is better


@pytest.mark.parametrize(("auroc", "better"), [(0.509, False), (0.511, True)])
def test_where_nothing_varies_a_hundredth_is_a_gain(auroc, better):
    scores = held_out([1, 2, 3], [2.5, 4])
    default, other = trial(0.5, scores), trial(auroc, scores, detector="padim")

    assert (search().best([default, other]) is other) is better


@pytest.mark.parametrize(
    ("defects", "synthetic", "chosen"), [(9, "measured", 0), (10, "measured", 1), (9, "always", 1), (10, "always", 1)]
)
def test_of_ten_real_defects_on_synthetic_ones_can_be_seen_to_help(defects, synthetic, chosen):
    scores = held_out([1, 2, 3], [2.5, 4])
    trials = [trial(0.5, scores), trial(0.9, scores, synthetic=True)]

    assert search(defects=defects).best(trials, synthetic=synthetic) is trials[chosen]


def test_without_synthetic_candidates_the_best_of_the_others_is_taken():
    scores = held_out([1, 2, 3], [2.5, 4])
    trials = [trial(0.5, scores), trial(0.7, scores), trial(0.6, scores)]

    assert search().best(trials, synthetic="always") is trials[1]


# ------------------------------------------------------------------ scores that are put together


@pytest.mark.parametrize(
    ("spread", "other", "count", "power"),
    [
        # Half as far, and of 100 images half the weight.
        (0.5, 1.0, 100, 0.25),
        (1.0, 0.5, 100, 1.0),
        # Five times as far counts twice; of 300 images three quarters.
        (5.0, 1.0, 300, 1.5),
        (1.0, 0.0, 100, 0.0),
    ],
)
def test_a_signature_is_made_to_spread_as_far_as_the_patches(spread, other, count, power):
    signs = np.tile([-1.0, 1.0], count // 2)

    assert _balance(np.exp(spread * signs), np.exp(other * signs)) == pytest.approx(power)


def test_a_signature_multiplies_by_a_power_of_what_is_typical():
    # (8 / 2) ** 0.5 = 2, (2 / 2) ** 0.5 = 1, (0.5 / 2) ** 0.5 = 1/2
    scores = held_out([3], [5], [7]).combine_signature(held_out([8], [2], [0.5]), typical=2.0, exponent=0.5)

    assert (scores.good.tolist(), scores.defects.tolist(), scores.damaged.tolist()) == ([6], [5], [3.5])


def test_an_image_head_multiplies_by_a_power_of_e():
    scores = held_out([1, 1], [2], [3]).combine_image_head(held_out([0, 1], [0.5], [0]), blend_weight=np.log(4))

    assert scores.good == pytest.approx([1, 4])
    assert (scores.defects, scores.damaged) == (pytest.approx([4]), pytest.approx([3]))


def test_candidates_are_measured_on_damaged_images_only_where_there_are_any():
    # Of the damaged both lie above, of the defects one of two.
    assert _separation(held_out([1, 1], [0, 2], [3, 4])) == (1.0, 1.0)
    assert _separation(held_out([1, 1], [0, 2]))[0] == 0.5


# ------------------------------------------------------------------ which candidates there are


@pytest.mark.parametrize(
    ("options", "heads"),
    [
        ({"damaged": True}, [(0, 0, False)]),
        ({"defects": 3}, [(0, 0, False)]),
        ({"masked": False}, [(0, 0.7, False), (0, 0, False)]),
        ({}, [(1, 0.7, False), (0, 0.7, False), (0, 0, False), (1, 0, False), (3, 0, False)]),
        (
            {"synthetic": 1},
            [
                *[(1, 0.7, False), (0, 0.7, False), (0, 0, False), (1, 0, False), (3, 0, False)],
                *[(1, 0.7, True), (1, 0, True), (0, 0.7, True)],
            ],
        ),
        ({"synthetic": 1, "masked": False}, [(0, 0.7, False), (0, 0, False), (0, 0.7, True)]),
    ],
)
def test_heads_are_tried_where_something_can_be_held_out_for_them(options, heads):
    made = search(**options)
    _, folds = made._folds()

    assert [(each.patch, each.image, each.synthetic) for each in made._heads(folds)] == heads


def test_folds_are_of_even_size_and_hold_groups_together():
    made = search(defects=8)
    good, defects = made._folds()

    assert sorted(good) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert defects == [0, 1, 2, 3, 0, 1, 2, 3]


def test_three_groups_of_good_images_are_too_few_to_be_held_out_and_four_are_not():
    def folds(groups: int) -> list[int]:
        good = [Sample(PATCHES, group=f"part {number % groups}") for number in range(12)]
        made = search()
        return CandidateSearch(good, made.defects, (), made.valid, 1, 0, made.on_progress)._folds()[0]

    assert sorted(folds(3)) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert folds(4)[:4] * 3 == folds(4)
