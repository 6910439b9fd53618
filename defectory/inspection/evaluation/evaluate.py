"""Evaluate: let a model inspect the labelled images of a dataset, and write down how it did.

```
<out>/
├── evaluation.json            every figure with its interval, and the result of every image
├── EvaluationResult.json      the same figures ┐ as Amazon Lookout for Vision
├── EvaluationManifest.json    the same results ┘ wrote them
├── pictures/                  0001.jpg, 0001-heat.png, 0001-found.png, 0001-truth.png ...
└── report.html                the page, by `write_report`
```
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from defectory.claims import claim, mark
from defectory.datasets.masks import read_classes
from defectory.datasets.records import Dataset, ImageRecord, Label
from defectory.errors import InputError
from defectory.inspection.evaluation.lookout_results import write_lookout_results
from defectory.inspection.evaluation.pictures import PICTURES, write_pictures
from defectory.inspection.evaluation.pixels import PixelTally
from defectory.inspection.evaluation.results import (
    EVALUATION,
    Evaluation,
    ImageResult,
    LeftOut,
    measure,
    recall_by_defect,
    write_evaluation,
)
from defectory.inspection.verdicts import ImageInspector, Inspection
from defectory.progress import OnProgress, Progress, ignore_progress
from defectory.vision.images import load_image

COMMAND = "defectory inspect evaluate"


def evaluate(
    model: ImageInspector,
    dataset: Dataset,
    out: Path,
    *,
    training_images: int | None = None,
    project: str = "inspection",
    model_arn: str = "",
    on_progress: OnProgress = ignore_progress,
) -> Evaluation:
    """Evaluate ``model`` on ``dataset`` and write all but the page into the folder ``out``.

    Unlabelled and synthetic images, and those that cannot be read, are left out and named in the evaluation.  Its
    dataset's version is that of the images tested.

    Args:
        model: what inspects.
        dataset: images the model has not seen.
        out: folder for the files; an earlier evaluation there is replaced.
        training_images: how many images the model was trained on, for the files.
        project: name of the project in Lookout's files.
        model_arn: ARN of the model in Lookout's files.
        on_progress: hears of each image inspected.

    Raises:
        InputError: no labelled image can be read.

    >>> from defectory import load_dataset, load_model
    >>> evaluation = evaluate(load_model(Path("model.tar.gz")), load_dataset(Path("parts")), Path("evaluation"))
    >>> evaluation.metrics.auroc.value
    1.0
    """
    labelled, left_out = _choose(dataset)
    # An evaluation of a release that did not mark its folder may be replaced, too.
    claimed = mark if (out / EVALUATION).is_file() else claim
    claimed(out / PICTURES, COMMAND)
    classes = sorted({*dataset.classes, *dataset.colour_map})
    pixels = PixelTally(classes)
    tested: list[tuple[ImageRecord, ImageResult]] = []
    inspection: Inspection | None = None
    for done, (record, label) in enumerate(labelled, 1):
        name = dataset.name(record.path)
        try:
            image, truth = _read(record, label, name, classes)
            inspection = model.inspect(image)
        except InputError as error:
            left_out.append(LeftOut(name=name, kind="unreadable", reason=str(error)))
            continue
        finally:
            on_progress(Progress("inspecting", done, len(labelled)))
        if truth is not None and not _same_shape(truth, image):
            left_out.append(_mask_left_out(name, truth, image))
            truth = None
        # A defect without a mask may be anywhere: its pixels say nothing.
        overlap = pixels.add(inspection, truth) if label == "normal" or truth is not None else None
        number = len(tested) + 1
        write_pictures(out, number, image, inspection, truth)
        tested.append((record, _result(name, label, record, inspection, overlap, number)))
    if inspection is None:
        raise InputError(
            "DATASET",
            "a dataset with labelled images that can be read",
            f"{len(left_out)} images, all left out: {left_out[0].name} {left_out[0].reason}" if left_out else "none",
            "`defectory datasets check` names what is wrong with each.",
        )
    images = tuple(result for _, result in tested)
    evaluation = Evaluation(
        created=datetime.now(UTC),
        model_version=inspection.model_version,
        dataset_version=dataset.select([record for record, _ in tested]).version,
        training_images=training_images,
        review_threshold=inspection.thresholds.review,
        fail_threshold=inspection.thresholds.fail,
        metrics=measure(images),
        defects=recall_by_defect(images),
        pixels=pixels.result(),
        images=images,
        left_out=tuple(left_out),
    )
    write_lookout_results(evaluation, tested, dataset, out, project=project, model_arn=model_arn)
    write_evaluation(evaluation, out)
    return evaluation


def _choose(dataset: Dataset) -> tuple[list[tuple[ImageRecord, Label]], list[LeftOut]]:
    """The images to inspect with their labels, and those not to."""
    labelled: list[tuple[ImageRecord, Label]] = []
    left_out: list[LeftOut] = []
    for record in dataset.records:
        if record.synthetic:
            reason = "synthetic images are never tested on"
            left_out.append(LeftOut(name=dataset.name(record.path), kind="synthetic", reason=reason))
        elif record.label is None:
            left_out.append(LeftOut(name=dataset.name(record.path), kind="unlabelled", reason="has no label"))
        else:
            labelled.append((record, record.label))
    return labelled, left_out


def _read(
    record: ImageRecord, label: Label, name: str, classes: list[str]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """The image, and the class of each of its pixels where it has a mask."""
    image = load_image(record.path, name=name)
    return image, read_classes(record, classes) if label == "anomaly" else None


def _mask_left_out(name: str, mask: NDArray[np.uint8], image: NDArray[np.uint8]) -> LeftOut:
    sizes = f"{mask.shape[1]} x {mask.shape[0]} for an image of {image.shape[1]} x {image.shape[0]}"
    return LeftOut(name=name, kind="mask", reason=f"only its mask, which has another shape: {sizes}")


def _result(
    name: str, label: Label, record: ImageRecord, inspection: Inspection, overlap: float | None, number: int
) -> ImageResult:
    return ImageResult(
        name=name,
        label=label,
        classes=record.classes if label == "anomaly" else (),
        part=record.group,
        verdict=inspection.verdict,
        score=inspection.score,
        confidence=inspection.confidence,
        defects=inspection.defects,
        reasons=inspection.reasons,
        by_rule=inspection.verdict != inspection.thresholds.verdict(inspection.score),
        iou=overlap,
        picture=number,
    )


def _same_shape(mask: NDArray[np.uint8], image: NDArray[np.uint8]) -> bool:
    """Whether the mask fits the image after scaling, but for a pixel of rounding on the smaller one."""
    (mask_height, mask_width), (height, width) = mask.shape, image.shape[:2]
    tolerance = max(mask_height, mask_width, height, width)
    return bool(abs(mask_height * width - height * mask_width) <= tolerance)
