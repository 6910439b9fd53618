"""What should not lie on a floor: spilled liquids and debris."""

from __future__ import annotations

import math
from typing import Any

import bpy
import numpy as np
from mathutils import Euler

from tools.cutouts import fields, materials, solids
from tools.cutouts.materials import cardboard, plastic, steel, wood


def spill(
    code: str,
    density: float,
    *,
    size: float = 0.9,
    blobs: int = 9,
    drops: int = 14,
    run: float = 0.4,
    rough: float = 0.03,
    edge: float = 0.02,
    seed: int = 0,
) -> None:
    """A puddle.

    Args:
        code: the liquid's colour.
        density: how much of the floor its middle hides, 0 to 1.
        size: across, in metres.
        blobs: round parts that make it up.
        drops: splashes around it.
        run: how far it is drawn out in one direction, 0 to 1.
        rough: of its surface.
        edge: width of the soft edge, in metres.
        seed: of its shape.
    """
    rng = np.random.default_rng(seed)
    count = 220
    reach = size * 0.75
    axis = np.linspace(-reach, reach, count)
    x, y = (grid.ravel() for grid in np.meshgrid(axis, axis, indexing="ij"))
    points = np.stack([x, y, np.zeros_like(x)], 1).astype(np.float32)
    warp = (
        np.stack([fields.waves(points, size * 0.45, seed), fields.waves(points, size * 0.45, seed + 1)], 1)
        * size
        * 0.05
    )
    warp += (
        np.stack([fields.waves(points, size * 0.13, seed + 2), fields.waves(points, size * 0.13, seed + 3)], 1)
        * size
        * 0.013
    )
    px, py = x + warp[:, 0], y + warp[:, 1]
    angle = rng.uniform(0, math.pi)
    way = np.array([math.cos(angle), math.sin(angle)])
    inside = np.full(len(x), 9.0, np.float32)
    spot = np.zeros(2)
    for number in range(blobs):
        radius = size * rng.uniform(0.09, 0.24) * (1 - 0.35 * number / blobs)
        inside = fields.blend(inside, (np.hypot(px - spot[0], py - spot[1]) - radius).astype(np.float32), size * 0.07)
        spot = (
            spot * 0.55
            + way * rng.normal(0, size * 0.2 * (0.4 + run))
            + rng.normal(0, size * 0.10 * (1 - 0.5 * run), 2)
        )
    for _ in range(drops):
        a, far = rng.uniform(0, 2 * math.pi), size * rng.uniform(0.2, 0.44)
        radius = size * rng.uniform(0.006, 0.028)
        long = rng.uniform(1, 1.8)
        along = (px - far * math.cos(a)) * math.cos(a) + (py - far * math.sin(a)) * math.sin(a)
        across = -(px - far * math.cos(a)) * math.sin(a) + (py - far * math.sin(a)) * math.cos(a)
        inside = np.minimum(inside, (np.hypot(along / long, across) - radius).astype(np.float32))
    depth = np.clip(-inside / edge, 0, 1)
    thick = depth * depth * (3 - 2 * depth)
    thin = 0.82 + 0.18 * fields.waves(points, size * 0.3, seed + 4)
    kept = (inside < edge * 0.1).reshape(count, count)
    cells = kept[:-1, :-1] | kept[1:, :-1] | kept[:-1, 1:] | kept[1:, 1:]
    row, column = np.nonzero(cells)
    corner = row * count + column
    faces = np.stack([corner, corner + count, corner + count + 1, corner + 1], 1)
    used, faces = np.unique(faces, return_inverse=True)
    height = 0.0015 + 0.004 * thick + 0.0007 * fields.waves(points, size * 0.22, seed + 5) * thick
    vertices = np.stack([x, y, height], 1)[used]
    colours = np.repeat((thick * np.clip(thin, 0.5, 1))[used][:, None], 3, 1)
    liquid = materials.liquid(materials.linear(code), rough)
    puddle = solids.mesh(vertices, faces.reshape(-1, 4), liquid, colours=colours)
    puddle["density"] = density


