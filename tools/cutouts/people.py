"""Workers: bodies from signed distance fields in working poses, clothed, with vest and hard hat or without."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from mathutils import Matrix, Vector
from numpy.typing import NDArray

from tools.cutouts import fields, headwear, materials, solids
from tools.cutouts.fields import Floats, blend, cut, ellipsoid, round_cone, waves


@dataclass(frozen=True, slots=True)
class Vest:
    """A high-visibility vest: colours as ``#rrggbb``."""

    colour: str = "#c8f11a"
    stripe: str = "#c9ccce"
    edge: str = ""
    layout: str = "two"  # two: two bands and braces; one: one band and braces; cross: an X behind; plain: two bands
    lower: str = ""  # the part below the lower band, in a dark colour
    closed: bool = True


@dataclass(frozen=True, slots=True)
class Worker:
    """A person and what is worn."""

    skin: str = "#c58c6c"
    hair: str = "#2a1d14"
    hair_style: str = "short"  # short, long, bald
    beard: bool = False
    shirt: str = "#3a4a66"
    short_sleeves: bool = False
    trousers: str = "#2c3446"
    trouser_stripes: bool = False
    boots: str = "#5a4330"
    gloves: str = ""
    belly: float = 0.0
    shoulders: float = 1.0
    height: float = 1.76
    vest: Vest | None = None
    hat: headwear.HardHat | None = None
    glasses: bool = False
    poses: tuple[str, ...] = ("stand", "walk", "carry")


@dataclass(frozen=True, slots=True)
class Pose:
    """Angles in degrees; limbs as (left, right) of the person: flexion forward, abduction outward."""

    lean: float = 2
    twist: float = 0
    nod: float = 5
    look: float = 0
    hips: tuple[float, float] = (3, -3)
    spread: tuple[float, float] = (5, 5)
    knees: tuple[float, float] = (4, 4)
    upper: tuple[tuple[float, float], tuple[float, float]] = ((4, 11), (0, 11))
    fore: tuple[tuple[float, float], tuple[float, float]] = ((18, 6), (14, 6))
    holds: str = ""


POSES: Mapping[str, Pose] = {
    "stand": Pose(look=12),
    "wait": Pose(
        lean=0, look=-25, hips=(2, 6), spread=(9, 3), knees=(2, 14), upper=((8, 9), (2, 14)), fore=((22, 2), (10, 8))
    ),
    "walk": Pose(
        lean=5, hips=(27, -17), spread=(2, 2), knees=(10, 24), upper=((-22, 8), (24, 8)), fore=((0, 4), (52, 2))
    ),
    "stride": Pose(
        lean=7,
        look=8,
        hips=(-14, 32),
        spread=(2, 2),
        knees=(36, 14),
        upper=((30, 9), (-26, 9)),
        fore=((62, 0), (-6, 4)),
    ),
    "carry": Pose(
        lean=-3, nod=12, hips=(10, -6), knees=(8, 8), upper=((14, 12), (14, 12)), fore=((82, -8), (82, -8)), holds="box"
    ),
    "point": Pose(look=-20, hips=(4, -4), upper=((6, 12), (78, 22)), fore=((24, 4), (84, 22))),
    "akimbo": Pose(look=15, spread=(8, 8), upper=((-16, 42), (-16, 42)), fore=((26, -38), (26, -38))),
    "tablet": Pose(nod=28, hips=(4, -6), upper=((16, 8), (20, 8)), fore=((82, -24), (88, -28)), holds="tablet"),
    "bend": Pose(
        lean=52,
        nod=-18,
        hips=(26, 14),
        knees=(38, 34),
        spread=(8, 8),
        upper=((48, 6), (40, 8)),
        fore=((66, -4), (58, -2)),
    ),
    "crouch": Pose(
        lean=26,
        nod=8,
        hips=(96, 62),
        knees=(112, 128),
        spread=(12, 10),
        upper=((38, 10), (30, 10)),
        fore=((72, -10), (64, -8)),
    ),
    "reach": Pose(lean=-4, nod=-22, hips=(6, -6), upper=((152, 12), (140, 14)), fore=((164, 4), (158, 4))),
    "push": Pose(lean=20, nod=-10, hips=(34, -20), knees=(26, 16), upper=((42, 12), (42, 12)), fore=((74, 2), (74, 2))),
}

