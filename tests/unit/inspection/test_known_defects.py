"""A handful of labelled defects: each of them fails, or it is said which do not."""

from __future__ import annotations

import numpy as np
import pytest

from defectory.inspection.detectors.image_head import ImageHead
from defectory.inspection.known_defects import fit_known_defects, label_warnings, thresholds_between
from defectory.inspection.model import load_model
from defectory.inspection.thresholds import thresholds_from_good
from defectory.inspection.training import TrainingOptions, train
from defectory.inspection.verdicts import Thresholds
from defectory.vision.images import load_image
from tests.unit.inspection.conftest import render_part, write_images

SMALL = TrainingOptions(resolution=96)


def test_thresholds_lie_between_what_is_known():
    # ln 100 = 4.605; 0.45 of it is 2.072 = ln 7.943, 0.6 of it 2.763 = ln 15.849; both times 0.5.
    between = thresholds_between(np.array([0.2, 0.5]), np.array([50.0, 80.0]))

    assert (between.review, between.fail) == pytest.approx((3.9716, 7.9245), abs=1e-3)


@pytest.mark.parametrize(("good", "defects"), [([0.2, 0.5], [0.5, 9.0]), ([0.2, 0.5], [0.4]), ([0.0], [1.0])])
def test_what_is_not_apart_has_nothing_between(good, defects):
    assert thresholds_between(np.array(good), np.array(defects)) is None


def test_apart_is_more_than_the_least_ratio():
    assert thresholds_between(np.array([1.0]), np.array([1.01])) is not None
    assert thresholds_between(np.array([1.0]), np.array([10.0]), 10.0) is None
    assert thresholds_between(np.array([1.0]), np.array([10.1]), 10.0) is not None


VALID = np.ones((2, 2), np.bool_)


def images(count: int, shade: float, seed: int) -> list[np.ndarray]:
    """Patches ``(2, 2, 64)`` around ``shade``."""
    rng = np.random.default_rng(seed)
    return [np.float32(rng.normal(shade, 0.05, (2, 2, 64))) for _ in range(count)]


def test_scores_that_are_apart_need_no_head():
    fit = fit_known_defects(
        images(4, 0, 1), images(2, 0, 2), VALID, good_scores=np.array([1.0, 1, 2, 1]), defect_scores=np.array([8.0, 9])
    )

    assert fit.head is None
    # Between 2 and 8: 2 * 4 ** 0.45 and 2 * 4 ** 0.6.
    assert (fit.thresholds.review, fit.thresholds.fail) == pytest.approx((3.732, 4.595), abs=1e-3)
    assert fit.basis == "between 4 good and 2 defective photos"


def test_a_good_photo_left_out_moves_no_threshold():
    fit = fit_known_defects(
        *(images(4, 0, 1), images(2, 0, 2), VALID),
        good_scores=np.array([1.0, 1, 9, 1]),
        defect_scores=np.array([8.0, 9]),
        left_out=[2],
    )

    assert fit.head is None
    assert fit.thresholds.review == pytest.approx(8**0.45)
    assert fit.basis.startswith("between 3 good")


def test_where_the_scores_are_not_apart_a_head_parts_what_it_has_seen():
    good, defects = images(4, 0, 1), images(3, 1, 2)

    fit = fit_known_defects(good, defects, VALID, good_scores=np.full(4, 2.0), defect_scores=np.full(3, 1.0))

    assert fit.basis == "between 4 good and 3 defective photos, none of them held out"
    assert fit.head.blend_weight in (0.7, 1.5, 3.0, 5.0)
    assert fit.defects.min() >= fit.thresholds.fail
    assert fit.good.max() < fit.thresholds.review
    sure = [fit.head.probability(image, VALID) for image in defects]
    assert fit.defects == pytest.approx(np.exp(fit.head.blend_weight * np.array(sure)))
    # A head that is trusted less would not have done: e.g. twice as far apart is not ten times.
    assert fit.defects.min() / fit.good.max() > 10


def test_with_ten_good_photos_thresholds_keep_their_promise_on_photos_the_head_has_not_seen():
    good, defects = images(12, 0, 1), images(3, 1, 2)
    scores = np.linspace(1.0, 1.2, 12)

    fit = fit_known_defects(good, defects, VALID, good_scores=scores, defect_scores=np.full(3, 1.1))

    assert fit.basis == ""
    assert fit.thresholds == thresholds_from_good(fit.good)
    assert (fit.good >= fit.thresholds.fail).sum() == 0
    assert fit.defects.min() >= fit.thresholds.fail


@pytest.mark.parametrize(
    ("score", "blend_weight"),
    # Good parts score up to 1.2 and FAIL begins near 1.3; what the head is sure of, times e**0.7 = 2.0, e**1.5 = 4.5,
    # e**3 = 20 or e**5 = 148.
    [(1.1, 0.7), (0.5, 1.5), (0.1, 3.0), (0.02, 5.0), (0.005, None)],
)
def test_a_head_counts_the_least_that_makes_all_defects_fail(score, blend_weight):
    good, defects = images(12, 0, 1), images(3, 1, 2)

    fit = fit_known_defects(
        good, defects, VALID, good_scores=np.linspace(1.0, 1.2, 12), defect_scores=np.full(3, score)
    )

    assert (fit and fit.head.blend_weight) == blend_weight


def test_a_good_photo_is_held_against_a_head_that_has_not_seen_it():
    # The fourth of twelve is as dark as the defects; its fold of four is 3.
    good, defects = images(12, 0, 1), images(3, 1, 2)
    good[3] = images(1, 0.8, 7)[0]
    others = [image for number, image in enumerate(good) if number not in (3, 7, 11)]
    chance = ImageHead.fit(others, defects, (), VALID, blend_weight=1.0).probability(good[3], VALID)

    fit = fit_known_defects(good, defects, VALID, good_scores=np.ones(12), defect_scores=np.full(3, 50.0), left_out=[3])

    assert chance > 0.5
    assert fit.good[3] == pytest.approx(np.exp(fit.head.blend_weight * chance))


