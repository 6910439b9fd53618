"""Masks of generated pictures: where a picture really differs from the photo that it was made from.

A model that was asked to paint in one place gives back another picture of everything: moved by part of a pixel, a shade
lighter, compressed.  Those differences are taken out first; what is left and can be seen is the defect.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from defectory.vision.arrays import Field, Image, Mask
from defectory.vision.blending import feathered
from defectory.vision.regions import find_regions

STRONG, WEAK = 8.0, 4.0
"""Differences in CIELAB that a defect's core must reach, and its outskirts; 2.3 is the least that eyes notice."""

_FEWEST_PIXELS = 6
_MOST_RECOLOURED = 40.0  # levels
_MOST_USUAL = 10.0  # in CIELAB; more is no noise, but a defect that takes most of what is as lively
_LIVELINESS = (*np.linspace(0, 0.9, 10), 0.95, 0.98, 0.99, 1)  # shares of pixels, from plain ground to strong edges
_MOST_SHIFT = 0.03  # of the longer side; what moved further is another picture
_ALIGNED_SIDE = 512  # shifts are found in copies of this size, at most


@dataclass(frozen=True, slots=True)
class Refined:
    """A generated picture made comparable with its photo, and where the two differ.

    Attributes:
        picture: the picture, aligned with the photo and in its colours, uint8 RGB.
        mask: 255 = differs visibly, of the photo's size.
        shift: by how many pixels the picture had moved, right and down.
        noise: the usual difference elsewhere, in CIELAB.
    """

    picture: Image
    mask: Mask
    shift: tuple[float, float]
    noise: float


def refine_mask(photo: Image, picture: Image, allowed: Mask | None = None) -> Refined:
    """Find where ``picture`` shows something else than ``photo``.

    Small shifts and changes of all the picture's colours are undone; then a defect is what exceeds what the model does
    everywhere.  It grows from where the difference is clear to where it can still be seen (hysteresis, after Canny,
    1986), and edges that merely moved by a pixel do not count: the core must leave the range of levels that the photo
    has within a pixel.

    Args:
        photo: the good part, uint8 RGB ``(h, w, 3)``.
        picture: what a model made of it, of the same size.
        allowed: 255 where the defect may be; what changed elsewhere tells what the model does to all of a picture.
            None: anywhere, and most of the picture has to be as it was.

    Returns:
        The aligned picture and the mask, which is all 0 where no difference can be seen.
    """
    outside = np.ones(photo.shape[:2], bool) if allowed is None else allowed == 0
    if not outside.any():
        outside[:] = True
    shift = _shift(photo, picture, outside)
    aligned = _moved(picture, shift)
    if _error(photo, aligned, outside) >= _error(photo, picture, outside):
        shift, aligned = (0.0, 0.0), picture
    in_view = _still_seen(outside.shape, shift)
    outside &= in_view
    aligned = _recoloured(photo, aligned, outside)
    plain, beyond = _differences(photo, aligned)
    usual = _usual(photo, plain, outside)
    free = in_view if allowed is None else in_view & (allowed > 0)
    excused = np.minimum(usual, _MOST_USUAL)
    mask = _grown((beyond > np.maximum(STRONG, 3 * excused)) & free, (plain > np.maximum(WEAK, 2 * excused)) & free)
    return Refined(aligned, mask, shift, float(np.median(usual)))


def blend(photo: Image, picture: Image, mask: Mask, within: Mask | None = None, softness: float = 2.0) -> Image:
    """``photo`` with what ``picture`` shows where ``mask`` is, and a soft passage of some pixels around it.

    Nothing changes beyond ``within`` (255 = may change), and little at its edge.
    """
    blended = photo.copy()
    if not mask.any():
        return blended
    left, top, width, height = cv2.boundingRect(mask)
    margin = round(2 * softness) + 2
    near = np.s_[max(0, top - margin) : top + height + margin, max(0, left - margin) : left + width + margin]
    distance = cv2.distanceTransform(np.where(mask[near] > 0, 0, 255).astype(np.uint8), cv2.DIST_L2, 5)
    weight = np.clip(1 - (distance - 1) / (2 * softness), 0, 1).astype(np.float32)
    if within is not None:
        weight = np.minimum(weight, feathered(np.ascontiguousarray(within[near]), softness))
    blended_near = photo[near] + weight[..., None] * (picture[near].astype(np.float32) - photo[near])
    blended[near] = np.clip(np.rint(blended_near), 0, 255)
    return blended