_STEP = 0.0095


@dataclass
class Body:
    """What was built: all objects, and those of the hat's and the vest's."""

    items: list[solids.Object] = field(default_factory=list)
    hat: list[solids.Object] = field(default_factory=list)
    vest: list[solids.Object] = field(default_factory=list)

    @property
    def all(self) -> list[solids.Object]:
        """The person with whatever is worn."""
        return [*self.items, *self.hat, *self.vest]


def _way(flexion: float, abduction: float, side: float) -> Floats:
    """The direction of a limb that hangs down at 0, 0."""
    f, a = math.radians(flexion), math.radians(abduction)
    return np.array([side * math.sin(a), -math.sin(f) * math.cos(a), -math.cos(f) * math.cos(a)], np.float32)


class _Skeleton:
    """The joints of a pose, for a person of 1.76 m; the floor is at z = 0."""

    def __init__(self, pose: Pose, shoulders: float) -> None:
        self.pose = pose
        self.hip, self.knee, self.ankle, self.toe = [], [], [], []
        for number, side in enumerate((1.0, -1.0)):
            hip = np.array([side * 0.088, 0, -0.04], np.float32)
            knee = hip + 0.435 * _way(pose.hips[number], pose.spread[number], side)
            shin = _way(pose.hips[number] - pose.knees[number], pose.spread[number] * 0.5, side)
            self.hip.append(hip)
            self.knee.append(knee)
            self.ankle.append(knee + 0.42 * shin)
        drop = min(float(ankle[2]) for ankle in self.ankle) - 0.085
        self.pelvis = np.array([0, 0, -drop], np.float32)
        for joints in (self.hip, self.knee, self.ankle):
            for joint in joints:
                joint += self.pelvis
        for number, side in enumerate((1.0, -1.0)):
            raised = max(0.0, float(self.ankle[number][2]) - 0.085)
            pitch = min(1.2, raised * 6.5)
            out = 0.16 * side
            self.toe.append(
                self.ankle[number] + 0.175 * np.array([out, -math.cos(pitch), -math.sin(pitch) - (0.0)], np.float32)
            )
        lean, twist = math.radians(pose.lean), math.radians(pose.twist)
        around = np.array(
            [[math.cos(twist), -math.sin(twist), 0], [math.sin(twist), math.cos(twist), 0], [0, 0, 1]], np.float32
        )
        forward = np.array(
            [[1, 0, 0], [0, math.cos(lean), -math.sin(lean)], [0, math.sin(lean), math.cos(lean)]], np.float32
        )
        self.torso = forward @ around
        self.shoulder, self.elbow, self.wrist, self.palm = [], [], [], []
        for number, side in enumerate((1.0, -1.0)):
            lift = max(0.0, pose.upper[number][0] - 80) / 100 * 0.05
            shoulder = self.place(np.array([side * 0.168 * shoulders, 0.0, 0.458 + lift], np.float32))
            elbow = shoulder + 0.29 * _way(*pose.upper[number], side)
            wrist = elbow + 0.25 * _way(*pose.fore[number], side)
            self.shoulder.append(shoulder)
            self.elbow.append(elbow)
            self.wrist.append(wrist)
            self.palm.append(_way(*pose.fore[number], side))
        self.neck = self.place(np.array([0, 0.012, 0.545], np.float32))
        nod, look = math.radians(pose.nod + pose.lean * 0.55), math.radians(pose.look)
        tilt = np.array([[1, 0, 0], [0, math.cos(nod), -math.sin(nod)], [0, math.sin(nod), math.cos(nod)]], np.float32)
        yaw = np.array(
            [[math.cos(look), -math.sin(look), 0], [math.sin(look), math.cos(look), 0], [0, 0, 1]], np.float32
        )
        self.head_turn = yaw @ tilt
        self.head = self.neck + self.head_turn @ np.array([0, -0.022, 0.155], np.float32)

    def place(self, point: Floats) -> Floats:
        """A point of the torso, whose origin is the pelvis, in the world."""
        return np.asarray(self.torso @ point + self.pelvis, np.float32)

    def in_torso(self, points: Floats) -> Floats:
        return np.asarray((points - self.pelvis) @ self.torso, np.float32)

    def in_head(self, points: Floats) -> Floats:
        return np.asarray((points - self.head) @ self.head_turn, np.float32)


