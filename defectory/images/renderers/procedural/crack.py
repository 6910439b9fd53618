"""Cracks: jagged fissures that follow the surface's weak places, branch, and end as hair lines; dark in their depth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from defectory.images import shapes
from defectory.images.blending import Field
from defectory.images.placement import Placement
from defectory.images.renderers.procedural.canvas import Canvas, Drawn, Kind
from defectory.images.renderers.procedural.strokes import Points, Stroke, wander


@dataclass(frozen=True, slots=True)
class _Branch:
    """One line of the fissure; ``start`` and ``end`` are its widths there, in pixels."""

    points: Points
    start: float
    end: float


def draw_crack(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """Draw one crack with its branches."""
    spot, surface = canvas.spot, canvas.surface
    # A little above the square root: long cracks gape, but not in proportion.
    width = float(np.clip(rng.uniform(0.10, 0.26) * spot.length**0.6, 1.0, 0.05 * spot.length + 1.5)) * canvas.boldness
    jaggedness = float(rng.uniform(0.25, 0.7)) * (0.4 if surface.grain_strength > 0.3 else 1.0)
    branches = _fissure(rng, canvas, width, jaggedness)
    gap, lit = np.zeros(canvas.shape, np.float32), np.ones(canvas.shape, np.float32)
    for branch in branches:
        stroke = Stroke.around(branch.points, canvas.shape)
        count = max(8, len(branch.points) // 2)
        ragged = np.exp(0.30 * wander(rng, count, 2.5) + 0.18 * wander(rng, count, 0.7))
        way = np.linspace(0, 1, count)
        widths = ragged * (branch.start + (branch.end - branch.start) * way**1.3)
        across = np.interp(stroke.along, way, widths).astype(np.float32)
        gap = np.maximum(gap, stroke.coverage(across, surface.sharpness))
        lit = lit * _lip(canvas, stroke, across)
    depth = float(rng.uniform(0.65, 0.95))
    inside = _depths(rng, canvas, depth)
    light = canvas.shade(canvas.light, lit)
    light = light * (1 - gap[..., None]) + inside * gap[..., None]
    return Drawn(
        np.asarray(light, np.float32),
        gap,
        {"width": round(width, 2), "branches": len(branches), "depth": round(depth, 3)},
    )


CRACK = Kind(draw_crack, Placement(size=(0.12, 0.6), aspect=(0.05, 0.15), along_grain=0.75, at_edge=0.5), reach=0.75)


def _fissure(rng: np.random.Generator, canvas: Canvas, width: float, jaggedness: float) -> list[_Branch]:
    spot = canvas.spot
    start = np.array([spot.x, spot.y]) - spot.length / 2 * np.array([np.cos(spot.angle), np.sin(spot.angle)])
    slopes = _weakness(canvas)
    main = _walk(rng, start, spot.angle, spot.length, jaggedness, slopes)
    branches = [_Branch(main, width if spot.at_edge else 0.35 * width, 0.25 * width)]
    if not spot.at_edge:  # widest in its middle: two halves
        middle = int(len(main) * rng.uniform(0.35, 0.65))
        branches = [_Branch(main[middle::-1], width, 0.25 * width), _Branch(main[middle:], width, 0.25 * width)]
    for _ in range(int(rng.poisson(0.9))):
        first = int(rng.uniform(0.1, 0.75) * len(main))
        ahead = main[min(first + 6, len(main) - 1)] - main[max(0, first - 2)]
        angle = float(np.arctan2(ahead[1], ahead[0])) + float(rng.choice([-1, 1]) * rng.uniform(0.35, 1.0))
        length = spot.length * float(rng.uniform(0.1, 0.4))
        thin = width * float(rng.uniform(0.35, 0.65))
        branches.append(_Branch(_walk(rng, main[first], angle, length, jaggedness, slopes), thin, 0.3 * thin))
    return branches


def _weakness(canvas: Canvas) -> tuple[Field, Field]:
    """The way to darker places nearby, (h, w) each: pores and furrows are where material gives."""
    size = max(1.5, 0.02 * canvas.spot.length)
    grey = cv2.GaussianBlur(canvas.light.mean(2), (0, 0), size)
    scale = float(np.percentile(np.abs(grey - grey.mean()), 75)) / size + 1e-4
    x, y = cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=1 / 8)
    return np.asarray(np.clip(-x / scale, -1, 1), np.float32), np.asarray(np.clip(-y / scale, -1, 1), np.float32)


def _walk(
    rng: np.random.Generator,
    start: Points,
    angle: float,
    length: float,
    jaggedness: float,
    slopes: tuple[Field, Field],
) -> Points:
    """A path that keeps its direction on the whole, jumps aside at grains, and is drawn to weak places."""
    height, width = slopes[0].shape
    step = max(0.8, length / 160)
    place, turn, points = start.astype(float), 0.0, [start.astype(float)]
    for _ in range(max(6, round(length / step))):
        turn = 0.86 * turn + rng.normal(0, 0.28 * jaggedness)
        if rng.random() < 0.12:
            turn = rng.normal(0, 1.1 * jaggedness)
        heading = angle + turn
        column, row = int(np.clip(place[0], 0, width - 1)), int(np.clip(place[1], 0, height - 1))
        pull = np.cos(heading) * slopes[1][row, column] - np.sin(heading) * slopes[0][row, column]
        heading += 0.5 * float(pull)
        place = place + step * np.array([np.cos(heading), np.sin(heading)])
        points.append(place)
    return np.array(points)


def _depths(rng: np.random.Generator, canvas: Canvas, depth: float) -> Field:
    """What is seen in the gap: light that met the walls several times, so darker and deeper in colour."""
    base = np.clip(canvas.base(), 0, 1)
    uneven = shapes.noise(rng, canvas.shape, 6.0, octaves=2)
    factor = np.clip((1.06 - depth) * (1 + 0.4 * uneven), 0.01, 1)
    inside = canvas.shade(base, np.asarray(factor, np.float32))
    return np.asarray(np.maximum(inside + 0.3 * canvas.noise(rng), 0), np.float32)


def _lip(canvas: Canvas, stroke: Stroke, width: Field) -> Field:
    """The gap's edges are broken round: the one that faces the light catches it, the other falls into shade."""
    size = np.hypot(0.7, canvas.surface.sharpness)
    distance = (np.abs(stroke.across) - width / 2) / size
    slope = -0.35 * np.sign(stroke.across) * np.exp(-0.5 * (distance - 0.6) ** 2) * np.exp(-stroke.beyond)
    slope = slope * np.minimum(1, width / 2)
    return canvas.shaded(
        np.asarray(slope * stroke.normal_x, np.float32), np.asarray(slope * stroke.normal_y, np.float32)
    )
