from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from defectory.images.renderers.procedural.strokes import Stroke, evenly, within


def distance_to(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    dense = evenly(points, 0.1)
    return np.sqrt(((xx[..., None] - dense[:, 0]) ** 2 + (yy[..., None] - dense[:, 1]) ** 2).min(2))


def test_a_straight_stroke_knows_sides_and_ends() -> None:
    stroke = Stroke.around(np.array([[10.0, 20.0], [50.0, 20.0]]), (40, 60))

    assert stroke.across[25, 30] == 5  # to the right of its way is down, in pixels
    assert stroke.across[17, 30] == -3
    assert abs(stroke.along[20, 30] - 0.5) < 0.02
    assert abs(stroke.beyond[20, 55] - 5) < 0.1
    assert stroke.beyond[20, 30] == 0
    assert (stroke.normal_x[25, 30], stroke.normal_y[25, 30]) == (0, 1)


@settings(max_examples=25, deadline=None)
@given(corners=st.lists(st.tuples(st.floats(8, 52), st.floats(8, 42)), min_size=2, max_size=5, unique=True))
def test_strokes_cover_nothing_away_from_their_line(corners: list[tuple[float, float]]) -> None:
    """Sharp bends included: there the way of the nearest point leads off the line."""
    points = np.array(corners)
    coverage = Stroke.around(points, (50, 60)).coverage(2.0, 0.5)

    assert coverage.min() >= 0 and coverage.max() <= 1.001
    assert (coverage[distance_to(points, (50, 60)) > 3.5] < 0.05).all()


def test_strokes_are_as_wide_as_asked() -> None:
    for width in (1.0, 2.5, 6.0):
        coverage = Stroke.around(np.array([[-5.0, 25.3], [70.0, 25.3]]), (50, 60)).coverage(width, 0.8)

        assert np.allclose(coverage.sum(0), width, atol=0.05)


def test_a_line_outside_of_the_picture_covers_nothing() -> None:
    coverage = Stroke.around(np.array([[100.0, 100.0], [140.0, 120.0]]), (50, 60)).coverage(3.0, 1.0)

    assert not coverage.any()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), angle=st.floats(0, 180), bent=st.booleans())
def test_lines_stay_within_a_mask_from_end_to_end(seed: int, angle: float, bent: bool) -> None:
    mask = np.zeros((100, 100), np.uint8)
    if bent:
        cv2.ellipse(mask, (50, 40), (38, 30), 0, 20, 160, 255, 8)
    else:
        cv2.ellipse(mask, ((50, 50), (70, 16), angle), 255, -1)

    points = within(np.random.default_rng(seed), mask, 60, 0.8)

    x, y = np.rint(points).astype(int).T
    near = cv2.dilate(mask, np.ones((5, 5), np.uint8))
    assert (near[np.clip(y, 0, 99), np.clip(x, 0, 99)] > 0).mean() > 0.95
    ys, xs = np.nonzero(mask)
    assert np.ptp(points, 0).max() > 0.85 * max(np.ptp(xs), np.ptp(ys)) * (1 if bent else 0.7)
