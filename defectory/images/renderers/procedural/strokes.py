"""Strokes: lines of changing width, with the exact distance of every pixel, for scratches and cracks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from defectory.vision.arrays import Field, Mask

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stroke:
    """The surroundings of one line, all of shape ``(h, w)``.

    Attributes:
        across: signed distance from the line, in pixels, positive to the right of its way.
        along: 0 at its start .. 1 at its end: of the nearest point of the line.
        beyond: distance past its ends, in pixels.
        normal_x: the direction in which ``across`` grows, with ``normal_y``.
    """

    across: Field
    along: Field
    beyond: Field
    normal_x: Field
    normal_y: Field

    @classmethod
    def around(cls, points: Points, shape: tuple[int, int]) -> Stroke:
        """The stroke along ``points`` ``(n, 2)`` of x and y in pixels, for a picture of ``shape``."""
        points = evenly(points, 0.5)
        tangents = np.gradient(points, axis=0)
        tangents /= np.maximum(np.hypot(tangents[:, 0], tangents[:, 1]), 1e-9)[:, None]
        # The nearest point of every pixel: labelled by the distance transform of the line's own pixels, on a picture
        # with a margin, so that lines that leave the picture keep their points.
        margin = 4
        cells = np.rint(points).astype(int) + margin
        inside = (cells >= 0).all(1) & (cells[:, 0] < shape[1] + 2 * margin) & (cells[:, 1] < shape[0] + 2 * margin)
        height, width = shape
        if not inside.any():
            far = np.full(shape, 1e6, np.float32)
            zero = np.zeros(shape, np.float32)
            return cls(far, zero, far, zero, zero)
        blank = np.ones((height + 2 * margin, width + 2 * margin), np.uint8)
        numbers = np.zeros(blank.shape, int)
        inside_indices = np.flatnonzero(inside)
        blank[cells[inside_indices, 1], cells[inside_indices, 0]] = 0
        numbers[cells[inside_indices, 1], cells[inside_indices, 0]] = inside_indices
        _, labels = cv2.distanceTransformWithLabels(blank, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        table = np.zeros(int(labels.max()) + 1, int)
        table[labels[blank == 0]] = numbers[blank == 0]
        nearest = table[labels[margin:-margin, margin:-margin]]
        yy, xx = np.mgrid[:height, :width]
        x, y = xx - points[nearest, 0], yy - points[nearest, 1]
        tangent_x, tangent_y = tangents[nearest, 0], tangents[nearest, 1]
        forward = x * tangent_x + y * tangent_y
        length = 0.5 * (len(points) - 1)
        way = 0.5 * nearest + forward
        aside = y * tangent_x - x * tangent_y
        # Around a bend's outer side, the nearest point's tangent leads away from the line: that is no part of it.
        ahead = np.maximum(np.abs(forward) - 1, 0)
        return cls(
            across=(np.sign(aside) * np.hypot(aside, ahead)).astype(np.float32),
            along=np.clip(way / length, 0, 1).astype(np.float32),
            beyond=np.maximum(np.maximum(-way, way - length), 0).astype(np.float32),
            normal_x=(-tangent_y).astype(np.float32),
            normal_y=tangent_x.astype(np.float32),
        )

    def coverage(self, width: Field | float, blur: float) -> Field:
        """How much of each pixel a line of that ``width`` (pixels) covers, seen with that ``blur``: 0..1."""
        half = np.maximum(np.asarray(width, np.float32), 0) / 2
        inside = _step(np.asarray((self.across + half) / blur)) - _step(np.asarray((self.across - half) / blur))
        return np.asarray(inside * np.exp(-((self.beyond / (blur + 0.3)) ** 2)), np.float32)


def evenly(points: Points, step: float) -> Points:
    """``points`` of a line, drawn anew at every ``step`` pixels."""
    lengths = np.hypot(*np.diff(points, axis=0).T)
    arc_lengths = np.concatenate([[0], np.cumsum(lengths)])
    count = max(2, round(arc_lengths[-1] / step) + 1)
    at = np.linspace(0, arc_lengths[-1], count)
    return np.stack([np.interp(at, arc_lengths, points[:, 0]), np.interp(at, arc_lengths, points[:, 1])], 1)


def within(rng: np.random.Generator, mask: Mask, count: int, jitter: float) -> Points:
    """A line of ``count`` points through ``mask`` (255 = inside, not empty), from end to end along its longer axis.

    It follows the mask's bends; ``jitter`` is how far it strays from its middle, 1 = as far as its edges.
    """
    ys, xs = np.nonzero(mask)
    centre = np.array([xs.mean(), ys.mean()])
    offsets = np.stack([xs, ys], 1) - centre
    _, axes = np.linalg.eigh(offsets.T @ offsets)
    along, across = offsets @ axes[:, 1], offsets @ axes[:, 0]
    bins = max(2, min(24, round(np.ptp(along) / 3)))
    edges = np.linspace(along.min() - 1e-6, along.max() + 1e-6, bins + 1)
    filled = [np.flatnonzero((along >= low) & (along <= high)) for low, high in pairwise(edges)]
    filled = [pixels for pixels in filled if len(pixels)]
    at = np.array([along[pixels].mean() for pixels in filled])
    middles = np.array([(across[pixels].max() + across[pixels].min()) / 2 for pixels in filled])
    halves = np.array([np.ptp(across[pixels]) / 2 for pixels in filled])
    ways = np.linspace(along.min(), along.max(), count)
    strays = np.clip(0.5 * wander(rng, count, count / 6) + 0.3 * wander(rng, count, count / 24), -1, 1)
    aside = np.interp(ways, at, middles) + jitter * strays * np.maximum(np.interp(ways, at, halves) - 1, 0)
    return np.asarray(centre + ways[:, None] * axes[:, 1] + aside[:, None] * axes[:, 0])


def wander(rng: np.random.Generator, count: int, scale: float) -> NDArray[np.float64]:
    """``count`` values that change smoothly, of about unit spread; ``scale`` is how many change together."""
    values = rng.normal(0, 1, count + 2 * max(1, round(3 * scale)))
    size = max(1, round(3 * scale))
    window = np.exp(-0.5 * (np.arange(-size, size + 1) / max(scale, 1e-3)) ** 2)
    window /= np.sqrt((window**2).sum())
    return np.asarray(np.convolve(values, window, "valid")[:count])


def _step(value: NDArray[np.floating]) -> Field:
    """The integral of the normal distribution (by Bowling et al., 2009, within 0.0002)."""
    value = np.clip(value, -6, 6).astype(np.float32)
    return np.asarray(0.5 + 0.5 * np.tanh(value * (0.03528 * value * value + 0.7988)), np.float32)
