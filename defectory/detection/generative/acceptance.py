"""Acceptance: whether a painted picture shows what its layout asks for, object by object, as a detector sees it.

Boxes that a model was asked to paint into are a request.  A scene is used only where each of them is answered for and
nothing else of the classes is seen: a picture with one object too many or too few would teach a detector to miss it.
The boxes of the labels are then those that the detector sees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from defectory.datasets.annotations import Box, encode_runs_within
from defectory.detection.detectors.detector import Detection, Detector
from defectory.detection.layouts.records import BoxOfFloats, Layout, clip_box, layout_digest
from defectory.detection.matching import box_overlaps
from defectory.detection.scenes.acceptance import (
    AcceptanceJournal,
    CheckedObject,
    CheckRecord,
    Outcome,
    SceneRejectedError,
    overlap_band,
)
from defectory.detection.scenes.records import Scene, SceneObject
from defectory.errors import ContentFilteredError, InputError
from defectory.vision.arrays import Image
from defectory.vision.images import is_blank

MIN_IOU = 0.5
"""IoU of the box asked for and the one that is seen from which on an object counts as painted."""

_SAME = 0.5  # share of a detection within an object of its class from which on it is another sight of it


@dataclass(frozen=True, slots=True)
class AcceptedScene:
    """A painted picture as its check sees it.

    Args:
        scene: the picture with the objects that were accepted; only to be used if ``is_usable``.
        outcome: ``accepted``, ``rejected`` or ``blank``.
        objects: each that was asked for, in the layout's order.
        unasked: what is seen that nobody asked for.
    """

    scene: Scene
    outcome: Outcome
    objects: tuple[CheckedObject, ...]
    unasked: tuple[Detection, ...]

    @property
    def is_usable(self) -> bool:
        """Whether picture and labels agree: all that was asked for is there, and nothing else."""
        return self.outcome == "accepted"

    @property
    def by_overlap(self) -> Counter[tuple[str, bool]]:
        """How many objects of each band of overlap were accepted (True) and how many were not (False)."""
        return Counter((overlap_band(item.overlap), item.accepted) for item in self.objects if item.overlap is not None)

    def record(self, check: str) -> CheckRecord:
        """What is kept of it; ``check`` names what painted and what checked."""
        return CheckRecord(
            image_id=self.scene.layout.image_id,
            layout=layout_digest(self.scene.layout),
            check=check,
            outcome=self.outcome,
            objects=self.objects,
            unasked=tuple(detection.label for detection in self.unasked),
        )

    def reason(self) -> str:
        """What speaks against it, in words; "" if nothing does."""
        if self.outcome == "blank":
            return "the picture is blank"
        reasons = []
        if absent := Counter(item.label for item in self.objects if not item.accepted):
            reasons.append(f"not painted as asked: {_enumerate(absent)}")
        if unasked := Counter(detection.label for detection in self.unasked):
            reasons.append(f"painted unasked: {_enumerate(unasked)}")
        return "; ".join(reasons)


def accept(
    image: Image,
    layout: Layout,
    detector: Detector,
    min_iou: float = MIN_IOU,
    *,
    classes: Collection[str] | None = None,
    dropped: Collection[int] = (),
) -> AcceptedScene:
    """Check a painted picture against its layout.

    Detections are given to the boxes of their class by falling score, each to the free one that it overlaps most, as
    COCO does.  What a person wears without a box of its own has to be seen for the greater part within that person.  A
    detection that is given to nothing was not asked for, unless half of it lies within an object of its class that was.

    Args:
        image: uint8 RGB of the layout's size.
        layout: what was asked for.
        detector: sees it, from each class's threshold on.
        min_iou: of the boxes asked for and seen, above 0.
        classes: what is labelled in the dataset; other objects of the layout are not looked for, and other things that
            the detector sees do not matter.  By default all that the detector knows.
        dropped: places in the layout of objects that the model was not asked for.

    Raises:
        InputError: the picture has another size, or the detector does not know a class that is to be labelled.
    """
    height, width = image.shape[:2]
    if (width, height) != layout.size:
        raise InputError("image", f"of the layout's size, {layout.size[0]} x {layout.size[1]}", f"{width} x {height}")
    if not 0 < min_iou <= 1:
        raise InputError("min_iou", "above 0 and at most 1", min_iou)
    known = {item.name for item in detector.card.classes}
    labelled = set(classes) if classes is not None else known | {item.label for item in layout.objects}
    if unknown := sorted(labelled - known):
        fix = "Check with a detector of all classes that are to be labelled."
        raise InputError("detector", f"one that knows {', '.join(unknown)}", ", ".join(sorted(known)), fix)
    not_asked = Counter(layout.objects[place].label for place in dropped if layout.objects[place].label in labelled)
    scene = Scene(image, (), layout, dict(sorted(not_asked.items())))
    if is_blank(image):
        return AcceptedScene(scene, "blank", (), ())
    requests = _requests(layout, labelled, frozenset(dropped))
    detections = [detection for detection in detector.detect(image) if detection.label in labelled]
    answers = _answers(requests, detections, min_iou)
    sights = [answer for answer in answers if answer is not None]
    unasked = tuple(
        detection
        for detection in detections
        if detection not in sights and not any(_is_within(detection, sight) for sight in sights)
    )
    objects = tuple(_checked(request, answer) for request, answer in zip(requests, answers, strict=True))
    is_accepted = not unasked and all(item.accepted for item in objects)
    scene = replace(scene, objects=_labels(requests, answers, layout.size))
    return AcceptedScene(scene, "accepted" if is_accepted else "rejected", objects, unasked)


@dataclass(frozen=True, slots=True)
class _Request:
    """An object that is to be seen.

    ``box`` is its box on the canvas; of what is worn without a box of its own it is that of whoever wears it, and
    ``overlap`` is None.  ``place`` is its place in the layout, ``wearer`` that of whoever wears it.
    """

    label: str
    box: BoxOfFloats
    place: int | None
    wearer: int | None
    overlap: float | None
    truncated: float = 0.0


def _requests(layout: Layout, labelled: Collection[str], dropped: Collection[int]) -> list[_Request]:
    """What is to be seen, in the layout's order; after all that what is worn without a box of its own."""
    places = [place for place in range(len(layout.objects)) if place not in dropped]
    boxes = {place: clip_box(layout.objects[place].box, layout.size) for place in places}
    overlaps = dict(zip(places, _largest_overlaps([boxes[place] for place in places]), strict=True))
    requests, bare = [], []
    for place in places:
        item, box = layout.objects[place], boxes[place]
        if item.label in labelled:
            truncated = round(min(max(1 - box[2] * box[3] / (item.box[2] * item.box[3]), 0.0), 1.0), 4)
            requests.append(_Request(item.label, box, place, item.worn_by, overlaps[place], truncated))
        boxed = {other.label for other in layout.objects if other.worn_by == place}
        bare += [
            _Request(label, box, None, place, None) for label in item.wears if label in labelled and label not in boxed
        ]
    return requests + bare


