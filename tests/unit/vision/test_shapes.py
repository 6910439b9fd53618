from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defectory.vision import shapes

Draw = Callable[[np.random.Generator, int], shapes.Coverage]
CLOSED: dict[str, Draw] = {
    "blob": lambda rng, side: shapes.blob(rng, side, roughness=0.7, elongation=1.6, angle=0.4),
    "patches": shapes.patches,
    "splash": shapes.splash,
    "drip": shapes.drip,
    "specks": shapes.specks,
    "chip": shapes.chip,
}


@pytest.mark.parametrize("name", CLOSED)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), side=st.integers(12, 120))
def test_a_shape_lies_in_the_middle_of_its_tile(name: str, seed: int, side: int) -> None:
    coverage = CLOSED[name](np.random.default_rng(seed), side)

    assert coverage.shape == (side, side)
    assert coverage.dtype == np.float32
    assert coverage.min() >= 0
    assert coverage.max() <= 1
    assert not np.concatenate([coverage[0], coverage[-1], coverage[:, 0], coverage[:, -1]]).any()


@pytest.mark.parametrize("name", CLOSED)
def test_the_same_seed_draws_the_same_shape(name: str) -> None:
    first, again, other = (CLOSED[name](np.random.default_rng(seed), 60) for seed in (5, 5, 6))

    assert first.max() > 0.5
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_long_blob_points_where_it_is_told() -> None:
    coverage = shapes.blob(np.random.default_rng(1), 100, roughness=0.2, elongation=3, angle=np.pi / 4)

    y, x = np.nonzero(coverage > 0.5)
    along, across = (x + y - (x + y).mean()).std(), (x - y - (x - y).mean()).std()
    assert along > 2 * across


def test_edges_cover_pixels_in_part() -> None:
    disc = shapes.blob(np.random.default_rng(0), 50, roughness=0)

    radius = 50 * (1 - 2 * shapes.MARGIN) / 2
    assert disc.sum() == pytest.approx(np.pi * radius**2, rel=0.02)
    assert 0 < ((disc > 0.05) & (disc < 0.95)).mean() < 0.1


@pytest.mark.parametrize("width", [0.4, 1.0, 3.0, 9.0])
def test_a_stroke_covers_its_length_times_its_width(width: float) -> None:
    points = np.stack([np.linspace(20, 90, 30), np.linspace(30, 60, 30)], axis=1)

    coverage = shapes.line(points, width, (100, 120))

    length = np.hypot(70, 30)
    assert coverage.sum() == pytest.approx(length * width + np.pi * width**2 / 4, rel=0.16)


def test_a_stroke_that_leaves_the_picture_is_cut() -> None:
    points = np.stack([np.linspace(-30, 60, 30), np.linspace(-20, 25, 30)], axis=1)

    coverage = shapes.line(points, 3.0, (40, 40))

    assert coverage.shape == (40, 40)
    assert coverage[:, -1].max() > 0.5


def test_a_fibre_fits_its_tile_and_curls_as_told() -> None:
    rng = np.random.default_rng(2)

    straight, curled = shapes.fibre(rng, 100, curl=0.0), shapes.fibre(rng, 100, curl=1.0)

    def stretch(points: shapes.Points) -> float:
        return float(np.linalg.norm(points[-1] - points[0]) / np.linalg.norm(np.diff(points, axis=0), axis=1).sum())

    for points in (straight, curled):
        assert points.min() >= 100 * shapes.MARGIN - 1e-6
        assert points.max() <= 100 * (1 - shapes.MARGIN) + 1e-6
    assert stretch(straight) > 0.9 > stretch(curled)


def test_a_fracture_keeps_its_ends_and_grows_longer() -> None:
    ends = np.array([[0.0, 0.0], [100.0, 40.0]])

    broken = shapes.fractured(np.random.default_rng(3), ends, 0.15)

    assert np.array_equal(broken[[0, -1]], ends)
    assert np.linalg.norm(np.diff(broken, axis=0), axis=1).sum() > 1.05 * np.hypot(100, 40)
    assert len(broken) > 30


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), feature=st.floats(1, 80), angle=st.floats(-3.2, 3.2))
def test_noise_is_normalised(seed: int, feature: float, angle: float) -> None:
    field = shapes.noise(np.random.default_rng(seed), (40, 56), feature, stretch=3, angle=angle)

    assert field.shape == (40, 56)
    assert float(field.mean()) == pytest.approx(0, abs=1e-3)
    assert float(field.std()) == pytest.approx(1, abs=1e-3)


def test_stretched_noise_changes_slowly_along_its_grain() -> None:
    field = shapes.noise(np.random.default_rng(4), (90, 90), 5, stretch=6, angle=0.0)

    assert np.abs(np.diff(field, axis=0)).mean() > 2 * np.abs(np.diff(field, axis=1)).mean()


def test_domes_rise_from_their_edge() -> None:
    disc = shapes.blob(np.random.default_rng(0), 60, roughness=0)

    inside, height = shapes.depth(disc), shapes.dome(disc, 8)

    assert inside[30, 30] == pytest.approx(60 * (1 - 2 * shapes.MARGIN) / 2, abs=1.5)
    assert not inside[disc == 0].any()
    assert height[30, 30] > 0.98
    assert height[disc < 0.5].mean() < 0.1
