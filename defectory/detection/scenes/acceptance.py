"""Acceptance: what a check made of painted scenes, kept a line a scene and published as rates with their intervals.

Models that paint take boxes for a request.  How often they did as they were asked depends most on how much the boxes
overlap, so the rates are given by that.  A folder of painted scenes has ``acceptance.jsonl``, a line for each time that
a layout was painted and checked, and ``acceptance.json``, the rates that follow.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from defectory.detection.layouts.records import Layout, layout_digest
from defectory.errors import DefectoryError, InputError
from defectory.metrics.estimates import Estimate, proportion
from defectory.validation import FrozenModel, explain
from defectory.writing import write_whole

JOURNAL_FILE = "acceptance.jsonl"
ACCEPTANCE_FILE = "acceptance.json"

BANDS: tuple[tuple[str, float, float], ...] = (
    ("0", -1.0, 0.0),
    ("0-0.1", 0.0, 0.1),
    ("0.1-0.3", 0.1, 0.3),
    ("0.3-0.5", 0.3, 0.5),
    (">0.5", 0.5, 1.0),
)
"""Bands of the largest IoU that an object's box has with another one that was asked for; upper ends belong to them."""

Outcome = Literal["accepted", "rejected", "blank", "withheld"]
"""What became of a scene.

``rejected``: something that was asked for is not there, or something is that was not; ``blank``: the picture is of
one colour; ``withheld``: a content filter or safety checker kept it back.
"""


class CheckedObject(FrozenModel):
    """One object that was asked for.

    Args:
        label: its class.
        overlap: largest IoU of its box with another one that was asked for, 0..1; None of what a person was to wear
            without a box of its own.
        iou: IoU of its box with that of the detection that was given to it, 0..1; 0 where none was.
        accepted: whether it is there.
    """

    label: str
    overlap: float | None
    iou: float
    accepted: bool


class CheckRecord(FrozenModel):
    """What became of one painted layout: a line of ``acceptance.jsonl``.

    Args:
        image_id: of the layout.
        layout: its digest.
        check: what painted and what checked it, and how: other settings are another check.
        outcome: see `Outcome`.
        objects: those that were asked for; none where there is no picture to look for them on.
        unasked: classes of what was seen though nobody asked for it.
    """

    image_id: str
    layout: int
    check: str
    outcome: Outcome
    objects: tuple[CheckedObject, ...] = ()
    unasked: tuple[str, ...] = ()

    @classmethod
    def withheld(cls, layout: Layout, check: str) -> CheckRecord:
        """The record of a layout whose picture was kept back."""
        return cls(image_id=layout.image_id, layout=layout_digest(layout), check=check, outcome="withheld")


class SceneRejectedError(DefectoryError):
    """A painted scene is not as its layout asks, or was withheld: it was counted, and no label was written."""

    code = "SceneRejected"

    def __init__(self, message: str, outcome: Outcome) -> None:
        super().__init__(message)
        self.outcome = outcome


class AcceptanceRate(FrozenModel):
    """How many objects of a group were asked for and accepted, with the rate's 95 % interval (Wilson); None of none."""

    group: str
    asked: int
    accepted: int
    rate: Estimate | None


class AcceptanceReport(FrozenModel):
    """What a check made of painted scenes, as ``acceptance.json`` has it; of each layout the last time counts.

    Args:
        format: of this record.
        checks: what painted and what checked, and how.
        scenes: how many had which outcome.
        unasked: how many things were seen, by class, that nobody asked for.
        by_overlap: objects by `BANDS`.
        by_class: objects by class.
    """

    format: Literal["defectory-acceptance/1"] = "defectory-acceptance/1"
    checks: tuple[str, ...]
    scenes: dict[Outcome, int]
    unasked: dict[str, int]
    by_overlap: tuple[AcceptanceRate, ...]
    by_class: tuple[AcceptanceRate, ...]


def overlap_band(overlap: float) -> str:
    """The band of `BANDS` that an overlap, 0..1, is in.

    >>> overlap_band(0.0), overlap_band(0.1), overlap_band(0.11), overlap_band(0.9)
    ('0', '0-0.1', '0.1-0.3', '>0.5')
    """
    return next(name for name, _, high in BANDS if overlap <= high)


