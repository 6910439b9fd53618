"""Hard hats: a shell with ridges and a brim, its suspension inside, a chin strap."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from mathutils import Matrix

from tools.cutouts import materials, solids


@dataclass(frozen=True, slots=True)
class HardHat:
    """A hard hat.

    Attributes:
        colour: of the shell, as ``#rrggbb``.
        ridges: sideways places of its ridges in metres.
        brim: "cap" with a peak in front, "full" all around, "climbing" with hardly any.
        mark: colour of a sticker in front; empty for none.
        band: colour of a stripe around the shell; empty for none.
        vents: whether it has slots above the ears.
        lamp: whether it carries a lamp.
        muffs: colour of ear muffs; empty for none.
        strap: whether a chin strap hangs below it.
    """

    colour: str
    ridges: tuple[float, ...] = (-0.036, 0.0, 0.036)
    brim: str = "cap"
    mark: str = ""
    band: str = ""
    vents: bool = False
    lamp: bool = False
    muffs: str = ""
    strap: bool = False
    dirt: float = 0.3


HEIGHT = 0.128
HALF_WIDTH, HALF_LENGTH = 0.106, 0.131


def build(hat: HardHat, seed: int) -> list[solids.Object]:
    """The hat with its rim around the origin in the plane z = 0, its front at -y."""
    around, rows = 72, 40
    angles = np.linspace(0, 2 * math.pi, around, endpoint=False)
    side, front = np.cos(angles), -np.sin(angles)  # front is 1 where the hat's front is
    exponent = 2.5 if hat.brim != "climbing" else 2.2
    tilts = np.linspace(0.0, math.pi / 2, rows)
    radii = np.sin(tilts) ** (2 / exponent)
    heights = np.cos(tilts) ** (2 / exponent)
    x = HALF_WIDTH * radii[:, None] * side
    y = -HALF_LENGTH * radii[:, None] * front
    z = np.repeat(HEIGHT * heights[:, None], around, 1)
    # The ridges run from the front to the back and fade towards the rim.
    fade = np.clip(heights[:, None] * 2.2 - 0.45, 0, 1) * np.clip(1.15 - np.abs(y) / HALF_LENGTH, 0, 1)
    for place in hat.ridges:
        tall = 0.011 if place == 0 else 0.008
        z = z + tall * fade * np.exp(-(((x - place) / 0.008) ** 4))
    brims = {
        "cap": 0.010 + 0.050 * np.clip(front, 0, 1) ** 2.2 + 0.008 * np.clip(-front, 0, 1) ** 2,
        "full": 0.040 + 0.014 * np.clip(front, 0, 1) ** 2 + 0.008 * np.clip(-front, 0, 1) ** 2,
        "climbing": 0.004 + 0.022 * np.clip(front, 0, 1) ** 3,
    }
    reach = brims[hat.brim]
    rings = [np.stack([x, y, z], -1)]
    for share, drop in ((0.15, 0.004), (0.5, 0.009), (1.0, 0.017), (1.02, 0.021)):
        grow = share * reach
        droop = drop * (0.6 + reach / 0.05) * 0.6
        rings.append(np.stack([(HALF_WIDTH + grow) * side, -(HALF_LENGTH + grow) * front, -droop], -1)[None])
    grid = np.concatenate(rings).reshape(-1, 3)
    # The first ring is one point, the crown.
    vertices = grid[around - 1 :]
    faces: list[tuple[int, ...]] = [(0, 1 + n, 1 + (n + 1) % around) for n in range(around)]
    for start in range(1, len(vertices) - around, around):
        faces += [
            (start + n, start + around + n, start + around + (n + 1) % around, start + (n + 1) % around)
            for n in range(around)
        ]
    colours = np.tile(np.array(materials.linear(hat.colour)), (len(vertices), 1))
    px, py, _ = vertices.T
    pz = np.concatenate([np.repeat(HEIGHT * heights, around), np.zeros(4 * around)])[around - 1 :]
    if hat.band:
        colours[(pz > 0.020) & (pz < 0.042)] = materials.linear(hat.band)
    if hat.mark:
        colours[(np.abs(px) < 0.030) & (py < -0.06) & (pz > 0.045) & (pz < 0.085)] = materials.linear(hat.mark)
    if hat.vents:
        slots = (np.abs(px) > 0.055) & (np.abs(px) < 0.085) & (np.abs(np.abs(py) - 0.035) < 0.012) & (pz > 0.06)
        colours[slots] = (0.01, 0.01, 0.01)
    shell = materials.surface(None, rough=0.28, dirt=hat.dirt, bump=0.03, grain=16, mottle=0.08, seed=seed)
    items = [solids.thick(solids.mesh(vertices, faces, shell, colours=colours), 0.003)]
    dark = materials.plastic("#1d1d1f", seed + 1, dirt=0.2)
    webbing = materials.cloth(materials.linear("#2b2d33"), seed + 2)
    band = [(0.99, 0.0), (0.99, 0.032), (0.965, 0.032), (0.965, 0.0)]

    def oval(angle: float) -> float:
        return 0.091 * math.cos(angle) ** 2 + 0.112 * math.sin(angle) ** 2

    items.append(solids.turned([*band, band[0]], dark, centre=(0, 0, -0.012), shape=oval))
    for turn in (0.5, 2.6):
        path = [
            (0.09 * math.cos(turn) * t, 0.11 * math.sin(turn) * t, 0.02 + 0.075 * (1 - t * t))
            for t in np.linspace(-1, 1, 9)
        ]
        items.append(solids.tube(path, 0.006, webbing))
    if hat.lamp:
        items.append(solids.disc(0.022, 0.03, (0, -0.137, 0.045), dark, axis="y"))
        glass = materials.surface((0.85, 0.87, 0.9), rough=0.1, dirt=0.05, bump=0, seed=seed)
        items.append(solids.disc(0.018, 0.004, (0, -0.154, 0.045), glass, axis="y"))
        items.append(
            solids.turned(
                [(1.015, 0.028), (1.02, 0.052), (1.0, 0.052)],
                webbing,
                shape=lambda a: HALF_WIDTH * math.cos(a) ** 2 + HALF_LENGTH * math.sin(a) ** 2,
            )
        )
    if hat.muffs:
        shade = materials.plastic(hat.muffs, seed + 4)
        for sign in (-1, 1):
            items.append(
                solids.turned(
                    [(1e-3, -0.022), (0.03, -0.02), (0.037, -0.006), (0.037, 0.012), (0.028, 0.02), (1e-3, 0.021)],
                    shade,
                    centre=(sign * 0.105, 0.01, -0.075),
                    turn=(0, sign * 90, 0),
                    shape=lambda a: 1 + 0.22 * math.cos(a) ** 2,
                )
            )
            items.append(
                solids.tube(
                    [(sign * 0.112, 0.01, 0.01), (sign * 0.122, 0.01, -0.03), (sign * 0.118, 0.01, -0.07)], 0.005, dark
                )
            )
    if hat.strap:
        for sign in (-1, 1):
            items.append(
                solids.tube(
                    [
                        (sign * 0.088, -0.02, -0.01),
                        (sign * 0.078, -0.035, -0.09),
                        (sign * 0.03, -0.06, -0.152),
                        (0, -0.064, -0.16),
                    ],
                    0.005,
                    webbing,
                )
            )
    return items


def wear(items: list[solids.Object], matrix: Matrix) -> None:
    """Put a hat where ``matrix`` has the head's crown."""
    import bpy

    bpy.context.view_layer.update()
    for item in items:
        item.matrix_world = matrix @ item.matrix_world
