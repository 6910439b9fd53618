"""Recording: every upload that was taken up becomes a row, also when its inspection failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.aws.metrics import INSPECTION_SCORE, INSPECTION_TIME, INSPECTIONS
from defectory.inspection.line.records import InspectionRecord, read_cause
from defectory.inspection.line.results_table import ResultsTable
from defectory.inspection.line.uploads import Upload


@dataclass(frozen=True, slots=True)
class Recorder:
    """Writes rows; once written, a row's alert is pending until people were notified."""

    table: ResultsTable
    retention: timedelta
    metrics: DeploymentMetrics

    def record(self, state: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """Write the row for what the state machine knows: ``{upload, record}``, or ``{upload, problem}``.

        Returns:
            ``{inspection_id, outcome, tell}``; ``tell`` is true where people are to be notified at once.

        Raises:
            ServiceError: the table refuses the row.
        """
        record = self._record(state, now)
        record = record.model_copy(update={"pending_alert": record.channel})
        if self.table.put(record, now):
            self._count(record, now)
        return {"inspection_id": record.inspection_id, "outcome": record.outcome, "tell": record.is_urgent}

    def _count(self, record: InspectionRecord, now: datetime) -> None:
        self.metrics.put_outcomes(INSPECTIONS, {record.outcome: 1})
        duration = now - datetime.fromisoformat(record.uploaded_at)
        values = {INSPECTION_TIME: duration / timedelta(milliseconds=1)}
        self.metrics.put(values if record.score is None else values | {INSPECTION_SCORE: record.score})

    def _record(self, state: Mapping[str, Any], now: datetime) -> InspectionRecord:
        match state:
            case {"record": inspected}:
                return InspectionRecord.model_validate(inspected)
            case {"upload": upload, "problem": {"error": error, **rest}}:
                reason = read_cause(error, str(rest.get("cause", "")))
                return InspectionRecord.of(
                    Upload.model_validate(upload), now=now, retention=self.retention, status="ERROR", reason=reason
                )
            case _:
                raise ValueError(f"neither a record nor a problem: {sorted(state)}")