def _torso(local: Floats, belly: float, shoulders: float) -> Floats:
    """Chest, belly, shoulders and seat in the torso's own frame."""
    shape = ellipsoid(local, (0, 0.0, 0.35), (0.172 * shoulders, 0.118, 0.20))
    shape = blend(
        shape, ellipsoid(local, (0, -0.01 - belly * 0.5, 0.13), (0.15 + belly * 0.6, 0.112 + belly, 0.19)), 0.07
    )
    shape = blend(
        shape,
        round_cone(
            local, np.array([-0.125 * shoulders, 0.01, 0.462]), np.array([0.125 * shoulders, 0.01, 0.462]), 0.058, 0.058
        ),
        0.07,
    )
    shape = blend(
        shape, round_cone(local, np.array([0, 0.012, 0.48]), np.array([0, 0.008, 0.575]), 0.085, 0.061), 0.075
    )
    return blend(shape, ellipsoid(local, (0, 0.012, -0.03), (0.156 + belly * 0.4, 0.118 + belly * 0.5, 0.14)), 0.06)


def _add(
    body: list[solids.Object],
    shape: fields.Field,
    around: Floats,
    margin: float,
    material: object,
    paint: object,
    step: float = _STEP,
) -> None:
    """The surface of ``shape`` within ``margin`` of the points ``around``, its vertices coloured by ``paint``."""
    low, high = around.min(axis=0) - margin, around.max(axis=0) + margin
    vertices, triangles = fields.surface(shape, low, high, step)
    colours = paint(vertices) if callable(paint) else np.tile(np.asarray(paint, np.float32), (len(vertices), 1))
    body.append(solids.mesh(vertices, triangles, material, colours=colours))


def build(worker: Worker, pose_name: str, seed: int) -> Body:
    """The person in that pose at the origin, facing -y."""
    pose = POSES[pose_name]
    bones = _Skeleton(pose, worker.shoulders)
    body = Body()
    _trousers(body, worker, bones, seed)
    _boots(body, worker, bones, seed)
    _shirt(body, worker, bones, seed)
    _hands(body, worker, bones, seed)
    _head(body, worker, bones, seed)
    if worker.vest:
        _vest(body, worker, worker.vest, bones, seed)
    if pose.holds:
        _held(body, pose.holds, bones, seed)
    if worker.hat:
        body.hat = headwear.build(worker.hat, seed)
        tilt = Matrix.Rotation(math.radians(-4), 4, "X")
        turn = Matrix([[*map(float, row)] for row in bones.head_turn]).to_4x4()
        crown = Vector(map(float, bones.head)) + turn.to_3x3() @ Vector((0, 0.006, 0.030))
        headwear.wear(body.hat, Matrix.Translation(crown) @ turn @ tilt)
    scale = worker.height / 1.76
    import bpy

    bpy.context.view_layer.update()
    for item in body.all:
        item.matrix_world = Matrix.Scale(scale, 4) @ item.matrix_world
    return body


def _trousers(body: Body, worker: Worker, bones: _Skeleton, seed: int) -> None:
    def shape(points: Floats) -> Floats:
        local = bones.in_torso(points)
        total = ellipsoid(local, (0, 0.012, -0.01), (0.155 + worker.belly * 0.4, 0.116 + worker.belly * 0.5, 0.15))
        for hip, knee, ankle in zip(bones.hip, bones.knee, bones.ankle, strict=True):
            leg = blend(
                round_cone(points, hip, knee, 0.093, 0.068),
                round_cone(points, knee, ankle + np.array([0, 0.004, 0.01], np.float32), 0.068, 0.062),
                0.04,
            )
            total = blend(total, leg, 0.035)
        low = 0.5 + 0.5 * np.clip((0.75 - points[:, 2]) / 0.5, -1, 1)
        total += waves(points * np.array([1, 1, 1.7], np.float32), 0.15, seed) * (0.0015 + 0.005 * low)
        return np.maximum(total, np.maximum(local[:, 2] - 0.09, 0.03 - points[:, 2]))

    colour, silver = np.array(materials.linear(worker.trousers)), np.array(materials.linear("#c9ccce"))

    def paint(points: Floats) -> NDArray[np.floating]:
        values = np.tile(colour, (len(points), 1))
        for knee, ankle in zip(bones.knee, bones.ankle, strict=True):
            axis = (ankle - knee) / np.linalg.norm(ankle - knee)
            along = (points - knee) @ axis
            near = np.linalg.norm(points - knee - along[:, None] * axis, axis=1) < 0.12
            if worker.trouser_stripes:
                for start in (0.10, 0.19):
                    values[near & (along > start) & (along < start + 0.05)] = silver
            # Knees and hems are where work shows.
            values[near] *= (0.72 + 0.28 * np.clip((0.36 - along[near]) / 0.12, 0, 1))[:, None]
        belt = np.abs(bones.in_torso(points)[:, 2] - 0.075) < 0.018
        values[belt] = (0.02, 0.015, 0.012)
        return values

    joints = np.stack([bones.pelvis, *bones.hip, *bones.knee, *bones.ankle])
    _add(body.items, shape, joints, 0.17, materials.cloth(None, seed, dirt=0.3), paint)


