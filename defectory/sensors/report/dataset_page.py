"""The page of one dataset: a year at a glance, a week, every labelled anomaly, the checks, where it comes from."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from defectory.sensors.dataset import (
    DATA_CSV,
    DATA_PARQUET,
    EVENTS_CSV,
    GENERATOR,
    LABELS_CSV,
    MANIFEST,
    REPORT,
    TIMESTAMP_FORMAT,
    Manifest,
    read_manifest,
)
from defectory.sensors.report import plots
from defectory.sensors.report.rendering import render

Array = NDArray[np.float64]

YEAR_BUCKET = 720
WEEK_BUCKET = 8
WEEK = 7 * 1440
# More zooms than anyone looks at only make the page heavy; the strongest of each kind come first.
MOST_ZOOMS = 48
LONGEST_ZOOM = 6 * 1440
SHOWN_EVENTS = ("maintenance", "failure")


@dataclass(frozen=True, slots=True)
class Span:
    """A row of labels.csv or events.csv, in minutes of the year (both ends inclusive) and as text."""

    first: int
    last: int
    start: str
    end: str
    kind: str
    name: str
    severity: str = ""


def write_report(folder: Path) -> Path:
    """Write ``report.html`` of the dataset in ``folder``, from its files alone.

    Raises:
        InputError: the manifest cannot be read.
    """
    manifest = read_manifest(folder)
    frame = pl.read_parquet(folder / DATA_PARQUET)
    columns = {signal.name: frame[signal.name].cast(pl.Float64).to_numpy() for signal in manifest.signals}
    origin = datetime(manifest.year, 1, 1)
    labels = _spans(folder / LABELS_CSV, origin, "signal")
    events = _spans(folder / EVENTS_CSV, origin, "name") if (folder / EVENTS_CSV).is_file() else []
    names = [signal.name for signal in manifest.signals if np.ptp(columns[signal.name]) > 0]
    matrix = np.corrcoef(np.array([columns[name][::5] for name in names])) if len(names) > 1 else np.ones((1, 1))
    page = render(
        "dataset.html.j2",
        manifest=manifest,
        rows=frame.height,
        labels=labels,
        events=[event for event in events if event.kind in SHOWN_EVENTS],
        stops=sum(event.kind not in SHOWN_EVENTS for event in events),
        labelled=f"{_labelled_share(labels, frame.height):.2%}",
        statistics=[_statistics(signal.name, columns[signal.name]) for signal in manifest.signals],
        figures=_figures(manifest, columns, labels, events, names, np.atleast_2d(matrix)),
        files=[(name, size) for name in _FILES if (size := _size(folder / name))],
        plotly=_plotly(),
    )
    path = folder / REPORT
    path.write_text(page, encoding="utf-8", newline="\n")
    return path


_FILES = {
    DATA_CSV: "every minute of the year, one column a signal",
    DATA_PARQUET: "the same values, typed",
    LABELS_CSV: "every anomaly: start, end, signal, kind, severity",
    EVENTS_CSV: "what the operator's log would say",
    MANIFEST: "signals, provenance and checks",
    GENERATOR: "the script that made it",
}


@cache
def _plotly() -> str:
    return (resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def _size(path: Path) -> str:
    if not path.is_file():
        return ""
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def _spans(path: Path, origin: datetime, name: str) -> list[Span]:
    def minute(text: str) -> int:
        return int((datetime.strptime(text, TIMESTAMP_FORMAT) - origin).total_seconds() // 60)

    with path.open(encoding="utf-8", newline="") as file:
        return [
            Span(
                minute(row["start"]), minute(row["end"]), row["start"], row["end"], row["kind"], row[name],
                row.get("severity", ""),
            )
            for row in csv.DictReader(file)
        ]  # fmt: skip


def _labelled_share(labels: list[Span], rows: int) -> float:
    mask = np.zeros(rows, bool)
    for label in labels:
        mask[label.first : label.last + 1] = True
    return float(mask.mean())


def _statistics(name: str, values: Array) -> dict[str, str]:
    centred = values - values.mean()
    variance = float((centred * centred).mean())
    memory = float((centred[:-60] * centred[60:]).mean()) / variance if variance else 0.0
    numbers = {"low": values.min(), "mean": values.mean(), "high": values.max(), "deviation": values.std()}
    return {"name": name, "memory": f"{memory:.2f}"} | {key: f"{value:.5g}" for key, value in numbers.items()}


def _figures(
    manifest: Manifest,
    columns: dict[str, Array],
    labels: list[Span],
    events: list[Span],
    names: list[str],
    matrix: Array,
) -> dict[str, Any]:
    units = {signal.name: signal.unit for signal in manifest.signals}
    marks = {
        name: [
            (span.start, _after(span), f"{span.kind}, severity {span.severity}") for span in labels if span.name == name
        ]
        for name in columns
    }
    pauses = [(event.start, event.end, event.name) for event in events if event.kind in SHOWN_EVENTS]
    first = _quiet_week(labels, events, next(iter(columns.values())).size)
    week = {name: values[first : first + WEEK] for name, values in columns.items()}
    return {
        "year": plots.stacked(columns, units, f"{manifest.year}-01-01", YEAR_BUCKET, marks, pauses),
        "week": plots.stacked(week, units, _text(manifest.year, first), WEEK_BUCKET, {}),
        "zooms": [_zoom(manifest.year, columns, label, names, matrix) for label in _chosen(labels)],
        "correlation": plots.heatmap(names, matrix),
    }


def _chosen(labels: list[Span]) -> list[Span]:
    """All labels, or when they are too many the strongest of each kind in turn; in order of time."""
    if len(labels) <= MOST_ZOOMS:
        return labels
    ranks: dict[str, int] = {}
    ranked = []
    for label in sorted(labels, key=lambda label: -float(label.severity or 0)):
        ranked.append((ranks.get(label.kind, 0), label.first, label))
        ranks[label.kind] = ranks.get(label.kind, 0) + 1
    ranked.sort(key=lambda entry: entry[:2])
    return sorted((label for _, _, label in ranked[:MOST_ZOOMS]), key=lambda label: label.first)


def _zoom(year: int, columns: dict[str, Array], label: Span, names: list[str], matrix: Array) -> plots.Figure:
    values = columns[label.name]
    length = label.last - label.first + 1
    margin = min(max(2 * length, 90), 1440)
    begin, end = max(0, label.first - margin), min(values.size, label.last + 1 + margin)
    end = min(end, begin + LONGEST_ZOOM)
    partner = _partner(label.name, names, matrix)
    start = _text(year, begin)
    shown = slice(begin, end)
    span = f"{length} min" if length < 600 else f"{length / 60:.0f} h"
    title = (f"{label.kind.replace('_', ' ')} in {label.name}", f"{label.start}, {span}, severity {label.severity}")
    return plots.zoom(
        label.name, values[shown], partner, columns[partner][shown], start, label.start, _after(label), title
    )


def _partner(name: str, names: list[str], matrix: Array) -> str:
    """The signal that moves most with ``name``."""
    if name not in names or len(names) < 2:
        return next((other for other in names if other != name), name)
    row = np.abs(matrix[names.index(name)]).copy()
    row[names.index(name)] = -1
    return names[int(np.nanargmax(row))]


def _quiet_week(labels: list[Span], events: list[Span], rows: int) -> int:
    """First minute of the Monday-to-Sunday-long stretch, in spring, with the fewest labels and breakdowns."""
    disturbed = np.zeros(rows + 1)
    for span in labels:
        disturbed[span.first] += 10
    for event in events:
        if event.kind in SHOWN_EVENTS:
            disturbed[event.first] += 1
    counts = np.concatenate([[0.0], np.cumsum(disturbed)])
    starts = np.arange(60, 180) * 1440
    return int(starts[np.argmin(counts[starts + WEEK] - counts[starts])])


def _after(span: Span) -> str:
    """The minute after the span's last one, so that a single minute has a width."""
    return str(datetime.strptime(span.end, TIMESTAMP_FORMAT) + timedelta(minutes=1))


def _text(year: int, minute: int) -> str:
    return str(datetime(year, 1, 1) + timedelta(minutes=minute))
