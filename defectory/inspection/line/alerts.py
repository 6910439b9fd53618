"""Notifying people: one mail an inspection up to a limit an hour, and a digest of whatever had none."""

from __future__ import annotations

import itertools
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol, Self
from urllib.parse import quote

from defectory.aws.alerts import Alerts
from defectory.aws.environment import FunctionEnvironment
from defectory.errors import ServiceError, shorten
from defectory.inspection.line.records import Channel, InspectionRecord, timestamp
from defectory.inspection.line.results_table import ResultsTable

CHANNELS: tuple[Channel, ...] = ("defect", "review")
GRACE = timedelta(minutes=10)
"""How long the line itself may take to notify of an inspection before the digest does."""

DIGEST_ROWS = 1000
"""Inspections that one mail of the digest stands for."""

DIGEST_SHOWN = 50
"""Inspections that it names."""

NAME_SHOWN = 300

REVIEW_DAYS = 7
"""Days of uploads, today's included, among which parts that wait for a person's word are counted."""

Notification = Literal["SENT", "LEFT FOR THE DIGEST", "NOTHING OWED"]


class Topic(Protocol):
    """Where alerts go."""

    def send(self, subject: str, message: str) -> None:
        """Publish one alert."""


@dataclass(frozen=True, slots=True)
class Pages:
    """Links to objects in the console, which asks who wants to see them."""

    region: str
    results_bucket: str

    def of(self, bucket: str, key: str, version_id: str = "") -> str:
        """A link to the object, this version of it where one is named."""
        domain = {"cn": "console.amazonaws.cn", "us-gov": "console.amazonaws-us-gov.com"}.get(
            self.region.rpartition("-")[0].rpartition("-")[0], f"{self.region}.console.aws.amazon.com"
        )
        version = f"&versionId={quote(version_id, safe='')}" if version_id else ""
        return f"https://{domain}/s3/object/{bucket}?region={self.region}&prefix={quote(key, safe='')}{version}"


class NotifierEnvironment(FunctionEnvironment):
    """The environment variables of the functions that notify."""

    results_table: str
    results_bucket: str
    defect_topic_arn: str
    review_topic_arn: str
    aws_region: str


@dataclass(frozen=True, slots=True)
class Notifier:
    """Notifies the people of each channel, at most ``limit`` times an hour and channel by a mail of its own."""

    table: ResultsTable
    topics: Mapping[Channel, Topic]
    pages: Pages
    limit: int

    @classmethod
    def of(cls, env: NotifierEnvironment, *, limit: int) -> Self:
        """The notifier of a function with this environment."""
        return cls(
            table=ResultsTable(env.results_table),
            topics={"defect": Alerts(env.defect_topic_arn), "review": Alerts(env.review_topic_arn)},
            pages=Pages(env.aws_region, env.results_bucket),
            limit=limit,
        )

    def notify(self, inspection_id: str, now: datetime) -> Notification:
        """Notify of one inspection, once.

        Raises:
            ServiceError: people could not be notified; the alert stays pending.
        """
        record = self.table.get(inspection_id)
        if record.pending_alert is None or not self.table.claim(inspection_id, now):
            return "NOTHING OWED"
        if not self._send_if_few(record.pending_alert, record, now):
            self.table.release(inspection_id)
            return "LEFT FOR THE DIGEST"
        self.table.settle(inspection_id, now)
        return "SENT"

    def send_digest(self, now: datetime) -> dict[Channel, int]:
        """Notify, in few mails, of everything that is pending for a while; how many inspections that were, by channel.

        Raises:
            ServiceError: some could not be notified of; they stay pending.
        """
        notified: dict[Channel, int] = {}
        failures = []
        for channel in CHANNELS:
            try:
                notified[channel] = self._digest(channel, now)
            except ServiceError as error:
                failures.append(f"{channel}: {error}")
        if failures:
            raise ServiceError(f"The digest could not be sent in full. {' '.join(failures)}")
        return notified

    def reviews_waiting(self, now: datetime) -> int:
        """How many parts of the last days had REVIEW and no person's word yet.

        Raises:
            ServiceError: the table cannot be asked.
        """
        days = (timestamp(now - timedelta(days=ago))[:10] for ago in range(REVIEW_DAYS))
        return sum(self.table.unconfirmed(day, "REVIEW") for day in days)

    def _send_if_few(self, channel: Channel, record: InspectionRecord, now: datetime) -> bool:
        try:
            few = self.table.take_slot(channel, now, self.limit)
            if few:
                self.topics[channel].send(*alert_text(record, self.pages))
        except ServiceError:
            self.table.release(record.inspection_id)
            raise
        return few

    def _digest(self, channel: Channel, now: datetime) -> int:
        notified = 0
        pending = self.table.pending(channel, now - GRACE)
        while batch := list(itertools.islice(pending, DIGEST_ROWS)):
            claimed = [record for record in batch if self.table.claim(record.inspection_id, now)]
            if not claimed:
                continue
            try:
                self.topics[channel].send(*digest_text(claimed, self.pages))
            except ServiceError:
                for record in claimed:
                    self.table.release(record.inspection_id)
                raise
            for record in claimed:
                self.table.settle(record.inspection_id, now)
            notified += len(claimed)
        return notified


def alert_text(record: InspectionRecord, pages: Pages) -> tuple[str, str]:
    """Subject and text of the mail about one inspection."""
    rows = [
        ("File", _shown(record.key)),
        ("Uploaded", record.uploaded_at),
        ("Outcome", f"{record.outcome}: {MEANING[record.outcome]}"),
        ("Why", "; ".join(filter(None, (record.reason, *record.reasons)))),
        ("Score", _score(record)),
        ("Confidence", "" if record.confidence is None else f"{record.confidence:.1%} that this is right"),
        ("Defects", ", ".join(f"{defect.name} ({defect.area:.2%} of the image)" for defect in record.defects)),
        ("Model", record.model_version),
        ("Image", pages.of(record.bucket, record.key, record.version_id)),
        ("Heatmap", pages.of(pages.results_bucket, record.overlay_key) if record.overlay_key else ""),
        ("Inspection", record.inspection_id),
    ]
    text = "\n".join(f"{name:<11} {value}" for name, value in rows if value)
    return f"{record.outcome}: {_shown(record.key)}", f"{text}\n"


def digest_text(records: Sequence[InspectionRecord], pages: Pages) -> tuple[str, str]:
    """Subject and text of one mail about many inspections."""
    counts = Counter(record.outcome for record in records)
    summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    entries = [
        f"{record.outcome:<11} {record.uploaded_at}  {_shown(record.key)}\n"
        f"{'':<11} {record.inspection_id}  {pages.of(record.bucket, record.key, record.version_id)}"
        for record in records[:DIGEST_SHOWN]
    ]
    more = len(records) - len(entries)
    text = [
        f"Inspections between {records[0].uploaded_at} and {records[-1].uploaded_at} that had no mail of their own:",
        summary,
        "",
        *entries,
        *([f"... and {more} more: see the table of results."] if more else []),
    ]
    return f"{len(records)} inspections: {summary}", "\n".join(text) + "\n"


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


def _shown(key: str) -> str:
    """A file's name on one line: what would break lines or hide letters is taken out."""
    return shorten("".join("?" if unicodedata.category(letter)[0] == "C" else letter for letter in key), NAME_SHOWN)
