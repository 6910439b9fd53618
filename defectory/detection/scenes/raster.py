"""Raster: the few operations on bytes that all of the compositor is made of."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from defectory.vision.arrays import Image, Mask


def at_least(levels: Mask, least: float) -> Mask:
    """255 where ``levels`` reach ``least``."""
    return np.asarray(cv2.threshold(levels, np.nextafter(least, 0), 255, cv2.THRESH_BINARY)[1], np.uint8)


def both(first: Mask, second: Mask) -> Mask:
    """Where both are marked."""
    return np.asarray(cv2.bitwise_and(first, second), np.uint8)


def count(mask: Mask) -> int:
    """How many pixels are marked."""
    return int(cv2.countNonZero(mask))


def times(image: Image, gains: Sequence[float]) -> Image:
    """RGB times a gain a channel, at most 255."""
    scalar = np.array([*gains, 1.0])
    return np.asarray(cv2.multiply(image, scalar), np.uint8)


def weigh(image: Image, weight: Mask, scale: float = 1 / 255) -> Image:
    """RGB times ``weight * scale`` at each pixel, at most 255."""
    return np.asarray(cv2.multiply(image, cv2.merge([weight] * 3), scale=scale), np.uint8)


def resize(image: Image, size: tuple[int, int]) -> Image:
    """The picture at ``size`` (width, height): averaged where it shrinks."""
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8)