def _shift(photo: Image, picture: Image, outside: NDArray[np.bool_]) -> tuple[float, float]:
    """By how much ``picture`` moved, from the phase of what both have outside (Kuglin and Hines, 1975)."""
    height, width = outside.shape
    scale = min(1.0, _ALIGNED_SIDE / max(height, width))
    size = max(16, round(width * scale)), max(16, round(height * scale))
    weight = cv2.resize(cv2.GaussianBlur(outside.astype(np.float32), (0, 0), 2), size, interpolation=cv2.INTER_AREA)
    first, second = (
        _detail(cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)) * weight
        for image in (photo, picture)
    )
    (x, y), _ = cv2.phaseCorrelate(first, second, cv2.createHanningWindow(size, cv2.CV_32F))
    x, y = x * width / size[0], y * height / size[1]
    return (float(x), float(y)) if np.hypot(x, y) <= _MOST_SHIFT * max(height, width) else (0.0, 0.0)


def _detail(image: Image) -> Field:
    """The fine structure of the image's brightness."""
    level = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.asarray(level - cv2.GaussianBlur(level, (0, 0), 8), np.float32)


def _moved(picture: Image, shift: tuple[float, float]) -> Image:
    if np.hypot(*shift) < 0.05:
        return picture
    back = np.array([[1, 0, -shift[0]], [0, 1, -shift[1]]], np.float32)
    size = picture.shape[1::-1]
    moved = cv2.warpAffine(picture, back, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return moved.astype(np.uint8)


def _error(photo: Image, picture: Image, outside: NDArray[np.bool_]) -> float:
    return float(np.abs(_detail(photo)[outside] - _detail(picture)[outside]).mean())


def _still_seen(shape: tuple[int, ...], shift: tuple[float, float]) -> NDArray[np.bool_]:
    """Where a picture that moved still shows something of its own: not along the edges that it lost and gained."""
    in_view = np.ones(shape, bool)
    for axis, moved in ((1, shift[0]), (0, shift[1])):
        if lost := int(np.ceil(abs(moved) + 1)) if abs(moved) > 0.05 else 0:
            edges = np.swapaxes(in_view, 0, axis)
            edges[:lost] = edges[-lost:] = False
    return in_view


def _recoloured(photo: Image, picture: Image, outside: NDArray[np.bool_]) -> Image:
    """``picture`` with each channel stretched and moved as brings it closest to ``photo`` outside.

    A line is fitted by least squares to what fits best, several times over (trimmed), so that the defect itself has no
    say.  All levels weigh the same, however few pixels have them, and saturated ones tell nothing.
    """
    result = picture.astype(np.float32)
    step = max(1, outside.size // 200_000)
    for channel in range(3):
        theirs = picture[..., channel][outside][::step].astype(np.float64)
        ours = photo[..., channel][outside][::step].astype(np.float64)
        unsaturated = (theirs > 2) & (theirs < 253) & (ours > 2) & (ours < 253)
        if np.count_nonzero(unsaturated) < 30:
            continue
        gain, offset = _line(theirs[unsaturated], ours[unsaturated])
        level, target = picture[..., channel], photo[..., channel]
        fitted = gain * level.astype(np.float32) + offset
        # Saturated means "at least" or "at most": what the photo has may have been there.
        fitted = np.where(level >= 253, np.maximum(fitted, target), fitted)
        result[..., channel] = np.where(level <= 2, np.minimum(fitted, target), fitted)
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)


def _line(theirs: NDArray[np.float64], ours: NDArray[np.float64]) -> tuple[float, float]:
    """Gain and offset from ``theirs`` to ``ours``."""
    levels = (theirs // 8).astype(np.intp)
    weight = 1 / np.maximum(np.bincount(levels, minlength=32), 0.002 * len(levels))[levels]
    gain, offset = 1.0, float(np.median(ours - theirs))
    for _ in range(6):
        misfit = np.abs(gain * theirs + offset - ours)
        fit_weight = np.where(misfit <= max(3.0, float(np.quantile(misfit, 0.6))), weight, 0)
        middle, aim = np.average(theirs, weights=fit_weight), np.average(ours, weights=fit_weight)
        spread = np.average((theirs - middle) ** 2, weights=fit_weight)
        # Of a single level nothing tells a gain.
        gain = 1.0 if spread < 9 else float(np.average((theirs - middle) * (ours - aim), weights=fit_weight) / spread)
        gain = float(np.clip(gain, 0.75, 1.33))
        offset = float(aim - gain * middle)
    # What changed so much is no shade of the same picture.
    return (gain, offset) if abs(gain * 128 + offset - 128) <= _MOST_RECOLOURED else (1.0, 0.0)


def _differences(photo: Image, picture: Image) -> tuple[Field, Field]:
    """The difference pixel by pixel, and by how much the picture leaves the photo's range within a pixel (CIELAB)."""
    ours, theirs = (
        cv2.GaussianBlur(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), (0, 0), 0.7)
        for image in (photo, picture)
    )
    kernel = np.ones((3, 3), np.uint8)
    above = np.maximum(theirs - cv2.dilate(ours, kernel), 0)
    below = np.maximum(cv2.erode(ours, kernel) - theirs, 0)
    plain = np.sqrt(((theirs - ours) ** 2).sum(2))
    return np.asarray(plain, np.float32), np.asarray(np.sqrt(((above + below) ** 2).sum(2)), np.float32)


def _usual(photo: Image, plain: Field, outside: NDArray[np.bool_]) -> Field:
    """The difference that is usual at each pixel: models change edges and texture more than plain ground."""
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32)
    slope = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    lively = cv2.GaussianBlur(cv2.dilate(slope, np.ones((5, 5), np.uint8)), (0, 0), 1.5)
    liveliness, differences = lively[outside], plain[outside]
    bounds = np.unique(np.quantile(liveliness, _LIVELINESS))
    if len(bounds) < 2:
        return np.full(plain.shape, _typical(differences), np.float32)
    place = np.clip(np.searchsorted(bounds, liveliness, side="right") - 1, 0, len(bounds) - 2)
    filled = [number for number in range(len(bounds) - 1) if (place == number).any()]
    usual = [_typical(differences[place == number]) for number in filled]
    middles = [float((bounds[number] + bounds[number + 1]) / 2) for number in filled]
    return np.interp(lively, middles, usual).astype(np.float32)


def _typical(differences: Field) -> float:
    """What most differences stay below; a large defect among them, up to half of all, has no say."""
    middle, most = np.quantile(differences, (0.5, 0.8))
    return float(min(most, 2.5 * middle))


def _grown(core: NDArray[np.bool_], outskirts: NDArray[np.bool_]) -> Mask:
    """The connected parts of ``outskirts`` that hold enough of a ``core``, without specks and pinholes."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    closed = cv2.morphologyEx((core | outskirts).astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    regions = find_regions(closed)
    defect = regions.select((regions.overlap(core) >= 3) & (regions.areas >= _FEWEST_PIXELS))
    # Holes of a few pixels inside are part of the defect.
    holes = find_regions(~defect, connectivity=4)
    small = holes.select(holes.areas <= max(9, 0.03 * np.count_nonzero(defect)))
    return np.where(defect | small, 255, 0).astype(np.uint8)
