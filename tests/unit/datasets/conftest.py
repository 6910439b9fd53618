"""Small photos of parts that differ, and their masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defectory.vision.images import encode_png


def part(seed: int, size: int = 64) -> np.ndarray:
    """A part's photo: structure that no other seed has."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


@pytest.fixture
def photo():
    """Writes one part's photo to a path."""

    def write(path: Path, seed: int = 0, size: int = 64) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(part(seed, size))
        image.save(path, format={".png": "PNG", ".bmp": "BMP"}.get(path.suffix.lower(), "JPEG"))
        return path

    return write


@pytest.fixture
def mask():
    """Writes a grey mask with a defect in one corner."""

    def write(path: Path, size: int = 64, level: int = 255) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((size, size), np.uint8)
        pixels[:8, :16] = level
        path.write_bytes(encode_png(pixels))
        return path

    return write


@pytest.fixture
def parts(tmp_path: Path, photo, mask) -> Path:
    """A folder of ten good parts, six scratched ones with masks and four dented ones."""
    root = tmp_path / "parts"
    for seed in range(10):
        photo(root / "good" / f"{seed}.png", seed)
    for seed in range(10, 16):
        photo(root / "scratch" / f"{seed}.png", seed)
        mask(root / "masks" / "scratch" / f"{seed}.png")
    for seed in range(16, 20):
        photo(root / "dent" / f"{seed}.jpg", seed)
    return root
