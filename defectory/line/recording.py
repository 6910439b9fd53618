"""Recording: every upload that was taken up becomes a row, also when the work on it failed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic

from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.line.records import read_cause
from defectory.line.results_table import Record, RecordTable
from defectory.line.uploads import Upload


@dataclass(frozen=True, slots=True)
class Recorder(ABC, Generic[Record]):
    """Writes rows; once written, a row's alert is pending until people were notified.  A line derives its own."""

    table: RecordTable[Record]
    retention: timedelta
    metrics: DeploymentMetrics

    def record(self, state: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """Write the row for what the state machine knows: ``{upload, record}``, or ``{upload, problem}``.

        Returns:
            ``{inspection_id, outcome, tell}``; ``tell`` is true where people are to be notified at once.

        Raises:
            ServiceError: the table refuses the row.
        """
        record = self.complete(self._read(state, now), now)
        record = record.model_copy(update={"pending_alert": record.channel})
        if self.table.put(record, now):
            self.count(record, now)
        return {"inspection_id": record.inspection_id, "outcome": record.outcome, "tell": record.is_urgent}

    def complete(self, record: Record, now: datetime) -> Record:
        """The record with what follows from others; the same when it is done again."""
        return record

    @abstractmethod
    def count(self, record: Record, now: datetime) -> None:
        """Print the metrics of a row that is new."""

    def _read(self, state: Mapping[str, Any], now: datetime) -> Record:
        record_type = self.table.record_type
        match state:
            case {"record": inspected}:
                return record_type.model_validate(inspected)
            case {"upload": upload, "problem": {"error": error, **rest}}:
                reason = read_cause(error, str(rest.get("cause", "")))
                return record_type.of(
                    Upload.model_validate(upload), now=now, retention=self.retention, status="ERROR", reason=reason
                )
            case _:
                raise ValueError(f"neither a record nor a problem: {sorted(state)}")
