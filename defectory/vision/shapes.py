"""Shapes of defects: blobs, drips, spots, fibres, chips and fracture lines, drawn as coverages from random numbers.

A coverage is how much of each pixel a shape covers, float32 0..1, so that edges are smooth without blurring them.
Closed shapes fill the middle of a square tile and leave a margin around them that stays empty.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from defectory.vision.blending import blurred

Coverage = NDArray[np.float32]
Points = NDArray[np.float64]
"""Corners or steps of a line, ``(n, 2)``, x first, in pixels."""

MARGIN = 0.08
"""The share of a tile's side that closed shapes leave empty at each edge."""

_SPREAD = 0.45  # by how many pixels OpenCV's smooth edges make shapes larger
_SHIFT = 4  # OpenCV draws at sixteenths of a pixel, or whole pixels would show as steps


def noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    feature: float,
    *,
    octaves: int = 4,
    stretch: float = 1.0,
    angle: float = 0.0,
) -> Coverage:
    """Fractal noise of mean 0 and standard deviation 1: each octave is half as large and half as strong.

    ``feature`` is the size of the largest spots in pixels; they are ``stretch`` times as long along ``angle`` (radians,
    x to y) as across it.
    """
    height, width = shape
    total = np.zeros(shape, np.float32)
    diagonal = math.hypot(height, width)
    for octave in range(octaves):
        size = feature / 2**octave
        if octave and size < 1.0:
            break
        across = max(4, math.ceil(diagonal / size) + 3)
        along = max(4, math.ceil(diagonal / (size * stretch)) + 3)
        grid = rng.standard_normal((across, along)).astype(np.float32)
        total += _turned(grid, shape, size * stretch, size, angle) * np.float32(0.5**octave)
    spread = float(total.std())
    return (total - total.mean()) / np.float32(spread) if spread > 0 else total


def blob(
    rng: np.random.Generator, side: int, *, roughness: float = 0.5, elongation: float = 1.0, angle: float = 0.0
) -> Coverage:
    """One closed region: a disc whose outline is displaced by fractal noise, as spilled liquids and dirt have it.

    ``roughness`` is 0 (a disc) to 1 (ragged, with bays); it is ``elongation`` times as long along ``angle`` as across.
    """
    around = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    # Amplitudes fall with the order as in outlines of real spots: few large lobes, many small ones.
    orders = np.arange(2, 32)
    amplitude = 0.8 * roughness * rng.standard_normal(len(orders)) / orders ** (2.1 - 0.5 * roughness)
    phases = rng.uniform(0, 2 * np.pi, len(orders))
    radius = np.exp((amplitude[:, None] * np.cos(orders[:, None] * around + phases[:, None])).sum(axis=0))
    points = np.stack([radius * np.cos(around) * elongation, radius * np.sin(around)], axis=1)
    return polygon(_fitted(_rotated(points, angle), side), (side, side))


def patches(rng: np.random.Generator, side: int, *, grain: float = 0.25, cover: float = 0.5) -> Coverage:
    """Islands, bays and holes, as corrosion, mould and worn coatings have them: fractal noise cut at a level.

    ``grain`` is the size of the islands as a share of the side, ``cover`` the share that they take in the middle.
    """
    y, x = np.mgrid[:side, :side].astype(np.float32) / np.float32(side) - np.float32(0.5)
    fall = np.square(np.hypot(x, y) / (0.5 - MARGIN)) * 2.4
    level = noise(rng, (side, side), grain * side, octaves=5) * np.float32(0.8) - fall + np.float32(2.2 * cover)
    slope = np.float32(max(0.02, 1.6 / (grain * side)))
    coverage = np.clip(level / slope + 0.5, 0, 1)
    return _framed(np.asarray(coverage, np.float32))


