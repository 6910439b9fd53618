"""The index page of a request or of a folder of datasets: every machine with its state, a preview and its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from defectory.sensors.dataset import DATA_PARQUET, LABELS_CSV, MANIFEST, Manifest, read_manifest
from defectory.sensors.report.plots import sparkline
from defectory.sensors.report.rendering import render

INDEX = "index.html"
# Commanded and counted signals say little at a glance.
PLAIN_KINDS = {"state", "count"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A dataset as the index shows it; ``preview`` is the path of an SVG sparkline of the signal ``previewed``."""

    folder: str
    manifest: Manifest
    labels: int
    preview: str
    previewed: str


def write_index(folder: Path, failures: Mapping[str, str] | None = None) -> Path:
    """Write ``index.html`` for the datasets in the folders of ``folder``.

    Args:
        failures: machine -> reason, for the machines without a dataset.

    Raises:
        InputError: a dataset's manifest cannot be read.
    """
    entries = [_entry(path.parent) for path in sorted(folder.glob(f"*/{MANIFEST}"))]
    first = entries[0].manifest if entries else None
    page = render("index.html.j2", entries=entries, failures=failures or {}, first=first)
    path = folder / INDEX
    path.write_text(page, encoding="utf-8", newline="\n")
    return path


def _entry(folder: Path) -> Entry:
    manifest = read_manifest(folder)
    shown = next((signal for signal in manifest.signals if signal.kind not in PLAIN_KINDS), manifest.signals[0])
    values = pl.read_parquet(folder / DATA_PARQUET, columns=[shown.name])[shown.name].cast(pl.Float64).to_numpy()
    labels = (folder / LABELS_CSV).read_text(encoding="utf-8").count("\n") - 1
    return Entry(folder.name, manifest, labels, sparkline(values), shown.name)
