"""Clutter: boxes of no class that stand about, before and between what is labelled."""

from __future__ import annotations

import cv2
import numpy as np

from defectory.detection.layouts.records import LayoutObject
from defectory.detection.scenes.backgrounds.perspective import Perspective
from defectory.detection.scenes.backgrounds.textures import texture
from defectory.detection.scenes.raster import at_least, count, resize
from defectory.detection.scenes.sprites import Sprite
from defectory.vision.arrays import Image

_SIDE = 128
_COLOURS = (
    (176, 142, 102),
    (160, 128, 92),
    (92, 104, 118),
    (134, 136, 132),
    (84, 92, 78),
    (196, 192, 182),
    (70, 74, 80),
)


def draw_clutter(item: LayoutObject, camera: Perspective, rng: np.random.Generator) -> Sprite | None:
    """A carton, crate or cabinet that fills ``item``'s box; None where that is off the canvas."""
    rgba = _carton(rng)
    width, height = max(round(item.box[2]), 4), max(round(item.box[3]), 4)
    left, top = round(item.box[0]), round(item.box[1])
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + width, camera.width), min(top + height, camera.height)
    if x1 <= x0 or y1 <= y0:
        return None
    scaled = resize(rgba, (width, height))
    inside = scaled[y0 - top : y1 - top, x0 - left : x1 - left]
    mask, full = at_least(inside[..., 3], 128), count(at_least(scaled[..., 3], 128))
    colour = np.ascontiguousarray(inside[..., :3])
    return Sprite(item.label, "", x0, y0, colour, inside[..., 3], mask, full, float(top + height), True)


def _carton(rng: np.random.Generator) -> Image:
    """RGBA, colours multiplied by alpha: a box with two faces and its top."""
    rgba = np.zeros((_SIDE, _SIDE, 4), np.uint8)
    edge, slant, lid = rng.uniform(0.25, 0.75), rng.uniform(0.0, 0.16), rng.uniform(0.06, 0.28)
    middle, low = edge * _SIDE, (1 - slant) * _SIDE
    top = lid * _SIDE
    base = np.array(_COLOURS[int(rng.integers(len(_COLOURS)))]) + rng.normal(0, 10, 3)
    lit = rng.uniform(0.75, 1.05), rng.uniform(0.5, 0.8)
    left = [(0, top), (middle, top + slant * _SIDE), (middle, _SIDE - 1), (0, low)]
    right = [(middle, top + slant * _SIDE), (_SIDE - 1, top), (_SIDE - 1, low), (middle, _SIDE - 1)]
    upper = [(0, top), (_SIDE - middle, 0), (_SIDE - 1, top), (middle, top + slant * _SIDE)]
    for outline, light in ((left, lit[0]), (right, lit[1]), (upper, 1.15)):
        face = np.rint(np.array(outline) * 16).astype(np.int32)
        cv2.fillConvexPoly(rgba, face, (*np.clip(base * light, 0, 255).tolist(), 255), cv2.LINE_AA, 4)
    grain = texture("plaster", int(rng.integers(8)))[1][:_SIDE, :_SIDE]
    rgba[..., :3] = cv2.multiply(rgba[..., :3], grain, scale=1 / 130)
    if rng.random() < 0.6:
        x, y, wide, high = rng.uniform(0.1, 0.3), rng.uniform(0.45, 0.6), rng.uniform(0.1, 0.25), rng.uniform(0.1, 0.2)
        corner = round(x * middle), round(y * _SIDE)
        far = round((x + wide) * middle) + 6, round((y + high) * _SIDE)
        cv2.rectangle(rgba, corner, far, (*rng.integers(60, 240, 3).tolist(), 255), -1)
    return rgba