def splash(rng: np.random.Generator, side: int, *, drops: int = 12) -> Coverage:
    """A rounded spot with droplets around it, the smaller the more of them and the farther away."""
    coverage = np.zeros((side, side), np.float32)
    inner = max(8, int(side * rng.uniform(0.5, 0.75)))
    paste(
        coverage, blob(rng, inner, roughness=rng.uniform(0.15, 0.5), elongation=rng.uniform(1, 1.4)), side / 2, side / 2
    )
    for _ in range(drops):
        distance = side * float(np.clip(rng.normal(0.34, 0.06), 0.2, 0.4))
        angle = rng.uniform(0, 2 * np.pi)
        size = side * 0.11 * float(rng.power(0.6)) ** 1.2 + 1.5
        room = 2 * (side * 0.5 - distance) - 2
        drop = max(4, round(min(size, room) * 1.2))
        shape = blob(rng, drop, roughness=0.1, elongation=rng.uniform(1, 1.3), angle=angle)
        paste(coverage, shape, side / 2 + distance * math.cos(angle), side / 2 + distance * math.sin(angle))
    return _framed(coverage)


def drip(rng: np.random.Generator, side: int, *, angle: float = math.pi / 2) -> Coverage:
    """A spot with one to three runs that leave it along ``angle``, each thickened where its end has stopped."""
    head = rng.uniform(0.16, 0.24)
    coverage = np.zeros((side, side), np.float32)
    top = -0.5 + MARGIN + head
    for run in range(int(rng.integers(1, 4))):
        offset = rng.uniform(-0.7, 0.7) * head if run else rng.uniform(-0.3, 0.3) * head
        length = rng.uniform(0.35, 1.0) * (1 - 2 * MARGIN - 1.3 * head) if run else 1 - 2 * MARGIN - 1.3 * head
        steps = np.linspace(0, 1, 48)
        sway = np.cumsum(rng.normal(0, 0.004, len(steps)))
        thick = head * rng.uniform(0.16, 0.3)
        widths = thick * (1 - 0.45 * steps) + rng.uniform(0, 0.35) * thick * np.exp(-(((steps - 0.97) / 0.05) ** 2))
        widths += (0.5 * head - thick) * np.exp(-steps / 0.05) * 0.5
        points = np.stack([offset + sway, top + steps * length], axis=1)
        turned = _rotated(points, angle - math.pi / 2)
        stroke = line(turned * side + side / 2, widths * 2 * side, (side, side))
        coverage = np.maximum(coverage, stroke)
    spot = blob(rng, max(8, int(2.3 * head * side)), roughness=0.25, elongation=rng.uniform(1.0, 1.3), angle=angle)
    x, y = _rotated(np.array([[0.0, top]]), angle - math.pi / 2)[0]
    paste(coverage, spot, (0.5 + x) * side, (0.5 + y) * side)
    # Surface tension rounds the corners between spot and run.
    reach = max(0.6, 0.012 * side)
    soft = blurred(coverage, reach)
    return _framed(np.asarray(np.clip((soft - 0.5) * 2.5 * reach + 0.5, 0, 1), np.float32))


def specks(rng: np.random.Generator, side: int, *, count: int = 24) -> Coverage:
    """Grains of many sizes, few large and many small, thickest in the middle."""
    coverage = np.zeros((side, side), np.float32)
    spread = rng.uniform(0.12, 0.2)
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(0.35, 1.0)
    for _ in range(count):
        place = rng.standard_normal(2) * spread * (1.0, stretch)
        place = np.clip(_rotated(place[None], turn)[0], -0.42, 0.42)
        size = max(4, round(min(side * 0.03 * float(1 + rng.pareto(1.8)), side * 0.2)))
        shape = chip(rng, size) if rng.random() < 0.6 else blob(rng, size, roughness=0.6)
        paste(coverage, shape, (0.5 + place[0]) * side, (0.5 + place[1]) * side)
    return _framed(coverage)


