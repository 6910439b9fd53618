"""``defectory local up | status | down``, as a user types them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.local_cloud.sample_app import PATIENCE

pytestmark = pytest.mark.xdist_group("local-cloud-life")
COMMAND = [sys.executable, "-c", "import sys; from defectory.cli import main; main(sys.argv[1:])", "local"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """That of a user with a runtime folder of their own."""
    (tmp_path / "runtime").mkdir(mode=0o700)
    (tmp_path / "tmp").mkdir()
    return {
        **os.environ,
        "XDG_RUNTIME_DIR": str(tmp_path / "runtime"),
        "TMPDIR": str(tmp_path / "tmp"),
        "COLUMNS": "200",
    }


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=PATIENCE)


def started(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    """A process of 'up' that serves."""
    process = subprocess.Popen(
        [*COMMAND, "up", "--port", "0", "--no-deploy", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr
    for line in process.stderr:
        if "Serving at" in line:
            return process
    raise AssertionError(f"'up' ended with {process.wait()}")


@pytest.fixture
def serving(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = started(environment)
    yield process
    if process.poll() is None:
        process.terminate()
    process.communicate(timeout=PATIENCE)


def status(environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    return json.loads(run(environment, "status", "--json", *arguments).stdout)


def test_up_status_and_down(environment: dict[str, str], serving: subprocess.Popen[str], tmp_path: Path) -> None:
    seen = status(environment)
    assert seen["running"]
    client = boto3.client(
        "sns",
        endpoint_url=seen["instance"]["endpoint"],
        region_name=seen["instance"]["region"],
        aws_access_key_id=seen["instance"]["account"],
        aws_secret_access_key="any",
    )
    topic = client.create_topic(Name="alerts")["TopicArn"]
    client.subscribe(TopicArn=topic, Protocol="email", Endpoint="ops@example.com")
    client.publish(TopicArn=topic, Subject="[bold]It is down", Message="text")
    (mail,) = status(environment)["mails"]
    assert (mail["to"], mail["subject"]) == ("ops@example.com", "[bold]It is down")
    assert Path(mail["file"]).is_file()
    shown = run(environment, "status").stdout
    assert seen["instance"]["endpoint"] in shown
    assert "[bold]It is down" in shown
    stopped = run(environment, "down")
    assert stopped.returncode == 0
    assert seen["instance"]["endpoint"] in stopped.stdout
    assert serving.wait(PATIENCE) == 0
    assert status(environment) == {"running": False}
    assert list((tmp_path / "tmp").iterdir()) == []


def test_printed_variables_lead_there_from_any_shell(
    environment: dict[str, str], serving: subprocess.Popen[str]
) -> None:
    endpoint = status(environment)["instance"]["endpoint"]
    serving.terminate()
    printed = serving.communicate(timeout=PATIENCE)[0]
    script = f'{printed}\necho "$AWS_ENDPOINT_URL $AWS_ACCESS_KEY_ID ${{AWS_PROFILE-unset}}"'
    shell = subprocess.run(["sh", "-c", script], env={"AWS_PROFILE": "other"}, capture_output=True, text=True)
    assert shell.stdout.split() == [endpoint, "123456789012", "unset"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_cleanly(environment: dict[str, str], number: int, tmp_path: Path) -> None:
    process = started(environment)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert list((tmp_path / "tmp").iterdir()) == []


def test_second_instance_is_refused_and_told_of_the_first(
    environment: dict[str, str], serving: subprocess.Popen[str]
) -> None:
    second = run(environment, "up", "--port", "0", "--no-deploy")
    assert second.returncode == 1
    assert f"already running at {status(environment)['instance']['endpoint']}" in second.stderr
    assert "defectory local down" in second.stderr
    assert serving.poll() is None


def test_instances_with_folders_of_their_own_stand_side_by_side(
    environment: dict[str, str], serving: subprocess.Popen[str], tmp_path: Path
) -> None:
    state = str(tmp_path / "state")
    other = started(environment, "--state", state)
    assert status(environment, "--state", state)["instance"]["persistent"]
    assert run(environment, "down", "--state", state).returncode == 0
    other.communicate(timeout=PATIENCE)
    assert status(environment)["running"]


def test_port_in_use_is_told(environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = run(environment, "up", "--no-deploy", "--port", str(taken.getsockname()[1]))
    assert refused.returncode == 1
    assert "Address already in use. Choose another with --port" in refused.stderr


def test_nothing_running_is_told(environment: dict[str, str]) -> None:
    assert run(environment, "status").returncode == 1
    stopped = run(environment, "down")
    assert (stopped.returncode, stopped.stdout) == (0, "No local cloud is running.\n")


def test_wrong_setting_is_bad_input(environment: dict[str, str]) -> None:
    refused = run(environment, "up", "--port", "0", "-c", "author")
    assert refused.returncode == 2
    assert "KEY=VALUE" in refused.stderr


def test_killed_up_is_noticed(environment: dict[str, str]) -> None:
    process = started(environment)
    process.kill()
    process.communicate(timeout=PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while run(environment, "down").returncode:
        assert time.monotonic() < deadline
    assert status(environment) == {"running": False}


@pytest.mark.parametrize("command", ["up", "down", "status"])
def test_help_has_an_example(environment: dict[str, str], command: str) -> None:
    assert f"defectory local {command}" in run(environment, command, "--help").stdout