def _largest_overlaps(boxes: Sequence[BoxOfFloats]) -> list[float]:
    """Of each box, the largest IoU with another one."""
    table = np.array(boxes, np.float64).reshape(-1, 4)
    ious = box_overlaps(table[:, None], table[None])
    np.fill_diagonal(ious, 0)
    largest: list[float] = np.minimum(ious.max(axis=1, initial=0), 1.0).tolist()
    return largest


def _answers(requests: Sequence[_Request], detections: Sequence[Detection], min_iou: float) -> list[Detection | None]:
    """The detection that each request was given, in their order; ``detections`` are by falling score."""
    answers: list[Detection | None] = [None] * len(requests)
    for detection in detections:
        free = [
            (_iou(request.box, detection.box), -row)
            for row, request in enumerate(requests)
            if request.overlap is not None and request.label == detection.label and answers[row] is None
        ]
        iou, row = max(free, default=(0.0, 0))
        if iou >= min_iou:
            answers[-row] = detection
    wearers = {request.place: answers[row] for row, request in enumerate(requests) if request.place is not None}
    for row, request in enumerate(requests):
        if request.overlap is None:
            answers[row] = _find_worn(request, wearers, detections, answers)
    return answers


def _find_worn(
    request: _Request,
    wearers: Mapping[int, Detection | None],
    detections: Sequence[Detection],
    answers: Sequence[Detection | None],
) -> Detection | None:
    """The surest free detection that lies within whoever wears it."""
    wearer = wearers.get(request.wearer) if request.wearer is not None else None
    if wearer is None and request.wearer in wearers:
        return None
    around = request.box if wearer is None else wearer.box
    free = (item for item in detections if item.label == request.label and item not in answers)
    return next((item for item in free if _share_within(item.box, around) >= _SAME), None)


def _checked(request: _Request, answer: Detection | None) -> CheckedObject:
    iou = 0.0 if answer is None else _iou(request.box, answer.box)
    overlap = None if request.overlap is None else round(request.overlap, 4)
    return CheckedObject(label=request.label, overlap=overlap, iou=round(iou, 4), accepted=answer is not None)


