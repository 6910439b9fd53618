"""What stands about in a warehouse: pallet jacks, carts, step ladders, trash cans, cones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tools.cutouts import materials, solids
from tools.cutouts.materials import cardboard, paint, plastic, rubber, steel, wood
from tools.cutouts.solids import box, disc, frame, move, prism, tapered, tube, turned


def pallet_jack(
    colour: str,
    *,
    handle: float = 12,
    steer: float = 0,
    length: float = 1.15,
    raised: float = 0.0,
    dark_forks: bool = False,
    powered: bool = False,
    wear: float = 0.4,
    seed: int = 0,
) -> None:
    """A hand pallet truck, forks towards -y; ``handle`` is its tiller's angle from upright, degrees."""
    coat = paint(colour, seed, wear=wear)
    forks = paint("#26272a", seed + 1, wear=0.5) if dark_forks else coat
    bare, tyre, dark = steel(seed + 2), rubber(seed + 3), plastic("#1b1c1e", seed + 4)
    poly = plastic("#b7402f" if not powered else "#c9a15a", seed + 5)
    top = 0.088 + raised
    for side in (-1, 1):
        x = side * 0.19
        outline = [
            (-0.08, 0),
            (0.08, 0),
            (0.08, -length + 0.12),
            (0.045, -length),
            (-0.045, -length),
            (-0.08, -length + 0.12),
        ]
        fork = solids.mesh(
            np.array([(x + a, b, z) for z in (top - 0.055, top) for a, b in outline]),
            [(5, 4, 3, 2, 1, 0), (6, 7, 8, 9, 10, 11), *[(n, (n + 1) % 6, (n + 1) % 6 + 6, n + 6) for n in range(6)]],
            forks,
            smooth=False,
        )
        solids.bevelled(fork, 0.012, 3)
        for y in (-length + 0.18, -length + 0.28):
            disc(0.037, 0.07, (x, y, 0.038), poly)
        box((0.02, 0.16, 0.03), (x - 0.055, -length + 0.23, 0.05), bare)
        box((0.02, 0.16, 0.03), (x + 0.055, -length + 0.23, 0.05), bare)
        # The gusset from the fork to the frame.
        side_plate = prism([(0, top), (-0.14, top), (-0.02, top + 0.30), (0, top + 0.30)], 0.012, coat)
        move([side_plate], (x + side * 0.07, 0.0, 0), turn=(0, 0, 90))
    box((0.54, 0.03, 0.2), (0, 0.005, top + 0.03), coat, bevel=0.01)
    box((0.40, 0.05, 0.14), (0, 0.02, top + 0.19), coat, bevel=0.015)
    box((0.26, 0.05, 0.10), (0, 0.03, top + 0.30), coat, bevel=0.02)
    if powered:
        shell, lid = plastic("#3a3d42", seed + 6), paint(colour, seed + 7, wear=0.15)
        box((0.60, 0.26, 0.52), (0, 0.17, 0.36), lid, bevel=0.05)
        box((0.56, 0.22, 0.12), (0, 0.17, 0.64), shell, bevel=0.03)
        box((0.62, 0.30, 0.08), (0, 0.17, 0.13), shell, bevel=0.02)
        box((0.22, 0.004, 0.1), (0, 0.303, 0.45), plastic("#e8e8e2", seed), bevel=0)
        pivot = (0.0, 0.24, 0.62)
    else:
        pivot = (0.0, 0.10, 0.30)
    pump = [
        turned([(0.055, 0.05), (0.055, 0.28), (0.045, 0.30), (0.001, 0.30)], coat, centre=(0, 0.11, 0.06), segments=24),
        turned([(0.022, 0.0), (0.022, 0.16), (0.001, 0.16)], bare, centre=(0, 0.08, 0.28), segments=20),
        box((0.15, 0.09, 0.07), (0, 0.12, 0.30), coat, bevel=0.012),
    ]
    for side in (-1, 1):
        pump.append(disc(0.09, 0.05, (side * 0.045, 0.11, 0.091), tyre if powered else poly, hole=0.03))
        pump.append(disc(0.032, 0.052, (side * 0.045, 0.11, 0.091), bare))
    reach = 0.82 if not powered else 0.62
    arm = [
        tube([(0, 0, 0), (0, 0, reach)], 0.019, coat),
        tube([(-0.03, 0, 0), (-0.03, 0, 0.25)], 0.008, bare),
        tube(
            [
                (0, 0, reach - 0.02),
                (-0.10, 0, reach + 0.02),
                (-0.13, 0, reach + 0.14),
                (-0.10, 0, reach + 0.23),
                (0.10, 0, reach + 0.23),
                (0.13, 0, reach + 0.14),
                (0.10, 0, reach + 0.02),
                (0, 0, reach - 0.02),
            ],
            0.014,
            dark,
            corner=0.05,
        ),
        tube([(0, 0, reach - 0.03), (0, -0.02, reach + 0.10)], 0.009, bare),
        box((0.06, 0.016, 0.035), (0, -0.02, reach + 0.12), dark),
    ]
    if powered:
        arm.append(box((0.15, 0.07, 0.09), (0, 0, reach + 0.02), dark, bevel=0.02))
        arm.append(box((0.05, 0.072, 0.03), (0, 0, reach + 0.07), plastic("#c2281f", seed), bevel=0.008))
    move(arm, (0, 0, 0), turn=(-handle, 0, 0))
    move(arm, pivot)
    move(arm, (-pivot[0], -0.11, 0))
    move([*pump], (0, -0.11, 0))
    move([*arm, *pump], turn=(0, 0, steer))
    move([*arm, *pump], (0, 0.11, 0))