def chip(rng: np.random.Generator, side: int, *, elongation: float = 1.0, angle: float = 0.0) -> Coverage:
    """An angular grain: a convex polygon of five to nine corners, its edges a little worn."""
    corners = int(rng.integers(5, 10))
    around = np.sort(np.linspace(0, 2 * np.pi, corners, endpoint=False) + rng.normal(0, 1.6 / corners, corners))
    points = np.stack([np.cos(around) * elongation * rng.uniform(1.0, 1.5), np.sin(around)], axis=1)
    points *= rng.uniform(0.85, 1.1, (corners, 1))
    hull = cv2.convexHull(_rotated(points, angle + rng.uniform(0, np.pi)).astype(np.float32))[:, 0].astype(np.float64)
    worn = fractured(rng, np.concatenate([hull, hull[:1]]), 0.035)
    return polygon(_fitted(worn, side), (side, side))


def fibre(rng: np.random.Generator, side: int, *, curl: float = 0.5) -> Points:
    """The centre line of a hair or thread; ``curl`` is 0 (nearly straight) to 1 (looped)."""
    steps = 96
    # Bending changes slowly along a fibre, so its direction is an integral of smooth noise.
    knots = rng.standard_normal(max(3, int(3 + 5 * curl)))
    bend = np.interp(np.linspace(0, 1, steps), np.linspace(0, 1, len(knots)), knots)
    bend = np.convolve(np.pad(bend, 9, mode="edge"), np.hanning(19) / np.hanning(19).sum(), mode="valid")
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(bend) * (0.4 + 5.5 * curl) * 2.4 / steps
    return _fitted(np.cumsum(np.stack([np.cos(heading), np.sin(heading)], axis=1), axis=0), side)


