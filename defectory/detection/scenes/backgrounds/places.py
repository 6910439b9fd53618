"""Places: halls, warehouses, workshops, corridors and yards as code, no two alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from defectory.detection.layouts.records import View
from defectory.detection.scenes.backgrounds import furniture as parts
from defectory.detection.scenes.backgrounds.perspective import Perspective
from defectory.detection.scenes.backgrounds.stage import Stage
from defectory.detection.scenes.backgrounds.textures import texture
from defectory.vision.arrays import Image

VARIANTS = 8
"""Textures of each kind, for training; as many others for testing."""


def draw_place(
    kind: str, size: tuple[int, int], view: View, room: tuple[float, float], *, seed: int, test: bool
) -> Image:
    """A place as the camera of ``view`` sees it, uint8 RGB ``(height, width, 3)``, in neutral light.

    Args:
        kind: one of `PLACES`.
        size: width and height.
        view: where the camera stands.
        room: metres of floor that no wall stands on, to either side and ahead.
        seed: another seed, another place.
        test: whether it is to test on: those have textures of their own.
    """
    rng = np.random.default_rng([seed, int(test)])
    stage = Stage(Perspective.of(view, size), room, rng)
    PLACES[kind](stage, (lambda name: texture(name, int(rng.integers(VARIANTS)) + VARIANTS * int(test))))
    parts.pools_of_light(stage)
    return stage.image


parts.Tiles = Callable[[str], tuple[Image, ...]]


def _hall(stage: Stage, tiles: parts.Tiles) -> None:
    wide, deep, high = parts.width(stage, 14, 36), parts.depth(stage, 16, 45), parts.headroom(stage, 5, 9)
    paint = parts.paint(stage, 96, 178)
    floor = parts.pick(stage, ("concrete", "epoxy", "epoxy", "concrete", "tiles"))
    walls = parts.pick(stage, ("panels", "corrugated", "plaster", "bricks"))
    parts.shell(stage, tiles, (wide, deep, high), floor, walls, paint)
    parts.lanes(stage, wide, deep)
    parts.windows(stage, wide, deep, high)
    for side in (-1, 1):
        for ahead in np.arange(deep - 2, 3, -stage.uniform(5, 8)):
            if stage.rng.random() < 0.75:
                parts.machine(stage, side * (wide / 2 - stage.uniform(1.2, 2.6)), float(ahead))
        for ahead in np.arange(deep - 1, 2, -stage.uniform(6, 9)):
            stage.box((side * (wide / 2 - 0.3), float(ahead)), (0.35, high, 0.35), paint)
    parts.wall_furniture(stage, wide, deep)
    parts.lamps(stage, wide, deep, high, stage.uniform(4, 8))


def _warehouse(stage: Stage, tiles: parts.Tiles) -> None:
    aisle, deep, high = parts.width(stage, 3.2, 8), parts.depth(stage, 14, 40), parts.headroom(stage, 6, 10)
    wide = aisle + 2.4
    floor = parts.pick(stage, ("concrete", "concrete", "epoxy"))
    walls = parts.pick(stage, ("panels", "corrugated", "bricks"))
    parts.shell(stage, tiles, (wide + 6, deep, high), floor, walls, parts.paint(stage, 80, 165))
    parts.doors(stage, wide, deep)
    frame = parts.pick(stage, parts.FRAMES)
    for side in (-1, 1):
        if stage.rng.random() < 0.88:
            parts.racks(stage, side * aisle / 2, side, deep, min(high - 1, stage.uniform(3.5, 7)), frame)
    colour = parts.pick(stage, parts.MARKINGS)
    if stage.rng.random() < 0.7:
        for side in (-1, 1):
            edge = side * (aisle / 2 - stage.uniform(0.15, 0.5))
            stage.stripe([(edge, 0.4), (edge, deep)], 0.1, colour, stage.uniform(0.45, 0.9))
    parts.lamps(stage, aisle, deep, high, stage.uniform(3, 6))


def _workshop(stage: Stage, tiles: parts.Tiles) -> None:
    wide, deep, high = parts.width(stage, 6, 13), parts.depth(stage, 5, 13), parts.headroom(stage, 2.9, 4.5)
    floor = parts.pick(stage, ("concrete", "tiles", "epoxy", "concrete"))
    walls = parts.pick(stage, ("plaster", "bricks", "plaster", "panels"))
    parts.shell(stage, tiles, (wide, deep, high), floor, walls, parts.paint(stage, 104, 190))
    parts.windows(stage, wide, deep, high)
    parts.wall_furniture(stage, wide, deep)
    for _ in range(int(stage.rng.integers(1, 5))):
        parts.bench(stage, stage.uniform(-wide / 2 + 1, wide / 2 - 1), deep - stage.uniform(0.4, 1.0))
    for side in (-1, 1):
        for ahead in np.arange(deep - 1, 1.5, -stage.uniform(1.5, 3.5)):
            if stage.rng.random() < 0.6:
                parts.machine(stage, side * (wide / 2 - stage.uniform(0.4, 0.7)), float(ahead), small=True)
    parts.clutter(stage, wide, deep)
    parts.lamps(stage, wide, deep, high, stage.uniform(2, 3.5), strips=True)


def _corridor(stage: Stage, tiles: parts.Tiles) -> None:
    wide, deep, high = parts.width(stage, 2.4, 4.5), parts.depth(stage, 9, 35), parts.headroom(stage, 2.5, 3.3)
    paint = parts.paint(stage, 120, 198)
    floor = parts.pick(stage, ("tiles", "epoxy", "concrete", "tiles"))
    walls = parts.pick(stage, ("plaster", "plaster", "bricks", "panels"))
    parts.shell(stage, tiles, (wide, deep, high), floor, walls, paint)
    if stage.rng.random() < 0.5:
        parts.dado(stage, wide, deep)
    for side in (-1, 1):
        for ahead in np.arange(deep - 1.5, 2.2, -stage.uniform(2.5, 5)):
            if stage.rng.random() < 0.6:
                parts.side_door(stage, side * (wide / 2 - 0.01), float(ahead))
    parts.doors(stage, wide, deep)
    parts.lamps(stage, wide, deep, high, stage.uniform(2, 4), strips=True)


def _yard(stage: Stage, tiles: parts.Tiles) -> None:
    deep = stage.uniform(18, 60)
    parts.sky(stage, tiles)
    parts.skyline(stage, deep)
    parts.ground(stage, tiles, parts.pick(stage, ("asphalt", "earth", "concrete", "earth")), 400)
    built: list[tuple[float, Callable[[float], None]]] = []
    if stage.rng.random() < 0.55:
        built.append((stage.uniform(8, deep), lambda ahead: parts.facade(stage, tiles, ahead)))
    for _ in range(int(stage.rng.integers(0, 4))):
        built.append(
            (stage.uniform(9, deep), lambda ahead: parts.container(stage, tiles, stage.uniform(-16, 16), ahead))
        )
    if stage.rng.random() < 0.6:
        built.append((stage.uniform(8, 22), lambda ahead: parts.fence(stage, ahead)))
    for _ in range(int(stage.rng.integers(0, 3))):
        built.append((stage.uniform(6, 20), lambda ahead: parts.heap(stage, stage.uniform(-9, 9), ahead)))
    for ahead, build in sorted(built, key=lambda part: -part[0]):
        build(ahead)
    parts.clutter(stage, 12, 8)


PLACES: dict[str, Callable[[Stage, parts.Tiles], None]] = {
    "hall": _hall,
    "warehouse": _warehouse,
    "workshop": _workshop,
    "corridor": _corridor,
    "yard": _yard,
}
"""The kinds of place, by the names that layouts call them."""
