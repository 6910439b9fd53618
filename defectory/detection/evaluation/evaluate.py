"""Evaluate: let a detector look at labelled images, and write down how it did.

::

    <out>/
    ├── evaluation.json     every figure, and the worst misses and false alarms
    ├── pictures/           miss-001.jpg, alarm-001.jpg ...
    └── report.html         the page, by `write_report`
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from defectory.claims import claim
from defectory.datasets.boxes import BoxProblem
from defectory.detection.detectors.detector import Detection, Detector
from defectory.detection.evaluation.conditions import Case, group_results
from defectory.detection.evaluation.pictures import PICTURES, write_pictures
from defectory.detection.evaluation.results import (
    ClassResult,
    DetectionEvaluation,
    FalseAlarm,
    LeftOutLabels,
    Miss,
    write_evaluation,
)
from defectory.detection.labelled import LabelledImage, LabelledObject, LabelledSet
from defectory.detection.matching import (
    COCO_AREAS,
    BoxRows,
    BoxTable,
    average_precision,
    box_overlaps,
    match,
)
from defectory.errors import ImageError, InputError
from defectory.inspection.numerics import one_thread
from defectory.metrics.estimates import proportion
from defectory.progress import OnProgress, Progress, ignore_progress
from defectory.vision.images import load_image

COMMAND = "defectory detect evaluate"
MOST_SHOWN = 60
"""Misses, and false alarms, that are told of one by one."""

_LEAST_OVERLAP = 0.1
_LOWEST_SCORE = 0.001


@dataclass(slots=True)
class Problems:
    """Counts what could not be used, with the first of each kind; hand it to `open_labelled` as ``on_problem``."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def __call__(self, problem: BoxProblem) -> None:
        """Count one."""
        self.counts[problem.kind] += 1
        self.examples.setdefault(problem.kind, f"{problem.place}: {problem.got}")

    def left_out(self) -> tuple[LeftOutLabels, ...]:
        """What was counted, the most frequent kind first."""
        return tuple(
            LeftOutLabels(kind=kind, count=count, example=self.examples[kind])
            for kind, count in self.counts.most_common()
        )


@dataclass(slots=True)
class Seen:
    """All images so far, their objects and detections; rows of the tables and of the lists belong together."""

    images: list[LabelledImage] = field(default_factory=list)
    truth: BoxRows = field(default_factory=BoxRows)
    found: BoxRows = field(default_factory=BoxRows)
    unknown: Counter[str] = field(default_factory=Counter)
    cpu_seconds: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Examination:
    """What became of each object and each detection at the operating point.

    ``labels`` of the tables are places in ``classes``, ``images`` places in ``seen.images``.  ``detections`` are all of
    any score; ``reported`` are those from the ``thresholds`` (one a class) on, and ``truth``, intp ``(reported,)``, is
    the row of the object that each has found at overlap ``iou``, or -1.
    """

    seen: Seen
    classes: list[str]
    objects: BoxTable
    detections: BoxTable
    reported: BoxTable
    truth: NDArray[np.intp]
    thresholds: NDArray[np.float64]
    iou: float

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Of each reported detection, whether it has found an object."""
        return self.truth >= 0

    @property
    def is_found(self) -> NDArray[np.bool_]:
        """Of each object, whether a reported detection has found it."""
        found = np.zeros(len(self.objects), np.bool_)
        found[self.truth[self.is_right]] = True
        return found

    def items(self) -> list[LabelledObject]:
        """The objects as they are labelled, a row each."""
        return [item for image in self.seen.images for item in image.objects]

    def paths(self) -> dict[str, Path]:
        """The images' files by their names."""
        return {image.name: image.path for image in self.seen.images}


def evaluate_detector(
    detector: Detector,
    labelled: LabelledSet,
    out: Path,
    *,
    iou: float = 0.5,
    only_labelled: bool = False,
    problems: Problems | None = None,
    on_progress: OnProgress = ignore_progress,
) -> DetectionEvaluation:
    """Evaluate ``detector`` on all of ``labelled``, and write all but the page into the folder ``out``.

    Figures are over the classes that both know; what is labelled of other classes is counted apart.

    Args:
        detector: what detects.
        labelled: images that it has not seen, all real or all synthetic.
        out: folder for the files; an earlier evaluation there is replaced.
        iou: overlap from which on a detection counts at the operating point.
        only_labelled: count detections of a class only on images where it is labelled, for datasets that label a class
            on some of its images alone; precision then flatters.
        problems: those of the labels, where they are counted; images that cannot be read are added to them.
        on_progress: hears of each image.

    Raises:
        InputError: no class is known to both, or no image can be read.
    """
    problems = problems if problems is not None else Problems()
    claim(out, COMMAND)
    claim(out / PICTURES, COMMAND)
    examination = examine(
        detector, labelled, iou=iou, only_labelled=only_labelled, problems=problems, on_progress=on_progress
    )
    evaluation = _figures(detector, labelled, examination, only_labelled, problems)
    evaluation = write_pictures(evaluation, examination.paths(), out)
    write_evaluation(evaluation, out)
    return evaluation


