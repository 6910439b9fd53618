"""The table of results in DynamoDB: one row an upload, found by id, by day, by outcome and day, and by pending alert.

```
inspection_id            what
3f9a1c2b...              an inspection (with `owed` = "defect" or "review" only while somebody has to be notified)
alerts#defect#2026-...   how many alerts went out in that hour
```

Indexes: ``day-index`` (``day``, ``uploaded_at``), ``outcome-index`` (``outcome_day`` such as ``FAIL#2026-11-21``,
``uploaded_at``), and the sparse ``owed-index`` (``owed``, ``recorded_at``) and ``confirmed-index`` (``confirmed``,
``confirmed_at``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from botocore.client import BaseClient

from defectory.aws.dynamodb import Table
from defectory.errors import FailureKind, ServiceError
from defectory.inspection.line.records import Channel, InspectionOutcome, InspectionRecord, timestamp

DAY_INDEX, OUTCOME_INDEX, PENDING_INDEX, CONFIRMED_INDEX = "day-index", "outcome-index", "owed-index", "confirmed-index"
INDEXES = {
    DAY_INDEX: ("day", "uploaded_at"),
    OUTCOME_INDEX: ("outcome_day", "uploaded_at"),
    PENDING_INDEX: ("owed", "recorded_at"),
    CONFIRMED_INDEX: ("confirmed", "confirmed_at"),
}
CLAIM = timedelta(minutes=15)
"""After this long, who has claimed to notify people is taken to have died over it."""


class RecordNotFoundError(ServiceError):
    """The table has no such inspection."""

    code = "InspectionNotFound"
    kind = FailureKind.PERMANENT


class ResultsTable:
    """Inspections by id.  Every method may raise ``ServiceError``."""

    def __init__(self, name: str, client: BaseClient | None = None) -> None:
        self._table = Table(name, client)

    def put(self, record: InspectionRecord, now: datetime) -> bool:
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

    def get(self, inspection_id: str) -> InspectionRecord:
        """The inspection as it is now.

        Raises:
            RecordNotFoundError: there is none.
        """
        table = self._table.name
        item = self._table.read(f"read inspection {inspection_id!r} from table {table}", _key(inspection_id))
        if item is None:
            raise RecordNotFoundError(f"Table {table} has no inspection {inspection_id!r}.")
        return _to_record(item)

    def of_day(self, day: str, outcome: InspectionOutcome | None = None) -> Iterator[InspectionRecord]:
        """The inspections of what was uploaded on ``day`` (``2026-11-21``, in UTC), oldest first."""
        if outcome:
            return self._query(OUTCOME_INDEX, "outcome_day = :value", {":value": f"{outcome}#{day}"})
        return self._query(DAY_INDEX, "#day = :value", {":value": day}, {"#day": "day"})

    def pending(self, channel: Channel, before: datetime) -> Iterator[InspectionRecord]:
        """The inspections recorded before ``before`` whose alert to ``channel`` is pending, oldest first."""
        values = {":value": channel, ":before": timestamp(before)}
        return self._query(PENDING_INDEX, "owed = :value AND recorded_at < :before", values)

    def unconfirmed(self, day: str, outcome: InspectionOutcome) -> int:
        """How many inspections of what was uploaded on ``day`` ended so and have no person's word yet."""
        pages = self._table.pages(
            self._querying(OUTCOME_INDEX),
            OUTCOME_INDEX,
            "outcome_day = :value",
            {":value": f"{outcome}#{day}"},
            FilterExpression="attribute_not_exists(confirmed)",
            Select="COUNT",
        )
        return sum(int(page["Count"]) for page in pages)

    def confirmed(self, since: str = "") -> Iterator[InspectionRecord]:
        """The inspections that people confirmed or corrected, from the moment ``since`` on (``2026-11-21`` say)."""
        for label in ("normal", "anomaly"):
            values = {":value": label, ":since": since or "0"}
            yield from self._query(CONFIRMED_INDEX, "confirmed = :value AND confirmed_at >= :since", values)

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

    def take_slot(self, channel: Channel, now: datetime, limit: int) -> bool:
        """Count one more alert of this hour; False if there were ``limit`` of them already."""
        return self._update(
            f"alerts#{channel}#{timestamp(now)[:13]}",
            "SET expires_at = :expiry ADD sent :one",
            "attribute_not_exists(sent) OR sent < :limit",
            {":one": 1, ":limit": limit, ":expiry": int((now + timedelta(days=2)).timestamp())},
        )

    def confirm(
        self, inspection_id: str, *, label: str, classes: tuple[str, ...], by: str, note: str, now: datetime
    ) -> InspectionRecord:
        """Write down a person's word on the part; a later word replaces it.

        Raises:
            RecordNotFoundError: there is no such inspection.
        """
        self._update(
            inspection_id,
            "SET confirmed = :label, confirmed_classes = :classes, confirmed_by = :by, confirmed_note = :note, "
            "confirmed_at = :now",
            # The counters of alerts have ids as well, and no key.
            "attribute_exists(inspection_id) AND attribute_exists(uploaded_at)",
            {":label": label, ":classes": list(classes), ":by": by, ":note": note, ":now": timestamp(now)},
        )
        return self.get(inspection_id)

    def _query(
        self, index: str, condition: str, values: Mapping[str, Any], names: Mapping[str, str] | None = None
    ) -> Iterator[InspectionRecord]:
        more = {"ExpressionAttributeNames": dict(names)} if names else {}
        return map(_to_record, self._table.query(self._querying(index), index, condition, values, **more))

    def _querying(self, index: str) -> str:
        return f"query {index} of table {self._table.name}"

    def _update(self, inspection_id: str, change: str, condition: str, values: Mapping[str, Any]) -> bool:
        """Apply ``change``; False if ``condition`` does not hold."""
        doing = f"update inspection {inspection_id}"
        return self._table.update(doing, _key(inspection_id), change, condition, values)


def _key(inspection_id: str) -> dict[str, Any]:
    return {"inspection_id": inspection_id}


def _to_record(item: Mapping[str, Any]) -> InspectionRecord:
    stored = InspectionRecord.stored_names()
    return InspectionRecord.model_validate({name: value for name, value in item.items() if name in stored})
