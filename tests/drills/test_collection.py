"""The names of tests are the same whenever, wherever and in whichever process they are collected."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def collect(folder: Path, files: list[str], hash_seed: int) -> list[str]:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "TMPDIR": str(folder)}
    # A worker's own variables would make a worker of it.
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_another_collection_finds_the_same_tests(tmp_path: Path) -> None:
    # Each a process of its own, with other hashes, another temporary folder, seconds apart.  Workers of one run compare
    # theirs as well, which begin together.
    first, second = (collect(tmp_path, ["tests"], hash_seed) for hash_seed in (1, 2))

    assert first == second and len(first) > 1000
    assert not [name for name in first if str(ROOT) in name]
