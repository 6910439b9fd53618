"""Train a detector from folders of labelled images, by one of the trainers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from defectory.datasets.boxes import BoxProblem, refuse
from defectory.detection.detectors.detector import Detector
from defectory.detection.detectors.detr.options import DetrOptions
from defectory.detection.detectors.ridge.training import RidgeOptions, train_ridge
from defectory.detection.labelled import LabelledSet, open_labelled
from defectory.errors import InputError, require_extra
from defectory.progress import OnProgress, ignore_progress

Trainer = Literal["ridge", "dfine", "rfdetr"]
TRAINERS: tuple[Trainer, ...] = get_args(Trainer)
OPTIONS: Mapping[Trainer, type[RidgeOptions | DetrOptions]] = {
    "ridge": RidgeOptions,
    "dfine": DetrOptions,
    "rfdetr": DetrOptions,
}
"""What each of the trainers may be told."""


def train_detector(
    folders: Path | Sequence[Path],
    options: RidgeOptions | DetrOptions | None = None,
    *,
    trainer: Trainer = "ridge",
    weights: Path | None = None,
    checkpoints: Path | None = None,
    on_problem: Callable[[BoxProblem], None] = refuse,
    on_progress: OnProgress = ignore_progress,
) -> Detector:
    """Train a detector on folders of scenes, YOLO folders and COCO files.

    Example::

        train_detector(Path("scenes")).save(Path("detector.tar.gz"))

    Args:
        folders: one or several; their classes are joined.
        options: how; those of the trainer.
        trainer: which one; ``dfine`` and ``rfdetr`` need the extra ``torch``.
        weights: for ``dfine`` and ``rfdetr``, a folder of weights to start from.
        checkpoints: for these, a folder for checkpoints, which a training that was interrupted goes on from.
        on_problem: hears of each label and image that cannot be used, and which is left out; by default it is an error.
        on_progress: hears of each image, or step.

    Raises:
        InputError: there is nothing to learn from, or the options, weights or checkpoints are not the trainer's.
        InterruptedTrainingError: a training with checkpoints was told to end.
        MissingExtraError: the trainer needs the extra ``torch``.
    """
    paths = [folders] if isinstance(folders, Path) else list(folders)
    sets = [open_labelled(path, on_problem=on_problem) for path in paths]
    return train_on(
        sets,
        options,
        trainer=trainer,
        weights=weights,
        checkpoints=checkpoints,
        on_problem=on_problem,
        on_progress=on_progress,
    )


def train_on(
    sets: Sequence[LabelledSet],
    options: RidgeOptions | DetrOptions | None = None,
    *,
    trainer: Trainer = "ridge",
    weights: Path | None = None,
    checkpoints: Path | None = None,
    on_problem: Callable[[BoxProblem], None] = refuse,
    on_progress: OnProgress = ignore_progress,
) -> Detector:
    """As `train_detector`, on sets of labelled images that are open."""
    if options is not None and not isinstance(options, OPTIONS[trainer]):
        raise InputError("options", f"{OPTIONS[trainer].__name__} for the trainer {trainer}", type(options).__name__)
    if trainer == "ridge":
        if given := [name for name, path in (("weights", weights), ("checkpoints", checkpoints)) if path]:
            raise InputError(given[0], "left out for the trainer ridge, which solves for all that it learns")
        ridge = options if isinstance(options, RidgeOptions) else None
        return train_ridge(sets, ridge, on_problem=on_problem, on_progress=on_progress)
    require_extra("torch")
    from defectory.detection.detectors.detr.training import train_detr

    return train_detr(
        trainer,
        sets,
        options if isinstance(options, DetrOptions) else None,
        weights=weights,
        checkpoints=checkpoints,
        on_problem=on_problem,
        on_progress=on_progress,
    )
