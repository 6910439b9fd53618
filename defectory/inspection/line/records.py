"""Records: the row that every upload ends as, whatever became of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from defectory.errors import shorten
from defectory.inspection.line.uploads import Upload

RecordStatus = Literal["INSPECTED", "UNREADABLE", "UNSUPPORTED", "ERROR"]
"""INSPECTED: the model has said its verdict.  UNREADABLE: it is no image, or a broken one.  UNSUPPORTED: another kind
of file.  ERROR: the line could not do its work; nobody knows whether the part is good."""

InspectionOutcome = Literal["PASS", "REVIEW", "FAIL", "UNREADABLE", "UNSUPPORTED", "ERROR"]
"""The verdict, or the status of what has none."""

Channel = Literal["defect", "review"]
"""Whom to notify: of defects, or of what a person has to look at."""

REASON_LIMIT = 500


class FoundDefect(BaseModel):
    """One class of defect in the image: its share of the image (0..1) and its number of regions."""

    model_config = ConfigDict(frozen=True)

    name: str
    area: float
    regions: int
    color: str


class InspectionRecord(BaseModel):
    """One inspection.  Scores and thresholds are the model's own; keys are of the bucket of results.

    ``shrunk`` is true where the model was shown a smaller image than was uploaded; ``pending_alert`` is who has still
    to be notified (``owed`` in rows and JSON, as ``notified_at`` is ``told_at``); ``confirmed`` is a person's word,
    ``normal`` or ``anomaly``, which wins over the verdict.
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
    status: RecordStatus
    verdict: Literal["PASS", "REVIEW", "FAIL"] | None = None
    reason: str = ""
    score: float | None = None
    confidence: float | None = None
    review_threshold: float | None = None
    fail_threshold: float | None = None
    model_version: str = ""
    defects: tuple[FoundDefect, ...] = ()
    reasons: tuple[str, ...] = ()
    width: int | None = None
    height: int | None = None
    shrunk: bool = False
    result_key: str = ""
    heatmap_key: str = ""
    overlay_key: str = ""
    pending_alert: Channel | None = Field(default=None, alias="owed")
    notified_at: str | None = Field(default=None, alias="told_at")
    confirmed: Literal["normal", "anomaly"] | None = None
    confirmed_classes: tuple[str, ...] = ()
    confirmed_by: str = ""
    confirmed_at: str = ""
    confirmed_note: str = ""

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
    def outcome(self) -> InspectionOutcome:
        """The verdict, or why there is none: ``ERROR`` or ``UNREADABLE``."""
        if self.status == "INSPECTED":
            return self.verdict or "ERROR"
        return self.status

    @property
    def channel(self) -> Channel | None:
        """Who has to know of an inspection that ended so."""
        match self.outcome:
            case "PASS":
                return None
            case "FAIL":
                return "defect"
            case _:
                return "review"

    @property
    def is_urgent(self) -> bool:
        """Whether they are notified at once; stray files of other kinds wait for the digest."""
        return self.channel is not None and self.outcome != "UNSUPPORTED"


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
