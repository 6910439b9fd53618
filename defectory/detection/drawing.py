"""Draw boxes and their labels on pictures."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from defectory.detection.detectors.detector import Detection

Colour = tuple[int, int, int]

PALETTE: tuple[Colour, ...] = (
    (230, 25, 75), (0, 130, 200), (60, 180, 75), (245, 130, 48), (145, 30, 180),
    (0, 160, 160), (240, 50, 230), (128, 96, 0), (70, 90, 220), (170, 60, 60),
)  # fmt: skip
"""Colours of classes, by their number."""


# Of a blurred box: cells along its longer side, and the margin around it in shares of that side.
_BLUR_CELLS, _BLUR_MARGIN = 8, 0.1


@dataclass(frozen=True, slots=True)
class DrawnBox:
    """A box to draw: left, top, width, height in pixels, what is written at it, and its colour."""

    box: Sequence[float]
    text: str
    colour: Colour


def draw_detections(
    image: NDArray[np.uint8], detections: Sequence[Detection], names: Sequence[str]
) -> NDArray[np.uint8]:
    """A copy of ``image`` with what a detector of the classes ``names`` found on it, each class in a colour."""
    return draw_boxes(
        image,
        [
            DrawnBox(item.box, f"{item.label} {item.score:.2f}", PALETTE[names.index(item.label) % len(PALETTE)])
            # The surest are drawn last, on top.
            for item in reversed(detections)
        ],
    )


def blur_detections(
    image: NDArray[np.uint8], detections: Sequence[Detection], labels: Collection[str]
) -> NDArray[np.uint8]:
    """A copy of ``image``, uint8 RGB ``(h, w, 3)``, on which the detections of ``labels`` cannot be recognised.

    Of each box, with a margin of a tenth, eight cells along its longer side are left, blended into each other; what was
    between them is not in the picture any more.  What was not detected stays as it is.
    """
    picture = Image.fromarray(image)
    for item in detections:
        if item.label not in labels:
            continue
        left, top, width, height = item.box
        margin = max(width, height) * _BLUR_MARGIN
        area = (
            max(math.floor(left - margin), 0),
            max(math.floor(top - margin), 0),
            min(math.ceil(left + width + margin), picture.width),
            min(math.ceil(top + height + margin), picture.height),
        )
        size = (area[2] - area[0], area[3] - area[1])
        if min(size) > 0:
            cells = [max(1, round(_BLUR_CELLS * side / max(size))) for side in size]
            averages = picture.crop(area).resize((cells[0], cells[1]), Image.Resampling.BOX)
            picture.paste(averages.resize(size, Image.Resampling.BILINEAR), area)
    return np.asarray(picture)


def draw_boxes(image: NDArray[np.uint8], boxes: Sequence[DrawnBox]) -> NDArray[np.uint8]:
    """A copy of ``image``, uint8 RGB ``(h, w, 3)``, with ``boxes`` on it."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    size = max(11, round(min(picture.size) / 40))
    font, line = ImageFont.load_default(size), max(2, round(min(picture.size) / 250))
    for item in boxes:
        left, top, width, height = item.box
        draw.rectangle([left, top, left + max(width, 1), top + max(height, 1)], outline=item.colour, width=line)
        if item.text:
            _, _, text_width, text_height = draw.textbbox((0, 0), item.text, font=font)
            at = (
                min(max(0.0, left), max(0.0, picture.width - text_width - 4)),
                top - text_height - 5 if top > text_height + 5 else top + line,
            )
            draw.rectangle([*at, at[0] + text_width + 4, at[1] + text_height + 5], fill=item.colour)
            draw.text((at[0] + 2, at[1] + 1), item.text, fill=(255, 255, 255), font=font)
    return np.asarray(picture)


def draw_polygons(
    image: NDArray[np.uint8], polygons: Sequence[Sequence[tuple[float, float]]], colour: Colour
) -> NDArray[np.uint8]:
    """A copy of ``image`` with the outlines of ``polygons``, whose corners are shares of its width and height."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    for corners in polygons:
        points = [(x * (picture.width - 1), y * (picture.height - 1)) for x, y in corners]
        draw.line([*points, points[0]], fill=colour, width=max(2, round(min(picture.size) / 250)))
    return np.asarray(picture)
