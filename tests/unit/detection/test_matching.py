"""Average precision: the figures of pycocotools, and some that a person can check."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from defectory.detection.matching import (
    COCO_AREAS,
    BoxRows,
    BoxTable,
    average_precision,
    box_overlaps,
    match,
)

CLASSES = 4


def by_pycocotools(objects: BoxTable, detections: BoxTable, images: int) -> np.ndarray:
    """Average precision ``(classes, areas, ious)`` as its own evaluation has it, nan without objects."""
    coco = COCO()
    coco.dataset = {
        "images": [{"id": number + 1} for number in range(images)],
        "categories": [{"id": number + 1, "name": str(number)} for number in range(CLASSES)],
        "annotations": [
            {
                "id": row + 1,
                "image_id": int(objects.images[row]) + 1,
                "category_id": int(objects.labels[row]) + 1,
                "bbox": objects.boxes[row].tolist(),
                "area": float(objects.areas[row]),
                "iscrowd": 0,
            }
            for row in range(len(objects))
        ],
    }
    results = [
        {
            "image_id": int(detections.images[row]) + 1,
            "category_id": int(detections.labels[row]) + 1,
            "bbox": detections.boxes[row].tolist(),
            "score": float(detections.scores[row]),
        }
        for row in range(len(detections))
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    # thresholds, recalls, classes, areas, numbers of detections
    precision = evaluation.eval["precision"][:, :, :, :, -1]
    values = precision.mean(axis=1)
    return np.where((precision == -1).all(axis=1), np.nan, values).transpose(1, 2, 0)


def random_tables(seed: int, *, images: int = 6, most: int = 40) -> tuple[BoxTable, BoxTable]:
    """Objects, and detections near them or anywhere, with scores of few levels, so that many are equal."""
    rng = np.random.default_rng(seed)
    objects = int(rng.integers(1, most))
    corners, sides = rng.integers(0, 200, (objects, 2)), rng.integers(1, 160, (objects, 2))
    truth = BoxTable.of(
        rng.integers(0, images, objects),
        rng.integers(0, CLASSES - 1, objects),  # one class has none
        np.concatenate([corners, sides], axis=1),
        areas=np.prod(sides, axis=1) * rng.uniform(0.2, 1, objects),
    )
    copies = rng.integers(0, objects, int(rng.integers(1, 4 * most)))
    jitter = rng.integers(-12, 13, (len(copies), 4)) * rng.integers(0, 2, (len(copies), 1))
    boxes = np.concatenate([truth.boxes[copies] + jitter, rng.integers(1, 120, (int(rng.integers(0, 20)), 4))])
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)
    extra = len(boxes) - len(copies)
    detections = BoxTable.of(
        np.concatenate([truth.images[copies], rng.integers(0, images, extra)]),
        np.concatenate([truth.labels[copies], rng.integers(0, CLASSES, extra)]),
        boxes,
        scores=rng.integers(0, 8, len(boxes)) / 8,
    )
    return truth, detections


def assert_as_pycocotools(truth: BoxTable, detections: BoxTable, images: int = 6) -> None:
    ours = average_precision(truth, detections, CLASSES, areas=tuple(COCO_AREAS.values())).values

    np.testing.assert_allclose(ours, by_pycocotools(truth, detections, images), atol=1e-6, equal_nan=True)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_average_precision_is_that_of_pycocotools(seed: int) -> None:
    assert_as_pycocotools(*random_tables(seed))


def test_equal_overlaps_go_to_the_last_object_as_in_pycocotools() -> None:
    truth = BoxTable.of([0, 0, 0], [0, 0, 0], [[0, 0, 10, 10], [4, 0, 10, 10], [2, 0, 10, 10]])
    detections = BoxTable.of([0, 0], [0, 0], [[2, 0, 10, 10], [2, 0, 10, 10]], scores=[0.5, 0.5])

    assert_as_pycocotools(truth, detections, 1)
    matches = match(truth, BoxTable.of([0], [0], [[2, 0, 8, 10]], scores=[1]), ious=[0.5])
    assert matches.truth[0, 0].tolist() == [2]


def test_of_more_than_a_hundred_detections_in_an_image_the_lowest_do_not_count() -> None:
    rng = np.random.default_rng(3)
    boxes = np.concatenate([rng.integers(0, 100, (300, 2)), rng.integers(8, 60, (300, 2))], axis=1)
    truth = BoxTable.of(np.zeros(60, int), np.zeros(60, int), boxes[:60])
    detections = BoxTable.of(np.zeros(300, int), np.zeros(300, int), boxes, scores=rng.integers(0, 20, 300) / 20)

    assert_as_pycocotools(truth, detections, 1)


def test_figures_that_a_person_can_check() -> None:
    # Two objects; the best detection is right, the second wrong, the third right: precisions 1, 1/2, 2/3.
    truth = BoxTable.of([0, 1], [0, 0], [[0, 0, 10, 10], [0, 0, 10, 10]])
    detections = BoxTable.of(
        [0, 0, 1], [0, 0, 0], [[0, 0, 10, 10], [50, 50, 10, 10], [0, 0, 10, 10]], scores=[0.9, 0.8, 0.7]
    )

    value = average_precision(truth, detections, 1, ious=[0.5]).mean()

    # Recall to 0.5 at precision 1 (51 of the 101 recalls), beyond it at 2/3.
    assert value == pytest.approx((51 + 50 * 2 / 3) / 101)


@pytest.mark.parametrize(
    ("objects", "detections", "expected"),
    [
        ([], [], float("nan")),
        ([], [[0, 0, 5, 5]], float("nan")),
        ([[0, 0, 5, 5]], [], 0.0),
    ],
    ids=["nothing", "no-objects", "no-detections"],
)
def test_empty_tables(objects: list[list[float]], detections: list[list[float]], expected: float) -> None:
    tables = [BoxTable.of([0] * len(boxes), [0] * len(boxes), boxes) for boxes in (objects, detections)]

    assert average_precision(*tables, 1).mean() == pytest.approx(expected, nan_ok=True)


def test_boxes_without_area_overlap_nothing() -> None:
    boxes = np.array([[0, 0, 0, 0], [0, 0, 10, 10], [5, 0, 10, 10.0]])

    assert box_overlaps(boxes[[0, 1, 1]], boxes[[0, 0, 2]]).tolist() == [0, 0, pytest.approx(1 / 3)]


def test_rows_become_the_table_that_they_were_filled_with() -> None:
    rows = BoxRows()
    rows.add(3, 1, (1, 2, 4, 5))
    rows.add(4, 2, (6, 7, 8, 9), area=11, score=0.5)

    table = rows.table()

    assert (table.images.tolist(), table.labels.tolist()) == ([3, 4], [1, 2])
    assert table.boxes.tolist() == [[1, 2, 4, 5], [6, 7, 8, 9]]
    assert (table.areas.tolist(), table.scores.tolist()) == ([20, 11], [0, 0.5])
    assert len(BoxRows().table()) == 0


def test_overlaps_broadcast_and_are_of_boxes_of_any_size() -> None:
    boxes = np.array([[0, 0, 0.5, 0.5], [0.25, 0, 0.5, 0.5], [0, 9, 0.5, 0.5], [9, 0, 0.5, 0.5]])

    overlaps = box_overlaps(boxes[:, None], boxes[None])

    # Half of each is shared: .125 of .375.  What meets on one axis alone shares nothing.
    assert overlaps[0].tolist() == [1, pytest.approx(1 / 3), 0, 0]
    assert overlaps.tolist() == overlaps.T.tolist()