def _castors(width: float, length: float, radius: float, seed: int, tyre: Any = None) -> None:
    bare, tyre = steel(seed), tyre or rubber(seed)
    for x in (-1, 1):
        for y in (-1, 1):
            px, py = x * (width / 2 - 0.07), y * (length / 2 - 0.09)
            disc(radius, 0.035, (px, py, radius), tyre)
            disc(radius * 0.5, 0.038, (px, py, radius), bare)
            for side in (-1, 1):
                box((0.004, radius * 1.2, radius * 1.3), (px + side * 0.022, py, radius * 1.45), bare, bevel=0)
            box((0.08, 0.08, 0.008), (px, py, radius * 2.1), bare, bevel=0)


def _cartons(
    width: float, length: float, floor: float, rng: np.random.Generator, seed: int, *, full: float = 0.8
) -> None:
    """Cartons and a tote stacked on a deck."""
    y = -length / 2 + 0.04
    while y < length / 2 - 0.22:
        depth = float(rng.uniform(0.22, 0.38))
        depth = min(depth, length / 2 - 0.03 - y)
        x = -width / 2 + 0.03
        while x < width / 2 - 0.16:
            wide = min(float(rng.uniform(0.2, 0.4)), width / 2 - 0.02 - x)
            if rng.random() < full:
                height = float(rng.uniform(0.14, 0.36))
                turn = float(rng.normal(0, 3))
                board = cardboard(seed + int(rng.integers(99)), mottle=float(rng.uniform(0.1, 0.5)))
                box(
                    (wide - 0.012, depth - 0.012, height),
                    (x + wide / 2, y + depth / 2, floor + height / 2),
                    board,
                    turn=(0, 0, turn),
                )
                box(
                    (0.05, depth - 0.01, 0.002),
                    (x + wide / 2, y + depth / 2, floor + height + 0.001),
                    plastic("#b98f5e", seed, rough=0.2),
                    turn=(0, 0, turn),
                    bevel=0,
                )
            x += wide
        y += depth


