"""Textures: floors and walls as tiles that join at their edges, made from noise once and then reused."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from defectory.vision.arrays import Field, Image

TILE = 512
"""Pixels of a tile, each side."""

_CACHED = 64


@lru_cache(maxsize=_CACHED)
def texture(kind: str, seed: int) -> tuple[Image, ...]:
    """A tile of ``kind`` and its smaller copies, each half as large as the one before: uint8 RGB, about 128 bright."""
    rng = np.random.default_rng([seed, sum(kind.encode())])
    tile = np.clip(_MAKERS[kind](rng), 0, 255).astype(np.uint8)
    levels = [tile]
    while levels[-1].shape[0] > 4:
        levels.append(np.asarray(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8))
    return tuple(levels)


def noise(rng: np.random.Generator, cells: int, side: int = TILE) -> Field:
    """Smooth noise of ``cells`` x ``cells`` bumps, about -1..1, whose edges join; shape ``(side, side)``."""
    grid = np.pad(rng.standard_normal((cells, cells)).astype(np.float32), 2, mode="wrap")
    scale = side / cells
    wide = cv2.resize(grid, (round(side * (cells + 4) / cells),) * 2, interpolation=cv2.INTER_CUBIC)
    start = round(2 * scale)
    return np.asarray(wide[start : start + side, start : start + side], np.float32)


def fractal(rng: np.random.Generator, cells: int, octaves: int, fall: float = 0.55) -> Field:
    """Noise of several sizes, each twice as fine as the one before; shape ``(TILE, TILE)``."""
    total = np.zeros((1, 1), np.float32)
    for octave in range(octaves):
        # Four pixels a bump say all of it; only the sum is made as large as the tile.
        side = min(4 * (cells << octave), TILE)
        total = np.asarray(cv2.resize(total, (side, side)), np.float32)
        total += fall**octave * noise(rng, min(cells << octave, side // 2), side)
    return np.asarray(cv2.resize(total, (TILE, TILE), interpolation=cv2.INTER_CUBIC), np.float32)


def _concrete(rng: np.random.Generator) -> Field:
    level = 128 + 5 * fractal(rng, 3, 6, 0.75) + 5 * rng.standard_normal((TILE, TILE), np.float32)
    _pit(level, rng, 160)
    _crack(level, rng, int(rng.integers(0, 3)))
    _blotch(level, rng, int(rng.integers(2, 7)), 9)
    if rng.random() < 0.7:
        _joints(level, int(rng.choice([TILE, TILE // 2])), 26, int(rng.integers(1, 4)))
    return _tinted(level, rng, 5)


def _epoxy(rng: np.random.Generator) -> Field:
    level = 128 + 4 * fractal(rng, 2, 4) + 2 * rng.standard_normal((TILE, TILE), np.float32)
    _blotch(level, rng, int(rng.integers(1, 4)), 10)
    _scuff(level, rng, int(rng.integers(6, 30)))
    colour = np.array(
        [(124, 130, 128), (104, 128, 112), (112, 120, 132), (138, 116, 104), (132, 130, 122)][rng.integers(5)]
    )
    return level[..., None] * (colour / 128).astype(np.float32)


def _asphalt(rng: np.random.Generator) -> Field:
    level = 112 + 5 * fractal(rng, 3, 4) + 17 * rng.standard_normal((TILE, TILE), np.float32)
    _crack(level, rng, int(rng.integers(1, 5)))
    _blotch(level, rng, int(rng.integers(2, 6)), 9)
    return _tinted(level, rng, 4)


def _tiles(rng: np.random.Generator) -> Field:
    count = int(rng.choice([8, 12, 16]))
    each = rng.normal(0, 6, (count, count)).astype(np.float32)
    level = 134 + cv2.resize(each, (TILE, TILE), interpolation=cv2.INTER_NEAREST) + 3 * fractal(rng, 4, 4)
    _joints(level, TILE // count, 38, 2)
    _blotch(level, rng, int(rng.integers(1, 5)), 8)
    return _tinted(level, rng, 9)


def _earth(rng: np.random.Generator) -> Field:
    level = 122 + 5 * fractal(rng, 4, 6, 1.0) + 12 * rng.standard_normal((TILE, TILE), np.float32)
    _pit(level, rng, 700)
    colour = np.array([(142, 124, 100), (132, 118, 104), (150, 138, 118), (118, 122, 96)][rng.integers(4)])
    return level[..., None] * (colour / 124).astype(np.float32)


def _plaster(rng: np.random.Generator) -> Field:
    level = 132 + 5 * fractal(rng, 2, 5) + 2 * rng.standard_normal((TILE, TILE), np.float32)
    _blotch(level, rng, int(rng.integers(0, 4)), 12)
    return _tinted(level, rng, 8)


def _panels(rng: np.random.Generator) -> Field:
    level = 130 + 3 * fractal(rng, 2, 4)
    width = TILE // int(rng.choice([2, 4]))
    level += cv2.resize(
        rng.normal(0, 4, (1, TILE // width)).astype(np.float32), (TILE, TILE), interpolation=cv2.INTER_NEAREST
    )
    level[:, ::width] -= 30
    level[:, 1::width] += 12
    return _tinted(level, rng, 10)


def _bricks(rng: np.random.Generator) -> Field:
    rows, columns = int(rng.choice([16, 24])), int(rng.choice([6, 8]))
    each = cv2.resize(
        rng.normal(0, 11, (rows, columns * 2)).astype(np.float32), (TILE, TILE), interpolation=cv2.INTER_NEAREST
    )
    level = 118 + each + 6 * fractal(rng, 8, 4)
    tall, wide = TILE / rows, TILE / columns
    for row in range(rows):
        level[round(row * tall) : round(row * tall) + 2] = 152
        for column in range(columns):
            x = round((column + 0.5 * (row % 2)) * wide) % TILE
            level[round(row * tall) : round((row + 1) * tall), x : x + 2] = 152
    colour = np.array([(150, 112, 96), (128, 128, 124), (142, 132, 118)][rng.integers(3)])
    return level[..., None] * (colour / 124).astype(np.float32)


def _corrugated(rng: np.random.Generator) -> Field:
    waves = int(rng.choice([16, 32, 48]))
    across = np.sin(np.arange(TILE, dtype=np.float32) * (2 * np.pi * waves / TILE))
    level = 128 + 15 * across[None, :] + 4 * fractal(rng, 2, 5)
    return _tinted(level.astype(np.float32), rng, 10)


def _clouds(rng: np.random.Generator) -> Field:
    return np.repeat((128 + 14 * fractal(rng, 2, 4))[..., None], 3, axis=2)


_MAKERS: dict[str, Callable[[np.random.Generator], Field]] = {
    "concrete": _concrete,
    "epoxy": _epoxy,
    "asphalt": _asphalt,
    "tiles": _tiles,
    "earth": _earth,
    "plaster": _plaster,
    "panels": _panels,
    "bricks": _bricks,
    "corrugated": _corrugated,
    "clouds": _clouds,
}


def _tinted(level: Field, rng: np.random.Generator, spread: float) -> Field:
    tint = 1 + rng.normal(0, spread, 3) / 256
    return np.asarray(cv2.merge([level * np.float32(share) for share in tint]), np.float32)


def _pit(level: Field, rng: np.random.Generator, count: int) -> None:
    for x, y, radius, depth in zip(
        *rng.integers(0, TILE, (2, count)), rng.integers(1, 3, count), rng.normal(0, 16, count), strict=True
    ):
        level[y : y + radius, x : x + radius] += depth


def _crack(level: Field, rng: np.random.Generator, count: int) -> None:
    for _ in range(count):
        steps = rng.normal(0, 0.5, 60).cumsum() + rng.uniform(0, 2 * np.pi)
        path = rng.uniform(0, TILE, 2) + np.cumsum(np.stack([np.cos(steps), np.sin(steps)], axis=1) * 6, axis=0)
        lines = np.zeros((TILE, TILE), np.uint8)
        cv2.polylines(lines, [np.rint(path).astype(np.int32)], False, 255, 1, cv2.LINE_AA)
        level -= lines.astype(np.float32) * (rng.uniform(20, 50) / 255)


def _blotch(level: Field, rng: np.random.Generator, count: int, depth: float) -> None:
    """Where it is worn or was once wet: soft and faint, or it would be a spill that nobody labels."""
    ragged = noise(rng, 12)
    for _ in range(count):
        x, y = rng.integers(100, TILE - 100, 2)
        radius, squeeze = rng.uniform(12, 60), rng.uniform(0.7, 1.4)
        window = slice(y - 100, y + 100), slice(x - 100, x + 100)
        across, along = (
            np.arange(-100, 100, dtype=np.float32) * squeeze,
            np.arange(-100, 100, dtype=np.float32)[:, None],
        )
        away = np.sqrt(across * across + along * along) / radius + 0.22 * ragged[window]
        level[window] -= np.clip((1.05 - away) * 1.6, 0, 1) * rng.normal(depth / 2, depth / 2)


def _scuff(level: Field, rng: np.random.Generator, count: int) -> None:
    lines = np.zeros((TILE, TILE), np.uint8)
    for _ in range(count):
        start = rng.uniform(0, TILE, 2)
        end = start + rng.normal(0, 60, 2)
        cv2.line(
            lines,
            tuple(start.astype(int).tolist()),
            tuple(end.astype(int).tolist()),
            255,
            int(rng.integers(1, 4)),
            cv2.LINE_AA,
        )
    level -= cv2.GaussianBlur(lines, (0, 0), 1.2).astype(np.float32) * (rng.uniform(5, 16) / 255)


def _joints(level: Field, every: int, depth: float, wide: int) -> None:
    for start in range(0, TILE, every):
        level[start : start + wide] -= depth
        level[:, start : start + wide] -= depth


def sheet_noise(seed: int) -> NDArray[np.int16]:
    """Noise of a sensor with spread 16, ``(2 * TILE, 2 * TILE, 3)``; channels share some, as demosaicing leaves it."""
    return _sheet_noise(seed % 2)


@lru_cache(maxsize=2)
def _sheet_noise(seed: int) -> NDArray[np.int16]:
    rng = np.random.default_rng(seed)
    grey = rng.standard_normal((2 * TILE, 2 * TILE, 1), np.float32)
    colour = rng.standard_normal((2 * TILE, 2 * TILE, 3), np.float32)
    levels: NDArray[np.int16] = np.rint((0.6 * grey + 0.8 * colour) * 16).astype(np.int16)
    return levels
