"""The command itself: help with examples, errors as messages and exit codes."""

import subprocess
import sys

import pytest

from defectory import __version__
from defectory.cli import main
from defectory.errors import DefectoryError, InputError


@pytest.fixture
def run(capsys):
    def run_(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run_


def test_version(run):
    assert run("--version") == (0, f"defectory {__version__}\n", "")


@pytest.mark.parametrize("command", ["catalogue", "generate", "check"])
def test_every_command_of_sensors_shows_an_example(run, command):
    code, out, _ = run("sensors", command, "--help")

    assert code == 0
    assert f"defectory sensors {command}" in out


@pytest.mark.parametrize("arguments", [["nonsense"], ["sensors", "nonsense"], ["sensors", "generate"], ["--nonsense"]])
def test_wrong_usage_is_bad_input(run, arguments):
    code, out, err = run(*arguments)

    assert code == 2
    assert out == ""
    assert err


@pytest.mark.parametrize(
    ("error", "code"),
    [(InputError("industry", "known", "cheese"), 2), (DefectoryError("out of luck"), 1)],
)
def test_errors_become_a_message_and_an_exit_code(run, monkeypatch, error, code):
    def fail(name):
        raise error

    monkeypatch.setattr("defectory.sensors.catalogue.find_industry", fail)

    ended, out, err = run("sensors", "catalogue", "cheese", "--json")

    assert ended == code
    assert out == ""
    assert err.strip() == f"{error.code}: {error}"


def test_it_is_a_module_too():
    shown = subprocess.run(
        [sys.executable, "-m", "defectory", "--version"], capture_output=True, text=True, check=True
    ).stdout

    assert shown == f"defectory {__version__}\n"


def test_help_loads_nothing_heavy():
    code = "import sys; import defectory.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"numpy", "polars", "pandas", "boto3", "plotly", "pydantic"} & set(loaded)