def platform_cart(
    colour: str,
    *,
    deck: str = "",
    folded: bool = False,
    ends: int = 1,
    width: float = 0.6,
    length: float = 0.95,
    load: float = 0.0,
    seed: int = 0,
    mesh_sides: bool = False,
) -> None:
    """A platform trolley with one push handle or two."""
    rng = np.random.default_rng(seed)
    coat = paint(colour, seed)
    floor = 0.20
    top = wood(deck, seed + 2, axis=1) if deck else plastic("#2b2d30", seed + 1, bump=0.4)
    box((width, length, 0.035), (0, 0, floor - 0.018), coat, bevel=0.012)
    box((width - 0.03, length - 0.03, 0.012), (0, 0, floor + 0.004), top, bevel=0.003)
    _castors(width, length, 0.065, seed + 3)
    half = width / 2 - 0.04
    chrome = coat if ends == 2 else steel(seed + 4, rough=0.2)
    for number in range(ends):
        side = 1 if number == 0 else -1
        high = 0.86
        if folded:
            bars = [
                tube(
                    [
                        (-half, length / 2 - 0.05, floor + 0.03),
                        (-half, length / 2 - 0.8, floor + 0.05),
                        (half, length / 2 - 0.8, floor + 0.05),
                        (half, length / 2 - 0.05, floor + 0.03),
                    ],
                    0.014,
                    chrome,
                    corner=0.08,
                )
            ]
        else:
            y = side * (length / 2 - 0.03)
            bars = [
                tube(
                    [
                        (-half, y, floor),
                        (-half, y + side * 0.04, high),
                        (half, y + side * 0.04, high),
                        (half, y, floor),
                    ],
                    0.0145,
                    chrome,
                    corner=0.09,
                )
            ]
            bars.append(tube([(-half, y + side * 0.02, 0.52), (half, y + side * 0.02, 0.52)], 0.010, chrome))
            bars.append(
                tube([(-half + 0.12, y + side * 0.04, high), (half - 0.12, y + side * 0.04, high)], 0.018, rubber(seed))
            )
        if mesh_sides and not folded:
            for x in np.linspace(-half + 0.05, half - 0.05, 9):
                tube([(x, side * (length / 2 - 0.02), floor), (x, side * length / 2, 0.8)], 0.0035, chrome)
    if mesh_sides:
        for side in (-1, 1):
            for z in np.linspace(floor + 0.08, 0.8, 7):
                tube([(side * half, -length / 2 + 0.03, z), (side * half, length / 2 - 0.03, z)], 0.0035, chrome)
            for y in np.linspace(-length / 2 + 0.06, length / 2 - 0.06, 10):
                tube([(side * half, y, floor), (side * half, y, 0.8)], 0.0035, chrome)
            tube([(side * half, -length / 2 + 0.03, 0.8), (side * half, length / 2 - 0.03, 0.8)], 0.011, chrome)
    if load:
        _cartons(width, length, floor + 0.01, rng, seed, full=load)


def shelf_cart(shelves: int, *, colour: str = "#26282b", metal: bool = False, load: float = 0.3, seed: int = 0) -> None:
    """A utility cart with two or three trays."""
    rng = np.random.default_rng(seed)
    coat = steel(seed, rough=0.25) if metal else plastic(colour, seed, bump=0.15)
    width, length, high = 0.46, 0.78, 0.82
    _castors(width, length, 0.055, seed + 1, plastic("#6f7378", seed))
    levels = np.linspace(0.17, high, shelves)
    for level in levels:
        tub = tapered(
            (width, length), (width + 0.03, length + 0.03), 0.10 if not metal else 0.035, coat, wall=0.012, corner=0.05
        )
        tub.location = (0, 0, float(level) - 0.05)
    for x in (-1, 1):
        for y in (-1, 1):
            place = (x * (width / 2 - 0.045), y * (length / 2 - 0.045))
            if metal:
                tube([(*place, 0.12), (*place, high)], 0.013, coat)
            else:
                box((0.06, 0.09, high - 0.2), (*place, high / 2 + 0.05), coat, bevel=0.02)
    grip = rubber(seed + 2) if metal else coat
    tube(
        [
            (-width / 2 + 0.03, length / 2, high),
            (-width / 2 + 0.03, length / 2 + 0.12, high + 0.09),
            (width / 2 - 0.03, length / 2 + 0.12, high + 0.09),
            (width / 2 - 0.03, length / 2, high),
        ],
        0.016,
        grip,
        corner=0.05,
    )
    if load:
        for level in levels:
            _cartons(width - 0.06, length - 0.08, float(level) - 0.035, rng, seed + int(level * 50), full=load)


