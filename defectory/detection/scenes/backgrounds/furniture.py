"""Furniture: what places are built of, from walls and lamps to racks and containers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import cv2
import numpy as np

from defectory.detection.scenes.backgrounds.stage import Colour, Stage
from defectory.detection.scenes.raster import weigh
from defectory.vision.arrays import Image

Tiles = Callable[[str], tuple[Image, ...]]
"""Gives a texture of a kind."""

Choice = TypeVar("Choice")

MARKINGS: tuple[Colour, ...] = ((226, 186, 40), (226, 186, 40), (228, 228, 222), (200, 60, 44), (60, 110, 180))
FRAMES: tuple[Colour, ...] = ((44, 74, 132), (50, 96, 150), (178, 92, 46), (96, 100, 104), (70, 110, 84))
_MACHINES: tuple[Colour, ...] = (
    (150, 156, 158), (92, 118, 132), (104, 128, 104), (186, 184, 172), (64, 84, 118), (120, 116, 108), (176, 150, 84),
)  # fmt: skip
_CARDBOARD: tuple[Colour, ...] = ((176, 142, 102), (164, 130, 92), (188, 156, 118), (150, 120, 88), (200, 196, 186))
_DOORS: tuple[Colour, ...] = ((110, 116, 120), (92, 110, 128), (140, 122, 98), (176, 176, 170), (124, 70, 60))
_DARK: Colour = (44, 46, 50)


def pick(stage: Stage, choices: tuple[Choice, ...]) -> Choice:
    """One of them."""
    return choices[int(stage.rng.integers(len(choices)))]


def paint(stage: Stage, low: float, high: float) -> Colour:
    """A wall's colour: nearly grey, warm or cold, between two levels."""
    level, warm = stage.uniform(low, high), stage.uniform(-9, 13)
    return level + warm, level + stage.uniform(-4, 4), level - warm


def width(stage: Stage, low: float, high: float) -> float:
    """Of a room, in metres; no less than what stands in it needs."""
    return max(stage.uniform(low, high), 2 * stage.room[0] + stage.uniform(0.4, 1.5))


def depth(stage: Stage, low: float, high: float) -> float:
    """Of a room, in metres; no less than what stands in it needs."""
    return max(stage.uniform(low, high), stage.room[1] + stage.uniform(0.5, 3))


def headroom(stage: Stage, low: float, high: float) -> float:
    """A ceiling's height in metres, over the camera's."""
    return max(stage.uniform(low, high), stage.camera.camera_m + 0.5)


def near(colour: Colour, stage: Stage, spread: float = 14) -> Colour:
    """The colour, a little lighter or darker."""
    shift = stage.uniform(-spread, spread)
    return colour[0] + shift, colour[1] + shift, colour[2] + shift


def shell(
    stage: Stage, tiles: Tiles, room: tuple[float, float, float], floor: str, covering: str, colour: Colour
) -> None:
    """Ceiling, floor and three walls of a room so many metres wide, deep and high."""
    wide, deep, high = room
    ceiling = stage.uniform(0.35, 1.15)
    shade = (colour[0] * ceiling, colour[1] * ceiling, colour[2] * ceiling)
    stage.image[:] = np.clip(shade, 0, 255).astype(np.uint8)
    beams = stage.uniform(1.5, 5)
    for ahead in np.arange(deep, 1, -beams):
        for edge, light in ((0.0, 0.82), (0.25, 1.08)):
            corners = [
                (-wide, high, ahead + edge),
                (wide, high, ahead + edge),
                (wide, high, ahead + edge + 0.25),
                (-wide, high, ahead + edge + 0.25),
            ]
            stage.fill(corners, (shade[0] * light, shade[1] * light, shade[2] * light))
    ground(stage, tiles, floor, deep)
    tile, metres = tiles(covering), stage.uniform(2.5, 5)
    lit = 0.9 + 0.12 * stage.lit_from
    stage.wall((-wide / 2, 0, 0.4), (0, deep - 0.4), high, tile, _times(colour, lit), metres)
    stage.wall((wide / 2, 0, deep), (0, 0.4 - deep), high, tile, _times(colour, 1.8 - lit), metres)
    stage.wall((-wide / 2, 0, deep), (wide, 0), high, tile, colour, metres)
    if stage.rng.random() < 0.45:
        dado(stage, wide, deep)


