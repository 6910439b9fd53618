"""Pictures: what was missed and what was a false alarm, cut out of its image with its surroundings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from defectory.detection.drawing import DrawnBox, draw_boxes
from defectory.detection.evaluation.results import DetectionEvaluation
from defectory.vision.images import encode_jpeg, load_image
from defectory.writing import write_whole, writing_to

PICTURES = "pictures"
SIDE = 260
"""Pixels of the longer side of a picture."""

TRUTH_COLOUR, ALARM_COLOUR = (0, 150, 70), (214, 20, 100)
_MARGIN = 0.8
_LEAST_MARGIN = 40


def picture_path(folder: Path, kind: str, number: int) -> Path:
    """The file of a picture in the evaluation ``folder``; ``kind`` is ``miss`` or ``alarm``."""
    return folder / PICTURES / f"{kind}-{number:03d}.jpg"


def write_pictures(evaluation: DetectionEvaluation, paths: Mapping[str, Path], folder: Path) -> DetectionEvaluation:
    """Write a picture of each miss and false alarm that is told of; the evaluation with their numbers."""
    misses = [item.model_copy(update={"picture": number}) for number, item in enumerate(evaluation.misses, 1)]
    alarms = [item.model_copy(update={"picture": number}) for number, item in enumerate(evaluation.false_alarms, 1)]
    with writing_to(folder):
        for number, miss in enumerate(misses, 1):
            picture = cut_box(load_image(paths[miss.image]), miss.box, miss.label, TRUTH_COLOUR)
            write_whole(picture_path(folder, "miss", number), encode_jpeg(picture, quality=82))
        for number, alarm in enumerate(alarms, 1):
            text = f"{alarm.label} {alarm.score:.2f}"
            picture = cut_box(load_image(paths[alarm.image]), alarm.box, text, ALARM_COLOUR)
            write_whole(picture_path(folder, "alarm", number), encode_jpeg(picture, quality=82))
    return evaluation.model_copy(update={"misses": tuple(misses), "false_alarms": tuple(alarms)})


def cut_box(
    image: NDArray[np.uint8], box: Sequence[float], text: str, colour: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """The surroundings of a box, scaled to `SIDE`, with the box drawn in ``colour`` and ``text`` above it."""
    height, width = image.shape[:2]
    left, top, right, bottom = _window(box, width, height)
    scale = SIDE / max(right - left, bottom - top)
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    window = np.asarray(Image.fromarray(image[top:bottom, left:right]).resize(size, Image.Resampling.BICUBIC))
    inside = [(box[0] - left) * scale, (box[1] - top) * scale, box[2] * scale, box[3] * scale]
    return draw_boxes(window, [DrawnBox(inside, text, colour)])


def _window(box: Sequence[float], width: int, height: int) -> tuple[int, int, int, int]:
    margin = max(_LEAST_MARGIN, _MARGIN * max(box[2], box[3]))
    left, top = max(0, int(box[0] - margin)), max(0, int(box[1] - margin))
    right, bottom = min(width, int(box[0] + box[2] + margin) + 1), min(height, int(box[1] + box[3] + margin) + 1)
    return left, top, max(right, left + 1), max(bottom, top + 1)
