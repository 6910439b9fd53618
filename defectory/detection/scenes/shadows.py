"""Shadows: what stands on a floor darkens it, close by and in the direction away from the light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from defectory.detection.scenes.raster import weigh
from defectory.detection.scenes.sprites import Sprite
from defectory.vision.arrays import Image, Mask

# Shadows are soft: they are made on a canvas this many times coarser.
_COARSE = 4


@dataclass(frozen=True, slots=True)
class Sun:
    """How shadows fall in a scene.

    Args:
        aside: pixels to the right for each pixel of height; negative to the left.
        away: pixels up the floor for each pixel of height; negative towards the camera.
        cast, contact: how dark the two are, 0..1.
        soft: blur of the cast one, as a share of the object's height.
    """

    aside: float
    away: float
    cast: float
    contact: float
    soft: float


def cast_shadow(image: Image, sprite: Sprite, sun: Sun) -> None:
    """Darken ``image`` where the sprite keeps light from the floor; call it before the sprite is painted."""
    if not sprite.stands or min(sprite.mask.shape) < 4:
        return
    _cast(image, sprite, sun)
    _touch(image, sprite, sun)


def _cast(image: Image, sprite: Sprite, sun: Sun) -> None:
    small = cv2.resize(sprite.alpha, None, fx=1 / _COARSE, fy=1 / _COARSE, interpolation=cv2.INTER_AREA)
    rows, columns = small.shape
    # Where the sprite is cut at the canvas's lower edge, so is the floor that it stands on.
    foot = (sprite.foot - sprite.top) / _COARSE
    blur = max(sun.soft * rows, 0.8)
    margin = int(3 * blur) + 1
    reach = int(abs(sun.aside) * foot) + 1
    deep = int(abs(sun.away) * foot) + 1
    left = reach if sun.aside < 0 else 0
    up = deep if sun.away > 0 else 0
    # A point so far above the foot falls so far aside and up the floor.
    matrix = np.array(
        [
            [1.0, -sun.aside, sun.aside * foot + left + margin],
            [0.0, sun.away, -sun.away * foot + up + margin],
        ]
    )
    size = (columns + reach + 2 * margin, deep + 2 * margin)
    fallen = cv2.warpAffine(small, matrix, size)
    shadow = np.asarray(cv2.GaussianBlur(fallen, (0, 0), blur), np.uint8)
    _darken(
        image, shadow, (sprite.left - (left + margin) * _COARSE, round(sprite.foot) - (up + margin) * _COARSE), sun.cast
    )


def _touch(image: Image, sprite: Sprite, sun: Sun) -> None:
    rows = sprite.mask.shape[0]
    base = sprite.mask[max(rows - max(rows // 14, 2), 0) :]
    if sprite.foot > sprite.top + rows + 1 or not base.any():
        return
    columns = np.flatnonzero(base.any(axis=0))
    wide = (int(columns[-1]) - int(columns[0]) + 1) / _COARSE
    high = min(max(0.16 * wide, 1.0), 10.0)
    blur = max(0.08 * wide, 0.9)
    margin = int(3 * blur) + 2
    canvas = np.zeros((int(2 * high) + 2 * margin, int(wide) + 2 * margin), np.uint8)
    centre = (canvas.shape[1] * 8, canvas.shape[0] * 8)
    cv2.ellipse(canvas, centre, (round(wide * 8.6), round(high * 16)), 0, 0, 360, 255, -1, cv2.LINE_AA, 4)
    shadow = np.asarray(cv2.GaussianBlur(canvas, (0, 0), blur), np.uint8)
    middle = sprite.left + (int(columns[0]) + int(columns[-1])) / 2
    foot = sprite.foot - high * _COARSE * 0.55
    corner = round(middle - canvas.shape[1] * _COARSE / 2), round(foot - canvas.shape[0] * _COARSE / 2)
    _darken(image, shadow, corner, sun.contact)


def _darken(image: Image, shadow: Mask, corner: tuple[int, int], strength: float) -> None:
    """Multiply by what the coarse ``shadow`` leaves of the light; its upper left corner lies at ``corner``."""
    left, top = corner
    height, width = image.shape[:2]
    right, bottom = left + shadow.shape[1] * _COARSE, top + shadow.shape[0] * _COARSE
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if x1 <= x0 or y1 <= y0:
        return
    light = cv2.LUT(shadow, np.rint(255 - np.arange(256) * strength).astype(np.uint8))
    fine = np.asarray(cv2.resize(light, (right - left, bottom - top)), np.uint8)
    part = image[y0:y1, x0:x1]
    part[:] = weigh(part, fine[y0 - top : y1 - top, x0 - left : x1 - left])
