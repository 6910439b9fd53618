"""Measure whole processes: CPU seconds, wall seconds and peak memory of fresh runs, in turn with their peers."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from defectory.metrics.estimates import paired_difference

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians over the runs of one command."""

    cpu_seconds: float
    wall_seconds: float
    peak_mb: float


def run_once(command: Sequence[str]) -> Cost:
    """Run ``command`` in an empty folder and report what it cost, its children included."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
        assert process.stderr is not None
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
    if status:
        sys.exit(f"{' '.join(command)} failed:\n{errors.decode()[-2000:]}")
    peak = usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024 * 1024)
    return Cost(usage.ru_utime + usage.ru_stime, wall, peak)


def compare(commands: Mapping[str, Sequence[str]], runs: int = 5) -> dict[str, Cost]:
    """Run every command once to warm up, then ``runs`` times in turn; medians by name."""
    results: dict[str, list[Cost]] = {name: [] for name in commands}
    for number in range(runs + 1):
        for name, command in commands.items():
            cost = run_once(command)
            if number:
                results[name].append(cost)
    return {
        name: Cost(*(statistics.median(getattr(cost, field) for cost in costs) for field in Cost.__slots__))
        for name, costs in results.items()
    }


def mean_with_interval(values: Sequence[float]) -> str:
    """The mean over seeds with Student's 95 % interval; of fewer than two figures that are known, no interval."""
    values = [value for value in values if not math.isnan(value)]
    if len(values) < 2:
        return f"{values[0]:.3f}" if values else "–"
    spread = paired_difference(values, [0.0] * len(values))
    return f"{spread.value:.3f} ({spread.low:.3f} to {spread.high:.3f})"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
