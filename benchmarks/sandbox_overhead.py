"""What the sandbox costs: one script, plainly run by Python and run by ``run_script``, in turns.

The script makes a year of minutes of ten signals with numpy and writes CSV and Parquet with polars.  Prints medians and
their ratio; processor time counts the parent's share (watching, accepting the files) too.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import table
from defectory.sensors.sandbox import detect_layers, run_script

SCRIPT = """
import numpy as np
import polars as pl


def main():
    rows = 525_600
    rng = np.random.default_rng(7)
    start = np.datetime64("2025-01-01T00:00", "ms")
    frame = {"Timestamp": start + np.arange(rows) * np.timedelta64(60_000, "ms")}
    minute = np.arange(rows)
    for number in range(10):
        daily = np.sin(2 * np.pi * (minute / 1440 + number / 10))
        frame[f"signal_{number}"] = np.round(50 + 5 * daily + rng.normal(0, 0.3, rows).cumsum() % 3, 2)
    table = pl.DataFrame(frame)
    table.write_csv("data.csv", datetime_format="%Y-%m-%d %H:%M:%S")
    table.write_parquet("data.parquet")


if __name__ == "__main__":
    main()
"""


def plain(folder: Path) -> None:
    (folder / "script.py").write_text(SCRIPT)
    subprocess.run([sys.executable, "script.py"], cwd=folder, check=True)


def sandboxed(folder: Path) -> None:
    result = run_script(SCRIPT, folder)
    if not result.ok:
        sys.exit(result.reason)


def measure(run: Callable[[Path], None]) -> tuple[float, float]:
    """Seconds on the clock and of processor time of one run, its own process and its children's together."""
    with tempfile.TemporaryDirectory() as folder:
        wall, processor = time.perf_counter(), processor_seconds()
        run(Path(folder))
        return time.perf_counter() - wall, processor_seconds() - processor


def processor_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def report(runs: int = 9) -> str:
    """Medians of ``runs`` runs."""
    tasks = {"python script.py": plain, "run_script": sandboxed}
    for run in tasks.values():
        measure(run)  # fills the page cache
    timings: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
    for _ in range(runs):
        for name, run in tasks.items():
            timings[name].append(measure(run))

    medians = {
        name: [statistics.median(column) for column in zip(*timed_runs, strict=True)]
        for name, timed_runs in timings.items()
    }
    base, boxed = medians.values()
    medians["ratio"] = [boxed_value / base_value for boxed_value, base_value in zip(boxed, base, strict=True)]
    rows = [(name, f"{wall:.3f}", f"{processor:.3f}") for name, (wall, processor) in medians.items()]
    return table((f"layers: {', '.join(detect_layers())}", "wall s", "CPU s"), rows)
