"""Records: the row that every upload ends as, whatever became of it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from defectory.errors import shorten
from defectory.line.uploads import Upload

FailedStatus = Literal["UNREADABLE", "UNSUPPORTED", "ERROR"]
"""UNREADABLE: it is no image, or a broken one.  UNSUPPORTED: another kind of file.  ERROR: the line could not do its
work."""

REASON_LIMIT = 500


class UploadRecord(BaseModel, ABC):
    """What became of one upload.  A line derives its own, with what its model found; keys are of its bucket of results.

    ``shrunk`` is true where the model was shown a smaller image than was uploaded; ``pending_alert`` is who has still
    to be notified (``owed`` in rows and JSON, as ``notified_at`` is ``told_at``).
    """

    model_config = ConfigDict(
        frozen=True, protected_namespaces=(), validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )

    inspection_id: str
    bucket: str
    key: str
    version_id: str = ""
    size: int
    attempt: int = 1
    uploaded_at: str
    inspected_at: str
    expires_at: int
    status: str
    reason: str = ""
    model_version: str = ""
    width: int | None = None
    height: int | None = None
    shrunk: bool = False
    result_key: str = ""
    pending_alert: str | None = Field(default=None, alias="owed")
    notified_at: str | None = Field(default=None, alias="told_at")

    @classmethod
    def of(cls, upload: Upload, *, now: datetime, retention: timedelta, **findings: Any) -> Self:  # noqa: ANN401
        """The record of ``upload`` as of ``now`` with the ``findings``: the status at least."""
        return cls(
            inspection_id=upload.inspection_id,
            **upload.model_dump(exclude={"sequencer"}),
            inspected_at=timestamp(now),
            expires_at=int((now + retention).timestamp()),
            **findings,
        )

    @classmethod
    def stored_names(cls) -> frozenset[str]:
        """The names of the fields in rows and JSON."""
        return frozenset(field.alias or name for name, field in cls.model_fields.items())

    @property
    def day(self) -> str:
        """The day of the upload, in UTC."""
        return self.uploaded_at[:10]

    @property
    @abstractmethod
    def outcome(self) -> str:
        """What came of it, in one word."""

    @property
    @abstractmethod
    def channel(self) -> str | None:
        """Who has to know of an upload that ended so."""

    @property
    def is_urgent(self) -> bool:
        """Whether they are notified at once; stray files of other kinds wait for the digest."""
        return self.channel is not None and self.status != "UNSUPPORTED"


def read_cause(error: str, cause: str) -> str:
    """A failure in words, from what Step Functions says of a failed task: ``cause`` is often JSON by Lambda."""
    try:
        message = json.loads(cause)["errorMessage"]
    except (ValueError, TypeError, KeyError):
        message = cause
    return shorten(f"{error}: {message}" if message else error, REASON_LIMIT)


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
