"""A line's table of results in DynamoDB: one row an upload, found by id, day, outcome and day, and pending alert.

```
inspection_id            what
3f9a1c2b...              an inspection (with `owed`, a channel's name, only while somebody has to be notified)
alerts#defect#2026-...   how many alerts went out to a channel in that hour
```

Indexes: ``day-index`` (``day``, ``uploaded_at``), ``outcome-index`` (``outcome_day`` such as ``FAIL#2026-11-21``,
``uploaded_at``), and the sparse ``owed-index`` (``owed``, ``recorded_at``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from botocore.client import BaseClient

from defectory.aws.dynamodb import Table
from defectory.errors import FailureKind, ServiceError
from defectory.line.records import UploadRecord, timestamp

DAY_INDEX, OUTCOME_INDEX, PENDING_INDEX = "day-index", "outcome-index", "owed-index"
INDEXES = {
    DAY_INDEX: ("day", "uploaded_at"),
    OUTCOME_INDEX: ("outcome_day", "uploaded_at"),
    PENDING_INDEX: ("owed", "recorded_at"),
}
CLAIM = timedelta(minutes=15)
"""After this long, who has claimed to notify people is taken to have died over it."""

Record = TypeVar("Record", bound=UploadRecord)


class RecordNotFoundError(ServiceError):
    """The table has no such inspection."""

    code = "InspectionNotFound"
    kind = FailureKind.PERMANENT


class RecordTable(Generic[Record]):
    """Records of uploads by id.  Every method may raise ``ServiceError``.

    A line derives its own, which says as what its rows are read.
    """

    record_type: type[Record]

    def __init__(self, name: str, client: BaseClient | None = None) -> None:
        self._table = Table(name, client)

    def put(self, record: Record, now: datetime) -> bool:
        """Write the row of an inspection.

        Returns:
            False if the row is there already, from this attempt or a later one; it stays as it is.
        """
        fields = record.model_dump(mode="json", exclude_none=True)
        item = {
            # DynamoDB takes no empty text where an index has its keys.
            **{name: value for name, value in fields.items() if value != ""},
            "day": record.day,
            "outcome": record.outcome,
            "outcome_day": f"{record.outcome}#{record.day}",
            "recorded_at": timestamp(now),
        }
        return self._table.put(
            f"write inspection {record.inspection_id}",
            item,
            "attribute_not_exists(inspection_id) OR attempt < :attempt",
            {":attempt": record.attempt},
        )

    def get(self, inspection_id: str) -> Record:
        """The inspection as it is now.

        Raises:
            RecordNotFoundError: there is none.
        """
        table = self._table.name
        item = self._table.read(f"read inspection {inspection_id!r} from table {table}", _key(inspection_id))
        if item is None:
            raise RecordNotFoundError(f"Table {table} has no inspection {inspection_id!r}.")
        return self._to_record(item)

    def of_day(self, day: str, outcome: str | None = None) -> Iterator[Record]:
        """The inspections of what was uploaded on ``day`` (``2026-11-21``, in UTC), oldest first."""
        if outcome:
            return self._query(OUTCOME_INDEX, "outcome_day = :value", {":value": f"{outcome}#{day}"})
        return self._query(DAY_INDEX, "#day = :value", {":value": day}, {"#day": "day"})

    def pending(self, channel: str, before: datetime) -> Iterator[Record]:
        """The inspections recorded before ``before`` whose alert to ``channel`` is pending, oldest first."""
        values = {":value": channel, ":before": timestamp(before)}
        return self._query(PENDING_INDEX, "owed = :value AND recorded_at < :before", values)

    def claim(self, inspection_id: str, now: datetime) -> bool:
        """Take it on oneself to notify people; False if no alert is pending or another is at it."""
        return self._update(
            inspection_id,
            "SET claimed_at = :now",
            "attribute_exists(owed) AND (attribute_not_exists(claimed_at) OR claimed_at < :stale)",
            {":now": timestamp(now), ":stale": timestamp(now - CLAIM)},
        )

    def release(self, inspection_id: str) -> None:
        """Give a claim back: people were not notified, and are to be notified later."""
        self._update(inspection_id, "REMOVE claimed_at", "attribute_exists(owed)", {})

    def settle(self, inspection_id: str, now: datetime) -> None:
        """People were notified."""
        change = "SET told_at = :now REMOVE owed, claimed_at"
        self._update(inspection_id, change, "attribute_exists(owed)", {":now": timestamp(now)})

    def take_slot(self, channel: str, now: datetime, limit: int) -> bool:
        """Count one more alert of this hour; False if there were ``limit`` of them already."""
        return self._update(
            f"alerts#{channel}#{timestamp(now)[:13]}",
            "SET expires_at = :expiry ADD sent :one",
            "attribute_not_exists(sent) OR sent < :limit",
            {":one": 1, ":limit": limit, ":expiry": int((now + timedelta(days=2)).timestamp())},
        )

    def _query(
        self, index: str, condition: str, values: Mapping[str, Any], names: Mapping[str, str] | None = None
    ) -> Iterator[Record]:
        more = {"ExpressionAttributeNames": dict(names)} if names else {}
        return map(self._to_record, self._table.query(self._querying(index), index, condition, values, **more))

    def _querying(self, index: str) -> str:
        return f"query {index} of table {self._table.name}"

    def _update(self, inspection_id: str, change: str, condition: str, values: Mapping[str, Any]) -> bool:
        """Apply ``change``; False if ``condition`` does not hold."""
        doing = f"update inspection {inspection_id}"
        return self._table.update(doing, _key(inspection_id), change, condition, values)

    def _to_record(self, item: Mapping[str, Any]) -> Record:
        stored = self.record_type.stored_names()
        return self.record_type.model_validate({name: value for name, value in item.items() if name in stored})


def _key(inspection_id: str) -> dict[str, Any]:
    return {"inspection_id": inspection_id}
