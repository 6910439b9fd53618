"""Fixtures of the sandbox's tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sandbox_world import SMALL, Servers, World, serving, texts, world_around

from defectory.sensors.sandbox import Limits, RunResult, detect_layers, layers, runner


@pytest.fixture
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """The layers in force: all there are, unless the test asks for others by its parameter."""
    chosen = getattr(request, "param", None) or detect_layers()
    monkeypatch.setattr(layers, "detect_layers", lambda: chosen)
    return chosen


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with serving() as servers:
        yield servers


@pytest.fixture
def world(mode: tuple[str, ...], servers: Servers) -> Iterator[World]:
    """Files that everybody may read and write, unless a user of its own is the script's only fence around files."""
    with world_around(servers, open_to_everybody=layers.fences_files(mode)) as world:
        yield world


@pytest.fixture
def unguarded_world(servers: Servers) -> Iterator[World]:
    with world_around(servers, open_to_everybody=True) as world:
        yield world


@pytest.fixture
def execute(tmp_path: Path):
    """Run a script in the sandbox without the lint, as an attack that the lint overlooks would be."""

    def execute(source: str, limits: Limits = SMALL, *, trusted: bool = False, outer_wall: bool = True) -> RunResult:
        return runner._execute(source, tmp_path / "out", limits, trusted=trusted, outer_wall=outer_wall)

    return execute


@pytest.fixture
def run_plainly(tmp_path: Path):
    """Run a script as nobody should, to see that an attack works where nothing stops it; returns what it got."""

    def run(source: str) -> str:
        folder = tmp_path / "plain"
        folder.mkdir()
        process = subprocess.run(
            [sys.executable, "-c", source], cwd=folder, capture_output=True, text=True, timeout=60, check=False
        )
        return process.stdout + process.stderr + texts(folder.iterdir())

    return run