def step_ladder(
    steps: int,
    *,
    rails: str = "",
    cap: str = "#d8262c",
    treads: str = "",
    wooden: bool = False,
    platform: bool = False,
    seed: int = 0,
) -> None:
    """An A-frame step ladder, steps towards -y; ``rails`` in colour are fibreglass, else aluminium."""
    pitch = 0.265
    height = pitch * steps + (0.06 if not platform else 0.0)
    bright = steel(seed, rough=0.28, dirt=0.15)
    body = wood("#b98f56", seed, axis=2) if wooden else (plastic(rails, seed, dirt=0.35) if rails else bright)
    step = wood("#b58a52", seed + 1, axis=0) if wooden else (plastic(treads, seed + 1) if treads else bright)
    slope, spread = math.tan(math.radians(16 if not platform else 18)), math.tan(math.radians(3.2))
    half_top = 0.17 if steps < 6 else 0.19
    depth = 0.07 if not wooden else 0.075

    def rail(side: int, back: bool) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        x_top, x_low = half_top - (0.03 if back else 0), half_top + height * spread - (0.03 if back else 0)
        y_top, y_low = (0.05, height * slope * 0.95) if back else (-0.05, -height * slope)
        return (side * x_low, y_low, 0.0), (side * x_top, y_top, height)

    for back in (False, True):
        for side in (-1, 1):
            low, top = (np.array(point) for point in rail(side, back))
            way = top - low
            length = float(np.linalg.norm(way))
            lean = -math.degrees(math.atan2(way[1], way[2]))
            sway = math.degrees(math.atan2(way[0], way[2]))
            thin = 0.026 if not back else 0.022
            bar = box(
                (thin, depth if not back else depth * 0.6, length),
                (0, 0, 0),
                body if not back or wooden or rails else bright,
                bevel=0.004,
            )
            move([bar], tuple((low + top) / 2), turn=(lean, sway, 0))
            box((thin + 0.012, depth * 0.9, 0.045), (low[0], low[1], 0.022), rubber(seed + 2), bevel=0.004)
    for number in range(1, steps + (0 if not platform else 1)):
        z = number * pitch
        share = z / height
        y = -height * slope * (1 - share) - 0.05 * share
        half = half_top + (height - z) * spread
        box((2 * half - 0.02, 0.085, 0.024), (0, y, z), step, bevel=0.004)
        if not wooden:
            box((2 * half - 0.05, 0.078, 0.004), (0, y, z + 0.013), rubber(seed + 3) if not treads else step, bevel=0)
    bars = 2 if steps < 6 else 4
    for number in range(1, bars + 1):
        z = height * number / (bars + 0.6)
        share = z / height
        y = height * slope * 0.95 * (1 - share) + 0.05 * share
        half = half_top - 0.03 + (height - z) * spread
        tube([(-half, y, z), (half, y, z)], 0.011, bright if not wooden else body)
    z = height * 0.48
    for side in (-1, 1):
        x = side * (half_top + (height - z) * spread + 0.005)
        tube(
            [(x, -(height - z) * slope - 0.03, z), (x, 0, z - 0.03), (x * 0.97, (height - z) * slope * 0.95 + 0.03, z)],
            0.006,
            bright,
        )
    if platform:
        box((2 * half_top + 0.04, 0.30, 0.03), (0, 0.03, height), bright, bevel=0.005)
        tube(
            [
                (-half_top, 0.12, height),
                (-half_top, 0.14, height + 0.6),
                (half_top, 0.14, height + 0.6),
                (half_top, 0.12, height),
            ],
            0.014,
            bright if not rails else body,
            corner=0.06,
        )
    elif steps <= 3 and not wooden:
        tube(
            [
                (-half_top + 0.02, 0.03, height - 0.1),
                (-half_top + 0.03, 0.06, height + 0.42),
                (half_top - 0.03, 0.06, height + 0.42),
                (half_top - 0.02, 0.03, height - 0.1),
            ],
            0.013,
            bright,
            corner=0.1,
        )
        box(
            (2 * half_top + 0.05, 0.24, 0.035),
            (0, 0, height),
            plastic(cap, seed + 4) if not treads else step,
            bevel=0.012,
        )
    else:
        top = wood("#b58a52", seed + 5) if wooden else plastic(cap, seed + 4)
        box((2 * half_top + 0.06, 0.17, 0.05), (0, 0, height + 0.01), top, bevel=0.014)


