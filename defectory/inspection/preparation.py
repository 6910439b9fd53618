"""Prepare images for the backbone: region of interest, ignored areas, one size, tiles; and make patches of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Self, TypeVar

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray
from pydantic import Field, model_validator

from defectory.errors import InputError
from defectory.inspection.backbone import Backbone
from defectory.validation import FrozenModel

Fraction = Annotated[float, Field(ge=0, le=1)]

Scalar = TypeVar("Scalar", bound=np.generic)

RESOLUTION = 256
MAX_ASPECT = 2.0
_CONTEXT = 32
"""Pixels a tile sees beyond its own area, so that its edges are judged like its middle."""


class Region(FrozenModel):
    """A rectangle in fractions of the image's width and height, from the upper left corner."""

    left: Fraction = 0.0
    top: Fraction = 0.0
    right: Fraction = 1.0
    bottom: Fraction = 1.0

    @model_validator(mode="after")
    def _has_area(self) -> Self:
        if self.right - self.left < 0.01 or self.bottom - self.top < 0.01:
            raise ValueError("the region must be at least a hundredth of the image wide and high")
        return self

    @classmethod
    def parse(cls, text: str) -> Region:
        """Read ``left,top,right,bottom``.

        Raises:
            InputError: it is not four fractions in that order.
        """
        try:
            left, top, right, bottom = map(float, text.split(","))
            return cls(left=left, top=top, right=right, bottom=bottom)
        except ValueError:
            raise InputError(
                "roi", "four fractions of the image: left,top,right,bottom", text, "0,0,1,1 is all"
            ) from None

    def pixels(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom in an image of that size; at least one pixel each way."""
        left, top = min(int(self.left * width), width - 1), min(int(self.top * height), height - 1)
        return left, top, max(left + 1, round(self.right * width)), max(top + 1, round(self.bottom * height))


class Preparation(FrozenModel):
    """What happens to every image, in training and after, before the backbone sees it.

    ``height`` and ``width`` are the backbone's input for one tile; ``rows`` and ``columns`` are the tiles.
    """

    region: Region = Region()
    height: int = Field(ge=8, le=2048)
    width: int = Field(ge=8, le=2048)
    rows: int = Field(default=1, ge=1, le=8)
    columns: int = Field(default=1, ge=1, le=8)

    @classmethod
    def fitting(
        cls,
        sizes: Sequence[tuple[int, int]],
        backbone: Backbone,
        *,
        region: Region | None = None,
        resolution: int = RESOLUTION,
        tiles: tuple[int, int] = (1, 1),
    ) -> Preparation:
        """The preparation for images of ``sizes``, ``(height, width)`` each: the median aspect, ``resolution`` pixels
        on a tile's shorter side.
        """
        region = region or Region()
        rows, columns = tiles
        aspects = [
            (width * (region.right - region.left) / columns) / (height * (region.bottom - region.top) / rows)
            for height, width in sizes
        ]
        aspect = min(max(math.exp(float(np.median(np.log(aspects)))), 1 / MAX_ASPECT), MAX_ASPECT)
        step = backbone.multiple
        if backbone.fixed_size:
            height, width = backbone.fixed_size
        else:
            height, width = (
                max(step, round(resolution * stretch / step) * step) for stretch in (max(1, 1 / aspect), max(1, aspect))
            )
        return cls(region=region, height=height, width=width, rows=rows, columns=columns)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the whole prepared image, all tiles together."""
        return self.height * self.rows, self.width * self.columns

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The region of interest of ``image``, in ``size``."""
        return resize(self.crop(image), *self.size)

    def crop(self, layer: NDArray[Scalar]) -> NDArray[Scalar]:
        """The region of interest of ``(height, width, ...)``, in its own size."""
        left, top, right, bottom = self.region.pixels(layer.shape[1], layer.shape[0])
        return layer[top:bottom, left:right]

    def tiles(self, prepared: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """The windows of a prepared image, by rows; one is the image itself, several see a margin around theirs."""
        if self.rows == self.columns == 1:
            return [prepared]
        wide = np.pad(prepared, ((_CONTEXT, _CONTEXT), (_CONTEXT, _CONTEXT), (0, 0)), mode="reflect")
        return [
            wide[y : y + self.height + 2 * _CONTEXT, x : x + self.width + 2 * _CONTEXT]
            for y in range(0, self.height * self.rows, self.height)
            for x in range(0, self.width * self.columns, self.width)
        ]


def patches_of(prepared: NDArray[np.uint8], preparation: Preparation, backbone: Backbone) -> NDArray[np.float32]:
    """Describe every patch of a prepared image by a unit vector.

    Each feature map is averaged over 3x3, its vectors are scaled to unit length, coarser maps are brought to the size
    of the finest, and all are joined and scaled again: no layer outweighs another by its amplitude.

    Returns:
        float32 of shape ``(h, w, d)``.
    """
    tiles = [_describe(backbone.features([tile])) for tile in preparation.tiles(prepared)]
    if len(tiles) == 1:
        return tiles[0]
    cores = [_core(tile, preparation) for tile in tiles]
    rows = [
        np.concatenate(cores[row * preparation.columns : (row + 1) * preparation.columns], axis=1)
        for row in range(preparation.rows)
    ]
    return np.concatenate(rows)


def resize(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """``image`` in another size; by areas, so that nothing small is skipped, unless it only grows."""
    if image.shape[:2] == (height, width):
        return np.ascontiguousarray(image)
    shrinks = height < image.shape[0] or width < image.shape[1]
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def _core(patches: NDArray[np.float32], preparation: Preparation) -> NDArray[np.float32]:
    """A tile's patches without those of its margin."""
    rows = round(patches.shape[0] * _CONTEXT / (preparation.height + 2 * _CONTEXT))
    columns = round(patches.shape[1] * _CONTEXT / (preparation.width + 2 * _CONTEXT))
    return patches[rows : patches.shape[0] - rows, columns : patches.shape[1] - columns]


def _describe(features: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    height, width = features[0].shape[2:]
    levels = []
    for feature in features:
        level = _unit(_smooth(np.ascontiguousarray(feature[0].transpose(1, 2, 0))))
        levels.append(level if level.shape[:2] == (height, width) else _enlarge(level, height, width))
    return _unit(np.concatenate(levels, axis=2)) if len(levels) > 1 else levels[0]


def _smooth(feature: NDArray[np.float32]) -> NDArray[np.float32]:
    return _by_channels(feature, lambda part: cv2.blur(part, (3, 3), borderType=cv2.BORDER_REFLECT))


def _enlarge(feature: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    return _by_channels(feature, lambda part: cv2.resize(part, (width, height)))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.sqrt(np.einsum("hwc,hwc->hw", vectors, vectors))
    return np.asarray(vectors / (length[..., None] + 1e-6), np.float32)


def _by_channels(feature: NDArray[np.float32], work: Callable[[MatLike], MatLike]) -> NDArray[np.float32]:
    """``work`` on the channels of ``(h, w, channels)``, as many at once as OpenCV takes for an image."""
    most = 128
    parts = [np.ascontiguousarray(feature[..., first : first + most]) for first in range(0, feature.shape[2], most)]
    return np.concatenate([np.atleast_3d(work(part)) for part in parts], axis=2).astype(np.float32, copy=False)
