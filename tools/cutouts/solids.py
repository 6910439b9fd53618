"""Solids as Blender objects: boxes, tubes, turned shapes, sheets, meshes; z is up, metres throughout."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import bpy
import numpy as np
from mathutils import Euler
from numpy.typing import NDArray

Vector = Sequence[float]
Object = Any  # bpy is not typed


def mesh(
    vertices: NDArray[np.floating],
    faces: Sequence[Sequence[int]] | NDArray[np.integer],
    material: Any,
    *,
    colours: NDArray[np.floating] | None = None,
    smooth: bool = True,
) -> Object:
    """An object of its own; ``colours`` (n, 3) linear RGB become the attribute ``Col``."""
    data = bpy.data.meshes.new("mesh")
    data.from_pydata(
        np.asarray(vertices, float).tolist(), [], np.asarray(faces).tolist() if isinstance(faces, np.ndarray) else faces
    )
    if colours is not None:
        attribute = data.color_attributes.new("Col", "FLOAT_COLOR", "POINT")
        values = np.ones((len(vertices), 4), np.float32)
        values[:, :3] = colours
        attribute.data.foreach_set("color", values.ravel())
    data.update()
    if smooth:
        data.shade_smooth()
    item = bpy.data.objects.new("object", data)
    bpy.context.scene.collection.objects.link(item)
    data.materials.append(material)
    return item


def bevelled(item: Object, width: float, segments: int = 2) -> Object:
    """With its edges rounded."""
    if width > 0:
        modifier = item.modifiers.new("bevel", "BEVEL")
        modifier.width, modifier.segments, modifier.limit_method = width, segments, "ANGLE"
        item.data.shade_smooth()
        item.modifiers.new("normals", "WEIGHTED_NORMAL")
    return item


def box(size: Vector, centre: Vector, material: Any, *, turn: Vector = (0, 0, 0), bevel: float = 0.003) -> Object:
    """A box; ``turn`` in degrees about x, y, z."""
    half = np.asarray(size) / 2
    corners = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * half
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    item = mesh(corners, faces, material, smooth=False)
    item.location = centre
    item.rotation_euler = Euler([math.radians(angle) for angle in turn])
    return bevelled(item, min(bevel, min(size) * 0.4))


def prism(outline: Sequence[Vector], height: float, material: Any, *, bevel: float = 0.003) -> Object:
    """A flat shape in x and z, ``height`` thick along y and centred there."""
    count = len(outline)
    vertices = np.array([(x, side * height / 2, z) for side in (-1, 1) for x, z in outline])
    faces = [tuple(range(count)), tuple(range(2 * count - 1, count - 1, -1))]
    faces += [(n, n + count, (n + 1) % count + count, (n + 1) % count) for n in range(count)]
    item = mesh(vertices, faces, material, smooth=False)
    return bevelled(item, bevel)


def tube(
    points: Sequence[Vector], radius: float, material: Any, *, closed: bool = False, corner: float = 0.0
) -> Object:
    """A round bar along ``points``, bent with radius ``corner``."""
    path = _bent([np.asarray(point, float) for point in points], corner) if corner else points
    curve = bpy.data.curves.new("tube", "CURVE")
    curve.dimensions, curve.bevel_depth, curve.bevel_resolution, curve.use_fill_caps = "3D", radius, 3, True
    spline = curve.splines.new("POLY")
    spline.points.add(len(path) - 1)
    for place, point in zip(spline.points, path, strict=True):
        place.co = (*map(float, point), 1.0)
    spline.use_cyclic_u = closed
    spline.use_smooth = True
    item = bpy.data.objects.new("tube", curve)
    bpy.context.scene.collection.objects.link(item)
    curve.materials.append(material)
    return item


def _bent(points: list[NDArray[np.floating]], radius: float) -> list[NDArray[np.floating]]:
    path = [points[0]]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        back, on = before - here, after - here
        reach = min(radius, np.linalg.norm(back) / 2, np.linalg.norm(on) / 2)
        first, last = here + back / np.linalg.norm(back) * reach, here + on / np.linalg.norm(on) * reach
        path += [(1 - t) ** 2 * first + 2 * t * (1 - t) * here + t**2 * last for t in np.linspace(0, 1, 6)]
    return [*path, points[-1]]


def turned(
    profile: Sequence[Vector],
    material: Any,
    *,
    centre: Vector = (0, 0, 0),
    segments: int = 48,
    shape: Callable[[float], float] | None = None,
    colours: Callable[[NDArray[np.floating]], NDArray[np.floating]] | None = None,
    turn: Vector = (0, 0, 0),
    sharp: bool = True,
) -> Object:
    """A profile of (radius, height) turned about z; ``shape`` scales the radius by the angle."""
    angles = np.linspace(0, 2 * math.pi, segments, endpoint=False)
    scale = np.array([shape(a) if shape else 1.0 for a in angles])
    rings = [
        np.stack([r * scale * np.cos(angles), r * scale * np.sin(angles), np.full(segments, z)], 1) for r, z in profile
    ]
    vertices = np.concatenate(rings)
    faces = [
        (
            ring * segments + n,
            ring * segments + (n + 1) % segments,
            (ring + 1) * segments + (n + 1) % segments,
            (ring + 1) * segments + n,
        )
        for ring in range(len(profile) - 1)
        for n in range(segments)
    ]
    item = mesh(vertices, faces, material, colours=colours(vertices) if colours else None)
    item.location = centre
    item.rotation_euler = Euler([math.radians(angle) for angle in turn])
    if sharp:
        item.data.set_sharp_from_angle(angle=math.radians(35))
    return item


def disc(radius: float, width: float, centre: Vector, material: Any, *, axis: str = "x", hole: float = 0.0) -> Object:
    """A wheel or a short cylinder whose axle lies along ``axis``."""
    rim = min(0.006, width / 4)
    profile = [
        (max(hole, 1e-4), -width / 2),
        (radius - rim, -width / 2),
        (radius, -width / 2 + rim),
        (radius, width / 2 - rim),
        (radius - rim, width / 2),
        (max(hole, 1e-4), width / 2),
    ]
    if hole:
        profile.append(profile[0])
    turn = {"x": (0, 90, 0), "y": (90, 0, 0), "z": (0, 0, 0)}[axis]
    return turned(profile, material, centre=centre, segments=28, turn=turn)


def thick(item: Object, depth: float) -> Object:
    """A sheet with a thickness."""
    modifier = item.modifiers.new("solid", "SOLIDIFY")
    modifier.thickness, modifier.offset = depth, -1
    return item


def _rounded(width: float, depth: float, z: float, corner: float) -> NDArray[np.floating]:
    """A rectangle with rounded corners."""
    radius = min(corner, width / 2.01, depth / 2.01)
    points = []
    for quarter, (sx, sy) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        x, y = sx * (width / 2 - radius), sy * (depth / 2 - radius)
        for angle in np.linspace(0, math.pi / 2, 6) + quarter * math.pi / 2:
            points.append((x + radius * math.cos(angle), y + radius * math.sin(angle), z))
    return np.array(points)


def _strip(rings: Sequence[NDArray[np.floating]], material: Any, *, closed: bool, capped: bool) -> Object:
    """Rings joined one to the next; ``closed``: the last to the first; ``capped``: the first and the last filled."""
    count, number = len(rings[0]), len(rings)
    faces: list[tuple[int, ...]] = [
        (
            r * count + n,
            r * count + (n + 1) % count,
            (r + 1) % number * count + (n + 1) % count,
            (r + 1) % number * count + n,
        )
        for r in range(number if closed else number - 1)
        for n in range(count)
    ]
    if capped:
        faces += [tuple(range(count))[::-1], tuple(range((number - 1) * count, number * count))]
    item = mesh(np.concatenate(rings), faces, material)
    item.data.set_sharp_from_angle(angle=math.radians(35))
    return item


def tapered(
    size: Vector,
    top: Vector,
    height: float,
    material: Any,
    *,
    wall: float = 0.004,
    corner: float = 0.03,
    open_top: bool = True,
) -> Object:
    """A tub: a rectangle ``size`` at the floor, ``top`` at ``height``, rounded corners, hollow if open."""
    rings = [_rounded(size[0], size[1], 0.0, corner), _rounded(top[0], top[1], height, corner)]
    if open_top:
        rings.append(_rounded(top[0] - 2 * wall, top[1] - 2 * wall, height, corner))
        rings.append(_rounded(size[0] - 2 * wall, size[1] - 2 * wall, wall, corner))
    return _strip(rings, material, closed=False, capped=True)


def frame(size: Vector, height: float, wall: float, material: Any, *, corner: float = 0.03) -> Object:
    """A rim: a rectangle ``size``, ``height`` tall, its wall all there is."""
    inner = size[0] - 2 * wall, size[1] - 2 * wall
    rings = [
        _rounded(size[0], size[1], 0.0, corner),
        _rounded(size[0], size[1], height, corner),
        _rounded(*inner, height, corner),
        _rounded(*inner, 0.0, corner),
    ]
    return _strip(rings, material, closed=True, capped=False)


def move(items: Sequence[Object], shift: Vector = (0, 0, 0), *, turn: Vector = (0, 0, 0)) -> None:
    """Turn (degrees, about the origin) and shift objects together."""
    from mathutils import Matrix
    from mathutils import Vector as Point

    rotation = Euler([math.radians(angle) for angle in turn]).to_matrix().to_4x4()
    bpy.context.view_layer.update()
    for item in items:
        item.matrix_world = Matrix.Translation(Point(shift)) @ rotation @ item.matrix_world