def wheelie_bin(colour: str, lid: str, *, ajar: float = 0, seed: int = 0) -> None:
    """A two-wheeled bin of 120 litres."""
    body, cover = plastic(colour, seed, bump=0.12), plastic(lid, seed + 1, bump=0.12)
    tub = tapered((0.40, 0.42), (0.48, 0.54), 0.86, body, wall=0.008, corner=0.05)
    tub.location = (0, 0, 0.05)
    rim = frame((0.51, 0.57), 0.035, 0.025, body, corner=0.06)
    rim.location = (0, 0, 0.875)
    parts = [
        box((0.51, 0.55, 0.028), (0, -0.275, 0.014), cover, bevel=0.012),
        box((0.46, 0.42, 0.03), (0, -0.26, 0.035), cover, bevel=0.014),
        box((0.14, 0.04, 0.03), (0, -0.56, 0.02), cover, bevel=0.008),
    ]
    move(parts, (0, 0.275, 0.912), turn=(-ajar, 0, 0))
    for side in (-1, 1):
        disc(0.10, 0.05, (side * 0.21, 0.20, 0.10), rubber(seed + 2))
        disc(0.04, 0.054, (side * 0.21, 0.20, 0.10), plastic("#55585c", seed))
        box((0.04, 0.06, 0.05), (side * 0.20, 0.29, 0.90), body, bevel=0.01)
    tube([(-0.21, 0.315, 0.90), (0.21, 0.315, 0.90)], 0.016, body)
    box((0.16, 0.003, 0.10), (0, -0.262, 0.62), plastic("#e9e9e4", seed + 3), turn=(4, 0, 0), bevel=0)


