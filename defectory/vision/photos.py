"""Photos: read photos of good parts, and the masks that say where a defect is to be."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from defectory.errors import ImageError, InputError
from defectory.vision.arrays import Image, Mask
from defectory.vision.images import load_image, load_rgba

MIN_SIDE, MAX_SIDE = 64, 8000
"""Pixels that a photo must have at least, and may have at most, on each side."""

MARKED = 128
"""Levels from here on are marked in a mask, so that the soft edges that drawing programs leave do not matter."""

MOST_MARKED = 0.5
"""A mask that marks more than this share is taken for an inverted one, or for one of all the part."""

ASPECT_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo of a good part.

    ``name`` is how the user knows it and ``digest`` the SHA-256 of its file.  ``region`` is 255 where defects may be;
    None leaves it to the renderer to find the part.
    """

    name: str
    image: Image
    digest: str
    region: Mask | None = None


def load_photo(source: Path | bytes, *, name: str = "", region: Mask | None = None) -> Photo:
    """Read a photo of a good part: upright RGB, whatever its file holds (grey, 16 bits, transparent: over white).

    Args:
        source: the file, or its content.
        name: how the user knows it; a file's path by default.
        region: 255 where defects may be, of the photo's size.

    Raises:
        ImageError: it is no image that can be read, or has fewer than 64 or more than 8000 pixels on a side.
    """
    title = name or (str(source) if isinstance(source, Path) else "photo")
    try:
        content = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        raise ImageError(title, f"an image file that can be read ({error.strerror})", fix="Check the path.") from None
    image = load_image(content, name=title)
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE:
        fix = "A defect would have too few pixels to be learnt from: take a larger photo."
        raise ImageError(title, f"at least {MIN_SIDE} pixels wide and high", f"{width} x {height}", fix)
    if max(height, width) > MAX_SIDE:
        raise ImageError(
            title,
            f"at most {MAX_SIDE} pixels wide and high",
            f"{width} x {height}",
            "Reduce it, or cut it into parts.",
        )
    return Photo(title, image, hashlib.sha256(content).hexdigest(), region)


def storable(name: str) -> str:
    """A file's name as records can hold it: bytes that are no UTF-8 are written as escapes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def named_alike(name: str) -> str:
    """What the name of a photo has in common with that of its mask, which may end in ``_mask``.

    >>> named_alike("photos/7.jpg") == named_alike("masks/7_mask.png") == "7"
    True
    """
    return PurePosixPath(name).stem.removesuffix("_mask")


def load_mask(source: Path | bytes, photo: Photo, *, name: str = "") -> Mask:
    """Read a mask that says where a defect is to be on ``photo``.

    White is where; a grey pixel counts as white from level 128 on, a transparent one is none.  A mask of another size
    is stretched where it has the photo's aspect (within 1 %), and refused where it has not.

    Returns:
        uint8 of the photo's size: 255 = defect.

    Raises:
        ImageError: it is no image that can be read.
        InputError: it is of another aspect, marks nothing, or more than half.
    """
    mask = load_region(source, photo, name=name)
    share = float((mask > 0).mean())
    if share > MOST_MARKED:
        rule = f"a mask of one defect, {MOST_MARKED:.0%} of the photo at most"
        fix = "White is where it is to be, black stays as it is: is it inverted? To say where defects may be: --within."
        raise InputError(_called(source, name), rule, f"{share:.0%} marked", fix)
    return mask


def load_region(source: Path | bytes, photo: Photo, *, name: str = "") -> Mask:
    """Read a mask that says where defects may be on ``photo``; as `load_mask`, but that it may mark all.

    Raises:
        ImageError: it is no image that can be read.
        InputError: it is of another aspect, or marks nothing.
    """
    title = _called(source, name)
    pixels = load_rgba(source, name=title)
    height, width = photo.image.shape[:2]
    own_height, own_width = pixels.shape[:2]
    if abs(own_width * height / (own_height * width) - 1) > ASPECT_TOLERANCE:
        fix = f"Draw it on {photo.name}."
        raise InputError(title, f"a mask of the photo's size, {width} x {height}", f"{own_width} x {own_height}", fix)
    levels = np.where(pixels[..., 3] >= MARKED, pixels[..., :3].max(axis=2), 0)
    mask = np.where(levels >= MARKED, 255, 0).astype(np.uint8)
    if (own_height, own_width) != (height, width):
        # Averaged before it is cut at a low level: a line thinner than a pixel of the photo is still there.
        mask = np.where(cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA) >= 64, 255, 0).astype(np.uint8)
    if not mask.any():
        brightest = int(levels.max())
        got = f"nothing brighter than {brightest} of 255" if brightest else "an empty one"
        raise InputError(title, "a mask with a place marked white", got, "Paint the place white on black.")
    return mask


def _called(source: Path | bytes, name: str) -> str:
    return name or (str(source) if isinstance(source, Path) else "mask")
