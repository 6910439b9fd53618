"""Damage a good image on purpose, to compare detectors where no real defect is known; no measure of how good one is."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def perturb(image: NDArray[np.uint8], valid: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A copy of ``image`` with one defect: a scar of displaced texture, a stain, a line, or a blurred spot.

    Args:
        image: uint8 RGB of shape ``(h, w, 3)``.
        valid: where the image is inspected, of any shape; the defect's middle lies there.
        rng: decides kind, place, size and strength.
    """
    height, width = image.shape[:2]
    rows, columns = np.nonzero(valid)
    place = rng.integers(len(rows))
    y = int((rows[place] + rng.random()) / valid.shape[0] * height)
    x = int((columns[place] + rng.random()) / valid.shape[1] * width)
    side = min(height, width)
    shape = _spot(image.shape[:2], (x, y), side * rng.uniform(0.03, 0.1), rng)
    match rng.integers(4):
        case 0:  # cut and paste, after Li et al., "CutPaste" (2021)
            shift = (int(rng.integers(side // 8, side // 2)), int(rng.integers(side // 8, side // 2)))
            change = np.roll(np.flip(image, axis=int(rng.integers(2))), shift, axis=(0, 1)).astype(np.float32)
        case 1:
            change = image * rng.uniform(0.75, 1.2) + rng.choice([-1, 1]) * rng.uniform(15, 45, 3)
        case 2:
            shape = _line(image.shape[:2], (x, y), side, rng)
            change = image + rng.choice([-1, 1]) * rng.uniform(30, 80)
        case _:
            change = cv2.GaussianBlur(image, (0, 0), side * 0.03).astype(np.float32)
    blend = shape[..., None]
    return np.clip(np.rint(image * (1 - blend) + change * blend), 0, 255).astype(np.uint8)


def _spot(
    size: tuple[int, int], centre: tuple[int, int], radius: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """A soft-edged blob."""
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    reach = radius * rng.uniform(0.5, 1.3, len(angles))
    outline = np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach[:, None] + centre
    canvas = np.zeros(size, np.float32)
    cv2.fillPoly(canvas, [np.rint(outline).astype(np.int32)], 1.0)
    return np.asarray(cv2.GaussianBlur(canvas, (0, 0), 1.2), np.float32)


def _line(size: tuple[int, int], centre: tuple[int, int], side: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A thin, bent line."""
    turn, length = rng.uniform(0, np.pi), side * rng.uniform(0.1, 0.3)
    along = np.linspace(-0.5, 0.5, 6)[:, None] * length * np.array([[np.cos(turn), np.sin(turn)]])
    points = along + rng.normal(0, length * 0.04, along.shape) + centre
    canvas = np.zeros(size, np.float32)
    cv2.polylines(canvas, [np.rint(points).astype(np.int32)], False, 1.0, int(rng.integers(1, 4)), cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(canvas, (0, 0), 0.6), np.float32)
