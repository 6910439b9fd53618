"""The names of tests are the same whenever, wherever and in whichever process they are collected."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def collect(folder: Path, hash_seed: int) -> list[str]:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "TMPDIR": str(folder)}
    # A worker's own variables would make a worker of it.
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_two_collections_find_the_same_tests(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "another")]
    for folder in folders:
        folder.mkdir()

    # One after the other takes seconds: more than the clock of an archive needs to go on.
    first, second = (collect(folder, seed) for seed, folder in enumerate(folders, 1))

    assert len(first) > 1000
    assert first == second
    assert not [name for name in first if str(ROOT) in name]