def _sheet(
    width: float,
    depth: float,
    rng: np.random.Generator,
    material: Any,
    *,
    bend: float,
    torn: float,
    crumple: float = 0.0,
    thickness: float = 0.004,
    seed: int = 0,
) -> solids.Object:
    """A piece of sheet that lies on the floor, folded once or crumpled, torn at its edges."""
    count = 44
    axis = np.linspace(-1, 1, count)
    u, v = (grid.ravel() for grid in np.meshgrid(axis, axis, indexing="ij"))
    points = np.stack([u * width / 2, v * depth / 2, np.zeros_like(u)], 1).astype(np.float32)
    rag = torn * (fields.waves(points, 0.06, seed) + 0.7 * fields.waves(points, 0.18, seed + 1))
    cut = rng.uniform(-0.4, 0.4)
    kept = (
        (np.abs(u) < 0.93 - np.abs(rag))
        & (np.abs(v) < 0.93 - np.abs(rag))
        & (u * rng.choice([-1, 1]) + v * 0.8 < 1.35 - abs(cut))
    ).reshape(count, count)
    fold = rng.uniform(-0.3, 0.3)
    beyond = np.clip(u - fold - 0.25 * v, 0, None) * width / 2
    x = points[:, 0] - beyond * (1 - math.cos(math.radians(bend)))
    z = beyond * math.sin(math.radians(bend))
    curl = 0.5 * (points[:, 1] / depth) ** 2 * depth * (bend / 90)
    z = z + np.abs(curl) + np.abs(fields.waves(points, 0.35, seed + 2)) * 0.008
    shift = np.zeros((len(x), 2))
    if crumple:
        ridge = (
            np.abs(fields.waves(points, 0.20, seed + 3)) * 0.6
            + np.abs(fields.waves(points, 0.09, seed + 4)) * 0.3
            + np.abs(fields.waves(points, 0.045, seed + 5)) * 0.12
        )
        z = z + crumple * ridge
        shift = (
            np.stack([fields.waves(points, 0.15, seed + 6), fields.waves(points, 0.15, seed + 7)], 1) * crumple * 0.5
        )
    cells = kept[:-1, :-1] & kept[1:, :-1] & kept[:-1, 1:] & kept[1:, 1:]
    row, column = np.nonzero(cells)
    corner = row * count + column
    faces = np.stack([corner, corner + count, corner + count + 1, corner + 1], 1)
    used, faces = np.unique(faces, return_inverse=True)
    vertices = np.stack([x + shift[:, 0], points[:, 1] + shift[:, 1], z + thickness], 1)[used]
    item = solids.mesh(vertices, faces.reshape(-1, 4), material)
    return solids.thick(item, thickness) if thickness > 0.001 else item


def _lay(item: solids.Object, rng: np.random.Generator, spread: float) -> None:
    item.rotation_euler = Euler((0, 0, float(rng.uniform(0, 2 * math.pi))))
    item.location = (*(float(v) for v in rng.normal(0, spread, 2)), item.location[2] if item.location[2] > 0 else 0.0)


def cardboard_scraps(seed: int, pieces: int = 4, printed: bool = False) -> None:
    """Torn pieces of corrugated board, one of them folded."""
    rng = np.random.default_rng(seed)
    for number in range(pieces):
        shade = cardboard(seed + number, mottle=float(rng.uniform(0.2, 0.6)), dirt=float(rng.uniform(0.15, 0.6)))
        if printed and number == 0:
            shade = plastic("#e6e2d8", seed, rough=0.6)
        size = rng.uniform(0.16, 0.5, 2) * (1.0 if number else 1.25)
        item = _sheet(
            *map(float, size),
            rng,
            shade,
            bend=float(rng.uniform(8, 75) if number % 2 == 0 else rng.uniform(0, 14)),
            torn=0.10,
            seed=seed * 7 + number,
        )
        _lay(item, rng, 0.17)
        item.location.z = 0.006 * number


