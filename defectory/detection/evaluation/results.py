"""Results: what the evaluation of a detector found, in figures, and its file ``evaluation.json``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from defectory.detection.labelled import Origin
from defectory.metrics.estimates import Estimate
from defectory.validation import FrozenModel
from defectory.writing import write_whole, writing_to

EVALUATION = "evaluation.json"

FloatBox = tuple[float, float, float, float]
MissReason = Literal["not seen", "below the threshold", "box off", "taken for another class"]
AlarmReason = Literal["nothing there", "box off", "another class", "found twice"]


class ClassResult(FrozenModel):
    """One class.

    ``ap50``, ``ap50_95`` and ``ap`` are average precisions at IoU 0.5, over 0.5 to 0.95, and at the evaluation's own
    IoU; None where there is no such object.  ``precision`` and ``recall`` are those of what is reported from
    ``threshold`` on: ``found`` objects by ``reported`` detections.
    """

    name: str
    objects: int
    ap50: float | None
    ap50_95: float | None
    ap: float | None
    threshold: float
    reported: int
    found: int
    precision: Estimate | None
    recall: Estimate | None


class GroupResult(FrozenModel):
    """The objects that share a condition, such as ``size`` = ``small``.

    ``precision`` is None where false alarms belong to no group, as with occlusion and truncation.
    """

    condition: str
    group: str
    objects: int
    recall: Estimate | None
    precision: Estimate | None = None


class Miss(FrozenModel):
    """An object that was not reported, and what came nearest to it; ``picture`` is its file's number."""

    image: str
    label: str
    box: FloatBox
    visible: float | None
    reason: MissReason
    nearest_label: str = ""
    nearest_score: float | None = None
    nearest_iou: float | None = None
    picture: int | None = None


class FalseAlarm(FrozenModel):
    """A detection that is reported and wrong, and what it overlaps most; ``picture`` is its file's number."""

    image: str
    label: str
    box: FloatBox
    score: float
    reason: AlarmReason
    overlapped_label: str = ""
    overlapped_iou: float | None = None
    picture: int | None = None


class LeftOutLabels(FrozenModel):
    """Labels or images of one kind of fault that no figure counts: how many, and the first of them."""

    kind: str
    count: int
    example: str


class DetectionEvaluation(FrozenModel):
    """All that is known of one detector on the images of one folder, which are all real or all synthetic.

    ``iou`` is the overlap from which on a detection counts at the operating point.  The means are over the classes that
    have objects; ``by_area`` are COCO's at 0.5 to 0.95 over small, medium and large objects.  ``unknown_classes`` are
    labelled and no class of the detector: objects that no figure counts.  ``misses`` and ``false_alarms`` are the worst
    of them, out of ``missed`` and ``false``.
    """

    version: Literal[1] = 1
    created: datetime
    model_version: str
    origin: Origin
    dataset: str
    images: int
    objects: int
    iou: float
    only_labelled: bool = False
    map50: float | None
    map50_95: float | None
    map_iou: float | None
    by_area: dict[str, float | None]
    classes: tuple[ClassResult, ...] = Field(min_length=1)
    groups: tuple[GroupResult, ...] = ()
    missed: int
    false: int
    misses: tuple[Miss, ...] = ()
    false_alarms: tuple[FalseAlarm, ...] = ()
    unknown_classes: dict[str, int] = Field(default_factory=dict)
    left_out: tuple[LeftOutLabels, ...] = ()
    cpu_ms_per_image: float

    def by_class(self) -> dict[str, float | None]:
        """Average precision at IoU 0.5 of each class."""
        return {item.name: item.ap50 for item in self.classes}


def write_evaluation(evaluation: DetectionEvaluation, folder: Path) -> Path:
    """Write ``evaluation.json`` into ``folder``.

    Raises:
        UnwritableError: it cannot be written.
    """
    with writing_to(folder):
        return write_whole(folder / EVALUATION, f"{evaluation.model_dump_json(indent=1)}\n".encode())
