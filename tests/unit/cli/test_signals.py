"""Whoever ends a command interrupts it: exit codes are a shell's."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from defectory import cli


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
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
