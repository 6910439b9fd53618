"""Notifying people: one mail an upload up to a limit an hour, and a digest of whatever had none."""

from __future__ import annotations

import itertools
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, Literal, Protocol, TypeVar
from urllib.parse import quote

from defectory.errors import ServiceError, shorten
from defectory.line.records import UploadRecord
from defectory.line.results_table import Record, RecordTable

GRACE = timedelta(minutes=10)
"""How long the line itself may take to notify of an upload before the digest does."""

DIGEST_ROWS = 1000
"""Uploads that one mail of the digest stands for."""

DIGEST_SHOWN = 50
"""Uploads that it names."""

NAME_SHOWN = 300

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


Worded = TypeVar("Worded", bound=UploadRecord, contravariant=True)


class Mails(Protocol[Worded]):
    """How a line words its mails."""

    def alert(self, record: Worded) -> tuple[str, str]:
        """Subject and text of the mail about one upload."""

    def link(self, record: Worded) -> str:
        """Where the picture is to be seen, "" where it is kept nowhere."""


@dataclass(frozen=True, slots=True)
class Notifier(Generic[Record]):
    """Notifies the people of each channel, at most ``limit`` times an hour and channel by a mail of its own."""

    table: RecordTable[Record]
    topics: Mapping[str, Topic]
    mails: Mails[Record]
    limit: int

    def notify(self, inspection_id: str, now: datetime) -> Notification:
        """Notify of one upload, once.

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

    def send_digest(self, now: datetime) -> dict[str, int]:
        """Notify, in few mails, of everything that is pending for a while; how many uploads that were, by channel.

        Raises:
            ServiceError: some could not be notified of; they stay pending.
        """
        notified: dict[str, int] = {}
        failures = []
        for channel in self.topics:
            try:
                notified[channel] = self._digest(channel, now)
            except ServiceError as error:
                failures.append(f"{channel}: {error}")
        if failures:
            raise ServiceError(f"The digest could not be sent in full. {' '.join(failures)}")
        return notified

    def _send_if_few(self, channel: str, record: Record, now: datetime) -> bool:
        try:
            few = self.table.take_slot(channel, now, self.limit)
            if few:
                self.topics[channel].send(*self.mails.alert(record))
        except ServiceError:
            self.table.release(record.inspection_id)
            raise
        return few

    def _digest(self, channel: str, now: datetime) -> int:
        notified = 0
        pending = self.table.pending(channel, now - GRACE)
        while batch := list(itertools.islice(pending, DIGEST_ROWS)):
            claimed = [record for record in batch if self.table.claim(record.inspection_id, now)]
            if not claimed:
                continue
            try:
                self.topics[channel].send(*digest_text(claimed, self.mails.link))
            except ServiceError:
                for record in claimed:
                    self.table.release(record.inspection_id)
                raise
            for record in claimed:
                self.table.settle(record.inspection_id, now)
            notified += len(claimed)
        return notified


def digest_text(records: Sequence[Record], link: Callable[[Record], str]) -> tuple[str, str]:
    """Subject and text of one mail about many inspections."""
    counts = Counter(record.outcome for record in records)
    summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    entries = [
        f"{record.outcome:<11} {record.uploaded_at}  {shown(record.key)}\n"
        f"{'':<11} {record.inspection_id}  {link(record)}".rstrip()
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


def table_text(rows: Sequence[tuple[str, str]]) -> str:
    """Names and values as the lines of a mail; those without a value are left out."""
    text = "\n".join(f"{name:<11} {value}" for name, value in rows if value)
    return f"{text}\n"


def shown(key: str) -> str:
    """A file's name on one line: what would break lines or hide letters is taken out."""
    return shorten("".join("?" if unicodedata.category(letter)[0] == "C" else letter for letter in key), NAME_SHOWN)
