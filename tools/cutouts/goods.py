"""What goods stand on and in: pallets and totes."""

from __future__ import annotations

import numpy as np

from tools.cutouts import materials, solids
from tools.cutouts.materials import cardboard, plastic, steel, wood
from tools.cutouts.solids import box, frame, move, prism, tapered, tube


def _jitter(rng: np.random.Generator, size: float) -> tuple[float, float, float]:
    return tuple(float(v) for v in rng.normal(0, size, 3))


def block_pallet(
    code: str,
    *,
    wear: float = 0.3,
    broken: tuple[int, ...] = (),
    painted: bool = False,
    seed: int = 0,
    level: float = 0.0,
) -> list[solids.Object]:
    """A pallet of nine blocks, 1.2 x 0.8 m, as the European exchange pallet; ``broken`` deck boards are short."""
    rng = np.random.default_rng(seed)

    def board(axis: int) -> object:
        if painted:
            return materials.surface(
                materials.linear(code),
                rough=0.7,
                dirt=0.4 + wear / 3,
                wear=wear,
                wear_colour=materials.linear("#9c7f58"),
                stretch=tuple(0.15 if n == axis else 1.5 for n in range(3)),
                grain=14,
                bump=0.3,
                seed=seed,
            )
        return wood(
            code, seed + int(rng.integers(50)), axis=axis, mottle=0.35 + 0.4 * float(rng.random()), dirt=0.25 + wear / 2
        )

    items = []
    widths = (0.145, 0.10, 0.145, 0.10, 0.145)
    places = (-0.3275, -0.165, 0.0, 0.165, 0.3275)
    for number, (wide, y) in enumerate(zip(widths, places, strict=True)):
        length, x = 1.2, 0.0
        if number in broken:
            length, x = 0.75, -0.22
        items.append(box((length, wide, 0.022), (x, y, 0.133), board(0), turn=_jitter(rng, 0.25 + wear), bevel=0.003))
    for x in (-0.5275, 0.0, 0.5275):
        items.append(box((0.145, 0.8, 0.022), (x, 0, 0.111), board(1), turn=_jitter(rng, 0.2), bevel=0.003))
        for y in (-0.35, 0.0, 0.35):
            items.append(
                box((0.145, 0.10 if y else 0.145, 0.078), (x, y, 0.061), board(0), turn=_jitter(rng, 0.4), bevel=0.004)
            )
    for y in (-0.35, 0.0, 0.35):
        items.append(
            box(
                (1.2, 0.10 if y else 0.145, 0.022),
                (0, y, 0.011),
                board(0),
                turn=(0, 0, float(rng.normal(0, 0.3))),
                bevel=0.003,
            )
        )
    move(items, (0, 0, level))
    return items


def stringer_pallet(
    code: str,
    *,
    painted: bool = False,
    wear: float = 0.4,
    missing: tuple[int, ...] = (),
    stringer: str = "",
    seed: int = 0,
    level: float = 0.0,
) -> list[solids.Object]:
    """A pallet on three notched stringers, 48 x 40 inches."""
    rng = np.random.default_rng(seed)

    def board(axis: int, shade: str = code) -> object:
        if painted or (stringer and shade == stringer):
            return materials.surface(
                materials.linear(shade),
                rough=0.7,
                dirt=0.45,
                wear=wear,
                wear_colour=materials.linear("#94775a"),
                stretch=tuple(0.15 if n == axis else 1.5 for n in range(3)),
                grain=14,
                bump=0.3,
                seed=seed,
            )
        return wood(
            shade, seed + int(rng.integers(50)), axis=axis, mottle=0.4 + 0.4 * float(rng.random()), dirt=0.3 + wear / 3
        )

    items = []
    notch = [
        (-0.61, 0),
        (-0.40, 0),
        (-0.38, 0.035),
        (-0.18, 0.035),
        (-0.16, 0),
        (0.16, 0),
        (0.18, 0.035),
        (0.38, 0.035),
        (0.40, 0),
        (0.61, 0),
        (0.61, 0.09),
        (-0.61, 0.09),
    ]
    for y in (-0.49, 0.0, 0.49):
        beam = prism(notch, 0.038, board(0, stringer or code))
        beam.location = (0, y, 0.016)
        items.append(beam)
    for number, x in enumerate(np.linspace(-0.54, 0.54, 7)):
        if number in missing:
            continue
        wide = 0.14 if number in (0, 6) else 0.09
        items.append(
            box((wide, 1.016, 0.016), (float(x), 0, 0.114), board(1), turn=_jitter(rng, 0.3 + wear), bevel=0.003)
        )
    for x in (-0.54, -0.1, 0.1, 0.54):
        items.append(
            box(
                (0.12 if abs(x) > 0.3 else 0.09, 1.016, 0.016),
                (x, 0, 0.008),
                board(1),
                turn=(0, 0, float(rng.normal(0, 0.4))),
                bevel=0.003,
            )
        )
    move(items, (0, 0, level))
    return items


