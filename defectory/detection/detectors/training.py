"""Train a detector from folders of labelled images, by one of the trainers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from defectory.datasets.boxes import BoxProblem, refuse
from defectory.detection.detectors.detector import Detector
from defectory.detection.detectors.ridge.training import RidgeOptions, train_ridge
from defectory.detection.labelled import open_labelled
from defectory.progress import OnProgress, ignore_progress


def train_detector(
    folders: Path | Sequence[Path],
    options: RidgeOptions | None = None,
    *,
    on_problem: Callable[[BoxProblem], None] = refuse,
    on_progress: OnProgress = ignore_progress,
) -> Detector:
    """Train the ridge detector on folders of scenes, YOLO folders and COCO files.

    Example::

        train_detector(Path("scenes")).save(Path("detector.tar.gz"))

    Args:
        folders: one or several; their classes are joined.
        options: how.
        on_problem: hears of each label and image that cannot be used, and which is left out; by default it is an error.
        on_progress: hears of each image.

    Raises:
        InputError: there is nothing to learn from.
    """
    paths = [folders] if isinstance(folders, Path) else list(folders)
    sets = [open_labelled(path, on_problem=on_problem) for path in paths]
    return train_ridge(sets, options, on_problem=on_problem, on_progress=on_progress)
