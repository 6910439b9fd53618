"""Confirmed inspections: what people said of verdicts, and the images, brought to this machine to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from botocore.client import BaseClient
from botocore.exceptions import ClientError

from defectory.aws.clients import aws_client, error_code, service_errors
from defectory.errors import InputError
from defectory.inspection.feedback import Feedback, append_feedback
from defectory.inspection.line.records import InspectionRecord
from defectory.inspection.line.results_table import ResultsTable
from defectory.vision.images import IMAGE_SUFFIXES
from defectory.writing import write_whole, writing_to

FEEDBACK_FILE, IMAGES = "feedback.jsonl", "images"

_GONE = frozenset({"NoSuchKey", "NoSuchVersion", "NoSuchBucket", "404"})


@dataclass(frozen=True, slots=True)
class Fetched:
    """The feedback file, the words in it, and the uploads that are gone from their bucket."""

    file: Path
    feedback: tuple[Feedback, ...]
    gone: tuple[str, ...]


def fetch_confirmed(table: ResultsTable, out: Path, *, since: str = "", client: BaseClient | None = None) -> Fetched:
    """Write ``feedback.jsonl`` of the confirmed inspections, and their images below ``images/``.

    Args:
        table: the table of results.
        out: a new or empty folder.
        since: only what was confirmed from this day or moment on, ``2026-11-21`` say, in UTC.
        client: of S3.

    Raises:
        InputError: the folder has something in it or cannot be written.
        ServiceError: the table or the bucket refuses.
    """
    try:
        datetime.fromisoformat(since or "2026-01-01")
    except ValueError:
        raise InputError("since", "a day or a moment, such as 2026-11-21", since) from None
    s3 = client or aws_client("s3")
    with writing_to(out):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError("out", "a new or empty folder", str(out))
        (out / IMAGES).mkdir(parents=True, exist_ok=True)
    words, missing = [], []
    for record in table.confirmed(since):
        reference = f"s3://{record.bucket}/{record.key}"
        content = _download(s3, record)
        if content is None:
            missing.append(reference)
            continue
        # Not the upload's own name: keys may hold anything, up to 1,024 bytes of it.
        suffix = PurePosixPath(record.key).suffix.lower()
        name = f"{IMAGES}/{record.inspection_id}{suffix if suffix in IMAGE_SUFFIXES else ''}"
        with writing_to(out):
            write_whole(out / name, content)
        words.append(to_feedback(record, name, reference))
    append_feedback(out / FEEDBACK_FILE, words)
    return Fetched(out / FEEDBACK_FILE, tuple(words), tuple(missing))


def to_feedback(record: InspectionRecord, image: str, reference: str) -> Feedback:
    """A confirmed inspection as feedback on ``image``."""
    if record.confirmed is None or record.confirmed_at is None:
        raise InputError("inspection", "one that somebody confirmed", record.inspection_id)
    return Feedback(
        image=image,
        verdict=record.verdict,
        confirmed=record.confirmed,
        classes=record.confirmed_classes,
        who=record.confirmed_by,
        when=datetime.fromisoformat(record.confirmed_at),
        note=record.confirmed_note,
        source_ref=reference,
    )


def _download(s3: BaseClient, record: InspectionRecord) -> bytes | None:
    version = {"VersionId": record.version_id} if record.version_id else {}
    with service_errors(f"read s3://{record.bucket}/{record.key}"):
        try:
            content: bytes = s3.get_object(Bucket=record.bucket, Key=record.key, **version)["Body"].read()
        except ClientError as error:
            if error_code(error) in _GONE:
                return None
            raise
    return content
