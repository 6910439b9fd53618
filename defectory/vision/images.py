"""Images: read any photo into one form (upright RGB), and write pictures and heatmaps."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from defectory.errors import ImageError, shorten

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
"""What image files are called, in lower case."""

MEDIA_TYPES = ("image/png", "image/jpeg")
"""Types of the images that models are sent by HTTP."""

MAX_PIXELS = 100_000_000
"""Images of more pixels are refused before they are decoded: a small file may unpack to any size."""

MIN_SIDE = 8
"""Images narrower or lower than this many pixels show nothing to inspect."""

BLANK_LEVELS = 8
"""Levels between the darkest and the lightest pixel of an image that shows nothing, in each channel."""

# GIF is opened only so that an animation is refused for what it is; MPO (phones' photos) comes with JPEG.
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")
_CONVERT = "Convert it to PNG or JPEG."
_AGAIN = "Export or upload the image again."

_Result = TypeVar("_Result")
_Reader = Callable[[Image.Image, str], _Result]

# Orientations of EXIF that lie on their side.
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)


def load_image(source: Path | bytes, *, name: str = "") -> NDArray[np.uint8]:
    """Read a photo as it is meant to be seen.

    Args:
        source: the file, or its content.
        name: what messages call the image; a file's path by default.

    Returns:
        uint8 RGB of shape ``(height, width, 3)``: turned upright by its EXIF orientation, transparency laid over
        white, 16 bits scaled to 8 by the full range (not by what the image uses of it, so that images stay comparable).

    Raises:
        ImageError: the file is missing, empty, truncated, no image, animated, too large or too small.

    >>> image = load_image(Path("parts/normal/flange-000.png"))
    >>> image.shape, image.dtype
    ((256, 256, 3), dtype('uint8'))
    """
    return _decode(source, name, _rgb)


def image_size(source: Path | bytes, *, name: str = "") -> tuple[int, int]:
    """Width and height of a photo as it is meant to be seen, from its first bytes alone.

    Raises:
        ImageError: as `load_image`, but for what shows only when all of it is read.
    """
    return _decode(source, name, _size)


def load_rgba(source: Path | bytes, *, name: str = "") -> NDArray[np.uint8]:
    """Read an image with its transparency, as masks need it: uint8 RGBA ``(height, width, 4)``; else as `load_image`.

    Raises:
        ImageError: as `load_image`.
    """
    return _decode(source, name, _rgba)


def is_blank(image: NDArray[np.uint8]) -> bool:
    """Whether an image ``(h, w, 3)`` is of one colour: what is left of pictures that a safety checker withholds."""
    flat = image.reshape(-1, image.shape[-1])
    return bool((flat.max(axis=0).astype(int) - flat.min(axis=0) <= BLANK_LEVELS).all())


def encode_png(image: NDArray[np.uint8], *, effort: int = 6) -> bytes:
    """``image`` as PNG: uint8 grey ``(h, w)``, RGB ``(h, w, 3)`` or RGBA ``(h, w, 4)``.

    ``effort`` is 0 (none) to 9; photographs get hardly smaller by more than 1, which takes a third of the time of 6.
    """
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG", compress_level=effort)
    return content.getvalue()


def encode_jpeg(image: NDArray[np.uint8], quality: int = 90) -> bytes:
    """``image`` as JPEG: uint8 grey ``(h, w)`` or RGB ``(h, w, 3)``; ``quality`` 1..95."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=quality)
    return content.getvalue()


def colour_heatmap(heatmap: NDArray[np.floating]) -> NDArray[np.uint8]:
    """``heatmap`` in colours from near black (0) over blue and green (0.5) to dark red (1).

    The colours are those of Turbo (A. Mikhailov, Google AI blog, 2019), by its polynomial approximation.

    Args:
        heatmap: shape ``(h, w)``; values beyond 0..1 are clipped.

    Returns:
        uint8 RGB of shape ``(h, w, 3)``.
    """
    levels = np.linspace(0, 1, 256)
    powers = levels[:, None] ** np.arange(6)
    table: NDArray[np.uint8] = np.rint(np.clip(powers @ _TURBO, 0, 1) * 255).astype(np.uint8)
    colours: NDArray[np.uint8] = table[np.rint(np.clip(heatmap, 0, 1) * 255).astype(np.uint8)]
    return colours


