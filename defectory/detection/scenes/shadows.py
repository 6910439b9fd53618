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
    small = _coarse(sprite.alpha)
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
    """Dark along the lower edge, where it meets the floor."""
    rows = sprite.mask.shape[0]
    if sprite.foot > sprite.top + rows + 1:
        return
    start = rows - max(rows // 4, 2)
    lower = _coarse(sprite.mask[start:])
    size = min(rows, sprite.mask.shape[1]) / _COARSE
    blur = max(0.045 * size, 0.7)
    margin = int(3 * blur) + 1
    spread = cv2.copyMakeBorder(lower, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=(0,))
    shadow = np.asarray(cv2.GaussianBlur(spread, (0, 0), blur), np.uint8)
    sunk = round(0.03 * size * _COARSE)
    corner = sprite.left - margin * _COARSE, sprite.top + start - margin * _COARSE + sunk
    _darken(image, shadow, corner, sun.contact)


def _coarse(mask: Mask) -> Mask:
    rows, columns = (max(round(side / _COARSE), 1) for side in mask.shape)
    return np.asarray(cv2.resize(mask, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)


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
