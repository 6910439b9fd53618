"""Notifying people of broken rules, and of images that could not be judged."""

from __future__ import annotations

from dataclasses import dataclass

from defectory.aws.alerts import Alerts
from defectory.aws.environment import FunctionEnvironment
from defectory.detection.safety.records import SafetyRecord
from defectory.detection.safety.results_table import DetectionsTable
from defectory.line.alerts import Notifier, Pages, shown, table_text

MEANING = {
    "OK": "no rule is broken",
    "PENDING": "a rule is broken, not on enough images in a row yet",
    "ALERT": "a rule is broken",
    "REVIEW": "a rule could not be judged, look at the place",
    "UNREADABLE": "the file is no image that can be looked at",
    "UNSUPPORTED": "files of this kind are not looked at",
    "ERROR": "the image could not be looked at, nobody knows whether a rule is broken",
}


class SafetyNotifierEnvironment(FunctionEnvironment):
    """The environment variables of the functions that notify."""

    results_table: str
    results_bucket: str
    alert_topic_arn: str
    review_topic_arn: str
    aws_region: str

    def notifier(self, *, limit: int) -> Notifier[SafetyRecord]:
        """The notifier of a function with this environment."""
        return Notifier(
            table=DetectionsTable(self.results_table),
            topics={"alert": Alerts(self.alert_topic_arn), "review": Alerts(self.review_topic_arn)},
            mails=SafetyMails(Pages(self.aws_region, self.results_bucket)),
            limit=limit,
        )


@dataclass(frozen=True, slots=True)
class SafetyMails:
    """The mails about cameras' images.

    They lead to the picture that was written for people to look at, never to the upload, which nobody blurred.
    """

    pages: Pages

    def alert(self, record: SafetyRecord) -> tuple[str, str]:
        """Subject and text of the mail about one image: what, where, when, and the picture."""
        place = shown(record.camera) or shown(record.key)
        told = [rule for rule in record.broken_rules if rule.is_told]
        rows = [
            *(("What", f"{rule.message} ({_count(rule.objects, rule.frames)})") for rule in told),
            ("Where", place),
            ("When", record.uploaded_at),
            ("Outcome", f"{record.outcome}: {MEANING[record.outcome]}"),
            ("Why", record.reason),
            ("Picture", self.link(record)),
            ("File", shown(record.key)),
            ("Model", record.model_version),
            ("Inspection", record.inspection_id),
        ]
        subject = f"{told[0].message}, {place}" if told else place
        return f"{record.outcome}: {subject}", table_text(rows)

    def link(self, record: SafetyRecord) -> str:
        """Where the picture with its boxes is to be seen, "" where there is none."""
        return self.pages.of(self.pages.results_bucket, record.boxed_key) if record.boxed_key else ""


def _count(objects: int, frames: int) -> str:
    of_objects = "one object" if objects == 1 else f"{objects} objects"
    return of_objects if frames == 1 else f"{of_objects}, {frames} images in a row"
