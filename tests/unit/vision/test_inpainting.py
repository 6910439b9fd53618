from __future__ import annotations

import numpy as np
import pytest

from defectory.vision.inpainting import fill, spread


def _stripes(height: int = 90, width: int = 120) -> np.ndarray:
    """A surface with a grain, brighter to the right."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    level = 0.4 + 0.12 * np.sin(2 * np.pi * y / 9) + 0.001 * x + 0.01 * rng.standard_normal((height, width))
    return np.repeat(level[..., None], 3, axis=2).astype(np.float32)


def _disc(shape: tuple[int, int], x: int, y: int, radius: int) -> np.ndarray:
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(xx - x, yy - y) <= radius


def test_a_hole_is_filled_with_the_grain_around_it() -> None:
    surface = _stripes()
    hole = _disc(surface.shape[:2], 60, 45, 10)
    damaged = np.where(hole[..., None], np.float32(0.95), surface)

    filled = fill(damaged, hole, np.ones_like(hole))

    assert np.array_equal(filled[~hole], damaged[~hole])
    assert np.corrcoef(filled[hole].ravel(), surface[hole].ravel())[0, 1] > 0.9


def test_another_component_is_not_what_fills_a_hole() -> None:
    surface = _stripes()
    hole, other = _disc(surface.shape[:2], 35, 45, 8), _disc(surface.shape[:2], 85, 45, 6)
    damaged = np.where((hole | other)[..., None], np.float32(0.95), surface)

    filled = fill(damaged, hole, np.ones_like(hole))

    assert filled[hole].max() < 0.8


def test_only_what_is_usable_is_taken() -> None:
    surface = _stripes()
    surface[:, 60:] = (0.9, 0.1, 0.1)
    hole = _disc(surface.shape[:2], 62, 45, 8)
    usable = np.zeros_like(hole)
    usable[:, 60:] = True

    filled = fill(surface, hole, usable)

    assert filled[hole] == pytest.approx(np.array([[0.9, 0.1, 0.1]] * hole.sum()), abs=0.02)


def test_a_hole_too_large_for_any_like_it_keeps_the_surface_structure() -> None:
    rng = np.random.default_rng(1)
    surface = (0.5 + 0.05 * rng.standard_normal((80, 80, 1)) + np.zeros(3)).astype(np.float32)
    hole = np.zeros((80, 80), bool)
    hole[8:, 8:] = True

    filled = fill(np.where(hole[..., None], np.float32(0), surface), hole, ~hole)

    assert filled[hole].mean() == pytest.approx(0.5, abs=0.03)
    assert 0.03 < filled[hole].std() < 0.08


@pytest.mark.parametrize("hole", [np.zeros((40, 40), bool), np.ones((40, 40), bool)])
def test_nothing_to_fill_or_to_fill_with_changes_nothing(hole: np.ndarray) -> None:
    surface = _stripes(40, 40)

    assert np.array_equal(fill(surface, hole, ~hole), surface)


def test_what_is_known_stays_when_it_is_spread() -> None:
    y, x = np.mgrid[:33, :50].astype(np.float32)
    ramp = np.repeat((x + 2 * y)[..., None] / 120, 3, axis=2)
    known = np.ones((33, 50), bool)
    known[10:20, 15:30] = False

    filled = spread(np.where(known[..., None], ramp, np.float32(9)), known)

    assert filled[known] == pytest.approx(ramp[known], abs=1e-5)
    assert np.abs(filled - ramp).max() < 0.1
