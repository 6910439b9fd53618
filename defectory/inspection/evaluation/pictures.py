"""Pictures: each tested image, its heatmap and its masks, small enough for a page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from defectory.inspection.verdicts import Inspection
from defectory.vision.images import encode_jpeg, encode_png
from defectory.writing import write_whole, writing_to

PICTURES = "pictures"
LONGEST_SIDE = 400


def picture_path(folder: Path, number: int, layer: str = "") -> Path:
    """The file of image ``number`` in the evaluation ``folder``: the photo, or its layer "heat", "found" or "truth"."""
    return folder / PICTURES / (f"{number:04d}-{layer}.png" if layer else f"{number:04d}.jpg")


def write_pictures(
    folder: Path, number: int, image: NDArray[np.uint8], inspection: Inspection, truth: NDArray[np.uint8] | None
) -> None:
    """Write the photo, the heatmap, the mask found and the true one (above 0 = defect), at most 400 pixels a side."""
    height, width = image.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    photo = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    pictures = {picture_path(folder, number): encode_jpeg(photo, quality=82)}
    heat = np.rint(np.clip(inspection.heatmap, 0, 1) * 255).astype(np.uint8)
    layers = {"heat": _fit(heat, size, Image.Resampling.BILINEAR), "found": _mask(inspection.mask, size)}
    if truth is not None:
        layers["truth"] = _mask(truth, size)
    pictures |= {picture_path(folder, number, layer): encode_png(values) for layer, values in layers.items()}
    with writing_to(folder):
        for path, content in pictures.items():
            write_whole(path, content)
        if truth is None:
            picture_path(folder, number, "truth").unlink(missing_ok=True)


def _fit(values: NDArray[np.uint8], size: tuple[int, int], resampling: Image.Resampling) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(values).resize(size, resampling))


def _mask(values: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    # Averaged before it is cut at a low level: a scratch thinner than a pixel of the picture still shows.
    marked = np.where(values > 0, 255, 0).astype(np.uint8)
    return np.where(_fit(marked, size, Image.Resampling.BOX) > 40, 255, 0).astype(np.uint8)
