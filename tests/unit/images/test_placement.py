from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from defectory.errors import InputError
from defectory.images.placement import Placement, Spot, learn_placement, spot_of
from defectory.vision.arrays import Mask
from defectory.vision.surface import View

PART = cv2.circle(np.zeros((160, 240), np.uint8), (150, 80), 60, 255, -1)
BLANK = np.full((160, 240, 3), 100, np.uint8)


def ellipse(x: float, y: float, length: float, width: float, angle: float) -> Mask:
    mask = np.zeros((160, 240), np.uint8)
    return cv2.ellipse(mask, ((x, y), (length, width), np.degrees(angle)), 255, -1)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_defects_lie_on_the_part_in_the_sizes_asked_for(seed: int) -> None:
    spot = Placement(size=(0.1, 0.3), aspect=(0.5, 0.8)).draw(np.random.default_rng(seed), PART, BLANK)

    assert PART[int(spot.y), int(spot.x)] == 255
    assert np.hypot(spot.x - 150, spot.y - 80) < 60 - 0.5 * spot.width
    size = np.sqrt((PART > 0).sum())
    assert 0.095 * size < spot.length < 0.315 * size
    assert 0.5 <= spot.width / spot.length <= 0.8


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), whole=st.booleans())
@example(seed=91, whole=True)  # starts in the photo's corner
def test_defects_at_the_edge_start_there_and_go_inwards(seed: int, whole: bool) -> None:
    part = np.full_like(PART, 255) if whole else PART
    spot = Placement(size=(0.2, 0.4), at_edge=1).draw(np.random.default_rng(seed), part, BLANK)

    way = spot.length / 2 * np.array([np.cos(spot.angle), np.sin(spot.angle)])
    start, middle = np.array([spot.x, spot.y]) - way, np.array([spot.x, spot.y])
    depth = cv2.distanceTransform(np.pad(part, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]

    def deep(point: np.ndarray) -> float:
        x, y = np.clip(np.rint(point).astype(int), 0, (239, 159))
        return float(depth[y, x])

    assert spot.at_edge
    assert deep(start) < 5
    assert deep(middle) > deep(start)


def test_defects_follow_the_grain() -> None:
    yy, xx = np.mgrid[:160, :240]
    stripes = np.repeat((128 + 40 * np.sin((yy - xx) * 0.8)).astype(np.uint8)[..., None], 3, 2)  # down to the right
    whole, rng = np.full_like(PART, 255), np.random.default_rng(0)
    aside = [abs(np.sin(Placement(along_grain=1).draw(rng, whole, stripes).angle - np.pi / 4)) for _ in range(20)]

    assert max(aside) < 0.3
    # Without a grain there is nothing to follow.
    angles = [Placement(along_grain=1).draw(rng, whole, BLANK).angle for _ in range(20)]
    assert abs(np.exp(2j * np.array(angles)).mean()) < 0.6


def test_there_has_to_be_a_part() -> None:
    with pytest.raises(InputError, match="region"):
        Placement().draw(np.random.default_rng(0), np.zeros_like(PART), BLANK)


@settings(max_examples=30, deadline=None)
@given(
    x=st.floats(80, 150),
    y=st.floats(60, 100),
    length=st.floats(30, 80),
    ratio=st.floats(0.2, 0.8),
    angle=st.floats(0, 3),
)
def test_a_spot_is_the_ellipse_that_a_mask_shows(x: float, y: float, length: float, ratio: float, angle: float) -> None:
    spot = spot_of(ellipse(x, y, length, ratio * length, angle))

    assert np.hypot(spot.x - x, spot.y - y) < 1.5
    assert spot.length == pytest.approx(length, abs=3)
    assert spot.width == pytest.approx(ratio * length, abs=3)
    assert abs(np.sin(spot.angle - angle)) < 0.12


def test_a_placement_is_learned_from_few_defects() -> None:
    """Given long marks in one corner that all lie alike, when placements are drawn, then they do so, too."""
    masks = [ellipse(60 + 3 * n, 40 - 2 * n, 30 + 4 * n, 6, 0.6 + 0.05 * n) for n in range(4)]

    learned, rng = learn_placement(masks), np.random.default_rng(0)
    spots = [learned.draw(rng, np.full_like(PART, 255), BLANK) for _ in range(60)]

    assert all(30 / 1.35 < spot.length < 42 * 1.35 for spot in spots)
    assert np.mean([abs(np.sin(spot.angle - 0.67)) < 0.45 for spot in spots]) > 0.9
    assert np.mean([np.hypot(spot.x - 65, spot.y - 37) < 60 for spot in spots]) > 0.8


def test_round_defects_teach_no_direction_and_crumbs_nothing() -> None:
    mask = ellipse(100, 80, 40, 36, 0)
    mask[10, 10] = 255

    learned = learn_placement([mask])

    assert learned.angles == ()
    assert len(learned.centres) == 1


def test_nothing_is_learned_from_empty_masks() -> None:
    with pytest.raises(InputError, match=r"masks: .* polarity"):
        learn_placement([np.zeros((50, 50), np.uint8)])


@settings(max_examples=30, deadline=None)
@given(angle=st.floats(0, 2 * np.pi), view=st.floats(0, np.pi))
def test_defects_are_foreshortened_as_their_part_is(angle: float, view: float) -> None:
    spot = Spot(10, 20, 60, 60, angle)

    seen = spot.seen(View(0.5, view))

    assert (seen.x, seen.y) == (10, 20)
    assert seen.length == pytest.approx(60)
    assert seen.width == pytest.approx(30)
    assert abs(np.cos(seen.angle - view)) < 1e-6


def test_a_part_seen_face_on_changes_no_defect() -> None:
    seen = Spot(10, 20, 60, 15, 5.0, at_edge=True).seen(View())

    assert (seen.length, seen.width) == pytest.approx((60, 15))
    assert np.exp(1j * seen.angle) == pytest.approx(np.exp(5j))
    assert seen.at_edge
