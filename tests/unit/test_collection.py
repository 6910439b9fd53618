"""The names of tests are the same whenever, wherever and in whichever process they are collected."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def collect(folder: Path, files: list[str], hash_seed: int) -> list[str]:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "TMPDIR": str(folder)}
    # A worker's own variables would make a worker of it.
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_another_collection_finds_the_same_tests(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    # This session's own, from seconds ago or more: long enough for the clock of an archive to have gone on.
    here = {name_of(item): None for item in request.session.items}
    files = list(dict.fromkeys(name.partition("::")[0] for name in here))

    there = collect(tmp_path, files, hash_seed=1)

    assert set(here) <= set(there)
    if len(here) > 1000:
        assert sorted(here) == sorted(there)
    assert not [name for name in there if str(ROOT) in name]


def name_of(item: pytest.Item) -> str:
    """The name of a test without the group that says which worker runs it."""
    return re.sub(r"@[\w-]+$", "", item.nodeid)
