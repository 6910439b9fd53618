"""The table of inspections: a line's results, and what people said of them.

Besides the indexes of every line, the sparse ``confirmed-index`` (``confirmed``, ``confirmed_at``).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from defectory.inspection.line.records import InspectionOutcome, InspectionRecord
from defectory.line.records import timestamp
from defectory.line.results_table import INDEXES as INDEXES_OF_LINES
from defectory.line.results_table import OUTCOME_INDEX, RecordTable

CONFIRMED_INDEX = "confirmed-index"
INDEXES = {**INDEXES_OF_LINES, CONFIRMED_INDEX: ("confirmed", "confirmed_at")}


class ResultsTable(RecordTable[InspectionRecord]):
    """Inspections by id.  Every method may raise ``ServiceError``."""

    record_type = InspectionRecord

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