def _boots(body: Body, worker: Worker, bones: _Skeleton, seed: int) -> None:
    leather, sole = np.array(materials.linear(worker.boots)), np.array([0.012, 0.012, 0.012])
    for ankle, toe in zip(bones.ankle, bones.toe, strict=True):
        way = (toe - ankle) / np.linalg.norm(toe - ankle)
        across = np.cross(way, [0, 0, 1.0])
        up = np.cross(across, way) / np.linalg.norm(across)
        heel, ball = ankle - 0.045 * way - 0.035 * up, toe - 0.035 * way - 0.042 * up

        def shape(
            points: Floats, ankle: Floats = ankle, heel: Floats = heel, ball: Floats = ball, up: Floats = up
        ) -> Floats:
            total = blend(
                round_cone(points, heel, ball, 0.041, 0.044),
                round_cone(points, ankle + np.array([0, 0, 0.075], np.float32), ankle, 0.055, 0.05),
                0.04,
            )
            flat = -((points - ankle) @ up) - 0.085
            return np.asarray(np.maximum(total, flat), np.float32)

        def paint(points: Floats, ankle: Floats = ankle, up: Floats = up) -> NDArray[np.floating]:
            height = (points - ankle) @ up + 0.085
            return np.where((height < 0.024)[:, None], sole, leather)

        _add(
            body.items,
            shape,
            np.stack([ankle, heel, ball]),
            0.14,
            materials.surface(None, rough=0.55, dirt=0.45, seed=seed + 3),
            paint,
            0.008,
        )


def _shirt(body: Body, worker: Worker, bones: _Skeleton, seed: int) -> None:
    sleeve = 0.62 if worker.short_sleeves else 1.0

    def shape(points: Floats) -> Floats:
        local = bones.in_torso(points)
        total = _torso(local, worker.belly, worker.shoulders)
        # The collar's opening, and the hem over the belt.
        total = np.maximum(np.maximum(total, -(local[:, 2] + 0.015)), local[:, 2] - 0.558)
        for shoulder, elbow, wrist in zip(bones.shoulder, bones.elbow, bones.wrist, strict=True):
            end = shoulder + (elbow - shoulder) * sleeve
            arm = round_cone(points, shoulder, end, 0.06, 0.056 if sleeve < 1 else 0.05)
            if sleeve == 1:
                arm = blend(arm, round_cone(points, elbow, elbow + (wrist - elbow) * 0.93, 0.052, 0.041), 0.03)
            total = blend(total, arm, 0.05)
        return total + waves(points, 0.12, seed + 5) * 0.0045

    colour = np.array(materials.linear(worker.shirt))

    def paint(points: Floats) -> NDArray[np.floating]:
        values = np.tile(colour, (len(points), 1))
        local = bones.in_torso(points)
        front = (local[:, 1] < 0) & (np.abs(local[:, 0]) < 0.006) & (local[:, 2] < 0.53)
        values[front] *= 0.35
        values[(local[:, 2] > 0.545) & (np.abs(local[:, 0]) < 0.1)] *= 0.6
        values[(local[:, 2] < 0.0) & (np.abs(local[:, 0]) < 0.17)] *= 0.7
        return values

    joints = np.stack([bones.pelvis, bones.neck, *bones.shoulder, *bones.elbow, *bones.wrist])
    _add(body.items, shape, joints, 0.15, materials.cloth(None, seed + 1), paint)


