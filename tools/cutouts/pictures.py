"""From a render to a cut-out: the camera's tones, tight bounds, WebP with alpha, and sheets to look at."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

QUALITY, ALPHA_QUALITY = 70, 85


def develop(
    picture: NDArray[np.float32], *, exposure: float = 1.0, tint: tuple[float, float, float] = (1, 1, 1)
) -> NDArray[np.uint8]:
    """Linear premultiplied RGBA as straight sRGB of 8 bits, highlights rolled off.

    ``tint`` is the error of the camera's white balance.
    """
    picture = np.nan_to_num(np.asarray(picture, np.float32), nan=0, posinf=50, neginf=0)
    alpha = np.clip(picture[..., 3], 0, 1)
    # What gleams hides what is below it, or its light could not be kept in a straight colour.
    bright = np.clip(picture[..., :3].max(axis=-1) * exposure, 0, 1)
    alpha = np.where(alpha < 0.98, np.maximum(alpha, np.clip(bright, 0, 1)), alpha)
    colour = picture[..., :3] * exposure * np.asarray(tint, np.float32) / np.maximum(alpha, 1e-3)[..., None]
    colour = np.where(colour > 0.7, 0.7 + 0.3 * (1 - np.exp(-(colour - 0.7) / 0.45)), np.maximum(colour, 0))
    tones = np.where(colour <= 0.0031308, 12.92 * colour, 1.055 * np.maximum(colour, 1e-6) ** (1 / 2.4) - 0.055)
    result = np.concatenate([np.clip(tones, 0, 1), np.where(alpha < 0.02, 0, alpha)[..., None]], axis=-1)
    return np.asarray(np.rint(result * 255), np.uint8)


def bounds(alpha: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is not transparent."""
    columns, rows = np.flatnonzero(alpha.any(axis=0)), np.flatnonzero(alpha.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def encode(picture: NDArray[np.uint8]) -> bytes:
    """As WebP with alpha."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "WEBP", quality=QUALITY, alpha_quality=ALPHA_QUALITY, method=6)
    return content.getvalue()


def encode_mask(mask: NDArray[np.bool_]) -> bytes:
    """As PNG of one bit."""
    content = io.BytesIO()
    Image.fromarray(mask).save(content, "PNG", optimize=True)
    return content.getvalue()


def sheet(
    pictures: list[tuple[NDArray[np.uint8], str]],
    columns: int,
    cell: int = 150,
    background: tuple[int, int, int] = (128, 126, 122),
) -> Image.Image:
    """Pictures (RGBA) with captions in a grid."""
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (columns * cell, rows * (cell + 12)), background)
    draw = ImageDraw.Draw(page)
    for number, (picture, caption) in enumerate(pictures):
        image = Image.fromarray(picture)
        image.thumbnail((cell - 6, cell - 6), Image.Resampling.LANCZOS)
        left, top = number % columns * cell, number // columns * (cell + 12)
        page.paste(image, (left + (cell - image.width) // 2, top + cell - 3 - image.height), image)
        draw.text((left + 3, top + cell), caption, fill=(240, 240, 240))
    return page
