"""All that is rendered: the variants of each class, on which side of the split each stands, and how it is seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tools.cutouts import equipment, floor, goods, headwear, people
from tools.cutouts.headwear import HardHat
from tools.cutouts.people import Body, Vest, Worker

STANDING = (-5.0, 40.0)
"""Degrees of elevation from which what is worn or as tall as a person is seen, by hand and from a camera on a wall."""
LOW = (4.0, 50.0)
"""And what stands lower than eyes are."""
LYING = (12.0, 60.0)
"""And what lies on a floor."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One form of a class.

    Attributes:
        label: the class.
        name: of the variant, one in its class.
        test: whether it stands on the test side.
        build: puts it into the empty scene; gets the number of the pose.
        poses: how many of them there are.
        elevations: degrees, from and to.
        stands: whether it stands on the floor, a pose each.
        fineness: times the usual samples, where much is seen through.
    """

    label: str
    name: str
    test: bool
    build: Callable[[int], Body | None]
    poses: int = 1
    elevations: tuple[float, float] = LOW
    stands: Sequence[bool] = field(default=(True,))
    fineness: int = 1


def _plain(
    label: str,
    name: str,
    make: Callable[..., Any],
    *arguments: Any,
    test: bool = False,
    elevations: tuple[float, float] = LOW,
    stands: bool = True,
    fineness: int = 1,
    poses: Sequence[dict[str, Any]] = ({},),
    **settings: Any,
) -> Variant:
    def build(pose: int) -> None:
        make(*arguments, **{**settings, **poses[pose]})

    return Variant(label, name, test, build, len(poses), elevations, (stands,) * len(poses), fineness)


def _worker(name: str, worker: Worker, seed: int, *, test: bool = False) -> Variant:
    def build(pose: int) -> Body:
        return people.build(worker, worker.poses[pose], seed)

    return Variant("person", name, test, build, len(worker.poses), STANDING, (True,) * len(worker.poses))


def _worn_vest(name: str, worker: Worker, seed: int, *, test: bool = False) -> Variant:
    """A vest on a body that cuts its own shape out of the picture."""

    def build(pose: int) -> Body:
        body = people.build(worker, worker.poses[pose], seed)
        for item in [*body.items, *body.hat]:
            item.is_holdout = True
        return Body([], [], body.vest)

    return Variant("safety_vest", name, test, build, len(worker.poses), STANDING, (False,) * len(worker.poses))


def _hard_hat(name: str, hat: HardHat, seed: int, *, test: bool = False) -> Variant:
    """A hat as it is worn (pose 0), lying as it was put down (1), and on its crown (2)."""

    def build(pose: int) -> None:
        from tools.cutouts import solids

        # Put down, its strap would be inside, and its muffs folded away.
        items = headwear.build(hat if pose == 0 else replace(hat, strap=False, muffs=""), seed)
        if pose == 0:
            head = _bald_head(seed)
            head.is_holdout = True
            solids.move([*items, head], (0, 0, 1.6), turn=(-4, 0, 0))
        elif pose == 1:
            solids.move(items, (0, 0, 0.024), turn=(3, 0, 0))
        else:
            solids.move(items, (0, 0, 0.132), turn=(180 + 14, 8, 0))

    return Variant("hard_hat", name, test, build, 3, (-5.0, 50.0), (False, True, True))


def _bald_head(seed: int) -> Any:
    from tools.cutouts import materials, solids

    profile = [(0.03, -0.2), (0.055, -0.14), (0.07, -0.08), (0.082, -0.02), (0.086, 0.03), (0.06, 0.08), (0.001, 0.095)]
    return solids.turned(profile, materials.plastic("#888888", seed), shape=lambda a: 1.0 + 0.12 * abs(math.sin(a)))


WHITE, YELLOW, ORANGE, BLUE, RED, GREEN = "#f1f1ec", "#f4c20f", "#ee6a12", "#1f5fb0", "#c8201c", "#2b8a3a"

WORKERS = [
    _worker("lime-white", Worker(vest=Vest(), hat=HardHat(WHITE), poses=("stand", "walk", "point")), 11),
    _worker(
        "orange-yellow",
        Worker(
            skin="#8a5a3c",
            shirt="#c9732c",
            short_sleeves=True,
            trousers="#4a4436",
            gloves="#2d2d2d",
            hair="#120d0a",
            vest=Vest("#ff6a13", edge="#e8f020", layout="cross"),
            hat=HardHat(YELLOW, brim="full"),
            poses=("stride", "carry", "crouch"),
        ),
        12,
    ),
    _worker(
        "bare-office",
        Worker(
            hair="#6b4526",
            hair_style="long",
            shirt="#8a8f98",
            trousers="#22252c",
            boots="#1c1a19",
            height=1.66,
            shoulders=0.9,
            poses=("stand", "tablet", "walk"),
        ),
        13,
    ),
    _worker(
        "coverall-blue-hat",
        Worker(
            skin="#d9a78a",
            shirt="#24406e",
            trousers="#24406e",
            boots="#17181a",
            belly=0.035,
            beard=True,
            hair="#4a3a30",
            hat=HardHat(BLUE, ridges=(0.0,), strap=True),
            glasses=True,
            poses=("wait", "bend", "push"),
        ),
        14,
    ),
    _worker(
        "vest-bareheaded",
        Worker(
            skin="#6d4630",
            hair="#0e0b09",
            shirt="#1f2226",
            trousers="#39424f",
            vest=Vest("#d6f522", layout="one", lower="#1e2430"),
            height=1.82,
            poses=("walk", "akimbo", "reach"),
        ),
        15,
    ),
    _worker(
        "lime-orange-hat",
        Worker(
            skin="#e0b296",
            shirt="#5b6157",
            trousers="#5d5a4c",
            trouser_stripes=True,
            gloves="#c9862f",
            vest=Vest("#bfe81c", edge="#f0741a"),
            hat=HardHat(ORANGE, mark="#f0f0f0", muffs="#b5201b"),
            glasses=True,
            belly=0.02,
            poses=("push", "wait", "bend"),
        ),
        16,
    ),
    _worker(
        "bare-tshirt",
        Worker(
            skin="#a8714f",
            hair="#1a1310",
            shirt="#7c2f2b",
            short_sleeves=True,
            trousers="#3d4f6b",
            boots="#4a3222",
            beard=True,
            poses=("carry", "stride", "stand"),
        ),
        17,
    ),
    _worker(
        "open-red-hat",
        Worker(
            skin="#c99a7d",
            shirt="#c9ccd0",
            trousers="#2b2f38",
            hair="#3b2a1c",
            height=1.7,
            shoulders=0.92,
            hair_style="long",
            vest=Vest("#ff7a1a", layout="plain", closed=False),
            hat=HardHat(RED, brim="climbing", vents=True, strap=True),
            poses=("tablet", "walk", "crouch"),
        ),
        18,
    ),
    _worker(
        "test-lime-green-hat",
        Worker(
            skin="#7d5238",
            hair="#15100c",
            shirt="#46505c",
            trousers="#272a2e",
            gloves="#e0dccf",
            vest=Vest("#cdf03a", edge="#23272e", layout="cross"),
            hat=HardHat(GREEN, brim="cap", ridges=(-0.02, 0.02)),
            height=1.79,
            poses=("walk", "bend", "akimbo"),
        ),
        19,
        test=True,
    ),
    _worker(
        "test-orange-white",
        Worker(
            skin="#e3bca2",
            hair="#8a6a45",
            shirt="#2e4a3d",
            trousers="#6a6152",
            boots="#6e4a2b",
            vest=Vest("#f55a0f", layout="two", lower="#20242b"),
            hat=HardHat(WHITE, brim="full", band="#c8201c"),
            beard=True,
            poses=("stand", "push", "carry"),
        ),
        20,
        test=True,
    ),
    _worker(
        "test-bare-hoodie",
        Worker(
            skin="#5a3a28",
            hair="#0c0908",
            shirt="#3a5a4a",
            trousers="#1d1f24",
            boots="#c9c4ba",
            height=1.74,
            poses=("wait", "reach", "stride"),
        ),
        21,
        test=True,
    ),
]

HATS = [
    _hard_hat("white-cap", HardHat(WHITE, mark="#2456a6"), 31),
    _hard_hat("yellow-full", HardHat(YELLOW, brim="full", dirt=0.5), 32),
    _hard_hat("orange-muffs", HardHat(ORANGE, muffs="#1d1d1f", ridges=(0.0,)), 33),
    _hard_hat("blue-vents", HardHat(BLUE, vents=True, ridges=(-0.02, 0.02)), 34),
    _hard_hat("red-climbing", HardHat(RED, brim="climbing", vents=True, strap=True), 35),
    _hard_hat("test-green-band", HardHat(GREEN, band="#e7ece6", ridges=(-0.03, 0.0, 0.03)), 36, test=True),
    _hard_hat("test-white-lamp", HardHat("#e2dfd3", brim="full", lamp=True, dirt=0.6, ridges=(0.0,)), 37, test=True),
]

VESTS = [
    _worn_vest("lime-two", Worker(vest=Vest(), poses=("stand", "walk", "bend")), 41),
    _worn_vest(
        "orange-cross",
        Worker(vest=Vest("#ff6a13", edge="#e8f020", layout="cross"), belly=0.03, poses=("wait", "push", "tablet")),
        42,
    ),
    _worn_vest(
        "lime-dark",
        Worker(
            vest=Vest("#d6f522", layout="one", lower="#1e2430"), shoulders=0.95, poses=("stride", "akimbo", "crouch")
        ),
        43,
    ),
    _worn_vest(
        "orange-open", Worker(vest=Vest("#ff7a1a", layout="plain", closed=False), poses=("reach", "walk", "stand")), 44
    ),
    _worn_vest(
        "test-lime-edged",
        Worker(vest=Vest("#bfe81c", edge="#f0741a", layout="cross"), shoulders=1.04, poses=("stand", "push", "point")),
        45,
        test=True,
    ),
    _worn_vest(
        "test-red-two",
        Worker(vest=Vest("#ff3d2e", edge="#d7f02a", layout="two"), belly=0.02, poses=("walk", "wait", "bend")),
        46,
        test=True,
    ),
]

_JACK = [{"handle": 8, "steer": 0}, {"handle": 38, "steer": 14, "raised": 0.05}]
EQUIPMENT = [
    _plain("pallet_jack", "yellow", equipment.pallet_jack, "#e9b411", poses=_JACK, seed=51),
    _plain("pallet_jack", "red-dark-forks", equipment.pallet_jack, "#c1271d", dark_forks=True, poses=_JACK, seed=52),
    _plain("pallet_jack", "blue-worn", equipment.pallet_jack, "#1f5c9e", wear=0.6, poses=_JACK, seed=53),
    _plain(
        "pallet_jack",
        "powered-grey",
        equipment.pallet_jack,
        "#c9ccd0",
        powered=True,
        dark_forks=True,
        poses=_JACK,
        seed=54,
    ),
    _plain(
        "pallet_jack", "test-orange", equipment.pallet_jack, "#e8631a", length=0.95, poses=_JACK, seed=55, test=True
    ),
    _plain("go_cart", "blue-flatbed", equipment.platform_cart, "#2461a8", poses=({"load": 0}, {"load": 0.8}), seed=61),
    _plain(
        "go_cart",
        "wooden-two-ends",
        equipment.platform_cart,
        "#3f4347",
        deck="#a98552",
        ends=2,
        length=1.2,
        width=0.7,
        poses=({"load": 0}, {"load": 0.7}),
        seed=62,
    ),
    _plain("go_cart", "black-utility", equipment.shelf_cart, 2, poses=({"load": 0}, {"load": 0.6}), seed=63),
    _plain(
        "go_cart",
        "mesh-sides",
        equipment.platform_cart,
        "#4a5a50",
        ends=2,
        mesh_sides=True,
        length=1.05,
        poses=({"load": 0}, {"load": 0.9}),
        seed=64,
    ),
    _plain(
        "go_cart",
        "test-steel-shelves",
        equipment.shelf_cart,
        3,
        metal=True,
        poses=({"load": 0}, {"load": 0.5}),
        seed=65,
        test=True,
    ),
    _plain(
        "go_cart",
        "test-green-flatbed",
        equipment.platform_cart,
        "#2f7d4a",
        deck="#8d6b45",
        length=1.1,
        poses=({"load": 0}, {"load": 0.7}),
        seed=66,
        test=True,
    ),
    _plain("step_ladder", "aluminium-5", equipment.step_ladder, 5, cap="#2a2c30", elevations=STANDING, seed=71),
    _plain(
        "step_ladder", "orange-fibreglass-6", equipment.step_ladder, 6, rails="#e8671b", elevations=STANDING, seed=72
    ),
    _plain("step_ladder", "white-3", equipment.step_ladder, 3, rails="#e9e9e4", cap="#1c1e21", elevations=LOW, seed=73),
    _plain("step_ladder", "wooden-5", equipment.step_ladder, 5, wooden=True, elevations=STANDING, seed=74),
    _plain(
        "step_ladder",
        "blue-fibreglass-4",
        equipment.step_ladder,
        4,
        rails="#1d5fae",
        cap="#1d5fae",
        elevations=STANDING,
        seed=75,
    ),
    _plain(
        "step_ladder",
        "test-yellow-fibreglass-7",
        equipment.step_ladder,
        7,
        rails="#efc419",
        cap="#1e1f22",
        elevations=STANDING,
        seed=76,
        test=True,
    ),
    _plain(
        "step_ladder",
        "test-platform-4",
        equipment.step_ladder,
        4,
        platform=True,
        elevations=STANDING,
        seed=77,
        test=True,
    ),
    _plain("trash_can", "grey-tub-bag", equipment.round_bin, "#8d9196", bag="#17181a", seed=81),
    _plain(
        "trash_can",
        "green-wheelie",
        equipment.wheelie_bin,
        "#2c5a35",
        "#2c5a35",
        seed=82,
        poses=({"ajar": 0}, {"ajar": 28}),
    ),
    _plain("trash_can", "steel-pedal", equipment.round_bin, "#aaaaaa", kind="pedal", seed=83),
    _plain("trash_can", "black-drum", equipment.round_bin, "#2d4f8a", kind="drum", seed=84),
    _plain("trash_can", "beige-swing", equipment.swing_bin, "#b9b2a3", "#5d564b", seed=85),
    _plain("trash_can", "test-red-oily", equipment.round_bin, "#b3241d", kind="oily", seed=86, test=True),
    _plain(
        "trash_can",
        "test-blue-yellow-wheelie",
        equipment.wheelie_bin,
        "#2a3b57",
        "#e2b714",
        seed=87,
        test=True,
        poses=({"ajar": 0}, {"ajar": 20}),
    ),
    _plain("safety_cone", "orange-two-bands", equipment.cone, "#f2590d", poses=({}, {"lean": 0, "dirt": 0.9}), seed=91),
    _plain("safety_cone", "small-plain", equipment.cone, "#f4640f", height=0.45, bands=(), base="#f4640f", seed=92),
    _plain(
        "safety_cone", "red-one-band", equipment.cone, "#d5220f", height=0.5, bands=((0.55, 0.34),), slim=1.1, seed=93
    ),
    _plain("safety_cone", "lime", equipment.cone, "#b9e01c", height=0.71, bands=((0.45, 0.15), (0.7, 0.1)), seed=94),
    _plain(
        "safety_cone",
        "yellow-striped",
        equipment.cone,
        "#f0c414",
        height=0.6,
        bands=((0.3, 0.12), (0.56, 0.12), (0.8, 0.1)),
        band="#17171a",
        base="#f0c414",
        seed=95,
    ),
    _plain(
        "safety_cone",
        "test-tall",
        equipment.cone,
        "#f5540a",
        height=0.92,
        bands=((0.40, 0.17), (0.68, 0.11)),
        slim=0.82,
        base="#e04c0c",
        seed=96,
        test=True,
    ),
    _plain(
        "safety_cone",
        "test-worn-small",
        equipment.cone,
        "#df5a1c",
        height=0.36,
        bands=((0.6, 0.3),),
        dirt=0.95,
        slim=1.15,
        seed=97,
        test=True,
    ),
]

_W = {"elevations": LOW}
GOODS = [
    _plain("tote", "blue-euro", goods.euro_box, "#1c57a5", poses=({}, {"content": "parts"}), seed=101),
    _plain(
        "tote",
        "grey-euro-low",
        goods.euro_box,
        "#7f858b",
        size=(0.6, 0.4, 0.17),
        poses=({}, {"content": "cartons"}),
        seed=102,
    ),
    _plain("tote", "black-yellow-flaps", goods.lidded_tote, "#232529", "#e3b515", poses=({}, {"ajar": True}), seed=103),
    _plain("tote", "red-bin", goods.bin_tote, "#c0241c", poses=({}, {"content": "cartons"}), seed=104),
    _plain("tote", "blue-flaps", goods.lidded_tote, "#2a62a8", "#2a62a8", seed=105),
    _plain(
        "tote",
        "test-yellow-euro",
        goods.euro_box,
        "#e6b416",
        size=(0.4, 0.3, 0.22),
        poses=({}, {"content": "bags"}),
        seed=106,
        test=True,
    ),
    _plain(
        "tote",
        "test-grey-flaps",
        goods.lidded_tote,
        "#9aa0a5",
        "#b3261e",
        poses=({}, {"ajar": True}),
        seed=107,
        test=True,
    ),
    _plain("pallet", "euro-new", goods.block_pallet, "#c8a269", wear=0.15, seed=111),
    _plain("pallet", "euro-grey-broken", goods.block_pallet, "#8f8371", wear=0.8, broken=(1,), seed=112),
    _plain("pallet", "blue-painted", goods.stringer_pallet, "#1d57a0", painted=True, wear=0.5, seed=113),
    _plain("pallet", "stringer-worn", goods.stringer_pallet, "#a9865a", wear=0.7, missing=(4,), seed=114),
    _plain("pallet", "black-plastic", goods.plastic_pallet, "#26282b", seed=115),
    _plain("pallet", "stack", goods.pallet_stack, poses=({"count": 4}, {"count": 7}), seed=116),
    _plain(
        "pallet",
        "test-stringer-red-ends",
        goods.stringer_pallet,
        "#b99662",
        stringer="#a8281f",
        wear=0.3,
        seed=117,
        test=True,
    ),
    _plain("pallet", "test-blue-plastic", goods.plastic_pallet, "#2a5d9c", feet=False, seed=118, test=True),
]

_lying = partial(_plain, elevations=LYING, stands=False)
FLOOR = [
    _lying(
        "spill", "water", floor.spill, "#202223", 0.46, poses=({"seed": 121}, {"seed": 122}, {"seed": 123, "run": 0.9})
    ),
    _lying(
        "spill",
        "oil",
        floor.spill,
        "#120d08",
        0.93,
        size=0.7,
        drops=8,
        poses=({"seed": 124}, {"seed": 125}, {"seed": 126, "run": 0.8}),
    ),
    _lying("spill", "coolant", floor.spill, "#5aa83a", 0.62, poses=({"seed": 127}, {"seed": 128}, {"seed": 129})),
    _lying(
        "spill",
        "coffee",
        floor.spill,
        "#4a2a14",
        0.72,
        size=0.4,
        drops=26,
        poses=({"seed": 130}, {"seed": 131}, {"seed": 132}),
    ),
    _lying(
        "spill",
        "paint",
        floor.spill,
        "#d9d6cc",
        0.97,
        size=0.6,
        drops=30,
        rough=0.12,
        edge=0.008,
        poses=({"seed": 133}, {"seed": 134}),
    ),
    _lying(
        "spill",
        "test-hydraulic",
        floor.spill,
        "#74200c",
        0.74,
        size=0.8,
        poses=({"seed": 135}, {"seed": 136}, {"seed": 137}),
        test=True,
    ),
    _lying(
        "spill",
        "test-dirty-water",
        floor.spill,
        "#4a4237",
        0.58,
        size=1.2,
        blobs=13,
        poses=({"seed": 138}, {"seed": 139}, {"seed": 140}),
        test=True,
    ),
    _lying(
        "debris",
        "cardboard",
        floor.cardboard_scraps,
        poses=({"seed": 151}, {"seed": 152, "pieces": 2}, {"seed": 153, "printed": True}),
    ),
    _lying(
        "debris",
        "film",
        floor.film,
        fineness=6,
        poses=({"seed": 154}, {"seed": 155}, {"seed": 156, "share": 0.5, "tint": (0.35, 0.5, 0.62)}),
    ),
    _lying("debris", "splinters", floor.splinters, poses=({"seed": 157}, {"seed": 158}, {"seed": 159, "plank": False})),
    _lying("debris", "fasteners", floor.fasteners, poses=({"seed": 160}, {"seed": 161}, {"seed": 162, "count": 9})),
    _lying(
        "debris",
        "strapping",
        floor.strapping,
        poses=({"seed": 163}, {"seed": 164, "code": "#1f1f21"}, {"seed": 165, "metal": True}),
    ),
    _lying("debris", "papers", floor.papers, poses=({"seed": 166}, {"seed": 167}, {"seed": 168, "count": 3})),
    _lying("debris", "test-swarf", floor.swarf, poses=({"seed": 169}, {"seed": 170, "count": 9}), test=True),
    _lying(
        "debris", "test-mixed", floor.mixed, fineness=3, poses=({"seed": 171}, {"seed": 175}, {"seed": 179}), test=True
    ),
]

VARIANTS: tuple[Variant, ...] = (*WORKERS, *HATS, *VESTS, *EQUIPMENT, *GOODS, *FLOOR)
