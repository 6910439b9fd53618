"""Bodies as signed distance fields: round shapes that melt into each other, and their surfaces as meshes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from skimage.measure import marching_cubes

Floats = NDArray[np.float32]
Field = Callable[[Floats], Floats]
"""From points ``(n, 3)`` in metres to their signed distance ``(n,)``: below 0 inside."""


def round_cone(points: Floats, start: Floats, end: Floats, first: float, last: float) -> Floats:
    """A limb from ``start`` to ``end`` whose radius goes from ``first`` to ``last``."""
    axis = np.asarray(end, np.float32) - np.asarray(start, np.float32)
    offset = points - np.asarray(start, np.float32)
    share = np.clip(offset @ axis / max(float(axis @ axis), 1e-9), 0, 1)
    distance = np.linalg.norm(offset - share[:, None] * axis, axis=1)
    return np.asarray(distance - (first + share * (last - first)), np.float32)


def ellipsoid(points: Floats, centre: tuple[float, ...] | Floats, radii: tuple[float, float, float]) -> Floats:
    """An ellipsoid (I. Quilez's approximation of the distance)."""
    offset = points - np.asarray(centre, np.float32)
    scaled = np.linalg.norm(offset / np.asarray(radii, np.float32), axis=1)
    slope = np.linalg.norm(offset / np.square(np.asarray(radii, np.float32)), axis=1)
    return np.asarray(scaled * (scaled - 1) / np.maximum(slope, 1e-6), np.float32)


def blend(first: Floats, second: Floats, reach: float = 0.03) -> Floats:
    """The union, smooth within ``reach`` metres."""
    share = np.clip(0.5 + 0.5 * (second - first) / reach, 0, 1)
    return np.asarray(second * (1 - share) + first * share - reach * share * (1 - share), np.float32)


def cut(field: Floats, away: Floats) -> Floats:
    """``field`` without what is inside of ``away``."""
    return np.asarray(np.maximum(field, -away), np.float32)


def waves(points: Floats, size: float, seed: int) -> Floats:
    """Smooth noise of about -1 to 1 whose bumps are ``size`` metres across."""
    rng = np.random.default_rng(seed)
    total = np.zeros(len(points), np.float32)
    for _ in range(5):
        direction, bend = rng.normal(size=3), rng.normal(size=3)
        direction *= 2 * np.pi / size / np.linalg.norm(direction) * rng.uniform(0.6, 1.5)
        bend *= 2 * np.pi / size / np.linalg.norm(bend) * 0.5
        phase = rng.uniform(0, 7, 2)
        total += np.sin(points @ direction + phase[0] + 1.6 * np.sin(points @ bend + phase[1]))
    return np.asarray(total / 3, np.float32)


def _grid(axes: list[Floats], chosen: NDArray[np.intp] | None = None) -> Floats:
    """The points of a grid ``(n, 3)``, or those of them that are chosen by their number."""
    if chosen is None:
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    places = np.unravel_index(chosen, [len(axis) for axis in axes])
    return np.stack([axis[place] for axis, place in zip(axes, places, strict=True)], axis=-1)


def surface(field: Field, low: Floats, high: Floats, step: float) -> tuple[Floats, NDArray[np.int32]]:
    """The surface of ``field`` within a box: vertices ``(n, 3)`` and triangles ``(m, 3)``."""
    coarse = 3 * step
    near = [np.arange(a, b + 2 * coarse, coarse, dtype=np.float32) for a, b in zip(low, high, strict=True)]
    rough = field(_grid(near)).reshape([len(axis) for axis in near])
    axes = [np.arange(a, b + step, step, dtype=np.float32) for a, b in zip(low, high, strict=True)]
    shape = tuple(len(axis) for axis in axes)
    volume = rough.repeat(3, 0).repeat(3, 1).repeat(3, 2)[: shape[0], : shape[1], : shape[2]]
    # Far from the surface its sign is enough; distances are not quite exact, so there is a margin.
    band = np.flatnonzero(np.abs(volume).ravel() < 3.5 * coarse)
    volume = np.ascontiguousarray(volume)
    volume.ravel()[band] = field(_grid(axes, band))
    volume = np.pad(volume, 1, constant_values=1.0)  # closed where the box ends
    vertices, triangles, _, _ = marching_cubes(volume, 0.0, spacing=(step,) * 3)
    return np.asarray(vertices + np.asarray(low) - step, np.float32), np.asarray(triangles[:, ::-1], np.int32)
