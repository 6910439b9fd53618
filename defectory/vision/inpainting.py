"""Filling: what a surface looks like where something has been taken away, from the surface around it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from defectory.vision.arrays import Field, Region

_TEMPLATE = 40  # the side of what is searched for, in pixels: its cost does not depend on the photo's size
_TURNS = 8
_FINE = 2.5  # pixels; finer structure has no place of its own and may be moved
_REACH = 3.5  # how far around a hole its like is looked for, in sizes of the hole


def fill(picture: Field, hole: Region, usable: Region) -> Field:
    """``picture`` with its ``hole`` filled by the most similar place of the same surface.

    The place whose surround is most like the hole's is copied, turned where that fits better, and brought to the
    hole's brightness and colour by the differences along its rim: exemplar-based inpainting (Criminisi, Perez and
    Toyama, 2004) with one exemplar, which keeps the texture whole, and a membrane as in Poisson editing (Perez,
    Gangnet and Blake, 2003).  Region no place is large enough, the surround is continued smoothly and its fine
    structure is laid over it in pieces.

    Args:
        picture: float32 of shape ``(h, w, 3)``.
        hole: shape ``(h, w)``, what to fill.
        usable: shape ``(h, w)``, the surface to take from, and to continue into the hole.

    Returns:
        float32 of shape ``(h, w, 3)``, the same as ``picture`` outside ``hole``.
    """
    usable = usable & ~hole
    if not hole.any() or not usable.any():
        return picture
    ys, xs = np.nonzero(hole)
    top, bottom, left, right = int(ys.min()), int(ys.max()) + 1, int(xs.min()), int(xs.max()) + 1
    rim = max(3, round(0.2 * max(bottom - top, right - left)))
    top, bottom = max(0, top - rim), min(picture.shape[0], bottom + rim)
    left, right = max(0, left - rim), min(picture.shape[1], right + rim)
    box = np.s_[top:bottom, left:right]
    target, gap, usable_here = picture[box], hole[box], usable[box]
    near = cv2.distanceTransform((~gap).astype(np.uint8), cv2.DIST_L2, 3) <= rim
    ring = near & usable_here
    filled = picture.copy()
    source = _exemplar(picture, hole, usable, (top, bottom, left, right), ring)
    if source is None:
        filled[box] = np.where(gap[..., None], _patched(picture, usable, box), target)
        return filled
    offset = spread(target - source, ring) if ring.any() else np.zeros_like(target)
    filled[box] = np.where(gap[..., None], source + offset, target)
    return filled


def spread(picture: Field, known: Region) -> Field:
    """``picture`` continued smoothly from where it is ``known`` to everywhere.

    Push-pull: averages of what is known, from ever coarser copies (Gortler, Grzeszczuk, Szeliski and Cohen, 1996).
    """
    if not known.any():
        return picture
    weight = known.astype(np.float32)[..., None]
    levels: list[tuple[Field, Field]] = [(picture * weight, weight)]
    while min(levels[-1][0].shape[:2]) > 2:
        values, weights = levels[-1]
        size = (values.shape[1] + 1) // 2, (values.shape[0] + 1) // 2
        halves = (cv2.resize(layer, size, interpolation=cv2.INTER_AREA) for layer in (values, weights))
        values, weights = (np.asarray(layer, np.float32).reshape(size[1], size[0], -1) for layer in halves)
        levels.append((values, weights))
    values, weights = levels[-1]
    middle = values.sum(axis=(0, 1)) / max(float(weights.sum()), 1e-6)
    coarse = np.asarray(np.where(weights > 1e-6, values / np.maximum(weights, 1e-6), middle), np.float32)
    for values, weights in reversed(levels):
        smooth = cv2.resize(coarse, (values.shape[1], values.shape[0]), interpolation=cv2.INTER_CUBIC)
        coarse = np.asarray(values + (1 - np.minimum(weights, 1)) * smooth.reshape(values.shape), np.float32)
    return coarse


def _patched(picture: Field, usable: Region, box: tuple[slice, slice]) -> Field:
    """``picture`` within ``box``, continued from where it is ``usable``, with the fine structure from there."""
    usable_weight = usable.astype(np.float32)[..., None]
    weight = cv2.GaussianBlur(usable_weight, (0, 0), _FINE)[..., None]
    smooth = cv2.GaussianBlur(picture * usable_weight, (0, 0), _FINE) / np.maximum(weight, 1e-3)
    structure = (picture - smooth) * usable_weight
    # Edges and prints are no texture: laid over elsewhere they would be seen for what they are.
    energy = cv2.blur(np.abs(structure).mean(axis=2), (9, 9))
    plain = usable & (energy <= 1.4 * np.median(energy[usable]))
    height, width = usable.shape
    rows, columns = box[0].indices(height)[:2], box[1].indices(width)[:2]
    added = np.zeros((rows[1] - rows[0], columns[1] - columns[0], 3), np.float32)
    open_ = ~usable[box]
    nearest = float(cv2.distanceTransform(open_.astype(np.uint8), cv2.DIST_L2, 3).max())
    for down, right in _shifts(nearest, max(height, width)):
        ys, xs = np.nonzero(open_)
        ys, xs = ys + (rows[0] + down), xs + (columns[0] + right)
        within = (ys >= 0) & (ys < height) & (xs >= 0) & (xs < width)
        ys, xs = ys[within], xs[within]
        usable_source = plain[ys, xs]
        ys, xs = ys[usable_source], xs[usable_source]
        here = ys - (rows[0] + down), xs - (columns[0] + right)
        added[here] = structure[ys, xs]
        open_[here] = False
        if not open_.any():
            break
    unreached, known_pixels = np.nonzero(open_), np.flatnonzero(plain)
    # A stride without a common divisor scatters what no shift has reached.
    added[unreached] = structure.reshape(-1, 3)[known_pixels[np.arange(len(unreached[0])) * 7919 % len(known_pixels)]]
    return np.asarray(spread(picture, usable)[box] + added, np.float32)


def _shifts(nearest: float, farthest: float) -> list[tuple[int, int]]:
    """Ways to shift by, near ones first, in directions that do not line up (the golden angle)."""
    turns = np.arange(120)
    reach = nearest + (farthest - nearest) * turns / len(turns)
    angles = turns * np.pi * (3 - np.sqrt(5))
    return [(round(r * np.sin(a)), round(r * np.cos(a))) for r, a in zip(reach, angles, strict=True)]


def _exemplar(
    picture: Field, hole: Region, usable: Region, box: tuple[int, int, int, int], ring: Region
) -> Field | None:
    """What lies at the place most like ``box``, judged by its ``ring``; None where no place is wholly usable."""
    top, bottom, left, right = box
    reach = round(_REACH * max(bottom - top, right - left))
    y0, y1 = max(0, top - reach), min(picture.shape[0], bottom + reach)
    x0, x1 = max(0, left - reach), min(picture.shape[1], right + reach)
    around, allowed = picture[y0:y1, x0:x1], usable[y0:y1, x0:x1]
    factor = min(1.0, _TEMPLATE / max(bottom - top, right - left))

    def shrunk(values: NDArray[np.float32]) -> NDArray[np.float32]:
        if factor == 1:
            return values
        size = max(1, round(values.shape[1] * factor)), max(1, round(values.shape[0] * factor))
        return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)

    template = shrunk(picture[top:bottom, left:right])
    support = (shrunk((ring | hole[top:bottom, left:right]).astype(np.float32)) > 0.1).astype(np.float32)
    weight = (shrunk(ring.astype(np.float32)) > 0.5).astype(np.float32)
    small, barred = shrunk(around), shrunk((~allowed).astype(np.float32))
    gap = (shrunk(hole[top:bottom, left:right].astype(np.float32)) > 0.5).astype(np.float32)
    if weight.sum() < 4 or gap.sum() < 1:
        return None
    # Brightness may differ, as the rim levels it: only what is left without each place's mean is compared.
    unlike = 0.8 * float(template[weight > 0].var(axis=0).sum())
    best: tuple[float, float, int, int] | None = None
    for turn in range(_TURNS):
        angle = 360.0 * turn / _TURNS
        turned, walls = (_turned(layer, angle, layer.shape[:2]) for layer in (small, barred))
        if turned.shape[0] < template.shape[0] or turned.shape[1] < template.shape[1]:
            return None
        blocked = cv2.matchTemplate(walls, support, cv2.TM_CCORR)
        free = blocked < 0.01 * support.sum() + 0.5
        if not free.any():
            continue
        cost = _difference(turned, template, weight) + _liveliness(turned, template, weight, gap)
        cost[~free] = np.inf
        place = int(cost.argmin())
        value = float(cost.flat[place])
        if turn:
            # Turning blurs, and turns the grain: a turned place has to be clearly better, and like the rim at all.
            value = value * 1.6 if value < unlike else np.inf
        if value < (np.inf if best is None else best[0]):
            row, column = divmod(place, cost.shape[1])
            best = value, angle, row, column
    if best is None:
        return None
    _, angle, row, column = best
    offset = round(column / factor), round(row / factor)
    return _turned(around, angle, (bottom - top, right - left), offset)


def _difference(picture: Field, template: Field, weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean squared difference at each place where ``weight`` is 1, most of the difference of the means left out."""
    count = float(weight.sum())
    total: Field = np.zeros((), np.float32)
    for channel in range(3):
        layer, target = np.ascontiguousarray(picture[..., channel]), np.ascontiguousarray(template[..., channel])
        level = float((target * weight).sum() / count)
        target = (target - level) * weight
        shifted = layer - np.float32(level)
        squares = cv2.matchTemplate(shifted * shifted, weight, cv2.TM_CCORR)
        products = cv2.matchTemplate(shifted, target, cv2.TM_CCORR)
        mean = cv2.matchTemplate(shifted, weight, cv2.TM_CCORR) / count
        squared_difference = (squares - 2 * products + float((target * target).sum())) / count - 0.9 * mean**2
        total = np.asarray(total + squared_difference, np.float32)
    return total


