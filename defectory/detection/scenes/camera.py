"""Camera: what light, lens and sensor make of a finished scene."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from defectory.detection.layouts.records import CameraQuality, Conditions, Light
from defectory.detection.scenes.backgrounds.textures import TILE, sheet_noise
from defectory.detection.scenes.raster import weigh
from defectory.vision.arrays import Image

# Of each light: red, green and blue gain, and how far the overall gain varies.
_LIGHT: dict[Light, tuple[tuple[float, float, float], tuple[float, float]]] = {
    "even": ((1.0, 1.0, 1.0), (0.9, 1.12)),
    "bright": ((1.02, 1.0, 0.97), (1.15, 1.4)),
    "dim": ((1.0, 0.98, 0.95), (0.48, 0.7)),
    "warm": ((1.1, 1.0, 0.8), (0.8, 1.1)),
    "cold": ((0.88, 0.98, 1.12), (0.8, 1.1)),
    "backlit": ((0.99, 1.0, 1.03), (0.95, 1.25)),
}
# Of each camera: blur and noise, from and to, in pixels and levels.
_SENSOR: dict[CameraQuality, tuple[tuple[float, float], tuple[float, float]]] = {
    "sharp": ((0.0, 0.45), (0.5, 3.0)),
    "soft": ((0.7, 1.5), (0.5, 4.0)),
    "noisy": ((0.2, 0.8), (6.0, 14.0)),
    "motion": ((0.0, 0.4), (1.0, 5.0)),
}


def expose(image: Image, conditions: Conditions, rng: np.random.Generator) -> Image:
    """``image`` as a camera takes it under these conditions."""
    image = _tone(image, conditions.light, rng)
    blur, spread = (rng.uniform(*limits) for limits in _SENSOR[conditions.camera])
    if conditions.camera == "motion":
        image = np.asarray(cv2.filter2D(image, -1, _smear(rng.uniform(2.5, 8), rng.uniform(0, np.pi))), np.uint8)
    if blur > 0.25:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), blur), np.uint8)
    if rng.random() < 0.4:
        image = _vignette(image, rng.uniform(0.08, 0.35))
    return _grain(image, float(spread), rng)


def _tone(image: Image, light: Light, rng: np.random.Generator) -> Image:
    """Exposure, white balance and contrast, one table a channel."""
    tint, limits = _LIGHT[light]
    gain, gamma, lift = rng.uniform(*limits), rng.uniform(0.88, 1.15), rng.uniform(0, 10)
    balance = np.array(tint) * rng.normal(1, 0.025, 3)
    levels = np.arange(256)[:, None] / 255
    curve = np.clip(levels * gain * balance, 0, None) ** gamma
    # Highlights bend before they are cut off.
    curve = np.where(curve > 0.8, 0.8 + 0.2 * np.tanh((curve - 0.8) / 0.2), curve)
    table = np.clip(np.rint(curve * (255 - lift) + lift), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table[:, None]), np.uint8)


def _smear(length: float, angle: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    side = int(length) // 2 * 2 + 3
    kernel = np.zeros((side, side), np.float32)
    middle, reach = side / 2 - 0.5, length / 2
    a = (middle - reach * np.cos(angle), middle - reach * np.sin(angle))
    b = (middle + reach * np.cos(angle), middle + reach * np.sin(angle))
    ends = [tuple(round(value * 16) for value in point) for point in (a, b)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_8, 4)
    return np.asarray(kernel / kernel.sum(), np.float32)


def _vignette(image: Image, depth: float) -> Image:
    shade = _corners(image.shape[1], image.shape[0])
    table = np.rint(255 * (1 - depth * np.arange(256) / 255)).astype(np.uint8)
    return weigh(image, np.asarray(cv2.LUT(shade, table), np.uint8))


@lru_cache(maxsize=4)
def _corners(width: int, height: int) -> Image:
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    return np.rint(np.clip((rows**2 + columns**2) / 2, 0, 1) * 255).astype(np.uint8)


def _grain(image: Image, spread: float, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    sheet = sheet_noise(int(rng.integers(4)))
    y, x = rng.integers(0, TILE, 2)
    repeats = -(-(height + int(y)) // len(sheet)), -(-(width + int(x)) // len(sheet))
    if repeats != (1, 1):
        sheet = np.tile(sheet, (*repeats, 1))
    tiled = sheet[y : y + height, x : x + width]
    levels = image.astype(np.int16)
    return np.asarray(cv2.addWeighted(levels, 1.0, tiled, spread / 16, 0, dtype=cv2.CV_8U), np.uint8)
