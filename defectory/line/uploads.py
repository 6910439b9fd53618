"""Uploads: what S3 tells of a new image, in whatever number and order it tells it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from urllib.parse import unquote_plus

from pydantic import Field, ValidationError

from defectory.errors import InputError, shorten
from defectory.validation import FrozenModel

RULE = "an S3 event notification, or an upload that the line has put aside"


class Upload(FrozenModel):
    """One version of one object of the bucket of uploads.

    ``size`` is in bytes; ``uploaded_at`` is ISO 8601 in UTC; ``attempt`` counts how often the line has taken it up.
    """

    # As long as S3 makes them.
    bucket: str = Field(min_length=1, max_length=255)
    key: str = Field(min_length=1, max_length=1024)
    version_id: str = Field(default="", max_length=1024)
    sequencer: str = Field(default="", max_length=1024)
    size: int = Field(ge=0, le=10**15)
    uploaded_at: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$")
    attempt: int = Field(default=1, ge=1, le=10**6)

    @property
    def inspection_id(self) -> str:
        """The same for every notification of this upload, another for every other: 32 hexadecimal digits."""
        identity = json.dumps([self.bucket, self.key, self.version_id or self.sequencer])
        return hashlib.sha256(identity.encode()).hexdigest()[:32]

    @property
    def execution_name(self) -> str:
        """A name under which Step Functions runs the upload once an attempt, however often it is told."""
        return f"{self.inspection_id}-{self.attempt}"

    @property
    def day(self) -> str:
        """The day of the upload, ``2026-11-21``, in UTC."""
        return self.uploaded_at[:10]


def read_message(body: str) -> Iterator[Upload | InputError]:
    """The uploads that a message of the queue tells of, and an error for each record that cannot be read.

    S3's test events, deletions and the markers of empty folders tell of none.
    """
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        message = None
    match message:
        case {"Event": "s3:TestEvent"}:
            return
        case {"upload": upload}:
            yield _parsed(upload)
        case {"Records": list(records)}:
            for record in records:
                yield from _read_record(record)
        case _:
            yield InputError("message", RULE, shorten(body))


def _read_record(record: object) -> Iterator[Upload | InputError]:
    match record:
        case {"eventName": str(name)} if not name.removeprefix("s3:").startswith("ObjectCreated:"):
            return
        case {"eventTime": time, "s3": {"bucket": {"name": bucket}, "object": {"key": str(quoted), **rest}}}:
            try:
                # As in forms: a space is a plus sign.
                key = unquote_plus(quoted, errors="strict")
            except UnicodeDecodeError:
                yield InputError("key", "URL-encoded UTF-8", quoted)
                return
            if key.endswith("/") and not rest.get("size"):
                return
            yield _parsed(
                {
                    "bucket": bucket,
                    "key": key,
                    "version_id": rest.get("versionId") or "",
                    "sequencer": rest.get("sequencer") or "",
                    "size": rest.get("size", 0),
                    "uploaded_at": time,
                }
            )
        case _:
            yield InputError("record", RULE, shorten(json.dumps(record)))


def _parsed(values: object) -> Upload | InputError:
    try:
        return Upload.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(map(str, first["loc"])) or "upload"
        got = first["input"] if not isinstance(first["input"], Mapping) else None
        return InputError(field, f"as S3 tells it ({shorten(first['msg'])})", got)