def plastic_pallet(code: str, *, feet: bool = True, seed: int = 0) -> list[solids.Object]:
    """A moulded pallet, its deck a grid; on nine feet or three runners."""
    coat = plastic(code, seed, dirt=0.45, bump=0.15)
    items = []
    for y in np.linspace(-0.40 + 0.012, 0.40 - 0.012, 11):
        items.append(box((1.2, 0.024 if abs(y) < 0.38 else 0.045, 0.03), (0, float(y), 0.135), coat, bevel=0.003))
    for x in np.linspace(-0.6 + 0.02, 0.6 - 0.02, 15):
        items.append(box((0.024 if abs(x) < 0.57 else 0.05, 0.8, 0.028), (float(x), 0, 0.135), coat, bevel=0.003))
    box((0.22, 0.10, 0.006), (0, -0.3, 0.149), coat)
    for x in (-0.51, 0.0, 0.51):
        for y in (-0.34, 0.0, 0.34):
            foot = tapered((0.13, 0.09), (0.17, 0.12), 0.122, coat, corner=0.02, open_top=False)
            foot.location = (x, y, 0.0)
            items.append(foot)
        if not feet:
            items.append(box((0.14, 0.8, 0.025), (x, 0, 0.0125), coat, bevel=0.005))
    return items


