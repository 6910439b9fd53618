"""Fingerprints: whether a detector has learned from images, told by a few of their labels' digests in its card.

The card keeps the smallest digests of all images that were learned from (a bottom-k sketch: Cohen & Kaplan,
"Summarizing data using bottom-k sketches", 2007), so that a folder is known again after it was moved, grew or shrank.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import PurePath

from defectory.detection.labelled import LabelledImage

SKETCH = 64
"""Digests that are kept."""

_DIGITS = 8


def image_digest(image: LabelledImage) -> int | None:
    """32 bits of an image's name, size and boxes, whatever its classes are called; None of one without boxes."""
    if not image.objects:
        return None
    boxes = sorted(tuple(round(value) for value in item.box) for item in image.objects)
    return zlib.crc32(repr((PurePath(image.name).stem, image.width, image.height, boxes)).encode())


def sketch(digests: Iterable[int | None]) -> str:
    """The smallest digests in hex digits, one after the other."""
    kept = sorted({digest for digest in digests if digest is not None})[:SKETCH]
    return "".join(f"{digest:0{_DIGITS}x}" for digest in kept)


def share_seen(kept: str, images: Iterable[LabelledImage]) -> float:
    """The share of a sketch's images that are among ``images``: about that of all that was learned from."""
    learned = {int(kept[start : start + _DIGITS], 16) for start in range(0, len(kept), _DIGITS)}
    return len(learned & {image_digest(image) for image in images}) / len(learned) if learned else 0.0