def examine(
    detector: Detector,
    labelled: LabelledSet,
    *,
    iou: float = 0.5,
    only_labelled: bool = False,
    problems: Problems | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Examination:
    """Let ``detector`` look at all of ``labelled``: what became of each object and each detection.

    Arguments and errors are those of `evaluate_detector`.
    """
    classes = [name for name in detector.card.names if name in labelled.classes]
    if not classes:
        got = f"{', '.join(labelled.classes)} against {', '.join(detector.card.names)}"
        raise InputError("DIR", "labelled with classes of the detector", got, "Say which is which: --map THEIRS=OURS.")
    if not 0 < iou <= 1:
        raise InputError("iou", "above 0 and at most 1", iou)
    seen = _look(detector, labelled, classes, problems if problems is not None else Problems(), on_progress)
    if not seen.images:
        raise InputError("DIR", "a folder with labelled images that can be read", str(labelled.root))
    objects, detections = seen.truth.table(), seen.found.table()
    if only_labelled:
        keys = [table.images * len(classes) + table.labels for table in (detections, objects)]
        detections = detections.select(np.isin(keys[0], keys[1]))
    by_name = {item.name: item for item in detector.card.classes}
    thresholds = np.array([by_name[name].threshold for name in classes])
    matches = match(objects, detections.select(detections.scores >= thresholds[detections.labels]), ious=[iou])
    return Examination(seen, classes, objects, detections, matches.detections, matches.truth[0, 0], thresholds, iou)


def _look(
    detector: Detector, labelled: LabelledSet, classes: list[str], problems: Problems, on_progress: OnProgress
) -> Seen:
    seen, images = Seen(), list(labelled)
    with one_thread():
        for done, image in enumerate(images, 1):
            try:
                pixels = load_image(image.path)
                if pixels.shape[:2] != (image.height, image.width):
                    got = f"{pixels.shape[1]} x {pixels.shape[0]}"
                    raise ImageError(str(image.path), f"{image.width} x {image.height}, as its labels say", got)
                started = time.process_time()
                detections = detector.detect(pixels, min_score=_LOWEST_SCORE)
                seen.cpu_seconds += time.process_time() - started
            except ImageError as error:
                problems(BoxProblem(str(image.path), "missing image", str(error)))
                continue
            finally:
                on_progress(Progress("detecting", done, len(images)))
            _note(seen, image, detections, classes)
    return seen


def _note(seen: Seen, image: LabelledImage, detections: Sequence[Detection], classes: list[str]) -> None:
    number = len(seen.images)
    known = tuple(item for item in image.objects if item.label in classes)
    seen.unknown.update(item.label for item in image.objects if item.label not in classes)
    seen.images.append(LabelledImage(image.name, image.path, image.width, image.height, known, image.conditions))
    for item in known:
        seen.truth.add(number, classes.index(item.label), item.box, area=item.area)
    for detection in detections:
        if detection.label in classes:
            seen.found.add(number, classes.index(detection.label), detection.box, score=detection.score)


def _figures(
    detector: Detector, labelled: LabelledSet, x: Examination, only_labelled: bool, problems: Problems
) -> DetectionEvaluation:
    seen, classes, objects, reported = x.seen, x.classes, x.objects, x.reported
    is_found, right = x.is_found, x.is_right
    precision = average_precision(objects, x.detections, len(classes))
    own = average_precision(objects, x.detections, len(classes), ious=[x.iou], areas=[COCO_AREAS["all"]])
    items = x.items()
    conditions = [image.conditions for image in seen.images]
    return DetectionEvaluation(
        created=datetime.now(UTC),
        model_version=detector.card.version,
        origin=labelled.origin,
        dataset=labelled.root.name,
        images=len(seen.images),
        objects=len(objects),
        iou=x.iou,
        only_labelled=only_labelled,
        map50=_figure(precision.mean(ious=0)),
        map50_95=_figure(precision.mean()),
        map_iou=_figure(own.mean()),
        by_area={name: _figure(precision.mean(area=place)) for place, name in enumerate(COCO_AREAS) if place},
        classes=tuple(
            _class_result(
                name,
                x.thresholds[number],
                (precision.values[number, 0, 0], precision.values[number, 0].mean(), own.values[number, 0, 0]),
                is_found[objects.labels == number],
                right[reported.labels == number],
            )
            for number, name in enumerate(classes)
        ),
        groups=group_results(
            [
                Case(area, found, conditions[image], item)
                for area, found, image, item in zip(
                    objects.areas.tolist(), is_found.tolist(), objects.images.tolist(), items, strict=True
                )
            ],
            [
                Case(area, is_right, conditions[image])
                for area, is_right, image in zip(
                    reported.areas.tolist(), right.tolist(), reported.images.tolist(), strict=True
                )
            ],
        ),
        missed=int((~is_found).sum()),
        false=int((~right).sum()),
        misses=misses_of(x, MOST_SHOWN),
        false_alarms=alarms_of(x, MOST_SHOWN),
        unknown_classes=dict(seen.unknown.most_common()),
        left_out=problems.left_out(),
        cpu_ms_per_image=1000 * seen.cpu_seconds / len(seen.images),
    )


def _class_result(
    name: str,
    threshold: float,
    precisions: tuple[float, float, float],
    is_found: NDArray[np.bool_],
    is_right: NDArray[np.bool_],
) -> ClassResult:
    found, objects, reported = int(is_found.sum()), len(is_found), len(is_right)
    return ClassResult(
        name=name,
        objects=objects,
        ap50=_figure(precisions[0]),
        ap50_95=_figure(precisions[1]),
        ap=_figure(precisions[2]),
        threshold=float(threshold),
        reported=reported,
        found=found,
        precision=proportion(int(is_right.sum()), reported),
        recall=proportion(found, objects),
    )


def misses_of(x: Examination, most: int | None = None) -> tuple[Miss, ...]:
    """The misses, or the ``most`` worst: the largest in their images, and of those the best visible."""
    seen, classes, objects, detections, thresholds = x.seen, x.classes, x.objects, x.detections, x.thresholds
    items = x.items()
    sizes = np.array([image.width * image.height for image in seen.images])
    visible = np.array([1.0 if item.visible is None else item.visible for item in items])
    rows = np.flatnonzero(~x.is_found)
    worst = rows[np.argsort(-(objects.areas / sizes[objects.images] * visible)[rows], kind="stable")]
    misses = []
    for row in worst[:most].tolist():
        here = np.flatnonzero(detections.images == objects.images[row])
        shared = box_overlaps(detections.boxes[here], objects.boxes[row])
        near, share = here[shared >= _LEAST_OVERLAP], shared[shared >= _LEAST_OVERLAP]
        same = detections.labels[near] == objects.labels[row]
        above = detections.scores[near] >= thresholds[detections.labels[near]]
        covers = share >= x.iou
        choices = (
            ("taken for another class", ~same & above & covers),
            ("below the threshold", same & ~above & covers),
            ("box off", same & above),
        )
        reason, chosen = next(((text, which) for text, which in choices if which.any()), ("not seen", same))
        best = near[chosen][np.argmax(detections.scores[near[chosen]])] if chosen.any() else None
        item, image = items[row], seen.images[objects.images[row]]
        misses.append(
            Miss.model_validate(
                {"image": image.name, "label": item.label, "box": item.box, "visible": item.visible, "reason": reason}
                | ({} if best is None else {
                    "nearest_label": classes[detections.labels[best]],
                    "nearest_score": float(detections.scores[best]),
                    "nearest_iou": float(box_overlaps(detections.boxes[best], objects.boxes[row])),
                })
            )
        )  # fmt: skip
    return tuple(misses)


def alarms_of(x: Examination, most: int | None = None) -> tuple[FalseAlarm, ...]:
    """The false alarms, or the ``most`` worst: those of the highest scores."""
    seen, classes, objects, reported = x.seen, x.classes, x.objects, x.reported
    rows = np.flatnonzero(~x.is_right)
    alarms = []
    for row in rows[np.argsort(-reported.scores[rows], kind="stable")][:most].tolist():
        here = np.flatnonzero(objects.images == reported.images[row])
        shared = box_overlaps(objects.boxes[here], reported.boxes[row])
        same = objects.labels[here] == reported.labels[row]
        choices = (
            ("found twice", same & (shared >= x.iou)),
            ("another class", ~same & (shared >= x.iou)),
            ("box off", same & (shared >= _LEAST_OVERLAP)),
        )
        reason, chosen = next(
            ((text, which) for text, which in choices if which.any()), ("nothing there", np.zeros(0, np.bool_))
        )
        facts: dict[str, object] = {}
        if chosen.any():
            best = np.flatnonzero(chosen)[np.argmax(shared[chosen])]
            label = classes[objects.labels[here[best]]]
            facts = {"overlapped_label": label, "overlapped_iou": float(shared[best])}
        alarms.append(
            FalseAlarm.model_validate(
                {
                    "image": seen.images[reported.images[row]].name,
                    "label": classes[reported.labels[row]],
                    "box": tuple(reported.boxes[row].tolist()),
                    "score": float(reported.scores[row]),
                    "reason": reason,
                    **facts,
                }
            )
        )
    return tuple(alarms)


def _figure(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