def _hands(body: Body, worker: Worker, bones: _Skeleton, seed: int) -> None:
    skin = materials.surface(None, rough=0.5, dirt=0.06, bump=0.05, mottle=0.08, seed=seed)
    tone = materials.linear(worker.skin)
    glove = materials.linear(worker.gloves) if worker.gloves else tone
    for number, side in enumerate((1.0, -1.0)):
        elbow, wrist, way = bones.elbow[number], bones.wrist[number], bones.palm[number]
        inward = np.array([-side, 0, 0], np.float32)
        inward -= way * float(inward @ way)
        inward /= max(float(np.linalg.norm(inward)), 1e-3)
        across = np.cross(way, inward)
        if across[1] > 0:
            across = -across  # thumbs point forward
        knuckles = wrist + 0.085 * way
        wide = 1.15 if worker.gloves else 1.0

        def shape(
            points: Floats,
            wrist: Floats = wrist,
            way: Floats = way,
            inward: Floats = inward,
            across: Floats = across,
            knuckles: Floats = knuckles,
            wide: float = wide,
        ) -> Floats:
            total = round_cone(points, wrist - 0.015 * way, wrist + 0.02 * way, 0.028, 0.03)
            for spot in (-0.026, 0.0, 0.026):
                total = blend(
                    total,
                    round_cone(points, wrist + 0.02 * way, knuckles + spot * across, 0.024 * wide, 0.017 * wide),
                    0.015,
                )
            for spot, reach in ((-0.03, 0.058), (-0.010, 0.072), (0.010, 0.07), (0.03, 0.06)):
                root = knuckles + spot * across
                middle = root + reach * 0.55 * way + 0.006 * inward
                total = blend(total, round_cone(points, root, middle, 0.011 * wide, 0.0105 * wide), 0.006)
                total = blend(
                    total,
                    round_cone(
                        points, middle, middle + reach * 0.5 * (way * 0.75 + inward * 0.65), 0.0105 * wide, 0.009 * wide
                    ),
                    0.006,
                )
            thumb = wrist + 0.02 * way + 0.024 * across
            return blend(
                total,
                round_cone(
                    points, thumb, thumb + 0.055 * way + 0.032 * across + 0.012 * inward, 0.015 * wide, 0.0115 * wide
                ),
                0.012,
            )

        _add(body.items, shape, np.stack([wrist, knuckles]), 0.115, skin, glove, 0.0055)
        if worker.short_sleeves:
            start = bones.shoulder[number] + (elbow - bones.shoulder[number]) * 0.5

            def arm(points: Floats, start: Floats = start, elbow: Floats = elbow, wrist: Floats = wrist) -> Floats:
                return blend(
                    round_cone(points, start, elbow, 0.047, 0.04), round_cone(points, elbow, wrist, 0.043, 0.029), 0.02
                )

            _add(body.items, arm, np.stack([start, elbow, wrist]), 0.08, skin, tone)


