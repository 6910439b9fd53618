"""The contract and the report of one machine's year, against reading and describing the same CSV with pandas."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from benchmarks.measure import ROOT, table
from defectory.sensors.contract import check_dataset
from defectory.sensors.report import write_report


def describe(folder: Path) -> None:
    """What an analyst looks at first: types, counts, quantiles, correlations, steps, time order."""
    frame = pd.read_csv(folder / "data.csv", parse_dates=["Timestamp"], index_col="Timestamp")
    frame.describe()
    frame.corr()
    frame.diff().abs().max()
    assert frame.index.is_monotonic_increasing


def check(folder: Path) -> None:
    report = check_dataset(folder)
    assert report.ok, report.failures


def report(runs: int = 5) -> str:
    """Medians of ``runs`` runs in this process, in turn."""
    tasks: dict[str, Callable[[Path], object]] = {
        "check_dataset": check, "pandas: read, describe, corr, diff": describe, "write_report": write_report,
    }  # fmt: skip
    timings: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = ROOT / "benchmarks" / "peers" / "defectory_machine.py"
        subprocess.run([sys.executable, str(script)], cwd=folder, check=True)
        for number in range(runs + 1):
            for name, task in tasks.items():
                wall, processor = time.perf_counter(), time.process_time()
                task(folder)
                if number:
                    timings[name].append((time.perf_counter() - wall, time.process_time() - processor))
    medians = {
        name: [statistics.median(column) for column in zip(*timed_runs, strict=True)]
        for name, timed_runs in timings.items()
    }
    ours = medians["check_dataset"]
    rows = [
        (name, f"{wall:.2f}", f"{wall / ours[0]:.2f}x", f"{processor:.2f}", f"{processor / ours[1]:.2f}x")
        for name, (wall, processor) in medians.items()
    ]
    return table(("525,600 rows x 10 signals", "wall s", "wall / ours", "CPU s", "CPU / ours"), rows)
