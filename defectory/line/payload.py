"""An image as the endpoint takes it: what is sent for an upload, and for a picture of the test set alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from defectory.line.endpoint import PAYLOAD_LIMIT
from defectory.vision.images import encode_jpeg, encode_png

OVERLAY_SIDE = 1600
"""The longer side of a picture of a result, in pixels: enough to look at, small enough for a mail reader."""

_SIGNATURES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))


@dataclass(frozen=True, slots=True)
class Payload:
    """An image file of at most ``PAYLOAD_LIMIT`` bytes; ``shrunk`` says that it has fewer pixels than the original."""

    content: bytes
    content_type: str
    shrunk: bool


def fit_payload(content: bytes, image: NDArray[np.uint8]) -> Payload:
    """The file ``content``, which holds ``image`` (uint8 RGB), or that image made to fit.

    What fits goes as it is, so that the verdict is the same as on any other machine.
    """
    kind = next((kind for signature, kind in _SIGNATURES if content.startswith(signature)), None)
    if kind and len(content) <= PAYLOAD_LIMIT:
        return Payload(content, kind, shrunk=False)
    if image.size <= 4 * PAYLOAD_LIMIT and len(lossless := encode_png(image)) <= PAYLOAD_LIMIT:
        return Payload(lossless, "image/png", shrunk=False)
    side, limit = max(image.shape[:2]), max(image.shape[:2])
    while len(lossy := encode_jpeg(fitted(image, side), quality=95)) > PAYLOAD_LIMIT:
        side = int(side * 0.8)
    return Payload(lossy, "image/jpeg", shrunk=side < limit)


def fitted(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """``image`` with its longer side at most ``side``."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
