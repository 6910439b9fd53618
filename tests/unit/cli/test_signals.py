"""Whoever ends a command interrupts it: exit codes are a shell's."""

import os
import signal
import subprocess
import sys

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


def test_an_interruption_within_code_that_is_run_from_a_text_has_its_exit_code():
    program = (
        "import os, signal; from defectory.cli.signals import interruptible\n"
        "with interruptible():\n    exec('os.kill(os.getpid(), signal.SIGTERM)')\n"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 143
