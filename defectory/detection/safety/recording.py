"""Recording what was seen: how long each rule has been broken, and whether people are told of it by this image."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from defectory.aws.metrics import SAFETY_ALERTS, SAFETY_IMAGES, SAFETY_TIME
from defectory.detection.safety.cameras import CameraPrefixes
from defectory.detection.safety.frames import Frame, FrameTable
from defectory.detection.safety.records import BrokenRule, SafetyRecord
from defectory.detection.safety.rules_file import RulesFile
from defectory.line.recording import Recorder


@dataclass(frozen=True, slots=True)
class SafetyRecorder(Recorder[SafetyRecord]):
    """Writes the rows of cameras' images, each with its place among those of its camera."""

    frames: FrameTable
    rules: RulesFile

    def complete(self, record: SafetyRecord, now: datetime) -> SafetyRecord:
        """The record with its camera, and with the runs of images that show its rules broken.

        Raises:
            ServiceError: a table or a bucket refuses.
        """
        camera = record.camera or CameraPrefixes.read(self.rules.read()).name_of(record.key)
        if not camera:
            return record
        frame = Frame.of(camera, record.uploaded_at, record.key, record.inspection_id)
        names = [rule.rule for rule in record.broken_rules]
        settled = names if record.status == "DETECTED" else None
        # Before the others are looked at: of two that are settled at once, one sees the other.
        self.frames.settle(frame, settled, attempt=record.attempt, now=now)
        broken = tuple(self._with_run(rule, frame, record, now) for rule in record.broken_rules)
        return record.model_copy(update={"camera": camera, "broken_rules": broken})

    def count(self, record: SafetyRecord, now: datetime) -> None:
        """Print how the image ended, how long that took, and the rules that people are told of."""
        self.metrics.put_outcomes(SAFETY_IMAGES, {record.outcome: 1})
        duration = now - datetime.fromisoformat(record.uploaded_at)
        told = sum(rule.is_told for rule in record.broken_rules)
        self.metrics.put({SAFETY_TIME: duration / timedelta(milliseconds=1), SAFETY_ALERTS: told})

    def _with_run(self, rule: BrokenRule, frame: Frame, record: SafetyRecord, now: datetime) -> BrokenRule:
        within = timedelta(minutes=record.within_minutes)
        frames = self.frames.count_run(frame, rule.rule, enough=rule.min_frames, within=within)
        is_due = frames >= rule.min_frames
        repeat = timedelta(minutes=record.repeat_minutes)
        is_told = is_due and self.frames.claim_alert(frame, rule.rule, repeat=repeat, now=now)
        return rule.model_copy(update={"frames": frames, "is_due": is_due, "is_told": is_told})
