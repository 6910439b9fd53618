"""Layouts sampled and their labels converted to COCO and YOLO, in fresh processes, against a plain Python loop.

The loop keeps to the same rules on the same preset.  Both write a line a layout, one file of COCO, and YOLO's rows in
one file: 75,000 small files cost whoever writes them the same.
"""

from __future__ import annotations

import sys

from benchmarks.measure import compare, table

COUNT = 75_000


def report(runs: int = 2) -> str:
    ours, plain = "benchmarks.peers.defectory_layouts", "benchmarks.peers.plain_layouts"
    costs = compare(
        {
            "Defectory": [sys.executable, "-m", ours, str(COUNT), "1"],
            "Defectory, two workers": [sys.executable, "-m", ours, str(COUNT), "2"],
            "Defectory, ten times as many": [sys.executable, "-m", ours, str(10 * COUNT), "1"],
            "plain loop": [sys.executable, "-m", plain, str(COUNT)],
        },
        runs=runs,
    )
    least = costs["Defectory"].cpu_seconds
    rows = [
        (
            name,
            f"{cost.cpu_seconds:.2f}",
            f"{cost.cpu_seconds / least:.1f}x",
            f"{cost.wall_seconds:.2f}",
            f"{cost.peak_mb:.0f}",
        )
        for name, cost in costs.items()
    ]
    return table((f"{COUNT:,} layouts", "CPU s", "CPU / ours", "wall s", "peak MB"), rows)