def _times(colour: Colour, light: float) -> Colour:
    return colour[0] * light, colour[1] * light, colour[2] * light


def dado(stage: Stage, wide: float, deep: float) -> None:
    """The lower part of the walls in another colour."""
    colour, high = _times(pick(stage, _DOORS), stage.uniform(0.8, 1.2)), stage.uniform(0.15, 1.4)
    w = wide / 2
    for corners in (
        [(-w, 0, 0.4), (-w, 0, deep), (-w, high, deep), (-w, high, 0.4)],
        [(w, 0, 0.4), (w, 0, deep), (w, high, deep), (w, high, 0.4)],
        [(-w, 0, deep), (w, 0, deep), (w, high, deep), (-w, high, deep)],
    ):
        stage.paint_over(corners, colour, 0.9)


def ground(stage: Stage, tiles: Tiles, kind: str, deep: float) -> None:
    """The floor, and a dim edge where it meets the wall."""
    colour = paint(stage, 96, 172) if kind != "earth" else paint(stage, 108, 150)
    stage.floor(tiles(kind), colour, stage.uniform(2.5, 6.5), deep)
    row = stage.camera.row_of(deep)
    if deep < 100 and 0 < row < stage.camera.height:
        edge = [(0.0, row - 3), (stage.camera.width, row - 3), (stage.camera.width, row + 4), (0.0, row + 4)]
        stage.darken(edge, 0.35, blur=3)


def lanes(stage: Stage, wide: float, deep: float) -> None:
    """Lines on the floor: lanes along and across, a hatched field."""
    colour = pick(stage, MARKINGS)
    worn = stage.uniform(0.4, 0.95)
    if stage.rng.random() < 0.75:
        left = stage.uniform(-wide / 3, 0)
        for x in (left, left + stage.uniform(1.5, 4)):
            stage.stripe([(x, 0.4), (x, deep - 1)], stage.uniform(0.08, 0.15), colour, worn)
    if stage.rng.random() < 0.5:
        ahead = stage.uniform(2.5, deep * 0.6)
        stage.stripe([(-wide / 2, ahead), (wide / 2, ahead)], 0.1, colour, worn)
    if stage.rng.random() < 0.3:
        x, z = stage.uniform(-4, 4), stage.uniform(2.5, 9)
        for step in range(6):
            stage.stripe([(x + step * 0.35, z), (x + step * 0.35 + 0.5, z + 1.2)], 0.14, colour, worn)


def windows(stage: Stage, wide: float, deep: float, high: float) -> None:
    """A band of bright panes high in the walls."""
    if stage.rng.random() < 0.35:
        return
    low, top = high * stage.uniform(0.45, 0.65), high * stage.uniform(0.75, 0.92)
    glass = _times((214, 226, 232), stage.uniform(0.75, 1.1))
    step = stage.uniform(1.0, 3.0)
    if stage.rng.random() < 0.6:
        for x in np.arange(-wide / 2 + 0.6, wide / 2 - step, step):
            stage.panel((x, low, deep - 0.02), step * 0.86, top - low, near(glass, stage, 8))
    side = float(stage.rng.choice([-1, 1])) * (wide / 2 - 0.02)
    for z in np.arange(deep - 0.5, 2, -step):
        stage.side_panel((side, low, z - step * 0.86), step * 0.86, top - low, near(glass, stage, 8))


