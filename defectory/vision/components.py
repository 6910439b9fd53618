"""Components: things on a part that stand out from their surround and could be missing (chips, eyes, holes, prints)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from defectory.vision.arrays import Image, Mask, Region
from defectory.vision.regions import find_regions

_Points = NDArray[np.intp]

_SIDE = 320  # components are found in a copy of this size: the cost does not depend on the photo's
_SMALLEST, _LARGEST = 0.0004, 0.06  # areas, as shares of the part
_CLEAR = 12.0  # steps of CIELAB by which a component differs from its surround at the least


@dataclass(frozen=True, slots=True)
class Component:
    """One component: ``mask`` (255 = component, with its rim and shadow) and how clearly it stands out, 0..1."""

    mask: Mask
    clarity: float


def find_components(image: Image, part: Mask, limit: int = 24) -> list[Component]:
    """The clearest components of ``part``, at most ``limit`` of them, the clearest first; none overlap.

    A component is a compact region that differs from the median of its neighbourhood, and from a quiet surround all
    around it.

    Args:
        image: uint8 RGB of shape ``(h, w, 3)``.
        part: 255 where the part is, shape ``(h, w)``.
    """
    height, width = part.shape
    factor = min(1.0, _SIDE / max(height, width))
    size = max(8, round(width * factor)), max(8, round(height * factor))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    allowed = cv2.resize(part, size, interpolation=cv2.INTER_AREA) > 127
    lab = np.asarray(cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
    area = float(allowed.sum())
    low, high = max(12, int(_SMALLEST * area)), int(_LARGEST * area)
    if high <= low:
        return []
    # The part without its holes: a hole in it is a component as well.
    outline = solid(allowed)
    regions = [_judged(lab, points, allowed, outline) for points in _candidates(lab, low, high)]
    ranked = sorted((region for region in regions if region is not None), key=lambda region: region[2], reverse=True)
    occupied = np.zeros(allowed.shape, bool)
    components: list[Component] = []
    for grown, box, clarity in ranked:
        if occupied[box][grown].any():
            continue
        occupied[box] |= grown
        coarse_mask = np.zeros(allowed.shape, np.uint8)
        coarse_mask[box][grown] = 255
        mask = np.asarray(cv2.resize(coarse_mask, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
        components.append(Component(np.where(mask > 100, 255, 0).astype(np.uint8), clarity))
        if len(components) == limit:
            break
    return components


def _candidates(lab: NDArray[np.float32], low: int, high: int) -> list[_Points]:
    """The pixels ``(n, 2)``, x first, of what differs from the usual colour of its neighbourhood, at several levels."""
    size = max(3, 2 * round(0.8 * np.sqrt(high)) + 1)
    levels = np.clip(lab * np.array([2.55, 1, 1]) + np.array([0, 128, 128]), 0, 255).astype(np.uint8)
    # The median of a copy half as large: it changes slowly, and costs a quarter.
    half = cv2.resize(levels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    usual = cv2.resize(cv2.medianBlur(half, size // 2 | 1), (lab.shape[1], lab.shape[0])).astype(np.float32)
    off = np.sqrt(np.square((levels - usual) * np.array([1 / 2.55, 1, 1], np.float32)).sum(axis=2))
    off = cv2.GaussianBlur(off, (0, 0), 0.7)
    candidates: list[_Points] = []
    places: set[tuple[int, ...]] = set()
    for level in (9, 14, 20, 28, 38, 50):
        regions = find_regions(off > level, connectivity=4)
        for number, (area, box) in enumerate(zip(regions.areas.tolist(), regions.boxes.tolist(), strict=True), 1):
            left, top, width, height = box
            # What has sharp edges is the same at several levels.
            place = left // 2, top // 2, (left + width) // 2, (top + height) // 2
            if low <= area and width * height <= 2 * high and place not in places:
                places.add(place)
                ys, xs = np.nonzero(regions.labels[top : top + height, left : left + width] == number)
                candidates.append(np.stack([xs + left, ys + top], axis=1))
    return candidates


def _judged(
    lab: NDArray[np.float32], points: _Points, part: Region, outline: Region
) -> tuple[Region, tuple[slice, slice], float] | None:
    """A region grown over its rim, the box that it lies in, and how clearly it stands out; None: it is no component."""
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    extent = max(int(right - left), int(bottom - top)) + 1
    reach = max(4, round(0.6 * extent))
    # What is cut by the photo's edge, or lies along it, has no surround to tell.
    if min(left, top, lab.shape[1] - 1 - right, lab.shape[0] - 1 - bottom) < 0.4 * reach:
        return None
    hull = cv2.contourArea(cv2.convexHull(np.asarray(points, np.int32)))
    if len(points) < 0.4 * hull:
        return None
    x0, y0 = max(0, int(left) - reach), max(0, int(top) - reach)
    box = slice(y0, int(bottom) + reach + 1), slice(x0, int(right) + reach + 1)
    colours, on_part = lab[box], outline[box]
    core = np.zeros(on_part.shape, bool)
    core[points[:, 1] - y0, points[:, 0] - x0] = True
    core = solid(core)
    if core.sum() < 0.75 * hull or not on_part[core].all():
        return None
    # A gap in the part is a hole only where it is as round as drilled ones.
    if part[box][core].mean() < 0.5 and core.sum() < 0.6 * np.pi / 4 * extent**2:
        return None
    away = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, 5)
    ring = (away > 0.3 * reach) & (away <= 0.8 * reach)
    # A surround that runs over the part's edge is not the surface that a component sits on.
    if ring.sum() < 12 or on_part[ring].mean() < 0.97:
        return None
    level = np.median(colours[ring], axis=0)
    off = np.sqrt(np.square(colours - level).sum(axis=2))
    unrest = float(np.percentile(off[ring], 75))
    contrast = float(np.median(off[core]))
    if contrast < max(_CLEAR, 1.7 * unrest) or _gleams(np.median(colours[core], axis=0), level):
        return None
    # Chamfers, solder and shadows belong to a component: shell by shell until the surround begins.
    width = 1.0
    while width < 0.4 * reach:
        shell = (away > width - 0.5) & (away <= width + 0.5)
        if float(np.percentile(off[shell], 70)) < 1.4 * unrest + 2:
            break
        width += 1
    # Large ones are what a part has components for; small ones may be specks.
    clarity = np.clip((contrast / (unrest + 4) - 1) / 9, 0, 1) * np.sqrt(extent / max(lab.shape[:2]))
    return away <= width + 0.5, box, float(clarity)


def _gleams(core: NDArray[np.float32], surround: NDArray[np.float32]) -> bool:
    """Whether a region is but a gleam: far brighter than its surround, nearly white, on something coloured."""
    chroma, around = float(np.hypot(core[1], core[2])), float(np.hypot(surround[1], surround[2]))
    return bool(core[0] > 80 and core[0] > surround[0] + 8 and around > 8 and chroma < 0.75 * around)


def solid(region: Region) -> Region:
    """``region``, bool of shape ``(h, w)``, with its holes filled."""
    contours, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(region.shape, np.uint8)
    cv2.drawContours(filled, contours, -1, 1, -1)
    return np.asarray(filled > 0)
