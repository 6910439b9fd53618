"""Whoever ends a command interrupts it: exit codes are a shell's, and what is being cleared away is not interrupted."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from defectory import cli
from defectory.cli.signals import interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_the_first_signal_ends_the_work_and_the_second_does_not_end_the_clearing(number):
    cleared = []

    with pytest.raises(SystemExit) as ended, interruptible():
        try:
            os.kill(os.getpid(), number)
        finally:
            os.kill(os.getpid(), number)
            cleared.append("all")

    assert (ended.value.code, cleared) == (128 + number, ["all"])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_command_that_serves_until_it_is_interrupted_ends_well():
    with interruptible(), contextlib.suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)


def test_what_was_started_with_nohup_outlives_its_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_command_line_ends_as_a_shell_expects(monkeypatch, number, code):
    def interrupted(*_, **__):
        os.kill(os.getpid(), number)

    monkeypatch.setattr("defectory.sensors.checking.find_datasets", interrupted)

    with pytest.raises(SystemExit) as ended:
        cli.main(["sensors", "check", "data"])

    assert ended.value.code == code


def test_an_interruption_within_code_that_is_run_from_a_text_has_its_exit_code(tmp_path):
    (tmp_path / "program.py").write_text(
        "import os, signal\nfrom defectory.cli.signals import interruptible\n"
        "with interruptible():\n    exec('os.kill(os.getpid(), signal.SIGTERM)')\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(cli.__file__).parents[2])])}

    assert subprocess.run([sys.executable, "-m", "program"], env=environment, check=False).returncode == 143
