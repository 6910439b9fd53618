"""SageMaker's containers as processes that have what a container has: nothing else installed."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from packaging.markers import Marker

from stacks.import_closure import import_closure
from tools.lock import read_lock

ROOT = Path(__file__).parent.parent.parent


def unpack_source(model: str, programs: tuple[str, ...], folder: Path) -> Path:
    """The source as a container unpacks it: the programs of ``models/<model>`` and what they import."""
    folder.mkdir()
    files = [ROOT / "models" / model / name for name in programs]
    for file in files:
        (folder / file.name).write_bytes(file.read_bytes())
    for file in import_closure(files).files:
        target = folder / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(file)
    return folder


def link_libraries(folder: Path, model: str, *files: str) -> Path:
    """Fill ``folder`` with what requirements files of ``models/<model>`` name, and with no other library."""
    for file in files:
        for name, pin in read_lock((ROOT / "models" / model / file).read_text()).items():
            marker = pin.lines[0].partition(";")[2].strip(" \\")
            if not marker or Marker(marker).evaluate():
                link_distribution(folder, name)
    return folder


def link_distribution(folder: Path, name: str) -> None:
    """Fill ``folder`` with an installed package."""
    installed = distribution(name)
    assert installed.files is not None
    for top in {path.parts[0] for path in installed.files} - {"..", "bin", "__pycache__"}:
        # Parts of google's namespace come from several.
        if not (folder / top).exists():
            (folder / top).symlink_to(installed.locate_file(top))


def job_environment(
    libraries: Path, model: Path, hyperparameters: dict[str, Any] | None = None, **channels: Path
) -> dict[str, str]:
    """The environment of a job whose model folder is ``model``; its other folders lie beside."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(model.parent),
        "PYTHONPATH": str(libraries),
        "SM_MODEL_DIR": str(model),
        "SM_OUTPUT_DIR": str(model.with_name(f"{model.name}-output")),
        "SM_CHECKPOINT_DIR": str(model.with_name(f"{model.name}-checkpoints")),
        "SM_HPS": json.dumps(hyperparameters or {}),
        **{f"SM_CHANNEL_{name.upper()}": str(channel) for name, channel in channels.items()},
    }


def run_job(
    program: Path, libraries: Path, model: Path, hyperparameters: dict[str, Any] | None = None, **channels: Path
) -> subprocess.CompletedProcess[str]:
    """Run a job's program; its model folder is ``model``, its output folder lies beside."""
    environment = job_environment(libraries, model, hyperparameters, **channels)
    # -S: what this machine has installed is not there.
    command = [sys.executable, "-S", str(program)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=model.parent)


@contextmanager
def run_endpoint(hosted: Path, libraries: Path) -> Iterator[str]:
    """The address of a process that serves the model in ``hosted``, by the code that was handed over with it."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(libraries), "SM_MODEL_DIR": str(hosted)}
    command = [sys.executable, "-S", str(hosted / "code" / "inference.py"), "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=hosted.parent) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[1]
        process.terminate()


def call(
    endpoint: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """Status and content of the answer."""
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=30)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def await_model(endpoint: str) -> None:
    """Come back once the model is loaded."""
    status = 503
    while status == 503:
        status, content = call(endpoint, "GET", "/ping")
    assert status == 200, content