def film(
    seed: int, share: float = 0.28, tint: tuple[float, float, float] = (0.8, 0.83, 0.85), size: float = 0.8
) -> None:
    """Crumpled stretch film."""
    rng = np.random.default_rng(seed)
    material = materials.film(tint, share, seed)
    for number in range(2):
        item = _sheet(
            size * float(rng.uniform(0.6, 1)),
            size * float(rng.uniform(0.35, 0.7)),
            rng,
            material,
            bend=float(rng.uniform(10, 60)),
            torn=0.12,
            crumple=0.085,
            thickness=0.0005,
            seed=seed * 3 + number,
        )
        _lay(item, rng, 0.13)


def splinters(seed: int, count: int = 15, code: str = "#c39a63", plank: bool = True) -> None:
    """Broken wood: a piece of a board, splinters, chips."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        long = float(rng.uniform(0.04, 0.26))
        wide = float(rng.uniform(0.008, 0.030))
        if plank and number == 0:
            long, wide = 0.42, 0.095
        tip = float(rng.uniform(0.2, 0.6))
        outline = [
            (-long / 2, -wide / 2),
            (long / 2 - wide * tip * 3 * float(rng.random()), -wide / 2),
            (long / 2 + float(rng.uniform(-0.03, 0.02)), -wide * 0.25),
            (long / 2 - wide * tip, wide * 0.1),
            (long / 2 - float(rng.uniform(0, 0.04)), wide / 2),
            (-long / 2 + wide * tip * 2 * float(rng.random()), wide / 2),
            (-long / 2 - float(rng.uniform(0, 0.02)), wide * 0.2),
        ]
        thickness = 0.018 if plank and number == 0 else float(rng.uniform(0.004, 0.014))
        item = solids.prism(outline, thickness, wood(code, seed + number, axis=0, mottle=0.6), bevel=0.0008)
        far = 0.07 if number == 0 else 0.19
        item.rotation_euler = Euler(
            (math.pi / 2 + float(rng.normal(0, 0.15)), float(rng.normal(0, 0.05)), float(rng.uniform(0, 2 * math.pi)))
        )
        item.location = (*(float(v) for v in rng.normal(0, far, 2)), thickness / 2 + abs(float(rng.normal(0, 0.008))))


def fasteners(seed: int, count: int = 22, spread: float = 0.09) -> None:
    """Screws, bolts, nuts and washers."""
    rng = np.random.default_rng(seed)
    shades = [
        steel(seed, dirt=0.2),
        steel(seed + 1, rough=0.45, dirt=0.5),
        materials.surface(materials.linear("#c9a540"), rough=0.3, metal=0.9, dirt=0.2, seed=seed),
        materials.surface(materials.linear("#2b2b2d"), rough=0.5, metal=0.6, seed=seed),
    ]
    for _ in range(count):
        shade = shades[int(rng.integers(len(shades)))]
        spot = rng.normal(0, spread, 2)
        turn = float(rng.uniform(0, 2 * math.pi))
        kind = rng.random()
        size = float(rng.uniform(0.7, 1.5))
        if kind < 0.62:
            long, radius = 0.042 * size, 0.0036 * size
            threads = [(radius * (0.82 if n % 2 else 1.05), -long * 0.5 + long * n / 16) for n in range(17)]
            profile = [
                (0.0001, -long * 0.62),
                *threads,
                (radius, long * 0.5),
                (radius * 2.1, long * 0.5),
                (radius * 2.1, long * 0.5 + radius * 1.4),
                (0.0001, long * 0.5 + radius * 1.5),
            ]
            item = solids.turned(profile, shade, segments=6 if kind < 0.3 else 12, turn=(90, 0, 0))
            item.rotation_euler = Euler((math.pi / 2 + 0.07, 0, turn))
            item.location = (float(spot[0]), float(spot[1]), radius * 1.7)
        else:
            radius = 0.011 * size
            item = solids.turned(
                [
                    (radius * 0.5, 0),
                    (radius, 0),
                    (radius, radius * (0.75 if kind < 0.85 else 0.2)),
                    (radius * 0.5, radius * (0.75 if kind < 0.85 else 0.2)),
                    (radius * 0.5, 0),
                ],
                shade,
                segments=6 if kind < 0.85 else 20,
            )
            item.location = (float(spot[0]), float(spot[1]), 0.0005)
            item.rotation_euler = Euler((0, 0, turn))


def strapping(seed: int, code: str = "#1d5fa8", loops: int = 3, metal: bool = False) -> None:
    """A cut band of strapping, coiled and kinked."""
    rng = np.random.default_rng(seed)
    material = steel(seed, rough=0.3) if metal else plastic(code, seed, rough=0.25)
    count = 90 * loops
    t = np.linspace(0, loops * 2 * math.pi, count)
    radius = 0.20 + 0.05 * np.sin(0.37 * t + rng.uniform(0, 6)) + 0.035 * np.sin(1.7 * t + rng.uniform(0, 6))
    drift = np.stack([np.cumsum(rng.normal(0, 0.0014, count)), np.cumsum(rng.normal(0, 0.0014, count))], 1)
    squash = rng.uniform(0.5, 0.9)
    centre = np.stack(
        [
            radius * np.cos(t) + drift[:, 0],
            radius * squash * np.sin(t) + drift[:, 1],
            0.012 + 0.03 * (1 + np.sin(0.9 * t + 1)) * (t / t[-1]),
        ],
        1,
    )
    for end in (0, 1):  # its ends run free
        part = slice(0, 25) if end == 0 else slice(count - 25, count)
        share = np.linspace(1, 0, 25) if end == 0 else np.linspace(0, 1, 25)
        centre[part, :2] *= (1 + 0.9 * share**2)[:, None]
    lean = 0.5 * np.sin(0.8 * t + rng.uniform(0, 6))
    half = 0.0075
    radial = centre[:, :2] / np.linalg.norm(centre[:, :2], axis=1, keepdims=True)
    side = np.stack([radial[:, 0] * np.sin(lean), radial[:, 1] * np.sin(lean), np.cos(lean)], 1) * half
    low, high = centre - side, centre + side
    shift = np.minimum(0, np.minimum(low[:, 2], high[:, 2]) - 0.001)
    low[:, 2] -= shift
    high[:, 2] -= shift
    faces = [(n, n + 1, n + 1 + count, n + count) for n in range(count - 1)]
    solids.thick(solids.mesh(np.concatenate([low, high]), faces, material), 0.0009)


def papers(seed: int, count: int = 5) -> None:
    """Crumpled sheets and labels' backing paper."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        shade = plastic(("#e9e7e0", "#d9d3c0", "#f2f0ea", "#c7d3df")[number % 4], seed + number, rough=0.8, mottle=0.2)
        item = _sheet(
            float(rng.uniform(0.14, 0.28)),
            float(rng.uniform(0.12, 0.22)),
            rng,
            shade,
            bend=float(rng.uniform(0, 60)),
            torn=0.04,
            crumple=0.05 if number % 2 == 0 else 0.008,
            thickness=0.0006,
            seed=seed * 11 + number,
        )
        _lay(item, rng, 0.15)