def _head(body: Body, worker: Worker, bones: _Skeleton, seed: int) -> None:
    tone = np.array(materials.linear(worker.skin))
    hair = np.array(materials.linear(worker.hair))

    def skull(local: Floats) -> Floats:
        total = ellipsoid(local, (0, 0.012, 0.03), (0.076, 0.097, 0.087))
        total = blend(total, ellipsoid(local, (0, -0.022, -0.042), (0.056, 0.066, 0.078)), 0.04)
        total = blend(
            total, round_cone(local, np.array([0, -0.075, -0.088]), np.array([0, -0.07, -0.095]), 0.021, 0.021), 0.03
        )
        total = blend(
            total, round_cone(local, np.array([0, -0.086, 0.004]), np.array([0, -0.105, -0.034]), 0.009, 0.0155), 0.014
        )
        for side in (-1, 1):
            total = cut(total, ellipsoid(local, (side * 0.032, -0.101, 0.006), (0.018, 0.017, 0.012)) + 0.002)
            total = blend(total, ellipsoid(local, (side * 0.078, 0.012, -0.012), (0.011, 0.02, 0.032)), 0.006)
            total = blend(total, ellipsoid(local, (side * 0.045, -0.07, -0.03), (0.022, 0.02, 0.02)), 0.025)
        return total

    def shape(points: Floats) -> Floats:
        local = bones.in_head(points)
        neck = round_cone(
            points,
            bones.neck - bones.torso @ np.array([0, 0, 0.05], np.float32),
            bones.head + bones.head_turn @ np.array([0, 0.012, -0.05], np.float32),
            0.056,
            0.053,
        )
        return blend(skull(local), neck, 0.02)

    def paint(points: Floats) -> NDArray[np.floating]:
        local = bones.in_head(points)
        x, y, z = local.T
        values = np.tile(tone, (len(points), 1))
        cheeks = np.exp(-((np.abs(x) - 0.042) ** 2 + (z + 0.03) ** 2) / 0.0006) * (y < -0.04)
        values = values * (1 - 0.25 * cheeks[:, None] * np.array([0.2, 1.0, 1.0]))
        lips = (np.abs(x) < 0.024 - 0.3 * np.abs(z + 0.062)) & (np.abs(z + 0.062) < 0.0075) & (y < -0.07)
        values[lips] = tone * (0.75, 0.45, 0.45)
        if worker.beard:
            grown = (z < -0.035) & (y < 0.005 - 0.4 * (z + 0.1)) & (z > -0.135) & ~lips
            values[grown] = 0.75 * hair + 0.25 * values[grown]
        eyes = ((np.abs(x) - 0.032) / 0.0145) ** 2 + ((z - 0.006) / 0.0075) ** 2 < 1
        values[eyes & (y < -0.06)] = (0.30, 0.27, 0.25)
        pupils = ((np.abs(x) - 0.032) / 0.0065) ** 2 + ((z - 0.006) / 0.007) ** 2 < 1
        values[pupils & (y < -0.06)] = (0.015, 0.01, 0.008)
        brows = (
            (np.abs(np.abs(x) - 0.034) < 0.019) & (np.abs(z - 0.026 + 0.15 * (np.abs(x) - 0.034)) < 0.005) & (y < -0.05)
        )
        values[brows] = 0.7 * hair + 0.3 * tone * 0.5
        return values

    skin = materials.surface(None, rough=0.48, dirt=0.05, bump=0.04, mottle=0.06, seed=seed)
    _add(body.items, shape, np.stack([bones.head, bones.neck]), 0.16, skin, paint, 0.0055)
    if worker.hair_style != "bald":

        def hair_shape(points: Floats) -> Floats:
            local = bones.in_head(points)
            total = ellipsoid(local, (0, 0.018, 0.034), (0.083, 0.101, 0.093))
            if worker.hair_style == "long":
                total = blend(total, ellipsoid(local, (0, 0.07, -0.06), (0.075, 0.05, 0.12)), 0.04)
            total += waves(local, 0.025, seed) * 0.0018
            front = local[:, 1] + 0.045 + 2.2 * np.clip(local[:, 2] - 0.062, -0.04, 0.1)
            low = (-0.045 if worker.hair_style == "short" else -0.17) - local[:, 2]
            return np.asarray(np.maximum(np.maximum(total, -front), low), np.float32)

        _add(
            body.items, hair_shape, bones.head[None], 0.2, materials.cloth(None, seed, rough=0.55, dirt=0), hair, 0.006
        )
    if worker.glasses:
        frame = materials.surface((0.02, 0.022, 0.03), rough=0.08, dirt=0, bump=0, seed=seed)
        points = [
            (-0.074, 0.0, 0.008),
            (-0.062, -0.075, 0.006),
            (-0.03, -0.1, 0.004),
            (0, -0.105, 0.006),
            (0.03, -0.1, 0.004),
            (0.062, -0.075, 0.006),
            (0.074, 0.0, 0.008),
        ]
        placed = [
            tuple(float(v) for v in bones.head + bones.head_turn @ np.array(point, np.float32)) for point in points
        ]
        body.items.append(solids.tube(placed, 0.0085, frame, corner=0.02))


