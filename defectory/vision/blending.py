"""Blending: light instead of grey levels, the pixels that a defect visibly changes, and how much it strikes the eye."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from defectory.vision.arrays import Field, Image, Mask
from defectory.vision.regions import find_regions

VISIBLE = 4.0
"""Grey levels of 255 by which a pixel has to change to be called changed."""

_LEVELS = np.linspace(0, 1, 256)
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_light(image: Image) -> Field:
    """sRGB levels, uint8, as light, 0..1 (linear), float32 of the same shape: shade and stains multiply light."""
    return np.asarray(_LINEAR[image], np.float32)


def to_levels(light: Field) -> Image:
    """The reverse of `to_light`, clipped to what a camera records."""
    light = np.clip(light, 0, 1)
    levels = np.where(light <= 0.0031308, light * 12.92, 1.055 * np.power(light, 1 / 2.4) - 0.055)
    return np.asarray(np.rint(levels * 255), np.uint8)


def blurred(field: Field, sigma: float) -> Field:
    """``field``, ``(h, w)`` or ``(h, w, 3)``, blurred by a Gaussian of ``sigma`` pixels; wide ones cost no more."""
    factor = max(1, int(sigma / 3))
    if factor == 1:
        return np.asarray(cv2.GaussianBlur(field, (0, 0), max(sigma, 0.1)), np.float32)
    height, width = field.shape[:2]
    size = max(1, round(width / factor)), max(1, round(height / factor))
    small = cv2.GaussianBlur(cv2.resize(field, size, interpolation=cv2.INTER_AREA), (0, 0), sigma / factor)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def feathered(region: Mask, width: float = 1.0) -> Field:
    """``region`` (255 = inside) as weights 0..1 that rise inside of it over about ``width`` pixels: nothing spills."""
    depth = cv2.distanceTransform((region > 0).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(np.clip(depth / max(width, 1e-3), 0, 1), np.float32)


def changed_pixels(photo: Image, image: Image, extent: Field) -> Mask:
    """The defect's mask: every pixel that it visibly changes, and what lies between such pixels within its extent.

    A pixel counts where it changes by `VISIBLE` levels and by a seventh of what the defect changes at its strongest:
    fainter fringes are lost beside it.  Single pixels away from the extent do not count.

    Args:
        photo: the good part, uint8 RGB ``(h, w, 3)``.
        image: the same with the defect.
        extent: how much of each pixel the defect covers, 0..1, shape ``(h, w)``.

    Returns:
        255 = defect, shape ``(h, w)``.
    """
    covered = (extent > 0.2).astype(np.uint8)
    difference = cv2.absdiff(photo, image).max(2)
    if not covered.any():
        return np.zeros(covered.shape, np.uint8)
    strongest = float(np.percentile(difference[covered > 0], 95))
    visible = (difference >= max(VISIBLE, strongest / 7)).astype(np.uint8)
    # In the middle of a dent the shade turns over, and nothing changes.
    thickness = float(cv2.distanceTransform(np.pad(covered, 1), cv2.DIST_L2, 3).max())
    changed = visible | (_closed(visible, max(1.0, 0.35 * thickness)) & covered)
    regions = find_regions(changed)
    touching = regions.overlap(covered > 0) > 0
    return np.where(regions.select(touching & (regions.areas >= 3)), 255, 0).astype(np.uint8)


def _closed(region: NDArray[np.uint8], radius: float) -> NDArray[np.uint8]:
    """Morphological closing by a disc; by distances, as the cost then does not grow with the disc."""
    margin = math.ceil(radius) + 1
    apart = cv2.distanceTransform(1 - np.pad(region, margin), cv2.DIST_L2, 5)
    wide = (apart <= radius).astype(np.uint8)
    inside = cv2.distanceTransform(np.pad(wide, 1), cv2.DIST_L2, 5)[1:-1, 1:-1] > radius
    return inside[margin:-margin, margin:-margin].astype(np.uint8) | region


def severity_of(photo: Image, image: Image, mask: Mask | None, *, pixels: int | None = None) -> float:
    """How much the defect strikes the eye: 0 (can hardly be seen) to 1.

    After Rose, "The sensitivity performance of the human eye on an absolute scale" (1948): what counts is the contrast
    against the surrounding's own liveliness times the root of the area; 5 is the least that eyes notice.  Areas are
    those of a picture of a quarter of a megapixel, so that the camera's resolution changes nothing.

    Args:
        photo: the good part, uint8 RGB ``(h, w, 3)``.
        image: the same with the defect.
        mask: 255 = defect; None gives 0, as nothing tells what to look at.
        pixels: how many the whole picture has, where a cut-out is given.
    """
    if mask is None or not mask.any():
        return 0.0
    left, top, width, height = cv2.boundingRect(mask)
    margin = 8 + max(width, height) // 2
    place = np.s_[max(0, top - margin) : top + height + margin, max(0, left - margin) : left + width + margin]
    before, after = (
        cv2.cvtColor(np.ascontiguousarray(picture[place]).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        for picture in (photo, image)
    )
    inside = mask[place] > 0
    contrast = float(np.sqrt(((after - before) ** 2).sum(2))[inside].mean())
    structure = before - cv2.GaussianBlur(before, (0, 0), 3)
    around = ~inside if (~inside).any() else inside
    lively = float(np.sqrt((structure**2).sum(2)[around].mean()))
    area = float(inside.sum()) * 512**2 / (pixels or mask.size)
    conspicuity = contrast / (lively + 2.3) * np.sqrt(area)  # 2.3: the least difference in CIELAB that eyes notice
    return float(np.clip(np.log(max(conspicuity, 1e-6) / 5) / np.log(60), 0, 1))
