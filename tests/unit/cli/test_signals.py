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
    # Whoever runs the tests may ignore SIGHUP, as nohup does.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as ended:
            cli.main(["sensors", "check", "data"])
    finally:
        signal.signal(signal.SIGHUP, before)

    assert ended.value.code == code


def test_an_interruption_within_code_that_is_run_from_a_text_has_its_exit_code():
    program = (
        "import os, signal\n"
        "from defectory import cli\n"
        "from defectory.sensors import checking\n"
        "def interrupted(*_, **__):\n    exec('os.kill(os.getpid(), signal.SIGINT)')\n"
        "checking.find_datasets = interrupted\n"
        "cli.main(['sensors', 'check', 'data'])\n"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_comes_when_all_is_done_changes_nothing(number):
    program = (
        "import atexit, os, signal, sys\n"
        "from defectory.cli import run\n"
        f"signal.signal({number}, signal.default_int_handler if {number} == signal.SIGINT else signal.SIG_DFL)\n"
        f"atexit.register(os.kill, os.getpid(), {number})\n"
        "sys.argv = ['defectory', '--version']\n"
        "run()\n"
    )

    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