def pallet_stack(count: int, seed: int) -> None:
    """Empty pallets on each other, none quite on the one below."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        shade = ("#c09a66", "#a8875c", "#8f7858")[int(rng.integers(3))]
        items = block_pallet(shade, wear=0.5, seed=seed + number)
        move(
            items,
            (float(rng.normal(0, 0.015)), float(rng.normal(0, 0.015)), number * 0.146),
            turn=(0, 0, float(rng.normal(0, 1.2))),
        )


def euro_box(
    code: str,
    *,
    size: tuple[float, float, float] = (0.6, 0.4, 0.28),
    content: str = "",
    seed: int = 0,
    level: float = 0.0,
) -> list[solids.Object]:
    """A straight-walled stacking container with ribs and handles."""
    coat = plastic(code, seed)
    length, depth, height = size
    items = [
        tapered((length - 0.03, depth - 0.03), (length - 0.022, depth - 0.022), height, coat, wall=0.006, corner=0.02)
    ]
    for z, tall in ((height - 0.02, 0.035), (height * 0.62, 0.010), (0.022, 0.03)):
        ring = frame((length, depth), tall, 0.014, coat, corner=0.025)
        ring.location = (0, 0, z - tall / 2)
        items.append(ring)
    for side in (-1, 1):
        for x in np.linspace(-length / 2 + 0.07, length / 2 - 0.07, 6):
            items.append(
                box((0.008, 0.012, height - 0.06), (float(x), side * (depth / 2 - 0.010), height / 2), coat, bevel=0)
            )
        for y in np.linspace(-depth / 2 + 0.06, depth / 2 - 0.06, 4):
            items.append(
                box(
                    (0.012, 0.008, height * 0.55), (side * (length / 2 - 0.010), float(y), height * 0.35), coat, bevel=0
                )
            )
        items.append(
            box(
                (0.006, 0.13, 0.035),
                (side * (length / 2 - 0.012), 0, height * 0.80),
                plastic("#141517", seed),
                bevel=0.008,
            )
        )
    items.append(
        box(
            (0.10, 0.003, 0.055),
            (-length * 0.18, -depth / 2 + 0.0035, height * 0.42),
            plastic("#eeeeea", seed, dirt=0.2),
            bevel=0,
        )
    )
    items += _content(content, length - 0.08, depth - 0.08, height, seed)
    move(items, (0, 0, level))
    return items


def _content(kind: str, length: float, depth: float, height: float, seed: int) -> list[solids.Object]:
    rng = np.random.default_rng(seed)
    items = []
    if kind == "cartons":
        for x in (-length / 3, 0.0, length / 3):
            tall = height * float(rng.uniform(0.7, 1.2))
            items.append(
                box(
                    (length / 3 - 0.012, depth - 0.02, tall),
                    (x, 0, tall / 2 + 0.01),
                    cardboard(seed + int(rng.integers(9))),
                    turn=(0, 0, float(rng.normal(0, 2))),
                )
            )
    elif kind == "parts":
        bare = steel(seed, dirt=0.4)
        items.append(box((length, depth, 0.02), (0, 0, height * 0.5), plastic("#202124", seed)))
        for _ in range(34):
            place = (
                float(rng.uniform(-0.46, 0.46)) * length,
                float(rng.uniform(-0.46, 0.46)) * depth,
                height * float(rng.uniform(0.53, 0.68)),
            )
            radius = float(rng.uniform(0.02, 0.04))
            item = solids.disc(radius, radius * float(rng.uniform(0.5, 2)), place, bare, hole=radius * 0.4)
            item.rotation_euler = [float(v) for v in rng.uniform(0, 3, 3)]
            items.append(item)
    elif kind == "bags":
        for x in (-length / 4, length / 4):
            bag = tapered(
                (length / 2.4, depth * 0.8),
                (length / 3, depth * 0.6),
                height * 0.95,
                plastic("#d9dadb", seed, bump=1.0, grain=18),
                corner=0.08,
                open_top=False,
            )
            bag.location = (x, 0, 0.02)
            bag.rotation_euler = (0, 0, float(rng.normal(0, 0.1)))
            items.append(bag)
    return items


def lidded_tote(code: str, lid: str, *, ajar: bool = False, seed: int = 0, level: float = 0.0) -> list[solids.Object]:
    """A tapered tote with two hinged flaps that mesh in the middle."""
    coat, cover = plastic(code, seed), plastic(lid, seed + 1)
    length, depth, height = 0.6, 0.4, 0.32
    items = [
        tapered((length - 0.12, depth - 0.08), (length - 0.03, depth - 0.02), height, coat, wall=0.006, corner=0.03)
    ]
    rim = frame((length, depth), 0.03, 0.02, coat)
    rim.location = (0, 0, height - 0.03)
    items.append(rim)
    for side in (-1, 1):
        items.append(box((0.015, 0.18, 0.05), (side * (length / 2 - 0.028), 0, height * 0.66), coat, bevel=0.008))
        for x in (-0.16, 0.0, 0.16):
            items.append(
                box(
                    (0.02, 0.014, height * 0.75),
                    (x, side * (depth / 2 - 0.034), height * 0.45),
                    coat,
                    turn=(side * 5, 0, 0),
                    bevel=0.003,
                )
            )
        flap = []
        for tooth in range(5):
            y = -depth / 2 + depth * (tooth + 0.5) / 5
            reach = length / 2 + (0.022 if (tooth % 2) == (side > 0) else -0.022)
            flap.append(box((reach, depth / 5 - 0.002, 0.012), (-side * reach / 2, y, 0.006), cover, bevel=0.003))
        flap.append(box((length / 2 - 0.08, depth - 0.10, 0.014), (-side * (length / 4), 0, 0.011), cover, bevel=0.005))
        move(flap, (side * length / 2, 0, height), turn=(0, side * (112 if ajar else 0), 0))
        items += flap
    items.append(
        box(
            (0.11, 0.003, 0.07),
            (0.13, -depth / 2 + 0.023, height * 0.5),
            plastic("#f1f1ec", seed),
            turn=(5, 0, 0),
            bevel=0,
        )
    )
    move(items, (0, 0, level))
    return items


def bin_tote(code: str, seed: int = 0, *, content: str = "parts") -> list[solids.Object]:
    """An open-fronted picking bin."""
    coat = plastic(code, seed)
    items = []
    length, depth, height = 0.34, 0.5, 0.2
    items.append(box((length, depth, 0.008), (0, 0, 0.004), coat))
    outline = [
        (-depth / 2, 0),
        (depth / 2, 0),
        (depth / 2, height),
        (-depth * 0.10, height),
        (-depth * 0.40, height * 0.55),
        (-depth / 2, height * 0.45),
    ]
    for side in (-1, 1):
        plate = prism(outline, 0.006, coat)
        move([plate], (side * length / 2, 0, 0), turn=(0, 0, 90))
        items.append(plate)
    items.append(box((length, 0.008, height), (0, depth / 2, height / 2), coat))
    items.append(box((length, 0.008, height * 0.45), (0, -depth / 2, height * 0.225), coat))
    items.append(tube([(-length / 2, -depth / 2, height * 0.45), (length / 2, -depth / 2, height * 0.45)], 0.008, coat))
    items.append(box((0.14, 0.002, 0.04), (0, -depth / 2 - 0.005, height * 0.25), plastic("#f3f3ef", seed), bevel=0))
    items += _content(content, length - 0.05, depth - 0.1, height * 0.7, seed)
    return items
