"""The application as a whole: synthesis, deployment into the local cloud, ten machines by the command line."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.measure import ROOT, run_once, table
from defectory.local.cloud import LocalCloud

MACHINES = 10


def report(runs: int = 3) -> str:
    """Best of ``runs`` runs; seconds on the clock, on a machine that does nothing else."""
    with tempfile.TemporaryDirectory() as name:
        assembly = Path(name) / "cdk.out"
        synth = min(timed([sys.executable, str(ROOT / "app.py")], assembly) for _ in range(runs))
        deploy = min(deployed(assembly) for _ in range(runs))
    ours = min(run_once(generate()).wall_seconds for _ in range(runs))
    peer = min(pandas_scripts() for _ in range(runs))
    rows = [
        ("synthesise all stacks, fresh process", f"{synth:.1f}", "10"),
        ("start the local cloud and deploy all stacks", f"{deploy:.1f}", "30"),
        (f"`defectory sensors generate --number {MACHINES}`: data, labels, contract, reports", f"{ours:.1f}", "20"),
        (f"{MACHINES} vectorised pandas scripts, two at a time: CSV and Parquet only", f"{peer:.1f}", ""),
        ("their ratio", f"{peer / ours:.2f}x", ""),
    ]
    return table(("", "wall s", "reach"), rows)


def timed(command: list[str], assembly: Path) -> float:
    started = time.perf_counter()
    # The CDK's command sets CDK_OUTDIR for the application that it runs.
    subprocess.run(["env", f"CDK_OUTDIR={assembly}", *command], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - started


def deployed(assembly: Path) -> float:
    started = time.perf_counter()
    with LocalCloud() as cloud:
        assert cloud.deploy(assembly)
        return time.perf_counter() - started


def generate() -> list[str]:
    return [
        sys.executable, "-m", "defectory", "sensors", "generate", "--industry", "semiconductor", "--user-id", "jane",
        "--number", str(MACHINES), "--out", "data", "--seed", "7",
    ]  # fmt: skip


def pandas_scripts() -> float:
    command = [sys.executable, str(ROOT / "benchmarks" / "peers" / "vectorised_pandas.py")]
    started = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: run_once(command), range(MACHINES)))
    return time.perf_counter() - started
