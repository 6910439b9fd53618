"""Framing: how an image is widened and scaled to what an image model takes, and its picture brought back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from defectory.vision.arrays import Image, Mask


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """Sizes that a model takes.

    Smaller images are enlarged to ``working_side``, because models paint small pictures badly; longer ones than
    ``max_ratio`` allows are widened by their mirror image; sides are multiples of ``multiple``.
    """

    max_side: int
    max_pixels: int
    max_ratio: float
    multiple: int
    working_side: int = 512


@dataclass(frozen=True, slots=True)
class Frame:
    """How an image of ``size`` is laid out to suit a model, and back: widened by ``left`` and ``top``, then scaled.

    All sizes are (width, height).
    """

    size: tuple[int, int]
    left: int
    top: int
    widened: tuple[int, int]
    sent: tuple[int, int]

    @classmethod
    def of(cls, size: tuple[int, int], limits: ModelLimits) -> Frame:
        """How an image of ``size`` is laid out for a model of these limits."""
        width, height = size
        wide = max(width, math.ceil(height / limits.max_ratio))
        high = max(height, math.ceil(width / limits.max_ratio))
        scale = max(1.0, limits.working_side / min(wide, high))
        scale = min(scale, limits.max_side / max(wide, high), math.sqrt(limits.max_pixels / (wide * high)))
        step = limits.multiple
        # A product that is short of a whole number by rounding alone is that number.
        sides = (int(side * scale + 1e-6) // step * step for side in (wide, high))
        sent = (max(step, next(sides)), max(step, next(sides)))
        return cls((width, height), (wide - width) // 2, (high - height) // 2, (wide, high), sent)

    def lay_out(self, image: Image) -> Image:
        """The image as the model gets it."""
        return _scaled(self._widened(image, cv2.BORDER_REFLECT), self.sent)

    def lay_out_mask(self, mask: Mask) -> Mask:
        """The mask as the model gets it: 0 and 255 only, and no stroke lost, however thin."""
        widened = self._widened(mask, cv2.BORDER_CONSTANT)
        smaller = (min(self.sent[0], self.widened[0]), min(self.sent[1], self.widened[1]))
        # Reduced, thin strokes turn grey before they vanish; enlarged, no pixel falls between two others.
        strokes = cv2.resize(widened, smaller, interpolation=cv2.INTER_AREA) > 0
        enlarged = cv2.resize(strokes.astype(np.uint8), self.sent, interpolation=cv2.INTER_NEAREST)
        return np.where(enlarged > 0, 255, 0).astype(np.uint8)

    def restore(self, picture: Image) -> Image:
        """The model's picture, of whatever size it made it, as the image was."""
        (width, height), picture = self.size, _scaled(picture, self.widened)
        return np.ascontiguousarray(picture[self.top : self.top + height, self.left : self.left + width])

    def _widened(self, image: Image, border: int) -> Image:
        right, bottom = self.widened[0] - self.size[0] - self.left, self.widened[1] - self.size[1] - self.top
        if not any((self.left, self.top, right, bottom)):
            return image
        return cv2.copyMakeBorder(image, self.top, bottom, self.left, right, border).astype(np.uint8)


def _scaled(image: Image, size: tuple[int, int]) -> Image:
    """``image`` at (width, height)."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    smaller = size[0] * size[1] < width * height
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return scaled.astype(np.uint8)
