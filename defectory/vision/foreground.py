"""Where the part is in a photo, so that defects are put on it and not on the table."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from defectory.vision.arrays import Image, Mask
from defectory.vision.regions import find_regions

_SIDE = 256  # the outline is found in a copy of this size: its cost does not depend on the photo's
_FINE_SIDE = 640  # and then drawn more exactly in one of this size
_CLUSTERS = 3
_SPECK = 0.004  # holes of less than this share of the part are gleams and specks on it


def find_part(image: Image) -> Mask:
    """The part in ``image``: 255 = part, 0 = background and holes that show it.

    What differs clearly from the colours along the photo's edges is the part.  Where that tells nothing, because the
    part fills the photo or the background is as lively as the part, all of it is the part.

    Args:
        image: uint8 RGB of shape ``(h, w, 3)``.

    Returns:
        uint8 of shape ``(h, w)``.
    """
    small = _shrunk(image, _SIDE)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    part = _differing(np.asarray(cv2.GaussianBlur(lab, (0, 0), 1.2), np.float32))
    if part is None:
        return np.full(image.shape[:2], 255, np.uint8)
    fine = _shrunk(image, _FINE_SIDE)
    return _grown(_outlined(fine, _grown(part, fine.shape[:2])), image.shape[:2])


def _shrunk(image: Image, side: int) -> Image:
    height, width = image.shape[:2]
    factor = min(1.0, side / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    step = max(1, int(0.25 / factor))  # of very large photos, a part of the pixels tells as much
    return np.asarray(cv2.resize(image[::step, ::step], size, interpolation=cv2.INTER_AREA), np.uint8)


def _grown(mask: Mask, shape: tuple[int, ...]) -> Mask:
    if mask.shape == shape:
        return mask
    smooth = cv2.resize(mask, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.threshold(smooth, 127, 255, cv2.THRESH_BINARY)[1], np.uint8)


def _outlined(image: Image, part: Mask) -> Mask:
    """``part`` with its outline where the colours change from the part's to the background's, as they are nearby.

    Fringes between the two (blur, halos) are left to the background: a defect on them would float beside the part.
    """
    reach = max(2, round(1.2 * max(image.shape) / _SIDE))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    inside = np.asarray(cv2.erode(part, kernel, borderValue=255) > 0, np.float32)
    outside = np.asarray(cv2.dilate(part, kernel, borderValue=0) == 0, np.float32)
    light = image.astype(np.float32)
    band = (inside == 0) & (outside == 0)

    def nearby(where: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The mean colour of that side near each pixel of the band, and whether any of it is near."""
        size = (8 * reach + 1, 8 * reach + 1)
        weight = cv2.blur(where, size)[band]
        mean = cv2.blur(light * where[..., None], size)[band] / np.maximum(weight, 1e-6)[:, None]
        return np.asarray(mean, np.float32), np.asarray(weight > 1e-3)

    (on, known_on), (off, known_off) = nearby(inside), nearby(outside)
    step = on - off
    length = np.square(step).sum(axis=1)
    share = ((light[band] - off) * step).sum(axis=1) / np.maximum(length, 1)
    distinguishable = known_on & known_off & (length > 30**2)
    outlined = part.copy()
    outlined[band] = np.where(distinguishable, np.where(share > 0.7, 255, 0), part[band])
    return np.asarray(cv2.medianBlur(outlined, 5), np.uint8)


def _differing(lab: NDArray[np.float32]) -> Mask | None:
    height, width = lab.shape[:2]
    edge = np.zeros((height, width), bool)
    ring = max(2, round(0.03 * min(height, width)))
    edge[:ring] = edge[-ring:] = edge[:, :ring] = edge[:, -ring:] = True
    distance = _distance_to(lab, _colours(lab[edge]))
    levels = np.clip(distance * 2, 0, 255).astype(np.uint8)
    threshold, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)
    part = _solid(np.where(levels > threshold, 255, 0).astype(np.uint8))
    inside = part > 0
    if not 0.02 < inside.mean() < 0.95 or inside[edge].mean() > 0.4:
        return None
    within, beyond = distance[inside].mean(), distance[~inside].mean()
    clear = within > 12 and within > 3.5 * beyond and _step(distance, part) > 0.5 * (within - beyond)
    return part if clear else None


def _step(distance: NDArray[np.float32], part: Mask) -> float:
    """How much ``distance`` rises across the outline, within a few pixels: light that falls off has no outline."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    rim, beyond = (part > 0) & (cv2.erode(part, kernel) == 0), (part == 0) & (cv2.dilate(part, kernel) > 0)
    return float(distance[rim].mean() - distance[beyond].mean()) if beyond.any() and rim.any() else 0.0


def _colours(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The few colours along the edge, rare ones left out."""
    pixels = np.ascontiguousarray(pixels[:: max(1, len(pixels) // 1500)])
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 0.5)
    cv2.setRNGSeed(0)  # the clusters' first centres are drawn: the same photo has to give the same part
    _, labels, centres = cv2.kmeans(pixels, _CLUSTERS, np.empty(0), criteria, 2, cv2.KMEANS_PP_CENTERS)
    shares = np.bincount(labels.ravel(), minlength=_CLUSTERS) / len(pixels)
    return np.asarray(centres[shares >= 0.2], np.float32)


def _distance_to(lab: NDArray[np.float32], colours: NDArray[np.float32]) -> NDArray[np.float32]:
    # Shadows and light that falls off change lightness more than hue.
    weights = np.array([0.7, 1.3, 1.3], np.float32)
    squares = np.full(lab.shape[:2], np.inf, np.float32)
    for colour in colours:
        step = (lab - colour) * weights
        squares = np.minimum(squares, np.einsum("ijk,ijk->ij", step, step))
    return np.asarray(np.sqrt(squares), np.float32)


def _solid(mask: Mask) -> Mask:
    """The large pieces of ``mask``, with specks filled and thin bridges cut."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    opened = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel), np.uint8)
    pieces = find_regions(opened, connectivity=4)
    if not len(pieces):
        return opened
    part = np.where(pieces.select(pieces.areas >= 0.15 * pieces.areas.max()), 255, 0).astype(np.uint8)
    holes = find_regions(255 - part, connectivity=4)
    part[holes.select(holes.areas < _SPECK * (part > 0).sum())] = 255
    return part