def _liveliness(
    picture: Field, template: Field, weight: NDArray[np.float32], gap: NDArray[np.float32]
) -> NDArray[np.float32]:
    """By how much what would be copied at each place differs more from its rim than the hole's rim in itself.

    Without this, another component would be put where one was taken away.
    """
    total: Field = np.zeros((), np.float32)
    for channel in range(3):
        layer, rim = np.ascontiguousarray(picture[..., channel]), template[..., channel][weight > 0]
        # By the median, as a rim may hold a little of what is to go.
        usual = (1.4826 * float(np.median(np.abs(rim - np.median(rim))))) ** 2
        level = cv2.matchTemplate(layer, weight, cv2.TM_CCORR) / float(weight.sum())
        mean = cv2.matchTemplate(layer, gap, cv2.TM_CCORR) / float(gap.sum())
        square = cv2.matchTemplate(layer * layer, gap, cv2.TM_CCORR) / float(gap.sum())
        total = np.asarray(total + np.maximum(square - 2 * level * mean + level**2 - usual, 0), np.float32)
    return 3 * total


def _turned(
    picture: NDArray[np.float32], angle: float, shape: tuple[int, ...], offset: tuple[int, int] = (0, 0)
) -> NDArray[np.float32]:
    """``picture`` turned around its middle, and of that the part of ``shape`` at ``offset``; 1 beyond its edges."""
    height, width = picture.shape[:2]
    if angle == 0:
        offset = max(0, min(offset[0], width - shape[1])), max(0, min(offset[1], height - shape[0]))
        return picture[offset[1] : offset[1] + shape[0], offset[0] : offset[0] + shape[1]]
    matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), angle, 1.0)
    matrix[:, 2] -= offset
    return np.asarray(
        cv2.warpAffine(
            picture,
            matrix,
            (shape[1], shape[0]),
            flags=cv2.INTER_CUBIC if picture.ndim == 3 else cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(1.0, 1.0, 1.0, 1.0),
        ),
        np.float32,
    )
