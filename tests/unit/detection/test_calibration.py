"""Thresholds and curves by figures that a person can check."""

from __future__ import annotations

import numpy as np
import pytest

from defectory.detection.detectors.calibration import calibrate
from defectory.detection.detectors.card import DetectedClass
from defectory.detection.matching import BoxTable
from defectory.metrics.logistic import sigmoid

RIGHT, WRONG = [0, 0, 10, 10], [50, 50, 10, 10]


def tables(right: list[float], wrong: list[float], *, missed: int = 0, label: int = 0) -> tuple[BoxTable, BoxTable]:
    """Each image has one object, found at one of the scores ``right`` or missed, or a false alarm of ``wrong``."""
    objects = len(right) + missed
    count = len(right) + len(wrong)
    truth = BoxTable.of(range(objects), [label] * objects, [RIGHT] * objects)
    images = [*range(len(right)), *range(objects, objects + len(wrong))]
    boxes = [RIGHT] * len(right) + [WRONG] * len(wrong)
    return truth, BoxTable.of(images, [label] * count, boxes, scores=[*right, *wrong])


def raw_threshold(item: DetectedClass) -> float:
    odds = np.log(item.threshold / (1 - item.threshold))
    return float((odds - item.intercept) / item.slope)


def test_the_threshold_is_where_f1_is_best() -> None:
    # 10 found from 0.8 up; one wrong at 0.9, ten wrong below 0.3: reporting down to 0.8 has F1 = 20 / 21.
    truth, found = tables([0.8 + 0.01 * place for place in range(10)], [0.9] + [0.02 * place for place in range(10)])

    [item] = calibrate([DetectedClass(name="cone")], truth, found)

    assert raw_threshold(item) == pytest.approx((0.8 + 0.18) / 2)


def test_the_threshold_for_a_precision_is_the_lowest_that_has_it() -> None:
    right, wrong = (
        [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15],
        [0.75, 0.45, 0.42, 0.38, 0.37] + [0.1] * 8,
    )

    [item] = calibrate([DetectedClass(name="cone")], *tables(right, wrong), precision=0.8)

    # By falling score: right, right, wrong (2 of 3), right, right, right (5 of 6 = 0.83), wrong (5 of 7).
    assert raw_threshold(item) == pytest.approx((0.5 + 0.45) / 2)


def test_scores_become_shares_of_right_detections() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 1, 4000)
    is_right = rng.random(4000) < sigmoid(8 * scores - 4)

    [item] = calibrate([DetectedClass(name="cone")], *tables(scores[is_right].tolist(), scores[~is_right].tolist()))

    assert (item.slope, item.intercept) == (pytest.approx(8, abs=0.6), pytest.approx(-4, abs=0.4))


def test_a_class_with_too_few_cases_gets_what_all_give() -> None:
    truth, found = tables([0.8 + 0.01 * place for place in range(10)], [0.1] * 12)
    classes = [DetectedClass(name="cone"), DetectedClass(name="pallet")]

    cone, pallet = calibrate(classes, truth, found)

    assert (pallet.slope, pallet.intercept, pallet.threshold) == (cone.slope, cone.intercept, cone.threshold)
    assert cone.slope > 0


def test_nothing_found_leaves_classes_usable() -> None:
    empty = BoxTable.of([], [], [])

    [item] = calibrate([DetectedClass(name="cone")], BoxTable.of([0], [0], [RIGHT]), empty)

    assert 0 < item.threshold <= 1
    # No curve (slope 1, intercept 0), and of odds the middle: sigmoid(0.5).
    assert (item.slope, item.intercept, item.threshold) == (1, 0, pytest.approx(0.6225, abs=1e-4))


@pytest.mark.parametrize(
    ("right", "wrong", "threshold"),
    [
        # Nothing is right: above all that is wrong lies the highest, sigmoid(0.9).
        ([], [0.9, 0.3, 0.1], 0.7109),
        # One alone has no next lower one: sigmoid(0.8).
        ([0.8], [], 0.6900),
        # Of odds of -10 comes 0.00005, below the lowest threshold that there is.
        ([-10], [], 0.01),
    ],
)
def test_few_cases_have_a_threshold_without_a_curve(right: list[float], wrong: list[float], threshold: float) -> None:
    [item] = calibrate([DetectedClass(name="cone")], *tables(right, wrong, missed=1))

    assert (item.slope, item.intercept, item.threshold) == (1, 0, pytest.approx(threshold, abs=1e-4))


def test_ten_of_each_make_a_curve() -> None:
    [item] = calibrate([DetectedClass(name="cone")], *tables([1.0] * 10, [0.0] * 10))

    assert item.slope > 2


def test_a_detection_is_right_from_half_an_overlap_on() -> None:
    """The second overlaps its object by 50 of 150: reporting the first alone has F1 = 2 / 3, both 1 / 2."""
    truth = BoxTable.of([0, 1], [0, 0], [RIGHT, RIGHT])
    found = BoxTable.of([0, 1], [0, 0], [RIGHT, [5, 0, 10, 10]], scores=[0.9, 0.5])

    [item] = calibrate([DetectedClass(name="cone")], truth, found)

    assert raw_threshold(item) == pytest.approx((0.9 + 0.5) / 2)
