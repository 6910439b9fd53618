"""Records: the row that every inspection ends as, whatever became of it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from defectory.line.records import FailedStatus, UploadRecord

Verdict = Literal["PASS", "REVIEW", "FAIL"]

RecordStatus = Literal["INSPECTED", FailedStatus]
"""INSPECTED: the model has said its verdict.  With any other, nobody knows whether the part is good."""

InspectionOutcome = Literal[Verdict, FailedStatus]
"""The verdict, or the status of what has none."""

Channel = Literal["defect", "review"]
"""Whom to notify: of defects, or of what a person has to look at."""


class FoundDefect(BaseModel):
    """One class of defect in the image: its share of the image (0..1) and its number of regions."""

    model_config = ConfigDict(frozen=True)

    name: str
    area: float
    regions: int
    color: str


class InspectionRecord(UploadRecord):
    """One inspection.  Scores and thresholds are the model's own.

    ``confirmed`` is a person's word, ``normal`` or ``anomaly``, which wins over the verdict.
    """

    status: RecordStatus
    verdict: Verdict | None = None
    score: float | None = None
    confidence: float | None = None
    review_threshold: float | None = None
    fail_threshold: float | None = None
    defects: tuple[FoundDefect, ...] = ()
    reasons: tuple[str, ...] = ()
    heatmap_key: str = ""
    overlay_key: str = ""
    pending_alert: Channel | None = Field(default=None, alias="owed")
    confirmed: Literal["normal", "anomaly"] | None = None
    confirmed_classes: tuple[str, ...] = ()
    confirmed_by: str = ""
    confirmed_at: str = ""
    confirmed_note: str = ""

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
