"""Records: the row that every picture of a camera ends as, whatever became of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from defectory.line.records import FailedStatus, UploadRecord
from defectory.validation import FrozenModel

SafetyStatus = Literal["DETECTED", FailedStatus]
"""DETECTED: the detector has answered.  With any other, nobody knows whether a rule is broken."""

SafetyOutcome = Literal["OK", "PENDING", "REVIEW", "ALERT", FailedStatus]
"""OK: no rule is broken.  PENDING: one is, not on enough images in a row yet.  ALERT: one is, on enough.  REVIEW: some
rule could not be judged, and none is ALERT."""

SafetyChannel = Literal["alert", "review"]
"""Whom to notify: of broken rules, or of what a person has to look at."""

Box = tuple[float, float, float, float]

MOST_LISTED = 100
"""Objects that a row lists, and violations; the file of the result has all."""


class FoundObject(FrozenModel):
    """An object found: class, score (0..1), and box: left, top, width, height in pixels."""

    label: str
    score: float
    box: Box


class Violation(FoundObject):
    """An object that breaks a rule: it lacks what is ``missing``, has what is forbidden and ``present``."""

    rule: str
    zone: str = ""
    missing: tuple[str, ...] = ()
    present: tuple[str, ...] = ()


class BrokenRule(FrozenModel):
    """A rule that the picture shows broken.

    Args:
        rule, zone, min_frames: the rule's.
        message: what is broken, as a person reads it.
        objects: how many break it.
        frames: images in a row that show it broken, this one included, counted up to ``min_frames``.
        is_due: whether these are enough.
        is_told: whether people are told of it by this image.
    """

    rule: str
    zone: str = ""
    min_frames: int
    message: str
    objects: int
    frames: int = 1
    is_due: bool = False
    is_told: bool = False


class SafetyRecord(UploadRecord):
    """What was seen on one picture.

    ``camera`` is "" where no prefix of the rules fits; ``within_minutes`` and ``repeat_minutes`` are its rules';
    ``object_count`` and ``violation_count`` count also what is not listed; ``boxed_key`` is the picture with its boxes
    drawn, on which persons cannot be recognised if ``is_blurred``.
    """

    status: SafetyStatus
    camera: str = ""
    detections: tuple[FoundObject, ...] = ()
    object_count: int = 0
    broken_rules: tuple[BrokenRule, ...] = ()
    violations: tuple[Violation, ...] = ()
    violation_count: int = 0
    within_minutes: int = 60
    repeat_minutes: int = 15
    boxed_key: str = ""
    is_blurred: bool = False
    pending_alert: SafetyChannel | None = Field(default=None, alias="owed")

    @property
    def outcome(self) -> SafetyOutcome:
        """What the picture says of the rules, or why it says nothing."""
        if self.status != "DETECTED":
            return self.status
        if any(rule.is_due for rule in self.broken_rules):
            return "ALERT"
        if self.reason:
            return "REVIEW"
        return "PENDING" if self.broken_rules else "OK"

    @property
    def channel(self) -> SafetyChannel | None:
        """Who has to know: of a rule that stays broken, people are not told with each image."""
        if any(rule.is_told for rule in self.broken_rules):
            return "alert"
        return "review" if self.reason or self.status != "DETECTED" else None
