"""Where on a part defects lie, how large they are and how they are turned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from defectory.errors import InputError
from defectory.vision.arrays import Image, Mask
from defectory.vision.regions import find_regions
from defectory.vision.surface import View, grain_of

_SIDE = 192  # places are drawn on a copy of the part's mask of this size
_SMALLEST = 6.0  # pixels; shorter defects cannot be told from noise
_CLEAR_GRAIN = 0.25  # strength from which a grain can be seen


@dataclass(frozen=True, slots=True)
class Spot:
    """The place of one defect: its centre and its extent along and across ``angle``, in pixels and radians.

    0 = right, pi / 2 = down.  A defect at the part's edge starts there and goes along ``angle`` into the part.
    """

    x: float
    y: float
    length: float
    width: float
    angle: float
    at_edge: bool = False

    def seen(self, view: View) -> Spot:
        """The same defect on a part that is seen obliquely."""
        cos, sin = np.cos(view.angle), np.sin(view.angle)
        rotation = np.array([[cos, -sin], [sin, cos]])
        squash = rotation @ np.diag([view.ratio, 1.0]) @ rotation.T
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        axes, extents, _ = np.linalg.svd(
            squash @ np.array([[cos, -sin], [sin, cos]]) @ np.diag([self.length, self.width])
        )
        longest_axis = axes[:, 0] if axes[:, 0] @ squash @ np.array([cos, sin]) >= 0 else -axes[:, 0]
        angle = float(np.arctan2(longest_axis[1], longest_axis[0]))
        return replace(self, length=float(extents[0]), width=float(extents[1]), angle=angle)


@dataclass(frozen=True, slots=True)
class Placement:
    """A distribution of sizes, places and angles.

    Attributes:
        size: the longest extent's limits, as a share of the part's size (the root of its area); small ones are as
            frequent as large ones on a scale of ratios.
        aspect: limits of the extent across, as a share of the longest.
        along_grain: share of the defects that follow the surface's grain, where there is one; others lie anyhow.
        at_edge: share of the defects that start at the part's edge.
        angles: directions to lie along, each as likely as the others, in radians; none: any.
        centres: places that defects like, as shares of the photo's width and height; none: all are alike.
        of_photo: whether ``size`` is a share of the photo's size (the root of its area) instead of the part's.
    """

    size: tuple[float, float] = (0.05, 0.25)
    aspect: tuple[float, float] = (0.6, 1.0)
    along_grain: float = 0.0
    at_edge: float = 0.0
    angles: tuple[float, ...] = ()
    centres: tuple[tuple[float, float], ...] = ()
    of_photo: bool = False

    def draw(self, rng: np.random.Generator, part: Mask, image: Image) -> Spot:
        """Draw a spot on ``part`` (255 = part, of shape ``(h, w)``) of ``image``.

        Raises:
            InputError: there is no part to put a defect on.
        """
        height, width = part.shape
        factor = min(1.0, _SIDE / max(height, width))
        size = max(1, round(width * factor)), max(1, round(height * factor))
        small = cv2.resize(part, size, interpolation=cv2.INTER_AREA) > 127
        if not small.any():
            raise InputError("region", "a mask that is 255 where defects may be", "no such place")
        extent = np.sqrt(height * width if self.of_photo else small.sum() / factor**2)
        length = max(_SMALLEST, float(extent * np.exp(rng.uniform(*np.log(self.size)))))
        across = max(2.0, length * float(rng.uniform(*self.aspect)))
        edge = bool(rng.random() < self.at_edge)
        depth = cv2.distanceTransform(np.pad(small.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1] / factor
        chances = self._chances(np.asarray(depth, np.float32), length, across, edge)
        cell = int(rng.choice(chances.size, p=chances.ravel()))
        y, x = (np.array(np.unravel_index(cell, chances.shape)) + rng.random(2)) / (
            chances.shape[0] / height,
            chances.shape[1] / width,
        )
        angle = self._angle(rng, _around(image, x, y, length), _around(part, x, y, length))
        if edge:
            angle = _way_in(depth, cell, _inwards(depth, cell) + float(rng.normal(0, 0.4)), length / 2, factor)
            x, y = x + np.cos(angle) * length / 2, y + np.sin(angle) * length / 2
        return Spot(float(x), float(y), length, across, angle, edge)

    def _chances(self, depth: NDArray[np.float32], length: float, across: float, edge: bool) -> NDArray[np.float64]:
        if edge:
            fit = (depth > 0) & (depth < depth[depth > 0].min() * 1.6)
        else:
            fit = depth >= min(max(0.75 * across, 0.12 * length), 0.7 * float(depth.max()))
        chances = fit.astype(np.float64)
        if self.centres:
            ys, xs = np.mgrid[: depth.shape[0], : depth.shape[1]]
            spread = 0.04 + 0.25 / len(self.centres) ** 0.5
            liked = np.full(depth.shape, 0.02)
            for x, y in self.centres:
                away = (xs / depth.shape[1] - x) ** 2 + (ys / depth.shape[0] - y) ** 2
                liked += np.exp(-away / (2 * spread**2)) / len(self.centres)
            chances *= liked
        return np.asarray(chances / chances.sum())

    def _angle(self, rng: np.random.Generator, image: Image, part: Mask) -> float:
        follows = rng.random() < self.along_grain
        anyhow = float(rng.uniform(0, 2 * np.pi))
        if self.angles:
            return float(self.angles[int(rng.integers(len(self.angles)))] + rng.normal(0, 0.15))
        if follows:
            grain, strength = grain_of(image, part)
            if strength > _CLEAR_GRAIN:
                return float(grain + rng.normal(0, 0.06) + np.pi * rng.integers(2))
        return anyhow


def spot_of(mask: Mask) -> Spot:
    """The spot that ``mask`` covers, as one ellipse.

    Raises:
        InputError: the mask is empty.
    """
    ys, xs = np.nonzero(mask)
    if not len(xs):
        raise InputError("mask", "255 where the defect is to be", "an empty mask")
    return _ellipse(xs, ys)


def learn_placement(masks: Sequence[Mask]) -> Placement:
    """The placement of the defects in ``masks`` (255 = defect, each of its photo's size).

    A handful is enough: sizes are taken a little wider than seen, places are where they were seen or nearby, directions
    are kept only where most defects lie alike.

    Raises:
        InputError: no mask shows a defect.
    """
    sizes, aspects, angles, centres = [], [], [], []
    for mask in masks:
        height, width = mask.shape
        regions = find_regions(mask > 127)
        for region in regions:
            ys, xs = np.nonzero(region)
            if len(xs) < 6:
                continue
            spot = _ellipse(xs, ys)
            sizes.append(spot.length / np.sqrt(height * width))
            aspects.append(spot.width / spot.length)
            angles.append(spot.angle)
            centres.append((float(xs.mean() / width), float(ys.mean() / height)))
    if not sizes:
        raise InputError("masks", "masks with defects (255) of at least 6 pixels", "none", "Check the masks' polarity.")
    long = np.array(angles)[np.array(aspects) < 0.5]
    alike = len(long) >= 3 and abs(np.exp(2j * long).mean()) > 0.7
    return Placement(
        size=(float(min(sizes) / 1.25), float(max(sizes) * 1.25)),
        aspect=(float(min(aspects)), float(max(aspects))),
        angles=tuple(float(angle) for angle in long) if alike else (),
        centres=tuple(centres),
        of_photo=True,
    )


def _ellipse(xs: NDArray[np.intp], ys: NDArray[np.intp]) -> Spot:
    points = np.stack([xs - xs.mean(), ys - ys.mean()])
    _, vectors = np.linalg.eigh(points @ points.T / len(xs))
    direction = vectors[:, 1]
    along, across = direction @ points, vectors[:, 0] @ points
    middle = direction * (along.max() + along.min()) / 2 + vectors[:, 0] * (across.max() + across.min()) / 2
    length, width = float(np.ptp(along)) + 1, float(np.ptp(across)) + 1
    angle = float(np.arctan2(direction[1], direction[0]) % np.pi)
    return Spot(float(xs.mean() + middle[0]), float(ys.mean() + middle[1]), length, min(length, width), angle)


def _around(pixels: NDArray[np.uint8], x: float, y: float, length: float) -> NDArray[np.uint8]:
    reach = max(16, round(length / 2))
    column, row = int(x), int(y)
    return pixels[max(0, row - reach) : row + reach, max(0, column - reach) : column + reach]


def _inwards(depth: NDArray[np.float32], cell: int) -> float:
    """The way into the part from a cell at its edge."""
    # Beyond the photo's edge nothing is part, as beyond the part's own.
    smooth = cv2.GaussianBlur(np.pad(depth, 8), (0, 0), 2)
    row, column = (int(index) + 8 for index in np.unravel_index(cell, depth.shape))
    x = cv2.Sobel(smooth, cv2.CV_32F, 1, 0)[row, column]
    y = cv2.Sobel(smooth, cv2.CV_32F, 0, 1)[row, column]
    return float(np.arctan2(y, x))


def _way_in(depth: NDArray[np.float32], cell: int, angle: float, reach: float, factor: float) -> float:
    """``angle``, or where it leads along the edge or off the part again (in a corner, say), the way that leads deepest.

    ``reach`` is in the photo's pixels, of which each is ``factor`` cells of ``depth``.
    """
    row, column = np.unravel_index(cell, depth.shape)
    angles = angle + np.arange(24) * (2 * np.pi / 24)
    columns = np.floor(column + 0.5 + np.cos(angles) * reach * factor).astype(int)
    rows = np.floor(row + 0.5 + np.sin(angles) * reach * factor).astype(int)
    inside = (rows >= 0) & (rows < depth.shape[0]) & (columns >= 0) & (columns < depth.shape[1])
    depths = np.where(inside, depth[rows.clip(0, depth.shape[0] - 1), columns.clip(0, depth.shape[1] - 1)], 0.0)
    goes_in = depths[0] > depth[row, column] + reach / 4
    return float(angles[0] if goes_in else angles[depths.argmax()])
