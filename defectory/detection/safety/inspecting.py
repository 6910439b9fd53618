"""Inspecting a camera's picture: find objects, hold them against the rules, and draw what was found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from defectory.detection.detectors.detector import Detection, DetectionReply
from defectory.detection.drawing import PALETTE, Colour, DrawnBox, blur_detections, draw_boxes, draw_polygons
from defectory.detection.rules import Alert, SafetyRule, SafetyRules
from defectory.detection.safety.camera_rules import CameraRules, read_cameras
from defectory.detection.safety.records import MOST_LISTED, BrokenRule, FoundObject, SafetyRecord, Violation
from defectory.detection.safety.rules_file import RulesFile
from defectory.detection.served_detector import DetectionService
from defectory.errors import InputError, shorten
from defectory.line.buckets import ResultsBucket, StoredFile
from defectory.line.opening import Unusable, open_upload
from defectory.line.payload import OVERLAY_SIDE, fitted
from defectory.line.records import REASON_LIMIT
from defectory.line.uploads import Upload
from defectory.validation import FrozenModel
from defectory.vision.images import encode_jpeg

BOXED, RESULT = "boxes.jpg", "result.json"
_BROKEN: Colour = PALETTE[0]
_WHOLE: Colour = PALETTE[2]
_ZONE: Colour = PALETTE[3]


class SafetyResult(FrozenModel):
    """The file of a result: all that was found on an image, and all that breaks a rule, however often."""

    camera: str
    reply: DetectionReply
    alerts: tuple[Alert, ...]


@dataclass(frozen=True, slots=True)
class SafetyInspector:
    """Inspects one upload at a time; ``read`` gets an upload's content.

    The boxes of class ``blurred`` are blurred in the pictures that are written, none if it is "".
    """

    detector: DetectionService
    rules: RulesFile
    results: ResultsBucket
    read: Callable[[Upload], bytes]
    retention: timedelta
    blurred: str

    def inspect(self, upload: Upload) -> SafetyRecord:
        """What is seen on ``upload``, with its files written, or why nothing is.

        Raises:
            ServiceError: a service failed, which is to be tried again; the image is not to blame.
        """
        opened = open_upload(upload, self.read)
        if isinstance(opened, Unusable):
            return self._record(upload, status=opened.status, reason=opened.reason)
        reply = self.detector.detect(opened.content, upload.key)
        camera, problems = self._rules_for(upload.key)
        rules, more = judgeable(camera, reply) if camera else (None, [])
        problems += more
        alerts = rules.broken(reply.detections, reply.width, reply.height) if rules else ()
        files = [_result(camera, reply, alerts)]
        if self.blurred and self.blurred not in reply.classes:
            problems.append(f"No picture is kept: the detector does not know {self.blurred!r}, which is to be blurred.")
        else:
            files.append(self._picture(opened.image, reply, alerts, rules))
        keys = self.results.write(upload, files)
        return self._record(
            upload,
            status="DETECTED",
            reason=shorten(" ".join(problems), REASON_LIMIT),
            camera=camera.camera if camera else "",
            within_minutes=camera.within_minutes if camera else 1,
            repeat_minutes=camera.repeat_minutes if camera else 0,
            model_version=reply.model_version,
            width=reply.width,
            height=reply.height,
            detections=tuple(FoundObject(**item.model_dump()) for item in reply.detections[:MOST_LISTED]),
            object_count=len(reply.detections),
            broken_rules=broken_rules(rules.rules if rules else (), alerts),
            violations=tuple(Violation(**alert.model_dump(exclude={"frames"})) for alert in alerts[:MOST_LISTED]),
            violation_count=len(alerts),
            result_key=keys[RESULT],
            boxed_key=keys.get(BOXED, ""),
            is_blurred=bool(self.blurred),
        )

    def _rules_for(self, key: str) -> tuple[CameraRules | None, list[str]]:
        """The rules for an upload; without any, why."""
        content = self.rules.read()
        if content is None:
            return None, ["No rules are set: call set_safety_rules."]
        try:
            camera = read_cameras(content).of(key)
        except InputError as error:
            return None, [f"{self.rules.address} holds no rules: {error}"]
        return camera, [] if camera else ["The rules have no camera with a prefix that this key starts with."]

    def _picture(
        self, image: NDArray[np.uint8], reply: DetectionReply, alerts: Sequence[Alert], rules: SafetyRules | None
    ) -> StoredFile:
        small = fitted(image, OVERLAY_SIDE)
        scale = small.shape[1] / image.shape[1]
        detections = [_scaled(item, scale) for item in reply.detections]
        picture = blur_detections(small, detections, {self.blurred})
        zones = {rule.zone for rule in rules.rules if rule.zone} if rules else ()
        polygons = [rules.zones[name] for name in sorted(zones)] if rules else []
        picture = draw_polygons(picture, polygons, _ZONE)
        messages = _messages(alerts)
        boxes = [
            # What breaks a rule is drawn last, on top.
            *(DrawnBox(item.box, f"{item.label} {item.score:.2f}", _WHOLE) for item in detections),
            *(DrawnBox([side * scale for side in box], text, _BROKEN) for box, text in messages.items()),
        ]
        return StoredFile(BOXED, encode_jpeg(draw_boxes(picture, boxes)), "image/jpeg")

    def _record(self, upload: Upload, **fields: object) -> SafetyRecord:
        return SafetyRecord.of(upload, now=datetime.now(UTC), retention=self.retention, **fields)


def judgeable(rules: SafetyRules, reply: DetectionReply) -> tuple[SafetyRules | None, list[str]]:
    """Those of ``rules`` whose classes the detector knows, None if there are none; of each other one, why."""
    known, problems = [], []
    for rule in rules.rules:
        if unknown := [label for label in rule.labels if label not in reply.classes]:
            classes = ", ".join(reply.classes) or "none"
            problems.append(
                f"The rule {rule.name!r} cannot be judged: the detector knows {classes}, not {', '.join(unknown)}."
            )
        else:
            known.append(rule)
    return SafetyRules(zones=rules.zones, rules=tuple(known)) if known else None, problems


def broken_rules(rules: Sequence[SafetyRule], alerts: Sequence[Alert]) -> tuple[BrokenRule, ...]:
    """The rules that ``alerts`` are about, in their order, each told by its surest object."""
    broken = []
    for rule in rules:
        of_rule = [alert for alert in alerts if alert.rule == rule.name]
        if of_rule:
            worst = max(of_rule, key=lambda alert: alert.score)
            broken.append(
                BrokenRule(
                    rule=rule.name,
                    zone=rule.zone,
                    min_frames=rule.min_frames,
                    message=worst.describe(),
                    objects=len(of_rule),
                )
            )
    return tuple(broken)


def _messages(alerts: Sequence[Alert]) -> Mapping[tuple[float, ...], str]:
    """What is written at each box, which may break several rules."""
    texts: dict[tuple[float, ...], list[str]] = {}
    for alert in alerts:
        texts.setdefault(alert.box, []).append(alert.describe())
    return {box: "; ".join(lines) for box, lines in texts.items()}


def _scaled(detection: Detection, scale: float) -> Detection:
    left, top, width, height = (side * scale for side in detection.box)
    return detection.model_copy(update={"box": (left, top, width, height)})


def _result(camera: CameraRules | None, reply: DetectionReply, alerts: Sequence[Alert]) -> StoredFile:
    result = SafetyResult(camera=camera.camera if camera else "", reply=reply, alerts=tuple(alerts))
    return StoredFile(RESULT, result.model_dump_json(indent=1).encode(), "application/json")
