"""Sensor data: one machine's year, in a fresh process, against GutenTAG and three styles of model-written script.

GutenTAG is installed once into its own environment
(``build/gutentag``), because it wants another NumPy.
"""

from __future__ import annotations

import subprocess
import sys
import venv

from benchmarks.measure import ROOT, Cost, compare, run_once, table

PEERS = ROOT / "benchmarks" / "peers"
OURS = "Defectory"


def gutentag() -> list[str]:
    """The command of GutenTAG 1.5.0 on a like task: 525,600 rows x 10 channels; it writes a CSV only."""
    folder = ROOT / "build" / "gutentag"
    program = folder / "bin" / "gutenTAG"
    if not program.exists():
        venv.create(folder, with_pip=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "timeeval-gutentag==1.5.0", "numpy==2.2.6", "scipy==1.14.1"], check=True)
    return [str(program), "--config-yaml", str(PEERS / "gutentag.yaml"), "--output-dir", ".", "--seed", "7"]


def report(runs: int = 5) -> str:
    """Medians of ``runs`` runs; the slow peers run once."""
    quick = {
        OURS: [sys.executable, str(PEERS / "defectory_machine.py")],
        "vectorised pandas": [sys.executable, str(PEERS / "vectorised_pandas.py")],
        "GutenTAG 1.5.0 (CSV only)": gutentag(),
    }
    costs: dict[str, Cost] = compare(quick, runs)
    for name, script in (("mixed pandas", "mixed_pandas.py"), ("row loop (CSV only)", "row_loop.py")):
        costs[name] = run_once([sys.executable, str(PEERS / script)])
    ours = costs[OURS]
    rows = [
        [name, f"{cost.cpu_seconds:.2f}", f"{cost.cpu_seconds / ours.cpu_seconds:.1f}x", f"{cost.wall_seconds:.2f}",
         f"{cost.peak_mb:.0f}"]
        for name, cost in costs.items()
    ]  # fmt: skip
    return table(["525,600 rows x 10 signals", "CPU s", "CPU / ours", "wall s", "peak MB"], rows)