def report_acceptance(records: Iterable[CheckRecord]) -> AcceptanceReport:
    """The rates of some checks, of any number of folders or shards."""
    latest = {record.image_id: record for record in records}
    scenes = Counter(record.outcome for record in latest.values())
    objects = [item for record in latest.values() for item in record.objects]
    bands = [(overlap_band(item.overlap), item.accepted) for item in objects if item.overlap is not None]
    return AcceptanceReport(
        checks=tuple(sorted({record.check for record in latest.values()})),
        scenes={outcome: scenes[outcome] for outcome in ("accepted", "rejected", "blank", "withheld")},
        unasked=dict(sorted(Counter(label for record in latest.values() for label in record.unasked).items())),
        by_overlap=_rates([name for name, _, _ in BANDS], bands),
        by_class=_rates(sorted({item.label for item in objects}), [(item.label, item.accepted) for item in objects]),
    )


def _rates(groups: Iterable[str], results: Iterable[tuple[str, bool]]) -> tuple[AcceptanceRate, ...]:
    counts = Counter(results)
    return tuple(
        AcceptanceRate(
            group=group,
            asked=counts[group, True] + counts[group, False],
            accepted=counts[group, True],
            rate=proportion(counts[group, True], counts[group, True] + counts[group, False]),
        )
        for group in groups
    )


class AcceptanceJournal:
    """``acceptance.jsonl`` of a folder: one process at a time adds to it, from any number of threads.

    A scene that was rejected is known again, so that the same command does not pay for it twice.
    """

    def __init__(self, folder: Path) -> None:
        """Read what a folder has, new or not.

        Raises:
            InputError: it has something else.
        """
        self.file = folder / JOURNAL_FILE
        self._lock = threading.Lock()
        self._records = {record.image_id: record for record in read_checks(folder)}

    def verdict(self, layout: Layout, check: str) -> CheckRecord | None:
        """What became of the same layout by the same check; None if nothing did yet."""
        record = self._records.get(layout.image_id)
        is_same = record is not None and (record.layout, record.check) == (layout_digest(layout), check)
        return record if is_same else None

    def add(self, record: CheckRecord) -> None:
        """Write a line.

        Raises:
            OSError: it cannot be written.
        """
        line = record.model_dump_json().encode() + b"\n"
        with self._lock:
            with self.file.open("ab") as stream:
                # A line that was not finished must not run into this one; readers pass it by.
                stream.write(line if _ends_whole(self.file) else b"\n" + line)
            self._records[record.image_id] = record


def read_checks(folder: Path) -> Iterator[CheckRecord]:
    """The lines of a folder's ``acceptance.jsonl`` in their order; none if it has none.

    What a writer left unfinished when it was killed is passed by.

    Raises:
        InputError: a line is something else.
    """
    try:
        stream = (folder / JOURNAL_FILE).open("rb")
    except FileNotFoundError:
        return
    with stream:
        for number, line in enumerate(stream, 1):
            try:
                yield CheckRecord.model_validate_json(line)
            except ValidationError as error:
                if error.errors()[0]["type"] == "json_invalid":
                    continue
                told = explain(error)
                raise InputError(f"{JOURNAL_FILE}:{number}: {told.field}", told.rule, told.got) from None


def publish_acceptance(folder: Path) -> AcceptanceReport | None:
    """Write ``acceptance.json`` of a folder that has checks; None, and nothing is written, if it has none.

    Raises:
        InputError: its ``acceptance.jsonl`` holds something else.
        OSError: it cannot be written.
    """
    if not (folder / JOURNAL_FILE).exists():
        return None
    report = report_acceptance(read_checks(folder))
    write_whole(folder / ACCEPTANCE_FILE, report.model_dump_json(indent=1).encode())
    return report


def _ends_whole(file: Path) -> bool:
    with file.open("rb") as stream:
        if not stream.seek(0, 2):
            return True
        stream.seek(-1, 2)
        return stream.read(1) == b"\n"