def round_bin(colour: str, *, kind: str = "tub", bag: str = "", seed: int = 0) -> None:
    """A round container.

    ``kind``: a "tub" of ribbed plastic with handles, a "drum" with a domed lid, a "pedal" bin of steel, one for "oily"
    rags with a steel lid, one of "mesh".
    """
    shine = kind == "pedal"
    body = (
        steel(seed, rough=0.3, dirt=0.1, mottle=0.03, metal=0.65)
        if shine
        else (paint(colour, seed) if kind in {"drum", "oily"} else plastic(colour, seed, bump=0.1))
    )
    radius, height = {
        "tub": (0.25, 0.72),
        "drum": (0.29, 0.88),
        "pedal": (0.15, 0.62),
        "oily": (0.20, 0.46),
        "mesh": (0.16, 0.36),
    }[kind]
    low = radius * (0.84 if kind in {"tub", "mesh"} else 1.0)
    if kind == "mesh":
        wire = paint(colour, seed, wear=0.1)
        for z in np.linspace(0.01, height, 13):
            r = low + (radius - low) * z / height
            tube(
                [(r * math.cos(a), r * math.sin(a), z) for a in np.linspace(0, 2 * math.pi, 28, endpoint=False)],
                0.0022 if z < height - 0.01 else 0.007,
                wire,
                closed=True,
            )
        for a in np.linspace(0, 2 * math.pi, 44, endpoint=False):
            tube(
                [(low * math.cos(a), low * math.sin(a), 0.01), (radius * math.cos(a), radius * math.sin(a), height)],
                0.0022,
                wire,
            )
        disc(low, 0.008, (0, 0, 0.006), wire, axis="z")
    else:
        profile = [(0.001, 0.0), (low - 0.01, 0.0), (low, 0.012)]
        ribs = {"tub": (0.25, 0.86), "drum": (0.33, 0.64), "pedal": (), "oily": (0.18, 0.8)}[kind]
        for rib in ribs:
            z = rib * height
            r = low + (radius - low) * rib
            profile += [(r, z - 0.012), (r + 0.010, z - 0.006), (r + 0.010, z + 0.006), (r, z + 0.012)]
        profile += [
            (radius, height - 0.03),
            (radius + 0.014, height - 0.028),
            (radius + 0.016, height),
            (radius - 0.006, height),
            (low - 0.012, 0.05),
            (0.001, 0.05),
        ]
        turned(profile, body)
    if kind == "tub":
        for side in (-1, 1):
            tube(
                [
                    (side * (radius + 0.005), -0.06, height - 0.10),
                    (side * (radius + 0.04), -0.05, height - 0.09),
                    (side * (radius + 0.04), 0.05, height - 0.09),
                    (side * (radius + 0.005), 0.06, height - 0.10),
                ],
                0.011,
                body,
                corner=0.02,
            )
    if kind == "drum":
        top = paint("#2a2c2f", seed + 1, wear=0.1)
        turned(
            [
                (radius + 0.02, height - 0.02),
                (radius + 0.02, height + 0.02),
                (radius * 0.9, height + 0.16),
                (radius * 0.45, height + 0.25),
                (0.001, height + 0.27),
            ],
            top,
        )
        box(
            (0.26, 0.02, 0.15),
            (0, -radius * 0.80, height + 0.115),
            plastic("#3d4045", seed),
            turn=(35, 0, 0),
            bevel=0.01,
        )
    if kind in {"pedal", "oily"}:
        top = plastic("#1c1d20", seed + 1) if shine else body
        turned(
            [
                (radius + 0.008, height),
                (radius + 0.008, height + 0.03),
                (radius * 0.85, height + 0.075),
                (0.001, height + 0.10),
            ],
            top,
        )
        box((0.09, 0.07, 0.014), (0, -radius - 0.03, 0.03), top, turn=(12, 0, 0))
        tube([(-0.035, radius, height + 0.02), (0.035, radius, height + 0.02)], 0.012, steel(seed + 2))
        if not shine:
            box((0.18, 0.004, 0.09), (0, -radius - 0.001, height * 0.55), plastic("#f0d020", seed + 3), bevel=0)
    if bag:
        material = plastic(bag, seed + 5, rough=0.2, bump=0.6, grain=14)
        rng = np.random.default_rng(seed)
        waves = rng.uniform(0, 7, 6)

        def crease(a: float) -> float:
            return 1 + 0.012 * sum(math.sin((n + 3) * a + waves[n]) for n in range(6))

        turned(
            [
                (radius * 0.96, height - 0.12),
                (radius * 0.985, height + 0.004),
                (radius + 0.022, height + 0.010),
                (radius + 0.028, height - 0.05),
                (radius + 0.022, height - 0.13),
            ],
            material,
            shape=crease,
            segments=80,
            sharp=False,
        )
        heap = [
            (radius * 0.95, height - 0.14),
            (radius * 0.7, height - 0.06),
            (radius * 0.35, height + 0.02),
            (0.001, height + 0.03),
        ]
        turned(
            heap, plastic("#c9c7c0", seed + 6, bump=1.0, grain=12, mottle=0.6), shape=lambda a: 1 + 3 * (crease(a) - 1)
        )


