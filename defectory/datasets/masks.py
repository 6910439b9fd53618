"""Masks: which class of defect each pixel shows, from masks as annotation tools really write them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from defectory.datasets.records import BACKGROUND, ImageRecord
from defectory.errors import InputError
from defectory.vision.images import load_rgba

UNNAMED = 255
"""In a mask of classes: a defect whose class nobody has named."""


def read_classes(record: ImageRecord, classes: Sequence[str] = ()) -> NDArray[np.uint8] | None:
    """The class of each pixel.

    With a colour map, a pixel belongs to the class of the nearest colour; transparent ones, the map's background, and
    black and white where the map does not use them, are background.  Without one, bright pixels are the defect, of the
    image's class where it has exactly one.

    Args:
        record: the image.
        classes: the names to number; the record's own by default.

    Returns:
        uint8 of the mask's shape ``(h, w)`` (which may differ from the image's): 0 background, ``n`` for
        ``classes[n - 1]``, `UNNAMED` for a defect of none of them.  None where the image has no mask.

    Raises:
        ImageError: the mask cannot be read.
        InputError: the colour map holds something that is no colour.
    """
    if record.mask is None:
        return None
    numbers = {name: number for number, name in enumerate(classes or record.classes, 1)}
    pixels = load_rgba(record.mask)
    if not record.colour_map:
        number = numbers.get(record.classes[0], UNNAMED) if len(record.classes) == 1 else UNNAMED
        marked = (pixels[..., :3].max(axis=2) > 127) & _is_opaque(pixels)
        return np.where(marked, number, 0).astype(np.uint8)
    colours = {parse_colour(colour): name for name, colour in record.colour_map.items()}
    for neutral in ((0, 0, 0), (255, 255, 255)):
        colours.setdefault(neutral, BACKGROUND)
    codes = [0 if name.casefold() == BACKGROUND else numbers.get(name, UNNAMED) for name in colours.values()]
    # A mask holds few colours but many pixels: the nearest is sought once a colour.
    packed = pixels[..., :3].astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    packed_colours, place = np.unique(packed, return_inverse=True)
    mask_colours = np.stack([packed_colours >> 16, packed_colours >> 8 & 255, packed_colours & 255], axis=1).astype(
        np.int64
    )
    distance = ((mask_colours[:, None] - np.array(list(colours))) ** 2).sum(axis=2)
    nearest = np.array(codes, np.uint8)[distance.argmin(axis=1)]
    return np.where(_is_opaque(pixels), nearest[place].reshape(packed.shape), 0).astype(np.uint8)


def read_mask(record: ImageRecord) -> NDArray[np.uint8] | None:
    """Where the defect is, of any class: uint8 ``(h, w)``, 255 = defect, of the mask's own size; None without a mask.

    Raises:
        ImageError: the mask cannot be read.

    >>> from pathlib import Path
    >>> from defectory import load_dataset
    >>> mask = read_mask(load_dataset(Path("parts")).anomalous[0])
    >>> mask.shape, np.unique(mask).tolist()
    ((256, 256), [0, 255])
    """
    classes = read_classes(record)
    return None if classes is None else np.where(classes > 0, 255, 0).astype(np.uint8)


def parse_colour(text: str) -> tuple[int, int, int]:
    """Red, green and blue of ``#rrggbb``."""
    digits = text.removeprefix("#")
    try:
        if len(digits) != 6:
            raise ValueError
        red, green, blue = bytes.fromhex(digits)
    except ValueError:
        raise InputError("colour", "#rrggbb", text, "Correct the colour map.") from None
    return red, green, blue


def _is_opaque(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return pixels[..., 3] >= 128
