"""Held-out images: which of the images are not learned from, and what a new detector's card says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defectory.datasets.boxes import BoxProblem
from defectory.detection.detectors.calibration import OVERLAP, calibrate
from defectory.detection.detectors.card import DetectedClass
from defectory.detection.detectors.detector import Detector, assemble
from defectory.detection.detectors.samples import TrainingImages
from defectory.detection.fingerprints import sketch
from defectory.detection.matching import BoxRows, average_precision
from defectory.errors import ImageError
from defectory.progress import OnProgress, Progress

_SHARE, _MOST, _FEWEST_TO_SPLIT = 1 / 6, 300, 12


@dataclass(frozen=True, slots=True, eq=False)
class ImageSplit:
    """Numbers of images: ``learned`` from, and ``held_out``, which are the same where they are too few to part."""

    learned: NDArray[np.intp]
    held_out: NDArray[np.intp]
    is_parted: bool


def split_images(count: int, rng: np.random.Generator, *, most: int | None = None) -> ImageSplit:
    """Part ``count`` images by chance: a sixth is held out, 300 at most, none of fewer than twelve.

    Args:
        count: how many there are.
        rng: draws them.
        most: learn from so many at most.
    """
    order = rng.permutation(count)
    held = min(_MOST, round(count * _SHARE)) if count >= _FEWEST_TO_SPLIT else 0
    return ImageSplit(order[held:][:most], np.sort(order[:held]) if held else order, bool(held))


def describe_images(images: TrainingImages, split: ImageSplit) -> dict[str, Any]:
    """What a card says of its images: the fields ``classes``, ``training``, ``sketch`` and ``warnings``."""
    counts = images.objects().tolist()
    classes = tuple(DetectedClass(name=name, objects=count) for name, count in zip(images.classes, counts, strict=True))
    used = [*split.learned.tolist(), *split.held_out.tolist()]
    return {
        "classes": classes,
        "training": {"images": len(split.learned), "objects": sum(counts), "held_out": len(split.held_out)},
        "sketch": sketch(images.digests[number] for number in used),
        "warnings": tuple(f"Nothing of class {item.name} was learned from." for item in classes if not item.objects),
    }


def calibrate_detector(
    detector: Detector,
    images: TrainingImages,
    split: ImageSplit,
    precision: float | None,
    *,
    on_problem: Callable[[BoxProblem], None],
    on_progress: OnProgress,
) -> Detector:
    """The detector with curves and thresholds from the held-out images, and its figures on them.

    Args:
        detector: one whose scores are raw.
        images: what it was made of.
        split: which of them are held out.
        precision: choose thresholds for it; None for the best F1.
        on_problem: hears of each image that cannot be read, and which is left out.
        on_progress: hears of each image.
    """
    truth, found = BoxRows(), BoxRows()
    for done, number in enumerate(split.held_out.tolist(), 1):
        try:
            image = images.load(number)
        except ImageError as error:
            on_problem(BoxProblem(images.paths[number], "missing image", str(error)))
            continue
        finally:
            on_progress(Progress("calibrating", done, len(split.held_out)))
        corners, labels = images.boxes(number)
        for box, label in zip(corners.tolist(), labels.tolist(), strict=True):
            truth.add(number, label, (box[0], box[1], box[2] - box[0], box[3] - box[1]))
        for detection in detector.detect(image, min_score=0.0):
            share = min(max(detection.score, 1e-9), 1 - 1e-9)
            label = images.classes.index(detection.label)
            found.add(number, label, detection.box, score=float(np.log(share / (1 - share))))
    objects, detections = truth.table(), found.table()
    average = average_precision(objects, detections, len(images.classes))
    which = "held-out images of the same folders" if split.is_parted else "the training images, too few to hold out"
    aim = f"precision {precision:g}" if precision else "the best F1"
    figures = {"map50": average.mean(ious=0), "map50_95": average.mean()}
    changes = {
        "classes": calibrate(detector.card.classes, objects, detections, precision=precision),
        "calibration": f"Platt's curves, thresholds of {aim} at IoU {OVERLAP:g}; on {len(split.held_out)} {which}",
        "metrics": {name: round(value, 4) for name, value in figures.items() if np.isfinite(value)},
    }
    return assemble(detector.card.model_copy(update=changes), detector.content)