def _vest(body: Body, worker: Worker, vest: Vest, bones: _Skeleton, seed: int) -> None:
    wide = worker.shoulders

    def shape(points: Floats) -> Floats:
        local = bones.in_torso(points)
        flare = 0.014 + 0.03 * np.clip((0.12 - local[:, 2]) / 0.3, 0, 1)
        total = _torso(local, worker.belly, wide) - flare + waves(points, 0.16, seed + 9) * 0.006
        neck = round_cone(local, np.array([0, -0.01, 0.49]), np.array([0, -0.02, 0.70]), 0.088, 0.10)
        # A V in front, down to the zip.
        opening = np.maximum(
            np.abs(local[:, 0]) - 0.42 * (local[:, 2] - (0.30 if vest.closed else 0.22)), local[:, 1] + 0.01
        )
        total = cut(cut(total, neck), opening)
        if not vest.closed:
            total = cut(total, np.maximum(np.abs(local[:, 0]) - 0.035, local[:, 1] + 0.02))
        sides = np.abs(local[:, 0]) - (0.150 * wide + 1.6 * np.clip(0.33 - local[:, 2], 0, 0.2))
        return np.maximum(np.maximum(total, -(local[:, 2] + 0.09)), sides)

    cloth, stripe = np.array(materials.linear(vest.colour)), np.array(materials.linear(vest.stripe))
    edge = np.array(materials.linear(vest.edge)) if vest.edge else None
    lower = np.array(materials.linear(vest.lower)) if vest.lower else None

    def paint(points: Floats) -> NDArray[np.floating]:
        x, y, z = bones.in_torso(points).T
        values = np.tile(cloth, (len(points), 1))
        if lower is not None:
            values[z < 0.0] = lower
        z = z + 0.012 * np.sin(7 * x)
        level = np.full(len(points), np.inf)  # how far from the middle of a stripe, in half its width
        bands = (0.205,) if vest.layout == "one" else (0.055, 0.205)
        for band in bands:
            level = np.minimum(level, np.abs(z - band) / 0.025)
        if vest.layout in {"two", "one"}:
            level = np.where(z > bands[-1], np.minimum(level, np.abs(np.abs(x) - 0.098 * wide) / 0.024), level)
        elif vest.layout == "cross":
            front = np.where(z > bands[-1], np.abs(np.abs(x) - 0.098 * wide) / 0.024, np.inf)
            behind = np.where(z > bands[-1], np.abs(np.abs(x) - 0.36 * np.abs(z - 0.30) - 0.005) / 0.027, np.inf)
            level = np.minimum(level, np.where(y < 0, front, behind))
        if edge is not None:
            values[level < 1.55] = edge
        values[level < 1] = stripe
        rim = (np.abs(x) < 0.007) & (y < 0) & (z < 0.3)
        values[rim] = values[rim] * 0.3
        pocket = (np.abs(np.abs(x) - 0.095) < 0.05) & (np.abs(z - 0.125) < 0.003) & (y < 0)
        values[pocket] *= 0.45
        return values

    top = bones.place(np.array([0, 0, 0.5], np.float32))
    low = bones.place(np.array([0, 0, -0.06], np.float32))
    sides = [bones.place(np.array([side * 0.16, 0, 0.3], np.float32)) for side in (-1, 1)]
    cloth_material = materials.cloth(None, seed + 2, rough=0.65, dirt=0.22, bump=0.35, glow=0.10)
    _add(body.vest, shape, np.stack([top, low, *sides]), 0.2, cloth_material, paint, 0.0075)


def _held(body: Body, what: str, bones: _Skeleton, seed: int) -> None:
    middle = (bones.wrist[0] + bones.wrist[1]) / 2 + 0.08 * (bones.palm[0] + bones.palm[1]) / 2
    x, y, z = (float(value) for value in middle)
    gap = float(abs(bones.wrist[0][0] - bones.wrist[1][0]))
    if what == "box":
        material = materials.cardboard(seed)
        size = (max(0.3, gap - 0.03), 0.28, 0.24)
        body.items.append(solids.box(size, (x, y - 0.09, z + 0.06), material, bevel=0.004))
        tape = materials.plastic("#c8a878", seed, rough=0.25)
        body.items.append(
            solids.box((0.05, size[1] + 0.002, 0.002), (x, y - 0.09, z + 0.06 + size[2] / 2 + 0.001), tape, bevel=0)
        )
    else:
        dark = materials.plastic("#15171a", seed, rough=0.25)
        body.items.append(solids.box((0.2, 0.012, 0.27), (x, y - 0.03, z + 0.045), dark, turn=(-42, 0, 0), bevel=0.004))