def swing_bin(colour: str, lid: str, seed: int = 0) -> None:
    """A square bin with a swing lid."""
    tapered((0.34, 0.30), (0.42, 0.38), 0.62, plastic(colour, seed), wall=0.01, corner=0.04)
    top = plastic(lid, seed + 1)
    rim = tapered((0.44, 0.40), (0.36, 0.24), 0.16, top, corner=0.05, open_top=False)
    rim.location = (0, 0, 0.61)
    box((0.27, 0.012, 0.13), (0, -0.165, 0.69), plastic("#2e3033", seed + 2), turn=(-26, 0, 0), bevel=0.02)
    box((0.12, 0.003, 0.12), (0, -0.171, 0.38), plastic("#f2f2ee", seed + 3), turn=(3.7, 0, 0), bevel=0)


def cone(
    colour: str,
    *,
    height: float = 0.75,
    bands: tuple[tuple[float, float], ...] = ((0.44, 0.16), (0.70, 0.10)),
    band: str = "#dcdcd8",
    base: str = "#1f1f20",
    slim: float = 1.0,
    lean: float = 0.0,
    dirt: float = 0.5,
    seed: int = 0,
) -> None:
    """A traffic cone; ``bands`` are (middle, width) in shares of its height."""
    foot = 0.026 + 0.012 * height
    low, top = 0.165 * height * slim * 1.15, 0.036 * (0.6 + 0.4 * height)
    shade, stripe = np.array(materials.linear(colour)), np.array(materials.linear(band))

    def radius(z: float) -> float:
        share = (z - foot) / (height - foot)
        return low + (top - low) * share

    edges = sorted({edge for middle, width in bands for edge in (middle - width / 2, middle + width / 2)})
    levels = sorted({*np.linspace(0.06, 0.985, 12), *edges, *[edge + 0.004 for edge in edges]})
    profile = [
        (low * 1.22, foot),
        (low * 1.13, foot + 0.012),
        *[
            (radius(level * height) + (0.0022 if any(abs(level - m) <= w / 2 for m, w in bands) else 0), level * height)
            for level in levels
        ],
        (top * 0.98, height),
        (top * 0.72, height),
        (top * 0.7, height * 0.9),
    ]

    def colours(points: np.ndarray) -> np.ndarray:
        values = np.tile(shade, (len(points), 1))
        for middle, width in bands:
            values[np.abs(points[:, 2] / height - middle) <= width / 2 + 0.001] = stripe
        return values

    coat = materials.surface(None, rough=0.42, dirt=dirt, bump=0.08, grain=10, glow=0.06, seed=seed)
    parts = [turned(profile, coat, colours=colours, segments=56, sharp=False)]
    side = low * 2 * 1.30
    heavy = rubber(seed + 1) if base == "#1f1f20" else plastic(base, seed + 1, dirt=dirt)
    slab = tapered((side, side), (side * 0.96, side * 0.96), foot, heavy, corner=side * 0.12, open_top=False)
    parts.append(slab)
    if lean:
        move(parts, (0, 0, low * 1.25 * math.sin(math.radians(lean))), turn=(lean, 0, 0))


def post(colour: str, *, height: float = 1.05, seed: int = 0) -> None:
    """A tall slender cone: a delineator on a heavy foot."""
    shade, stripe = np.array(materials.linear(colour)), np.array(materials.linear("#dfdfda"))
    bands = ((0.62, 0.08), (0.78, 0.08))
    levels = np.linspace(0.08, 0.93, 60)

    def colours(points: np.ndarray) -> np.ndarray:
        values = np.tile(shade, (len(points), 1))
        for middle, width in bands:
            values[np.abs(points[:, 2] / height - middle) <= width / 2] = stripe
        return values

    coat = materials.surface(None, rough=0.4, dirt=0.4, bump=0.05, glow=0.06, seed=seed)
    turned(
        [
            (0.075, 0.05),
            *[(0.058 - 0.022 * level, level * height) for level in levels],
            (0.028, height * 0.95),
            (0.045, height * 0.97),
            (0.045, height),
            (0.001, height),
        ],
        coat,
        colours=colours,
        sharp=False,
    )
    turned(
        [(0.001, 0), (0.19, 0), (0.195, 0.02), (0.17, 0.05), (0.09, 0.075), (0.001, 0.075)],
        rubber(seed + 1),
        segments=8,
    )
