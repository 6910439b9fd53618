"""Small photos of parts, and a renderer that does what a test tells it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest

from defectory.images.renderers import RenderRequest, RenderResult
from defectory.vision.images import encode_png
from defectory.vision.photos import Photo


def part(seed: int, height: int = 72, width: int = 96) -> np.ndarray:
    """A part's photo: a grain of its own."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(90, 160, (9, 12, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def photo_files(tmp_path: Path) -> dict[str, Path]:
    """Three photos by name."""
    folder = tmp_path / "photos"
    folder.mkdir()
    files = {f"{name}.png": folder / f"{name}.png" for name in "abc"}
    for seed, file in enumerate(files.values()):
        file.write_bytes(encode_png(part(seed)))
    return files


@dataclass
class Scripted:
    """Paints a black bar at a place that the seed says, or does what ``script`` returns or raises for an order."""

    name: str = "procedural"
    needs_photo: bool = True
    script: Callable[[Photo | None, RenderRequest], RenderResult | None] = field(default=lambda photo, request: None)
    requests: list[RenderRequest] = field(default_factory=list)

    def render(self, photo: Photo | None, request: RenderRequest) -> RenderResult:
        self.requests.append(request)
        scripted = self.script(photo, request)
        return scripted or paint(photo, request)


def paint(photo: Photo | None, request: RenderRequest, *, parameters: dict | None = None) -> RenderResult:
    """A black bar of 12 x 5 pixels."""
    image = (part(request.seed % 100) if photo is None else photo.image).copy()
    if photo is None:
        return RenderResult(image, None, 0.0, {"prompt": request.prompt})
    rng = np.random.default_rng(request.seed)
    left, top = int(rng.integers(0, image.shape[1] - 12)), int(rng.integers(0, image.shape[0] - 5))
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[top : top + 5, left : left + 12] = 255
    image[mask > 0] = 10
    return RenderResult(image, mask, 0.8, {"left": left, **(parameters or {})})