def line(points: Points, widths: float | NDArray[np.float64], shape: tuple[int, int]) -> Coverage:
    """A stroke along ``points``, ``widths`` pixels wide at each; strokes below a pixel's width cover pixels in part."""
    wide = np.broadcast_to(np.asarray(widths, np.float64), len(points))
    fine = int(np.clip(math.ceil(6 / max(float(wide.max()), 0.5)), 2, 8))
    left, top = np.floor(points.min(axis=0) - wide.max() - 2).astype(int)
    right, bottom = np.ceil(points.max(axis=0) + wide.max() + 3).astype(int)
    tile = np.zeros((max(1, (bottom - top) * fine), max(1, (right - left) * fine)), np.uint8)
    placed = (points - (left, top)) * fine
    ahead = np.gradient(placed, axis=0)
    normal = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1) / np.maximum(np.linalg.norm(ahead, axis=1), 1e-9)[:, None]
    half = np.maximum(wide[:, None] * fine / 2 - _SPREAD, 0)
    upper, lower = placed + normal * half, placed - normal * half
    # Quads one by one: a loop of the stroke must not cancel what it crosses, as one polygon would.
    quads = np.stack([upper[:-1], upper[1:], lower[1:], lower[:-1]], axis=1)
    for quad in quads:
        cv2.fillConvexPoly(tile, _fixed(quad), 255, cv2.LINE_AA, _SHIFT)
    for point, radius in zip(placed, half[:, 0], strict=True):
        centre = np.rint(point * 2**_SHIFT).astype(int)
        cv2.circle(tile, centre.tolist(), int(radius * 2**_SHIFT), 255, -1, cv2.LINE_AA, _SHIFT)
    small = cv2.resize(tile, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    coverage = np.zeros(shape, np.float32)
    paste(coverage, np.asarray(small, np.float32) / np.float32(255), (left + right) / 2, (top + bottom) / 2)
    return coverage


def fractured(rng: np.random.Generator, points: Points, roughness: float, *, detail: float = 0.01) -> Points:
    """``points`` broken up as brittle material breaks: each piece is halved and its middle displaced, again and again.

    ``roughness`` is the displacement as a share of a piece's length; pieces shorter than ``detail`` of the line's
    extent stay straight.  Midpoint displacement as of Fournier, Fussell and Carpenter (1982).
    """
    shortest = detail * float(np.ptp(points, axis=0).max())
    while True:
        steps = np.diff(points, axis=0)
        lengths = np.linalg.norm(steps, axis=1)
        if not (lengths > shortest).any() or len(points) > 4000:
            return points
        across = np.stack([-steps[:, 1], steps[:, 0]], axis=1)
        middles = (points[:-1] + points[1:]) / 2 + across * rng.normal(0, roughness, (len(steps), 1))
        refined = np.empty((2 * len(points) - 1, 2))
        refined[::2], refined[1::2] = points, middles
        halved = np.ones(len(refined), bool)
        halved[1::2] = lengths > shortest
        points = refined[halved]


def polygon(points: Points, shape: tuple[int, int]) -> Coverage:
    """The region that ``points`` surround."""
    height, width = shape
    fine = 4 if max(shape) <= 256 else 2
    tile = np.zeros((height * fine, width * fine), np.uint8)
    cv2.fillPoly(tile, [_fixed(points * fine)], 255, cv2.LINE_AA, _SHIFT)
    return cv2.resize(tile, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)


def depth(coverage: Coverage) -> Coverage:
    """How far inside a shape each pixel lies, in pixels; 0 outside."""
    inside = np.pad((coverage > 0.5).astype(np.uint8), 1)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    return np.asarray(np.maximum(distance - 0.5, 0), np.float32)


def dome(coverage: Coverage, width: float) -> Coverage:
    """The height of a liquid or a rounded body of that outline, 0..1: it rises within ``width`` pixels of its edge."""
    rise = np.clip(depth(coverage) / max(width, 1e-6), 0, 1)
    return blurred(np.sqrt(1 - (1 - rise) ** 2), max(0.5, 0.12 * width))


def paste(coverage: Coverage, shape: Coverage, x: float, y: float) -> None:
    """Put ``shape`` onto ``coverage``, its middle at that place (pixels); what falls outside is left away."""
    height, width = shape.shape
    left, top = round(x - width / 2), round(y - height / 2)
    y0, y1 = max(0, top), min(coverage.shape[0], top + height)
    x0, x1 = max(0, left), min(coverage.shape[1], left + width)
    if y0 < y1 and x0 < x1:
        there = coverage[y0:y1, x0:x1]
        np.maximum(there, shape[y0 - top : y1 - top, x0 - left : x1 - left], out=there)


def _framed(coverage: Coverage) -> Coverage:
    """``coverage`` with empty edges, whatever small tiles or wide noise have put there."""
    edge = max(1, round(MARGIN * len(coverage) / 2))
    coverage[:edge] = coverage[-edge:] = coverage[:, :edge] = coverage[:, -edge:] = 0
    return coverage


def _fitted(points: Points, side: int) -> Points:
    """``points`` scaled and moved into the middle of a tile, up to its margin."""
    low, high = points.min(axis=0), points.max(axis=0)
    margin = max(MARGIN * side, 1.5)  # antialiasing takes a pixel more
    scale = (side - 2 * margin) / max(float((high - low).max()), 1e-9)
    return np.asarray((points - (low + high) / 2) * scale + side / 2, np.float64)


def _rotated(points: Points, angle: float) -> Points:
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.asarray(points @ np.array([[cosine, sine], [-sine, cosine]]), np.float64)


def _fixed(points: Points) -> NDArray[np.int32]:
    # Half a pixel less: OpenCV's whole numbers are the centres of pixels, ours their corners.
    return np.asarray(np.rint((points - 0.5) * 2**_SHIFT), np.int32)


def _turned(grid: Coverage, shape: tuple[int, int], along: float, across: float, angle: float) -> Coverage:
    """``grid`` enlarged so that its cells measure ``along`` by ``across`` pixels and lie along ``angle``."""
    height, width = shape
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = np.array([[cosine / along, sine / along], [-sine / across, cosine / across]])
    middle = np.array([(grid.shape[1] - 1) / 2, (grid.shape[0] - 1) / 2]) - turn @ np.array([width / 2, height / 2])
    matrix = np.concatenate([turn, middle[:, None]], axis=1)
    return np.asarray(
        cv2.warpAffine(
            grid,
            matrix,
            (width, height),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        ),
        np.float32,
    )