def machine(stage: Stage, x: float, ahead: float, *, small: bool = False) -> None:
    """A cabinet or machine along a wall, with a panel and a few signs of life."""
    size = (stage.uniform(0.5, 1.2), stage.uniform(0.9, 2.1), stage.uniform(0.5, 1.4))
    if not small:
        size = (size[0] * 1.6, size[1] * 1.1, size[2] * 2)
    colour = near(pick(stage, _MACHINES), stage)
    stage.box((x, ahead), size, colour, turn=stage.uniform(-0.05, 0.05))
    front = ahead - size[2] / 2 - 0.01
    if front < 1:
        return
    left, right = x - size[0] * 0.4, x + size[0] * 0.4
    for _ in range(int(stage.rng.integers(1, 4))):
        low = stage.uniform(0.1, 0.7) * size[1]
        top = min(low + stage.uniform(0.1, 0.4) * size[1], size[1] * 0.96)
        a = stage.uniform(left, x)
        b = stage.uniform(x, right)
        stage.panel((a, low, front), b - a, top - low, near(pick(stage, (_DARK, colour, (190, 194, 196))), stage, 30))
    for _ in range(int(stage.rng.integers(0, 5))):
        a, low = stage.uniform(left, right), stage.uniform(0.5, 0.95) * size[1]
        stage.panel((a, low, front), 0.06, 0.06, pick(stage, ((200, 60, 50), (80, 180, 90), (230, 200, 70))))


def wall_furniture(stage: Stage, wide: float, deep: float) -> None:
    """On the back wall: doors, signs, boards, pipes."""
    doors(stage, wide, deep)
    for _ in range(int(stage.rng.integers(1, 6))):
        x, low = stage.uniform(-wide / 2, wide / 2 - 1), stage.uniform(1.2, 2.4)
        a, b = stage.uniform(0.3, 1.8), stage.uniform(0.3, 1.1)
        colour = pick(
            stage,
            ((236, 236, 230), (60, 100, 160), (190, 60, 48), (70, 130, 84), (224, 190, 60), _DARK, (200, 196, 180)),
        )
        z = deep - 0.03
        stage.panel((x, low, z), a, b, near(colour, stage))
        if b > 0.5:
            for row in np.arange(low + 0.12, low + b - 0.1, 0.12):
                stage.line((x + 0.1, row, z), (x + a * stage.uniform(0.5, 0.9), row, z), _times(colour, 0.6), 0.03)
    for _ in range(int(stage.rng.integers(0, 4))):
        high = stage.uniform(1.8, 4)
        colour = near(pick(stage, ((150, 154, 158), (120, 96, 70), (90, 110, 140), (176, 176, 168))), stage)
        stage.line((-wide / 2, high, deep - 0.1), (wide / 2, high, deep - 0.1), colour, stage.uniform(0.05, 0.2))


def doors(stage: Stage, wide: float, deep: float) -> None:
    """A door or a gate in the back wall."""
    for _ in range(int(stage.rng.integers(0, 3))):
        gate = stage.rng.random() < 0.5 and wide > 6
        a, b = (
            (stage.uniform(2.6, 4.5), stage.uniform(2.8, 4.5))
            if gate
            else (stage.uniform(0.9, 1.8), stage.uniform(2.0, 2.3))
        )
        x, z = stage.uniform(-wide / 2 + 0.3, max(wide / 2 - a, -wide / 2 + 0.4)), deep - 0.02
        colour = near(pick(stage, _DOORS), stage)
        stage.panel((x - 0.1, 0, z), a + 0.2, b + 0.1, _times(colour, 0.6))
        stage.panel((x, 0, z), a, b, colour)
        if gate:
            for row in np.arange(0.4, b, 0.45):
                stage.line((x, row, z), (x + a, row, z), _times(colour, 0.78), 0.05)
        elif stage.rng.random() < 0.5:
            stage.panel((x + a * 0.3, 1.2, z), a * 0.4, 0.6, (190, 204, 210))


