"""Labels and events: the dataset's ground truth and the operator's log, read and checked for form."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from defectory.errors import shorten
from defectory.sensors.arrays import RowMask
from defectory.sensors.contract.clock import Clock
from defectory.sensors.dataset import EVENTS_CSV, LABELS_CSV, AnomalyKind

KINDS: tuple[str, ...] = get_args(AnomalyKind)
MOST_LABELS, MOST_EVENTS = 2_000, 50_000
MOST_PROBLEMS = 100
LEAST_SHARE, MOST_SHARE = 0.0001, 0.05


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Rows ``start..end``, both inclusive, in which column number ``signal`` misbehaves; ``number`` counts from 1."""

    number: int
    start: int
    end: int
    signal: int
    kind: str

    @property
    def rows(self) -> int:
        """How many rows are labelled, the last one included."""
        return self.end - self.start + 1


@dataclass(frozen=True, slots=True)
class Event:
    """Rows ``start..end``, both inclusive, of which the operator's log says that something happened."""

    start: int
    end: int
    kind: str


def parse_labels(
    rows: Iterable[Sequence[str]], names: Sequence[str], clock: Clock
) -> tuple[list[LabelledRows], list[str]]:
    """The labels that are in order, and what is wrong with the others."""
    labels, problems = [], []
    for number, (start_text, end_text, signal, kind, severity) in enumerate(rows, 1):
        where = f"{LABELS_CSV} row {number:,}"
        start, end = clock.row(start_text), clock.row(end_text)
        for name, text, row in (("start", start_text, start), ("end", end_text, end)):
            if row is None:
                problems.append(
                    f"{where}: {name} {shorten(repr(text), 40)} is not a minute of {clock.year} as yyyy-MM-dd HH:mm:ss"
                )
        if signal not in names:
            problems.append(f"{where}: signal {shorten(repr(signal), 80)} is not a column of data.csv")
        if kind not in KINDS:
            problems.append(f"{where}: kind {shorten(repr(kind), 40)} is not one of {', '.join(KINDS)}")
        if not _is_severity(severity):
            problems.append(f"{where}: severity {shorten(repr(severity), 40)} is not a number >= 0")
        if start is None or end is None:
            continue
        if start > end:
            problems.append(f"{where}: it ends at {end_text}, before its start {start_text}")
        elif signal in names and kind in KINDS:
            labels.append(LabelledRows(number, start, end, names.index(signal), kind))
    return labels, problems


def _is_severity(text: str) -> bool:
    try:
        value = float(text)
    except ValueError:
        return False
    return math.isfinite(value) and value >= 0


def overlap_problems(labels: Sequence[LabelledRows], names: Sequence[str]) -> list[str]:
    """Labels of one signal never overlap; labels of different signals only where both are precursors of one failure."""
    problems: list[str] = []
    ordered = sorted(labels, key=lambda label: (label.start, label.end))
    for position, label in enumerate(ordered):
        for other in ordered[position + 1 :]:
            if other.start > label.end or len(problems) > MOST_PROBLEMS:
                break
            pair = f"{LABELS_CSV} rows {label.number:,} and {other.number:,}"
            if label.signal == other.signal:
                problems.append(f"{pair} overlap on {names[label.signal]}; merge them, or keep their times apart")
            elif {label.kind, other.kind} != {"precursor"}:
                problems.append(f"{pair} overlap on different signals; only precursors may, move the others apart")
    return problems


def share_problem(labels: Sequence[LabelledRows], rows: int) -> str:
    """Too few or too many rows are labelled."""
    share = np.count_nonzero(covered(labels, rows)) / rows
    if LEAST_SHARE <= share <= MOST_SHARE:
        return ""
    wish = "add anomalies and label each" if share < LEAST_SHARE else "anomalies are rare: label fewer rows"
    return f"{share:.3%} of the rows are labelled, {LEAST_SHARE:.2%} to {MOST_SHARE:.0%} have to be; {wish}"


def covered(spans: Iterable[LabelledRows | Event], rows: int, before: int = 0, after: int = 0) -> RowMask:
    """Which rows lie in one of the spans, each widened by ``before`` and ``after`` minutes; bool, shape ``(rows,)``."""
    row_mask = np.zeros(rows, bool)
    for span in spans:
        row_mask[max(0, span.start - before) : span.end + 1 + after] = True
    return row_mask


def parse_events(rows: Iterable[Sequence[str]], clock: Clock) -> tuple[list[Event], list[str]]:
    """The events that are in order, and what is wrong with the others."""
    events, problems = [], []
    for number, (start_text, end_text, kind, name) in enumerate(rows, 1):
        where = f"{EVENTS_CSV} row {number:,}"
        start, end = clock.row(start_text), clock.row(end_text)
        for field, text, row in (("start", start_text, start), ("end", end_text, end)):
            if row is None:
                problems.append(
                    f"{where}: {field} {shorten(repr(text), 40)} is not a minute of {clock.year} as yyyy-MM-dd HH:mm:ss"
                )
        if not (kind.isascii() and kind.replace("_", "").isalpha() and len(kind) <= 40):
            problems.append(
                f"{where}: kind {shorten(repr(kind), 40)} is not a word such as stop, maintenance or failure"
            )
        if not (name.isprintable() and len(name) <= 200):
            problems.append(f"{where}: name {shorten(repr(name), 40)} is not printable text of at most 200 characters")
        if start is None or end is None:
            continue
        if start > end:
            problems.append(f"{where}: it ends at {end_text}, before its start {start_text}")
        else:
            events.append(Event(start, end, kind))
    return events, problems
