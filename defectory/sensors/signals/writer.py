"""Writer: a machine's year as ``data.csv``, ``data.parquet``, ``labels.csv``, ``events.csv`` and ``dataset.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from defectory.sensors.signals.anomalies import FaultLabel


def timestamps(year: int, n: int) -> pl.Series:
    """Every minute of ``year`` as text, built from days x minutes because formatting each row is 20 times slower."""
    first = np.datetime64(f"{year:04d}-01-01", "D")
    days = pl.Series(
        "d", np.datetime_as_string(first + np.arange(n // 1440)).astype(object), dtype=pl.String
    ).to_frame()
    minutes = pl.DataFrame({"m": [f" {hour:02d}:{minute:02d}:00" for hour in range(24) for minute in range(60)]})
    return days.join(minutes, how="cross").select(pl.concat_str("d", "m").alias("Timestamp")).to_series()


def minute_text(year: int, minute: int) -> str:
    """``yyyy-MM-dd HH:mm:ss`` of a minute of ``year``."""
    moment = np.datetime64(f"{year:04d}-01-01", "s") + np.timedelta64(minute, "m")
    return str(moment).replace("T", " ")


def write_tables(folder: Path, year: int, columns: Mapping[str, NDArray[np.float64]]) -> None:
    """Write ``data.csv`` and ``data.parquet``; both hold exactly the same values."""
    n = next(iter(columns.values())).size
    frame = pl.DataFrame(dict(columns))
    frame.insert_column(0, timestamps(year, n)).write_csv(folder / "data.csv", quote_style="never")
    start = np.datetime64(f"{year:04d}-01-01", "ms")
    typed = pl.Series("Timestamp", start + np.arange(n) * np.timedelta64(60_000, "ms"))
    frame.replace_column(0, typed).write_parquet(folder / "data.parquet", compression="snappy")


def write_labels(folder: Path, year: int, labels: Iterable[FaultLabel]) -> None:
    """Write ``labels.csv``, sorted by start."""
    rows = ["start,end,signal,kind,severity"]
    for label in sorted(labels, key=lambda label: (label.start, label.signal)):
        span = f"{minute_text(year, label.start)},{minute_text(year, label.end)}"
        rows.append(f"{span},{label.signal},{label.kind},{label.severity:.2f}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8", newline="\n")


def write_events(folder: Path, year: int, events: Iterable[tuple[int, int, str, str]]) -> None:
    """Write ``events.csv``, sorted by start; an event is (first minute, last minute, kind, name)."""
    rows = ["start,end,kind,name"]
    for start, end, kind, name in sorted(events):
        text = name.replace('"', "'").replace("\n", " ")
        rows.append(f'{minute_text(year, start)},{minute_text(year, end)},{kind},"{text}"')
    (folder / "events.csv").write_text("\n".join(rows) + "\n", encoding="utf-8", newline="\n")


def write_declaration(folder: Path, declared: Mapping[str, object], signals: Sequence[Mapping[str, object]]) -> None:
    """Write the declared part of ``dataset.json``; see ``defectory.sensors.dataset.Manifest``."""
    manifest = {"format": "defectory-sensors/1", **declared, "signals": list(signals)}
    (folder / "dataset.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8", newline="\n")
