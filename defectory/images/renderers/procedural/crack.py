"""Cracks: jagged fissures that follow the surface's weak places, branch, and end as hair lines; dark in their depth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from defectory.images.placement import Placement
from defectory.images.renderers.procedural.canvas import Canvas, DefectKind, Drawn
from defectory.images.renderers.procedural.strokes import Points, Stroke, wander, within
from defectory.vision import shapes
from defectory.vision.arrays import Field


@dataclass(frozen=True, slots=True)
class _Branch:
    """One line of the fissure: ``width`` in pixels where it is widest, at the share ``middle`` of its way."""

    points: Points
    width: float
    middle: float = 0.0


@dataclass(frozen=True, slots=True)
class _Ground:
    """What a crack runs through: the way to weaker material, -1..1 to the right and down, and where the part is."""

    right: Field
    down: Field
    part: Field


def draw_crack(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """Draw one crack with its branches."""
    spot, surface = canvas.spot, canvas.surface
    # A little above the square root: long cracks gape, but not in proportion.
    gape = float(rng.uniform(0.08, 0.2)) * (0.8 + 1.4 * surface.roughness**2) * canvas.boldness
    widest = (0.009 + 0.033 * surface.roughness) * spot.length + 1.2 + surface.roughness
    width = float(np.clip(gape * spot.length**0.6, 1.1 + 0.9 * surface.roughness, widest))
    jaggedness = float(rng.uniform(0.3, 0.7)) * (0.55 if _along_grain(canvas) else 1 + 0.4 * surface.roughness)
    branches = _fissure(rng, canvas, width, jaggedness)
    gap, core, lit = (np.full(canvas.shape, value, np.float32) for value in (0, 0, 1))
    for branch in branches:
        stroke = Stroke.around(branch.points, canvas.shape)
        count = max(16, len(branch.points))
        ragged = np.exp(0.25 * wander(rng, count, 12) + 0.2 * wander(rng, count, 4) + 0.12 * wander(rng, count, 1))
        along = np.linspace(0, 1, count)
        widths = (
            ragged * branch.width * np.interp(along, [0, branch.middle, 1], [0.25 if branch.middle else 1, 1, 0.25])
        )
        across = np.interp(stroke.along, along, widths).astype(np.float32)
        across = np.asarray(cv2.GaussianBlur(across, (0, 0), 1), np.float32)  # or its steps at bends show as rays
        gap = np.maximum(gap, stroke.coverage(across, surface.sharpness))
        core = np.maximum(core, stroke.coverage(0.6 * across - 0.3, surface.sharpness))
        lit = lit * _lip(canvas, stroke, across)
    depth = float(rng.uniform(0.55, 0.97))
    inside = _depths(rng, canvas, depth, core)
    light = canvas.shade(canvas.light, lit)
    light = light * (1 - gap[..., None]) + inside * gap[..., None]
    return Drawn(
        np.asarray(light, np.float32),
        gap,
        {"width": round(width, 2), "branches": len(branches), "depth": round(depth, 3)},
    )


CRACK = DefectKind(
    draw_crack, Placement(size=(0.12, 0.6), aspect=(0.05, 0.15), along_grain=0.75, at_edge=0.5), reach=0.75
)
"""Half of the cracks start at an edge, where parts are loaded and notched; inside of a part, most follow the grain."""


def _along_grain(canvas: Canvas) -> bool:
    aside = abs(np.sin(canvas.spot.angle - canvas.surface.grain))
    return bool(canvas.surface.grain_strength > 0.25 and aside < 0.4)


def _fissure(rng: np.random.Generator, canvas: Canvas, width: float, jaggedness: float) -> list[_Branch]:
    spot = canvas.spot
    start = np.array([spot.x, spot.y]) - spot.length / 2 * np.array([np.cos(spot.angle), np.sin(spot.angle)])
    ground = _ground(canvas)
    if canvas.mask is None:
        main = _walk(rng, start, spot.angle, spot.length, jaggedness, ground)
    else:
        main = within(rng, canvas.mask, max(16, round(spot.length / 1.5)), 0.8)
    branches = [_Branch(main, width, 0.0 if spot.at_edge else float(rng.uniform(0.3, 0.7)))]
    for _ in range(int(rng.poisson(0.9))):
        first = int(rng.uniform(0.1, 0.75) * len(main))
        ahead = main[min(first + 6, len(main) - 1)] - main[max(0, first - 2)]
        angle = float(np.arctan2(ahead[1], ahead[0])) + float(rng.choice([-1, 1]) * rng.uniform(0.35, 1.0))
        length = spot.length * float(rng.uniform(0.1, 0.4))
        thin = width * float(rng.uniform(0.35, 0.65))
        branches.append(_Branch(_walk(rng, main[first], angle, length, jaggedness, ground), thin))
    return branches


def _ground(canvas: Canvas) -> _Ground:
    # Pores and furrows are where material gives, and they are darker than what is around them.
    size = max(1.5, 0.02 * canvas.spot.length)
    grey = cv2.GaussianBlur(canvas.light.mean(2), (0, 0), size)
    scale = float(np.percentile(np.abs(grey - grey.mean()), 75)) / size + 1e-4
    x, y = cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=1 / 8)
    right, down = np.clip(-x / scale, -1, 1), np.clip(-y / scale, -1, 1)
    return _Ground(np.asarray(right, np.float32), np.asarray(down, np.float32), canvas.part)


def _walk(
    rng: np.random.Generator,
    start: Points,
    angle: float,
    length: float,
    jaggedness: float,
    ground: _Ground,
) -> Points:
    """A path that keeps its direction on the whole, jumps aside at grains, and is drawn to weak places."""
    height, width = ground.part.shape
    step = max(0.8, length / 160)
    place, turn, points = start.astype(float), 0.0, [start.astype(float)]
    count = max(6, round(length / step))
    bends = 0.5 * jaggedness * (wander(rng, count, count / 4) + 0.7 * wander(rng, count, count / 16))
    for bend in bends:
        turn = 0.86 * turn + rng.normal(0, 0.28 * jaggedness)
        if rng.random() < 0.12:
            turn = rng.normal(0, 1.1 * jaggedness)
        heading = angle + turn + bend
        column, row = int(np.clip(place[0], 0, width - 1)), int(np.clip(place[1], 0, height - 1))
        pull = np.cos(heading) * ground.down[row, column] - np.sin(heading) * ground.right[row, column]
        heading += 0.35 * float(pull)
        if ground.part[row, column] <= 0 and len(points) > 2:
            break  # the part ends here
        place = place + step * np.array([np.cos(heading), np.sin(heading)])
        points.append(place)
    return np.array(points)


def _depths(rng: np.random.Generator, canvas: Canvas, depth: float, core: Field) -> Field:
    """What is seen in the gap: light that met the walls several times, so darker and deeper in colour."""
    base = np.clip(canvas.base(), 0, 1)
    uneven = shapes.noise(rng, canvas.shape, 6.0, octaves=2)
    factor = np.clip((0.04 + 0.5 * (1 - depth)) * (1.4 - core) * (1 + 0.4 * uneven), 0.01, 1)
    inside = canvas.shade(base, np.asarray(factor, np.float32))
    return np.asarray(np.maximum(inside + 0.3 * canvas.noise(rng), 0), np.float32)


def _lip(canvas: Canvas, stroke: Stroke, width: Field) -> Field:
    """The gap's edges are broken round: the one that faces the light catches it, the other falls into shade."""
    size = np.hypot(0.7, canvas.surface.sharpness)
    distance = (np.abs(stroke.across) - width / 2) / size
    side = np.tanh(stroke.across / size)
    slope = -0.35 * side * np.exp(-0.5 * (distance - 0.6) ** 2) * np.exp(-stroke.beyond)
    slope = slope * np.minimum(1, width / 2) * np.minimum(1, width / (2 * size))
    return canvas.shaded(
        np.asarray(slope * stroke.normal_x, np.float32), np.asarray(slope * stroke.normal_y, np.float32)
    )