def heatmap_overlay(image: NDArray[np.uint8], heatmap: NDArray[np.floating], opacity: float = 0.5) -> NDArray[np.uint8]:
    """``image`` under the colours of ``heatmap``, so that the defect shows where it is.

    Cold places stay clear: the colours reach ``opacity`` at 0.5, the level of the fail threshold, and keep it above.

    Args:
        image: uint8 RGB ``(h, w, 3)``.
        heatmap: 0..1, of any size; it is stretched to the image.
        opacity: 0 (the image alone) to 1 (the colours alone where it is hot).

    Returns:
        uint8 RGB of the image's shape.
    """
    height, width = image.shape[:2]
    heat = np.asarray(
        Image.fromarray(np.clip(heatmap, 0, 1).astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    )
    weight = (opacity * np.minimum(2 * heat, 1))[..., None]
    overlay: NDArray[np.uint8] = np.rint(image * (1 - weight) + colour_heatmap(heat) * weight).astype(np.uint8)
    return overlay


# One column a channel (red, green, blue), one row a power of the level.
_TURBO = np.array(
    [
        [0.13572138, 0.09140261, 0.10667330],
        [4.61539260, 2.19418839, 12.64194608],
        [-42.66032258, 4.84296658, -60.58204836],
        [132.13108234, -14.18503333, 110.36276771],
        [-152.94239396, 4.27729857, -89.90310912],
        [59.28637943, 2.82956604, 27.34824973],
    ]
)


def _decode(source: Path | bytes, name: str, read: _Reader[_Result]) -> _Result:
    field = shorten(name or (str(source) if isinstance(source, Path) else "image"))
    try:
        if isinstance(source, bytes):
            return _load(io.BytesIO(source), field, read)
        if not source.is_file():
            raise ImageError(field, "an existing image file", fix="Check the path.")
        with source.open("rb") as stream:
            return _load(stream, field, read)
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(field, _size_rule(), fix=_size_fix()) from None
    # Decoders meet hostile bytes with every kind of exception (struct.error, IndexError, SyntaxError...).
    except Exception as error:
        raise ImageError(field, "an image that can be read to its end", str(error), _AGAIN) from error


def _load(stream: BinaryIO, field: str, read: _Reader[_Result]) -> _Result:
    head = stream.read(1024)
    stream.seek(0)
    if not head:
        raise ImageError(field, "an image", "an empty file", _AGAIN)
    try:
        image = Image.open(stream, formats=_FORMATS)
    except UnidentifiedImageError:
        raise ImageError(field, "an image (PNG, JPEG, BMP, TIFF, WebP)", *_what_instead(head)) from None
    with image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ImageError(field, _size_rule(), f"{width} x {height}", _size_fix())
        if min(width, height) < MIN_SIDE:
            raise ImageError(field, f"at least {MIN_SIDE} pixels wide and high", f"{width} x {height}")
        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
            raise ImageError(field, "one still image", "an animation or several pages", "Save the one to inspect.")
        return read(image, field)


def _size(image: Image.Image, _: str) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE else (width, height)


def _rgb(image: Image.Image, field: str) -> NDArray[np.uint8]:
    image = _of_8_bits(_upright(image), field)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.array(image.convert("RGB"))


def _rgba(image: Image.Image, field: str) -> NDArray[np.uint8]:
    return np.array(_of_8_bits(_upright(image), field).convert("RGBA"))


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    return ImageOps.exif_transpose(image)


def _of_8_bits(image: Image.Image, field: str) -> Image.Image:
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ImageError(field, "an image of 8 or 16 bits a channel", "32 bits", "Save it as a 16-bit PNG.")
    return Image.fromarray(np.rint(values.astype(np.float32) / 257).astype(np.uint8))


def _what_instead(head: bytes) -> tuple[str, str]:
    """What a file is that is no image, and the way out."""
    if b"<svg" in head.lower():
        return "an SVG drawing", _CONVERT
    if head[4:8] == b"ftyp":
        return "a HEIC or AVIF photo or a film", _CONVERT
    return "another kind of file, or a damaged one", "Its content decides, not its name: export it as PNG or JPEG."


def _size_rule() -> str:
    return f"at most {MAX_PIXELS // 1_000_000} megapixels"


def _size_fix() -> str:
    return "Cut it into parts or reduce it."
