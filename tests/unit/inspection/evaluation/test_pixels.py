"""How masks are compared, on pixels that can be counted."""

from __future__ import annotations

import numpy as np
import pytest

from defectory.inspection.evaluation.pixels import PixelTally
from defectory.inspection.verdicts import DefectArea, Inspection, Thresholds


def inspection(mask: list[list[int]], name: str = "scratch") -> Inspection:
    """A model's word: these pixels are defective, and hotter than all others."""
    marked = np.array(mask, np.uint8)
    found = (DefectArea(name=name, area=float(marked.mean()), regions=1, color="#000000"),) if marked.any() else ()
    return Inspection(
        *("FAIL", 2.0, 0.9, Thresholds(1, 2), "v", marked.astype(np.float32), marked * np.uint8(255), marked, found),
        *(marked.shape[1], marked.shape[0]),
    )


def test_overlaps_precision_and_recall_of_two_images():
    tally = PixelTally(["scratch"])

    # Of two defective pixels one is found, and one beside them; in a good image one is found.
    overlap = tally.add(inspection([[1, 0, 1, 0], [0, 0, 0, 0]]), np.array([[1, 1, 0, 0], [0, 0, 0, 0]], np.uint8))
    assert tally.add(inspection([[0, 0, 0, 1], [0, 0, 0, 0]]), None) is None

    result = tally.result()
    assert overlap == pytest.approx(1 / 3)
    assert (result.masks, result.iou.value) == (1, pytest.approx(1 / 3))
    # 1 of 3 found is right, 1 of 2 is found: 2 * 1 / (2 * 1 + 2 + 1).  The class's overlap is 1/3 and, of the good
    # image, 0.
    assert (result.precision, result.recall, result.f1) == (pytest.approx(1 / 3), 0.5, pytest.approx(0.4))
    (scratch,) = result.classes
    assert (scratch.name, scratch.precision, scratch.recall, scratch.f1, scratch.iou) == (
        "scratch",
        pytest.approx(1 / 3),
        0.5,
        pytest.approx(0.4),
        pytest.approx(1 / 6),
    )
    # Of 14 good pixels two are as hot as the one of two defective ones: (12 + 1 + 6) / (14 * 2), ties counting half.
    assert result.auroc.value == pytest.approx((13 + 6) / 28, abs=1e-6)


def test_a_class_is_judged_by_its_own_pixels():
    tally = PixelTally(["dent", "scratch"])

    tally.add(inspection([[1, 1, 0, 0]], "scratch"), np.array([[1, 2, 2, 0]], np.uint8))

    dent, scratch = tally.result().classes
    assert (dent.name, dent.precision, dent.recall, dent.iou) == ("dent", 0.0, 0.0, 0.0)
    assert (scratch.precision, scratch.recall, scratch.iou) == (0.5, 0.5, pytest.approx(1 / 3))
    # Any defect against any: two of two found, two of three.
    assert (tally.result().precision, tally.result().recall) == (1.0, pytest.approx(2 / 3))


def test_a_model_that_was_taught_no_names_is_not_blamed_for_it():
    tally = PixelTally(["dent"])

    tally.add(inspection([[1, 1, 0, 0]], "defect"), np.array([[1, 1, 1, 0]], np.uint8))

    (whole,) = tally.result().classes
    assert (whole.name, whole.precision, whole.recall) == ("anomaly", 1.0, pytest.approx(2 / 3))


def test_without_a_true_mask_there_are_no_figures():
    tally = PixelTally([])
    tally.add(inspection([[0, 0]]), None)

    assert tally.result() is None


def test_nothing_found_and_nothing_marked_share_nothing():
    tally = PixelTally([])

    assert tally.add(inspection([[0, 0]]), np.zeros((1, 2), np.uint8)) == 0.0
    assert tally.result().f1 == 0.0


@pytest.mark.parametrize(("width", "overlap"), [(1024, 0.5), (2048, 1.0)])
def test_beyond_1024_pixels_a_side_every_other_is_compared(width, overlap):
    # All pixels are found, and every second is defective: of those that are left where half are, all.
    truth = np.tile(np.array([0, 1], np.uint8), (8, width // 2))

    assert PixelTally(["scratch"]).add(inspection(np.ones((8, width), int).tolist()), truth) == overlap
