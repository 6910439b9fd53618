"""Grounded generation: layouts in, images with true boxes out, and detectors of objects trained on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from defectory.lazy import load_lazily

if TYPE_CHECKING:
    from defectory.detection.cutouts.library import CutOut as CutOut
    from defectory.detection.cutouts.library import CutOutLibrary as CutOutLibrary

__getattr__, __dir__, __all__ = load_lazily(
    __name__,
    {
        "defectory.detection.cutouts.library": ("CutOut", "CutOutLibrary"),
    },
)
