"""Notifying people of inspections: of defects, and of what a person has to look at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from defectory.aws.alerts import Alerts
from defectory.aws.environment import FunctionEnvironment
from defectory.inspection.line.records import InspectionRecord
from defectory.inspection.line.results_table import ResultsTable
from defectory.line.alerts import Notifier, Pages, shown, table_text
from defectory.line.records import timestamp

REVIEW_DAYS = 7
"""Days of uploads, today's included, among which parts that wait for a person's word are counted."""


class NotifierEnvironment(FunctionEnvironment):
    """The environment variables of the functions that notify."""

    results_table: str
    results_bucket: str
    defect_topic_arn: str
    review_topic_arn: str
    aws_region: str

    def notifier(self, *, limit: int) -> InspectionNotifier:
        """The notifier of a function with this environment."""
        return InspectionNotifier(
            table=ResultsTable(self.results_table),
            topics={"defect": Alerts(self.defect_topic_arn), "review": Alerts(self.review_topic_arn)},
            mails=InspectionMails(Pages(self.aws_region, self.results_bucket)),
            limit=limit,
        )


@dataclass(frozen=True, slots=True)
class InspectionNotifier(Notifier[InspectionRecord]):
    """Notifies people of inspections, and counts what waits for their word."""

    table: ResultsTable

    def reviews_waiting(self, now: datetime) -> int:
        """How many parts of the last days had REVIEW and no person's word yet.

        Raises:
            ServiceError: the table cannot be asked.
        """
        days = (timestamp(now - timedelta(days=ago))[:10] for ago in range(REVIEW_DAYS))
        return sum(self.table.unconfirmed(day, "REVIEW") for day in days)


@dataclass(frozen=True, slots=True)
class InspectionMails:
    """The mails about inspected parts."""

    pages: Pages

    def alert(self, record: InspectionRecord) -> tuple[str, str]:
        """Subject and text of the mail about one inspection."""
        rows = [
            ("File", shown(record.key)),
            ("Uploaded", record.uploaded_at),
            ("Outcome", f"{record.outcome}: {MEANING[record.outcome]}"),
            ("Why", "; ".join(filter(None, (record.reason, *record.reasons)))),
            ("Score", _score(record)),
            ("Confidence", "" if record.confidence is None else f"{record.confidence:.1%} that this is right"),
            ("Defects", ", ".join(f"{defect.name} ({defect.area:.2%} of the image)" for defect in record.defects)),
            ("Model", record.model_version),
            ("Image", self.link(record)),
            ("Heatmap", self.pages.of(self.pages.results_bucket, record.overlay_key) if record.overlay_key else ""),
            ("Inspection", record.inspection_id),
        ]
        return f"{record.outcome}: {shown(record.key)}", table_text(rows)

    def link(self, record: InspectionRecord) -> str:
        """Where the uploaded image is to be seen."""
        return self.pages.of(record.bucket, record.key, record.version_id)


MEANING = {
    "PASS": "the part is good",
    "REVIEW": "the model is not sure, look at the part",
    "FAIL": "the part looks defective",
    "UNREADABLE": "the file is no image that can be inspected",
    "UNSUPPORTED": "files of this kind are not inspected",
    "ERROR": "the inspection failed, nobody knows whether the part is good",
}


def _score(record: InspectionRecord) -> str:
    if record.score is None:
        return ""
    return f"{record.score:.4g} (REVIEW from {record.review_threshold:.4g}, FAIL from {record.fail_threshold:.4g})"
