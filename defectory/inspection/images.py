"""Re-exported where it was until 0.1: `defectory.vision.images` has it."""

from __future__ import annotations

from defectory.vision.images import load_image

__all__ = ["load_image"]
