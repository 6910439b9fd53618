"""Recording inspections, and counting them."""

from __future__ import annotations

from datetime import datetime, timedelta

from defectory.aws.metrics import INSPECTION_SCORE, INSPECTION_TIME, INSPECTIONS
from defectory.inspection.line.records import InspectionRecord
from defectory.line.recording import Recorder


class InspectionRecorder(Recorder[InspectionRecord]):
    """Writes the rows of inspections."""

    def count(self, record: InspectionRecord, now: datetime) -> None:
        """Print how the inspection ended, how long that took, and the score."""
        self.metrics.put_outcomes(INSPECTIONS, {record.outcome: 1})
        duration = now - datetime.fromisoformat(record.uploaded_at)
        values = {INSPECTION_TIME: duration / timedelta(milliseconds=1)}
        self.metrics.put(values if record.score is None else values | {INSPECTION_SCORE: record.score})
