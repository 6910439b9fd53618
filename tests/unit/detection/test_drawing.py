"""What is drawn on pictures of detections."""

from __future__ import annotations

import numpy as np
import pytest

from defectory.detection.detectors.detector import Detection
from defectory.detection.drawing import blur_detections

STRIPES = np.zeros((80, 120, 3), np.uint8)
STRIPES[:, ::2] = 255


def detection(label: str, *box: float) -> Detection:
    left, top, width, height = box
    return Detection(label=label, score=0.9, box=(left, top, width, height))


def test_blurred_is_all_of_the_box_and_nothing_else() -> None:
    blurred = blur_detections(
        STRIPES, [detection("person", 40, 20, 20, 40), detection("cone", 90, 20, 20, 40)], ["person"]
    )

    # The box, with a margin of 4 pixels.
    inside = np.zeros(STRIPES.shape[:2], np.bool_)
    inside[16:64, 36:64] = True
    assert np.ptp(blurred[inside]) < 64
    assert (blurred[~inside] == STRIPES[~inside]).all()
    assert (STRIPES[:, 1] == 0).all()


@pytest.mark.parametrize(
    "box", [(-10, -10, 30, 30), (110, 70, 50, 50), (200, 200, 9, 9), (5.5, 5.5, 0.1, 0.1), (-9, -9, 300, 300)]
)
def test_boxes_beyond_the_picture_are_cut_off(box: tuple[float, ...]) -> None:
    blurred = blur_detections(STRIPES, [detection("person", *box)], ["person"])
    assert blurred.shape == STRIPES.shape


def test_what_is_left_of_a_box_is_few_cells_however_large_it_is() -> None:
    """A face of 60 pixels in a person of 600 is one or two cells."""
    noise = np.random.default_rng(1).integers(0, 256, (600, 300, 3), np.uint8)
    blurred = blur_detections(noise, [detection("person", 0, 0, 300, 600)], ["person"]).astype(float)
    # Each cell is the mean of thousands of pixels.
    assert blurred.std() < 5 < noise.std()