def test_ten_good_photos_can_be_held_out_and_nine_cannot():
    told = [
        fit_known_defects(
            images(count, 0, 1), images(3, 1, 2), VALID, good_scores=np.ones(count), defect_scores=np.full(3, 2.0)
        ).basis
        for count in (9, 10)
    ]

    assert told == ["between 9 good and 3 defective photos", ""]


def test_defects_that_nothing_tells_apart_are_left_to_the_warning():
    twins = images(4, 0, 1)

    assert fit_known_defects(twins, twins[:2], VALID, good_scores=np.ones(4), defect_scores=np.ones(2)) is None


def test_warnings_name_what_would_pass_and_what_would_catch_it():
    said = label_warnings(
        np.array([0.1, 0.3, 0.4, *[0.1] * 9]),
        np.array([0.2, 0.9, 0.35, 0.8, 0.7, 0.6]),
        Thresholds(0.5, 0.6),
        names=["a.png", "b.png", "c.png", "d.png", "e.png", "f.png"],
        masks=0,
        fit=None,
    )

    assert said == (
        "2 of 6 labelled defects would PASS: a.png, c.png. "
        "REVIEW from 0.2000 would catch them all and hold back 2 of 12 good photos.",
    )


def test_warnings_name_what_was_not_used():
    said = label_warnings(
        np.array([0.1] * 4), np.array([0.9, 0.8]), Thresholds(0.5, 0.6), names=["a", "b"], masks=1, fit=None
    )

    assert said == (
        "With 4 good photos the thresholds are a guess, and confidence stays below 0.9: "
        "add photos of good parts, 10 at least.",
        "2 labelled defects are too few to hold some out (5 needed): the model has not learned from them; "
        "1 mask was not used.",
    )


def test_five_defects_that_would_pass_are_all_named_and_of_six_one_is_counted():
    def said(count: int) -> str:
        names = [f"{number}.png" for number in range(count)]
        return label_warnings(
            np.array([0.1] * 9 + [0.2]), np.full(count, 0.2), Thresholds(0.5, 0.6), names=names, masks=0, fit=None
        )[-1]

    # One good photo scores just as high, and would be held back with them.
    level = "REVIEW from 0.2000 would catch them all and hold back 1 of 10 good photos."
    assert said(5) == f"5 of 5 labelled defects would PASS: 0.png, 1.png, 2.png, 3.png, 4.png. {level}"
    assert said(6) == f"6 of 6 labelled defects would PASS: 0.png, 1.png, 2.png, 3.png, 4.png and 1 more. {level}"


def test_a_defect_at_the_threshold_does_not_pass_and_five_are_enough_to_hold_some_out():
    defects, thresholds = np.full(5, 0.5), Thresholds(0.5, 0.6)

    assert label_warnings(np.full(10, 0.1), defects, thresholds, names=list("abcde"), masks=2, fit=None) == ()


def test_what_a_head_has_learned_is_said_with_what_it_rests_on():
    fit = fit_known_defects(
        images(4, 0, 1), images(1, 1, 2), VALID, good_scores=np.full(4, 2.0), defect_scores=np.ones(1)
    )

    said = label_warnings(np.ones(10), np.full(1, 9.0), Thresholds(2, 3), names=["a"], masks=0, fit=fit)

    assert said == (
        "1 labelled defect is too few to hold some out (5 needed): the model was fitted to all of them, and nobody "
        "knows how it does on others.",
    )


def test_nothing_is_said_where_there_is_nothing_to_say():
    assert label_warnings(np.ones(10), np.array([]), Thresholds(2, 3), names=[], masks=0, fit=None) == ()


@pytest.fixture(scope="module")
def boards(tmp_path_factory):
    """Four good parts and four with a faint blot, as many as the original walkthrough has; and two to test."""
    folder = tmp_path_factory.mktemp("boards")
    good = write_images(folder / "good", [render_part(seed) for seed in range(4)])
    bad = write_images(folder / "bad", [render_part(seed, blot=(48, 16)) for seed in range(10, 14)])
    test = write_images(folder / "test", [render_part(20), render_part(21, blot=(48, 16))])
    return good, bad, test


def test_four_good_and_four_defective_photos_make_a_model_that_judges_them_right(boards, tmp_path):
    good, bad, test = boards

    model = load_model(train(good, defects=bad, options=SMALL).save(tmp_path / "model.tar.gz"))

    inspected = {path: model.inspect(load_image(path)) for path in (*good, *bad, *test)}
    assert [inspected[path].verdict for path in (*good, test[0])] == ["PASS"] * 5
    assert [inspected[path].verdict for path in (*bad, test[1])] == ["FAIL"] * 5
    assert all(each.confidence <= 0.9 for each in inspected.values())
    assert all(inspected[path].mask.any() for path in bad)
    assert any("4 labelled defects are too few" in warning for warning in model.card.warnings)


def test_a_defect_that_looks_like_the_good_parts_is_said_to_pass(boards):
    good, _, _ = boards

    card = train([*good[1:], *good[:1]], defects=good[:1], options=SMALL).card

    assert any("1 of 1 labelled defect would PASS: part-00.png" in warning for warning in card.warnings)


def test_two_good_photos_are_enough_to_begin_with(boards):
    good, _, test = boards
    model = train(good[:2], options=SMALL)
    assert model.inspect(load_image(test[0])).confidence <= 0.9
    assert "With 2 good photos" in model.card.warnings[0]