def swarf(seed: int, count: int = 16) -> None:
    """Curled chips of a lathe."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        shade = (
            steel(seed + number % 3, rough=0.2, dirt=0.25)
            if number % 4
            else materials.surface(materials.linear("#8c7a4a"), rough=0.25, metal=0.9, seed=seed)
        )
        turns, radius, pitch = (
            float(rng.uniform(1.5, 6)),
            float(rng.uniform(0.006, 0.018)),
            float(rng.uniform(0.006, 0.016)),
        )
        t = np.linspace(0, turns * 2 * math.pi, int(turns * 14))
        bend = float(rng.uniform(-6, 6))
        along = pitch * t / (2 * math.pi)
        path = np.stack([along, along**2 * bend + radius * np.cos(t), radius + 0.001 + radius * np.sin(t)], 1)
        curve = solids.tube(path, 0.0018, shade)
        curve.data.bevel_resolution = 0
        _lay(curve, rng, 0.085)
    bpy.context.view_layer.update()


def mixed(seed: int) -> None:
    """What a broom brings together: board, film, wood, a few screws."""
    cardboard_scraps(seed, 2)
    film(seed + 1, size=0.4)
    splinters(seed + 2, 7, plank=False)
    strapping(seed + 3, "#e0b21c", loops=1)
