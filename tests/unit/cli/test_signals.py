"""Whoever ends a command interrupts it: exit codes are a shell's."""

import os
import signal

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
