"""Small rendered parts and one model trained on them, shared by the tests of the inspection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from defectory.inspection.model import Model
from defectory.inspection.training import TrainingOptions, train

SMALL = TrainingOptions(resolution=128)


def render_part(seed: int, *, blot: tuple[int, int] | None = None, scratch: tuple[int, int] | None = None) -> NDArray:
    """A grey washer on a dark ground, 96 x 96, of a light of its own; with a dark blot or a bright scratch at x, y."""
    rng = np.random.default_rng(seed)
    image = rng.normal(40, 4, (96, 96, 3))
    for radius, shade in ((36, 150), (12, 45)):
        disc = np.zeros((96, 96), np.float32)
        cv2.circle(disc, (48, 48), radius, 1.0, -1, cv2.LINE_AA)
        image = image * (1 - disc[..., None]) + (shade + rng.normal(0, 5, image.shape)) * disc[..., None]
    image *= rng.uniform(0.93, 1.07)
    if blot:
        cv2.circle(image, blot, 7, (25, 20, 15), -1, cv2.LINE_AA)
    if scratch:
        x, y = scratch
        cv2.line(image, (x - 9, y - 5), (x + 9, y + 5), (250, 250, 250), 3, cv2.LINE_AA)
    return np.clip(image, 0, 255).astype(np.uint8)


def write_images(folder: Path, images: Sequence[NDArray]) -> list[Path]:
    """Write images as PNG, and say where."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"part-{number:02d}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    return paths


@pytest.fixture(scope="session")
def good_parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve good parts."""
    return write_images(tmp_path_factory.mktemp("good"), [render_part(seed) for seed in range(12)])


@pytest.fixture(scope="session")
def model(good_parts: list[Path]) -> Model:
    """A model that has seen good parts only."""
    return train(good_parts, options=SMALL)
