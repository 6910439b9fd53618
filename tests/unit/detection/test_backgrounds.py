"""Places that are drawn: any camera may look at them, no two are alike, and train and test share nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defectory.detection.layouts.records import View
from defectory.detection.scenes.backgrounds import DrawnBackgrounds
from defectory.detection.scenes.backgrounds.perspective import Perspective
from defectory.detection.scenes.backgrounds.places import PLACES, draw_place
from defectory.errors import InputError

VIEW = View(horizon=24, height_m=2)
ROOM = (2.0, 8.0)


@settings(max_examples=20, deadline=None)
@given(
    kind=st.sampled_from(list(PLACES)),
    width=st.integers(64, 130),
    height=st.integers(64, 130),
    horizon=st.floats(-2000, 2000),
    camera=st.floats(0.25, 60),
    fov=st.floats(10, 150),
    room=st.tuples(st.floats(0, 14), st.floats(0, 45)),
)
def test_any_camera_sees_a_place(kind, width, height, horizon, camera, fov, room):
    view = View(horizon=horizon, height_m=camera, fov=fov)

    place = draw_place(kind, (width, height), view, room, seed=1, test=False)

    assert place.shape == (height, width, 3)
    assert place.dtype == np.uint8


@pytest.mark.parametrize("kind", PLACES)
def test_a_seed_is_a_place_and_another_another(kind):
    first, again, other, test = (
        draw_place(kind, (96, 64), VIEW, ROOM, seed=seed, test=test).astype(int)
        for seed, test in ((1, False), (1, False), (2, False), (1, True))
    )

    assert (first == again).all()
    assert np.abs(first - other).mean() > 5
    assert np.abs(first - test).mean() > 5


def test_a_kind_that_there_is_not_is_refused():
    with pytest.raises(InputError, match="hall, warehouse, workshop, corridor, yard"):
        DrawnBackgrounds("train").draw("moon", (64, 64), VIEW, ROOM, np.random.default_rng(0))


def test_a_metre_on_the_floor_is_as_long_as_the_camera_sees_it():
    """2 m above the floor, at 45 degrees: the floor 2 focal lengths below the horizon is 1 camera height away."""
    camera = Perspective.of(View(horizon=10, height_m=2, fov=90), (100, 100))

    assert camera.focal == pytest.approx(50)
    assert camera.row_of(10) == pytest.approx(20)
    assert camera.distance(20) == pytest.approx(10)
    assert camera.project([(1, 0, 10), (0, 2, 10)]) == [pytest.approx((55, 20)), pytest.approx((50, 10))]
    assert camera.aside(55, 20) == pytest.approx(1)
    assert camera.elevation(60) == pytest.approx(45)
    assert camera.distance(5) == 1000
