"""The training job of D-FINE and RF-DETR as a process that has what its container has: nothing else installed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs torch: `make models` has it")
pytest.importorskip("transformers", reason="needs transformers: `make models` has it")

from defectory.detection.detectors.detector import load_detector
from tests.support.containers import (
    job_environment,
    link_distribution,
    link_libraries,
    run_job,
    unpack_source,
)
from tests.support.shape_scenes import write_scenes

LISTS = ("requirements.txt", "requirements-training.txt", "requirements-training-torch.txt")
# What a container that has torch brings with it.
BROUGHT = ("torch", "networkx", "sympy", "mpmath", "jinja2", "markupsafe", "fsspec", "filelock")
OPTIONS = {"size": "tiny", "side": 64, "epochs": 60, "batch": 2, "workers": 0}


def test_a_job_on_spot_capacity_that_is_interrupted_goes_on_and_leaves_a_detector(tmp_path: Path) -> None:
    source = unpack_source("detector", ("train.py", "inference.py"), tmp_path / "source")
    (tmp_path / "libraries").mkdir()
    libraries = link_libraries(tmp_path / "libraries", "detector", *LISTS)
    for name in BROUGHT:
        link_distribution(libraries, name)
    scenes = write_scenes(tmp_path / "scenes", 4, "train", size=64, labels=("safety_cone",))
    hyperparameters = {"trainer": "rfdetr", "options": OPTIONS}
    arguments = (source / "train.py", libraries, tmp_path / "model", hyperparameters)
    environment = job_environment(*arguments[1:], train=scenes)
    command = [sys.executable, "-S", str(arguments[0])]

    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as job:
        assert job.stdout is not None
        next(line for line in job.stdout if line.startswith("training: 3 of 120 "))
        job.send_signal(signal.SIGTERM)
        job.stdout.read()
    assert job.returncode == 1
    reason = (tmp_path / "model-output" / "failure").read_text()
    assert reason.startswith("TrainingInterrupted: The training was ended after ")
    assert not (tmp_path / "model").exists()

    done = run_job(*arguments, train=scenes)
    assert done.returncode == 0, done.stderr
    first = next(line for line in done.stdout.splitlines() if line.startswith("training: "))
    assert int(first.split()[1]) > 3
    detector = load_detector(tmp_path / "model")
    assert (detector.card.kind, detector.card.names) == ("rfdetr", ("safety_cone",))
    assert (tmp_path / "model" / "code" / "inference.py").is_file()
