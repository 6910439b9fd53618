"""Spots: what the kinds that cover an area share: putting a shape into place, keeping to a mask, keeping to grey."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from defectory.images.renderers.procedural.canvas import Canvas
from defectory.vision import shapes
from defectory.vision.arrays import Field
from defectory.vision.blending import blurred


def placed(canvas: Canvas, shape: shapes.Coverage) -> shapes.Coverage:
    """``shape`` on an empty picture of the canvas's size, its middle on the spot."""
    coverage = np.zeros(canvas.shape, np.float32)
    shapes.paste(coverage, shape, canvas.spot.x, canvas.spot.y)
    return coverage


def outlined(rng: np.random.Generator, canvas: Canvas, roughness: float) -> shapes.Coverage:
    """The region that the order's mask wants, its corners rounded and its outline as uneven as nature's.

    ``roughness`` is by how much the outline wanders, 0..1.
    """
    marked = (np.zeros(canvas.shape, np.uint8) if canvas.mask is None else canvas.mask) > 0
    framed = np.pad(marked.astype(np.uint8), 1)  # a mask of everything has an edge, too: the photo's
    inside = cv2.distanceTransform(framed, cv2.DIST_L2, 5)[1:-1, 1:-1]
    outside = cv2.distanceTransform(1 - framed, cv2.DIST_L2, 5)[1:-1, 1:-1]
    size = max(1.0, float(inside.max()))
    level = blurred(inside - outside, max(0.7, 0.15 * size))
    level = level + shapes.noise(rng, canvas.shape, 0.9 * size + 2) * (0.3 * roughness * size)
    return np.asarray(np.clip(level + 0.5, 0, 1), np.float32)


def coloured(canvas: Canvas, colour: NDArray[np.float32]) -> NDArray[np.float32]:
    """``colour`` for a colour photo, its mean for a grey one: a grey camera makes everything grey."""
    image = canvas.photo.image
    step = max(1, min(image.shape[:2]) // 64)
    few = image[::step, ::step].astype(np.int16)
    grey = float(np.ptp(few, axis=2).mean()) < 2
    return np.full(3, colour.mean(), np.float32) if grey else colour


def lamp(canvas: Canvas) -> float:
    """How much light falls on the part, as the level of something white there, 0..1."""
    image = canvas.photo.image
    step = max(1, min(image.shape[:2]) // 128)
    level = float(np.percentile(image[::step, ::step].max(2), 97)) / 255
    return float(np.clip(level**2.2 / 0.7, 0.08, 1.0))


def fine(light: Field, blur: float) -> tuple[Field, Field]:
    """``light`` without, and only, what is finer than ``blur`` pixels."""
    smooth = np.asarray(cv2.GaussianBlur(light, (0, 0), blur), np.float32)
    return smooth, np.asarray(light - smooth, np.float32)