def side_door(stage: Stage, x: float, ahead: float) -> None:
    """A door in a side wall."""
    wide, colour = stage.uniform(0.85, 1.3), near(pick(stage, _DOORS), stage)
    if ahead - wide < 0.8:
        return
    for grow, shade in ((0.1, 0.6), (0.0, 1.0)):
        stage.side_panel((x, 0, ahead - wide - grow), wide + 2 * grow, 2.1 + grow, _times(colour, shade))


def lamps(stage: Stage, wide: float, deep: float, high: float, step: float, *, strips: bool = False) -> None:
    """Lamps under the ceiling, and their sheen on the floor."""
    bright = stage.uniform(0.85, 1.1)
    columns = np.arange(-wide / 2 + 1.2, wide / 2 - 0.8, max(step, 1.6)) if wide > 4 else np.array([0.0])
    sheen = np.zeros((stage.image.shape[0] // 4, stage.image.shape[1] // 4), np.uint8)
    for x in columns:
        for z in np.arange(deep - 1, 1.5, -step):
            a, b = (0.15, 0.75) if strips else (0.3, 0.3)
            corners = [
                (x - a, high - 0.1, z - b),
                (x + a, high - 0.1, z - b),
                (x + a, high - 0.1, z + b),
                (x - a, high - 0.1, z + b),
            ]
            stage.fill(corners, _times((252, 250, 240), bright))
            mirrored = np.array(stage.camera.project([(px, -high, pz) for px, _, pz in corners]))
            cv2.fillConvexPoly(sheen, np.rint(np.clip(mirrored / 4, -2000, 2000)).astype(np.int32), 255)
    gloss = stage.uniform(0, 0.5) ** 2
    if gloss > 0.01:
        _add_sheen(stage, sheen, deep, gloss)


def _add_sheen(stage: Stage, sheen: Image, deep: float, gloss: float) -> None:
    row = max(int(stage.camera.row_of(deep)) + 1, 0)
    if row >= stage.image.shape[0] - 8:
        return
    soft = cv2.GaussianBlur(sheen, (0, 0), sigmaX=3, sigmaY=9)
    full = cv2.resize(soft, stage.image.shape[1::-1], interpolation=cv2.INTER_LINEAR)[row:]
    part = stage.image[row:]
    cv2.add(part, cv2.merge([np.asarray(full * gloss, np.uint8)] * 3), dst=part)


def racks(stage: Stage, x: float, side: float, deep: float, high: float, frame: Colour) -> None:
    """Shelves along the aisle, filled with boxes."""
    bay, shelf = stage.uniform(2.2, 3.0), stage.uniform(1.1, 1.8)
    inside = x + side * 1.1
    stage.side_panel((inside, 0, 0.5), deep - 0.5, high, _times(frame, 0.3))
    full = stage.uniform(0.5, 0.95)
    for z in np.arange(deep - bay, 0.3, -bay):
        for level in np.arange(0.1, high - 0.3, shelf):
            _goods(stage, x, side, (z, level), bay, shelf, full)
            stage.side_panel((x, level - 0.05, z), bay, 0.12, near(_times(frame, 1.3), stage, 10))
        stage.side_panel((x, 0, z - 0.06), 0.12, high, near(frame, stage, 8))


def _goods(
    stage: Stage, x: float, side: float, place: tuple[float, float], bay: float, shelf: float, full: float
) -> None:
    z, level = place
    start = 0.12
    while start < bay - 0.4:
        long = stage.uniform(0.4, 1.2)
        if stage.rng.random() < full and start + long < bay:
            high, back = stage.uniform(0.35, 0.85) * shelf, x + side * stage.uniform(0.05, 0.3)
            colour = near(pick(stage, _CARDBOARD), stage, 22)
            a = z + start
            stage.side_panel((back, level, a), long, high, colour)
            if a > 1:
                stage.panel((back, level, a), side * 0.8, high, _times(colour, 0.72))
            stage.side_panel((back, level + high * 0.3, a + long / 2 - 0.1), 0.2, high * 0.25, _times(colour, 1.25))
        start += long + stage.uniform(0.02, 0.2)


def bench(stage: Stage, x: float, ahead: float) -> None:
    """A workbench with things on it."""
    wide, colour = stage.uniform(1.2, 2.4), near(pick(stage, ((150, 124, 90), (120, 124, 128), (96, 110, 120))), stage)
    stage.box((x, ahead), (wide, 0.08, 0.7), colour, foot=0.82)
    for leg in (-0.46, 0.46):
        stage.box((x + leg * wide, ahead), (0.08, 0.82, 0.6), _times(colour, 0.6))
    for _ in range(int(stage.rng.integers(1, 6))):
        size = (stage.uniform(0.08, 0.4), stage.uniform(0.06, 0.4), stage.uniform(0.1, 0.3))
        stage.box((x + stage.uniform(-0.4, 0.4) * wide, ahead), size, near(pick(stage, _MACHINES), stage, 30), foot=0.9)


def clutter(stage: Stage, wide: float, deep: float) -> None:
    """Boxes of no class that stand about."""
    for ahead in sorted(stage.rng.uniform(3, deep, int(stage.rng.integers(0, 5))), reverse=True):
        size = (stage.uniform(0.3, 1.0), stage.uniform(0.2, 1.0), stage.uniform(0.3, 0.9))
        x = float(stage.rng.choice([-1, 1])) * stage.uniform(0.2, 0.48) * wide
        stage.box(
            (x, float(ahead)),
            size,
            near(pick(stage, (*_CARDBOARD, *_MACHINES)), stage, 20),
            turn=stage.uniform(-0.8, 0.8),
        )


def pools_of_light(stage: Stage) -> None:
    """Lamps and windows light a place unevenly."""
    coarse = stage.rng.normal(0, 1, (4, 4)).astype(np.float32)
    coarse += np.linspace(-1, 1, 4, dtype=np.float32) * stage.lit_from * stage.uniform(0, 1.2)
    levels = np.clip(128 * (1 + coarse * stage.uniform(0.04, 0.14)), 40, 250).astype(np.uint8)
    field = cv2.resize(cv2.resize(levels, (32, 32), interpolation=cv2.INTER_CUBIC), stage.image.shape[1::-1])
    stage.image[:] = weigh(stage.image, np.asarray(field, np.uint8), 1 / 128)


def sky(stage: Stage, tiles: Tiles) -> None:
    """Overcast, blue or dull."""
    high = max(int(stage.camera.horizon) + 2, 2)
    top = np.array(pick(stage, ((120, 158, 206), (168, 182, 196), (196, 200, 204), (140, 150, 164))), np.float32)
    low = np.array(pick(stage, ((214, 222, 228), (226, 224, 218), (190, 198, 204))), np.float32)
    share = np.linspace(0, 1, high, dtype=np.float32)[:, None]
    column = np.clip(top + (low - top) * share, 0, 255).astype(np.uint8)[: stage.image.shape[0], None]
    picture = stage.image[:high]
    picture[:] = column
    clouds = cv2.resize(tiles("clouds")[0], picture.shape[1::-1])
    cv2.multiply(picture, clouds, dst=picture, scale=1 / 128)


def skyline(stage: Stage, deep: float) -> None:
    """Trees and buildings far away."""
    x = -deep
    while x < deep:
        wide, high = stage.uniform(2, 14), stage.uniform(1.5, 9)
        if stage.rng.random() < 0.45:
            green = near((88, 104, 74), stage, 20)
            for _ in range(6):
                middle = stage.camera.project(
                    [(x + stage.uniform(0, wide), high * stage.uniform(0.2, 0.7), deep * 1.5)]
                )[0]
                radius = int(stage.camera.focal * stage.uniform(0.8, 2.2) / (deep * 1.5)) + 1
                cv2.circle(
                    stage.image,
                    tuple(np.rint(np.clip(middle, -4000, 4000)).astype(int).tolist()),
                    radius,
                    near(green, stage, 14),
                    -1,
                    cv2.LINE_AA,
                )
        elif stage.rng.random() < 0.7:
            colour = paint(stage, 110, 190)
            stage.panel((x, 0, deep * 1.4), wide, high, colour)
            for row in np.arange(1, high - 1, 2.2):
                for column in np.arange(x + 0.8, x + wide - 1.2, 2.0):
                    stage.panel((column, row, deep * 1.4), 1.0, 1.1, _times(colour, 0.55))
        x += wide * stage.uniform(0.4, 1.1)


def container(stage: Stage, tiles: Tiles, x: float, ahead: float) -> None:
    """A shipping container or a site hut."""
    colour = pick(stage, ((150, 84, 66), (70, 98, 128), (84, 116, 92), (176, 172, 164), (180, 150, 84)))
    stage.box((x, ahead), (6.0, 2.6, 2.4), colour)
    front = ahead - 1.2
    stage.wall((x - 3, 0, front), (6.0, 0), 2.6, tiles("corrugated"), _times(colour, 0.95), 2.5)


def facade(stage: Stage, tiles: Tiles, ahead: float) -> None:
    """A building under construction, with a scaffold or bare floors."""
    wide, high = stage.uniform(6, 20), stage.uniform(4, 12)
    x = stage.uniform(-wide, 2)
    stage.wall(
        (x, 0, ahead), (wide, 0), high, tiles(pick(stage, ("bricks", "plaster", "plaster"))), paint(stage, 100, 180), 4
    )
    for row in np.arange(0.9, high - 1.4, 2.8):
        for column in np.arange(x + 0.8, x + wide - 1.5, stage.uniform(2, 3.4)):
            z = ahead - 0.01
            stage.panel((column, row, z), 1.2, 1.4, near((58, 64, 72), stage, 16))
    if stage.rng.random() < 0.6:
        steel = near((150, 150, 146), stage, 20)
        for column in np.arange(x, x + wide + 0.1, 2.0):
            stage.line((column, 0, ahead - 0.8), (column, high, ahead - 0.8), steel, 0.06)
        for row in np.arange(1.9, high, 2.0):
            stage.line((x, row, ahead - 0.8), (x + wide, row, ahead - 0.8), near((150, 120, 84), stage), 0.16)
            stage.line((x, row + 1, ahead - 0.8), (x + wide, row + 1, ahead - 0.8), steel, 0.05)


def fence(stage: Stage, ahead: float) -> None:
    """A site fence of wire."""
    colour, high = near((150, 154, 152), stage, 30), stage.uniform(1.6, 2.1)
    for x in np.arange(-14, 14, 3.4):
        for place in (x, x + 3.3):
            stage.line((place, 0, ahead), (place, high, ahead), colour, 0.05)
        for row in (0.15, high):
            stage.line((x, row, ahead), (x + 3.3, row, ahead), colour, 0.04)
        if ahead < 14:
            for place in np.arange(x + 0.2, x + 3.3, 0.3):
                stage.line((place, 0.15, ahead), (place, high, ahead), colour, 0.008)


def heap(stage: Stage, x: float, ahead: float) -> None:
    """A heap of sand or rubble."""
    wide, high = stage.uniform(1.2, 3.5), stage.uniform(0.5, 1.5)
    colour = near((150, 130, 100), stage, 24)
    steps = np.linspace(-1, 1, 14)
    outline = [(x + wide * a, max(high * (1 - a * a) + stage.uniform(-0.08, 0.08), 0), ahead) for a in steps]
    stage.shade_floor([(x - wide, ahead), (x + wide, ahead), (x + wide, ahead + 0.8), (x - wide, ahead + 0.8)], 0.5)
    stage.fill([*outline, (x, -0.02, ahead - 0.4)], colour)
    lit = [(px + 0.1 * stage.lit_from * wide, py * 0.8, pz) for px, py, pz in outline]
    stage.fill(lit, _times(colour, 1.12))
