"""``defectory local up | status | down``, as a user types them."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from defectory.cli import main
from defectory.local.clients import connect
from tests.local_cloud.sample_app import PATIENCE, eventually

pytestmark = pytest.mark.xdist_group("local-cloud-life")
PROGRAM = [sys.executable, "-c", "import sys; from defectory.cli import main; main(sys.argv[1:])", "local"]


@dataclass
class Shell:
    """Where a user types commands: with a runtime folder and a folder for temporary files of its own."""

    folder: Path
    capture: pytest.CaptureFixture[str] | None = None
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.temporary = self.folder / "tmp"
        (self.folder / "runtime").mkdir(mode=0o700)
        self.temporary.mkdir()
        self.environment = {"XDG_RUNTIME_DIR": str(self.folder / "runtime"), "TMPDIR": str(self.temporary)}

    def up(self, *arguments: str) -> tuple[subprocess.Popen[str], list[str]]:
        """A process of 'up' that serves, and what it printed."""
        process = subprocess.Popen(
            [*PROGRAM, "up", "--port", "0", "--no-deploy", *arguments],
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stderr
        assert process.stdout
        for line in process.stderr:
            if "Serving at" in line:
                # As many as there are: one line of unset, eight of export.
                return process, [process.stdout.readline() for _ in range(9)]
        raise AssertionError(f"'up' ended with {process.wait()}")

    def type(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of another command."""
        assert self.capture
        self.capture.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**self.environment, "COLUMNS": "200"}.items():
                patch.setenv(name, value)
            patch.setattr("tempfile.tempdir", None)
            try:
                main(["local", *arguments])
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        return code, *self.capture.readouterr()

    def status(self, *arguments: str) -> dict[str, Any]:
        return json.loads(self.type("status", "--json", *arguments)[1])


@pytest.fixture(scope="module")
def _shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("busy"))


@pytest.fixture(scope="module")
def serving(_shell: Shell) -> Iterator[list[str]]:
    """What 'up' printed that serves as long as this module's tests run."""
    process, printed = _shell.up()
    yield printed
    process.terminate()
    process.communicate(timeout=PATIENCE)


@pytest.fixture
def busy(_shell: Shell, serving: list[str], capsys: pytest.CaptureFixture[str]) -> Shell:
    """A shell whose user has a cloud running."""
    _shell.capture = capsys
    return _shell


@pytest.fixture
def idle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    """A shell whose user has none."""
    return Shell(tmp_path, capsys)


def test_status_tells_what_is_there(busy: Shell) -> None:
    running = busy.status()["instance"]
    sns = connect("sns", running["endpoint"], running["account"], running["secret"], running["region"])
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="ops@example.com")
    sns.publish(TopicArn=topic, Subject="[bold]It is down", Message="text")
    stacks = connect("cloudformation", running["endpoint"], running["account"], running["secret"], running["region"])
    template = {"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}, "Outputs": {"Out": {"Value": "[red]put"}}}
    stacks.create_stack(StackName="small", TemplateBody=json.dumps(template))
    seen = eventually(lambda: (s := busy.status())["stacks"][0]["status"] == "CREATE_COMPLETE" and s, "stack")
    assert seen["stacks"] == [{"name": "small", "status": "CREATE_COMPLETE", "outputs": {"Out": "[red]put"}}]
    (mail,) = seen["mails"]
    assert (mail["to"], mail["subject"]) == ("ops@example.com", "[bold]It is down")
    assert Path(mail["file"]).is_file()
    _, shown, _ = busy.type("status")
    for expected in (running["endpoint"], "Stack small: CREATE_COMPLETE", "Out = [red]put", "[bold]It is down"):
        assert expected in shown


def test_printed_variables_lead_there_from_any_shell(busy: Shell, serving: list[str]) -> None:
    script = "".join(serving) + 'echo "$AWS_ENDPOINT_URL $AWS_ACCESS_KEY_ID ${AWS_PROFILE-unset}"'
    shell = subprocess.run(["sh", "-c", script], env={"AWS_PROFILE": "other"}, capture_output=True, text=True)
    assert shell.stdout.split() == [busy.status()["instance"]["endpoint"], "123456789012", "unset"]


def test_another_shell_gets_the_same_variables(busy: Shell, serving: list[str]) -> None:
    assert busy.type("status", "--env")[:2] == (0, "".join(serving))
    secret = busy.status()["instance"]["secret"]
    assert f"export AWS_SECRET_ACCESS_KEY={secret}\n" in serving
    assert secret not in busy.type("status")[1]


def test_a_shell_that_evaluates_nothing_runs_nothing(idle: Shell) -> None:
    code, printed, said = idle.type("status", "--env")
    assert (code, printed) == (1, "")
    assert "No local cloud is running" in said
    assert idle.type("status", "--env", "--json")[0] == 2


def test_second_instance_is_refused_and_told_of_the_first(busy: Shell) -> None:
    code, _, said = busy.type("up", "--port", "0", "--no-deploy")
    assert code == 1
    assert f"already running at {busy.status()['instance']['endpoint']}" in said
    assert "defectory local down" in said


def test_instance_with_a_folder_of_its_own_stands_beside_and_is_stopped_alone(busy: Shell, tmp_path: Path) -> None:
    other, _ = busy.up("--state", str(tmp_path / "state"))
    endpoint = busy.status("--state", str(tmp_path / "state"))["instance"]["endpoint"]
    assert endpoint != busy.status()["instance"]["endpoint"]
    code, said, _ = busy.type("down", "--state", str(tmp_path / "state"))
    assert (code, said) == (0, f"Stopped the local cloud at {endpoint}.\n")
    _, errors = other.communicate(timeout=PATIENCE)
    assert (other.returncode, "Traceback" in errors) == (0, False)
    assert busy.status()["running"]


def test_interrupt_ends_it_cleanly(idle: Shell) -> None:
    process, _ = idle.up()
    # As Ctrl-C does: for the whole group of the terminal's foreground.
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert list(idle.temporary.iterdir()) == []
    assert idle.status() == {"running": False}


def test_killed_up_leaves_nothing_behind(idle: Shell) -> None:
    process, _ = idle.up()
    process.kill()
    process.communicate(timeout=PATIENCE)
    # What it started ends by itself, a moment later; 'down' waits for that.
    assert idle.type("down")[0] == 0
    assert idle.status() == {"running": False}
    assert list(idle.temporary.iterdir()) == []


def test_port_in_use_is_told(idle: Shell) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, said = idle.type("up", "--no-deploy", "--port", str(taken.getsockname()[1]))
    assert code == 1
    assert "Address already in use. Choose another with --port" in said


def test_nothing_running_is_told(idle: Shell) -> None:
    assert idle.type("status")[0] == 1
    assert idle.type("down")[:2] == (0, "No local cloud is running.\n")


def test_wrong_setting_is_bad_input(idle: Shell) -> None:
    code, _, said = idle.type("up", "--port", "0", "-c", "author")
    assert code == 2
    assert "KEY=VALUE" in said


@pytest.mark.parametrize("command", ["up", "down", "status"])
def test_help_has_an_example(idle: Shell, command: str) -> None:
    assert f"defectory local {command}" in idle.type(command, "--help")[1]