def _labels(
    requests: Sequence[_Request], answers: Sequence[Detection | None], size: tuple[int, int]
) -> tuple[SceneObject, ...]:
    """The labels of what was accepted.

    A detector sees boxes: they stand for the visible pixels, and all that is known of what cannot be seen is what lay
    beyond the canvas when it was asked for.
    """
    numbers: dict[int | None, int] = {}
    labels: list[SceneObject] = []
    for request, answer in zip(requests, answers, strict=True):
        if answer is None:
            continue
        if request.place is not None:
            numbers[request.place] = len(labels)
        box = _whole_pixels(answer.box, size)
        labels.append(
            SceneObject(
                label=request.label,
                box=box,
                runs=encode_runs_within(np.ones((box[3], box[2]), np.uint8), box[:2], size),
                area=box[2] * box[3],
                visible=round(1 - request.truncated, 4),
                truncated=request.truncated,
                worn_by=None if request.wearer is None else numbers.get(request.wearer),
            )
        )
    return tuple(labels)


def _whole_pixels(box: BoxOfFloats, size: tuple[int, int]) -> Box:
    """The box on whole pixels of the canvas, one wide and high at least."""
    (left, width), (top, height) = (
        _whole_side(start, length, most) for start, length, most in zip(box[:2], box[2:], size, strict=True)
    )
    return left, top, width, height


def _whole_side(start: float, length: float, most: int) -> tuple[int, int]:
    first = min(max(round(start), 0), most - 1)
    return first, max(min(round(start + length), most) - first, 1)


def _iou(first: BoxOfFloats, second: BoxOfFloats) -> float:
    return float(box_overlaps(np.array(first, np.float64), np.array(second, np.float64)))


def _share_within(box: BoxOfFloats, other: BoxOfFloats) -> float:
    """The share of ``box`` that lies within ``other``, 0..1."""
    width = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    height = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    return max(width, 0.0) * max(height, 0.0) / (box[2] * box[3]) if box[2] * box[3] > 0 else 1.0


def _is_within(detection: Detection, sight: Detection) -> bool:
    return detection.label == sight.label and _share_within(detection.box, sight.box) >= _SAME


def _enumerate(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {label}" for label, count in sorted(counts.items()))


class ScenePainter(Protocol):
    """Has pictures painted of layouts, as they are asked for or not."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def settings(self) -> str:
        """What the same layout's picture hangs on besides: other settings may give another picture."""
        ...

    def paint(self, layout: Layout) -> Image:
        """A picture, uint8 RGB of the layout's size, in which the objects were asked for.

        Raises:
            InputError: the layout asks for what cannot be painted.
            ContentFilteredError: a content filter withheld it.
            ServiceError: a service failed after bounded retries.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class CheckedRenderer:
    """Scenes of what a painter makes of layouts and a detector confirms; a `SceneRenderer`, safe to share by threads.

    Args:
        painter: paints.
        detector: confirms, see `accept`.
        classes: what is labelled.
        journal: keeps what became of each layout: one that was rejected before, by the same painter and detector, is
            rejected again without being painted.
        min_iou: see `accept`.
    """

    painter: ScenePainter
    detector: Detector
    classes: tuple[str, ...]
    journal: AcceptanceJournal
    min_iou: float = MIN_IOU

    @property
    def name(self) -> str:
        """That of the painter."""
        return self.painter.name

    @property
    def check(self) -> str:
        """What painted and what checked, and how, as records name it."""
        return (
            f"{self.painter.name} ({self.painter.settings}); detector {self.detector.card.version}, IoU {self.min_iou}"
        )

    def render(self, layout: Layout) -> Scene:
        """The scene of ``layout``; see `SceneRenderer`.

        Raises:
            SceneRejectedError: the picture was withheld, or the detector does not see what was asked for.
            InputError, ServiceError: as `ScenePainter.paint` and `accept` say.
        """
        known = self.journal.verdict(layout, self.check)
        if known is not None and known.outcome != "accepted":
            raise SceneRejectedError(
                f"It was painted before, and {known.outcome}. Give it another seed.", known.outcome
            )
        try:
            image = self.painter.paint(layout)
        except ContentFilteredError as error:
            self.journal.add(CheckRecord.withheld(layout, self.check))
            raise SceneRejectedError(str(error), "withheld") from error
        accepted = accept(image, layout, self.detector, self.min_iou, classes=self.classes)
        self.journal.add(accepted.record(self.check))
        if not accepted.is_usable:
            raise SceneRejectedError(f"{accepted.reason()}.", accepted.outcome)
        return accepted.scene
