"""Starting, stopping, being killed, and starting again."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import defectory
from defectory.errors import LocalCloudError
from defectory.local import instance
from defectory.local.cloud import LocalCloud
from defectory.local.server import hooks
from tests.local_cloud.processes import belonging, server_of
from tests.local_cloud.sample_app import PATIENCE, STACK, eventually, write_assembly

pytestmark = pytest.mark.xdist_group("local-cloud-life")
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")

# A cloud with a build that never ends and has left its session, in a process that is about to be killed.
KILLED = """
import sys, time
from pathlib import Path
from defectory.local import instance
from defectory.local.cloud import LocalCloud
from tests.local_cloud.roles import ROLE, create_role

cloud = LocalCloud().start()
create_role(cloud)
spec = "version: 0.2\\nphases: {build: {commands: ['setsid sleep 600 & sleep 600']}}"
builds = cloud.client("codebuild")
builds.create_project(
    name="endless",
    source={"type": "NO_SOURCE", "buildspec": spec},
    artifacts={"type": "NO_ARTIFACTS"},
    environment={"type": "LINUX_CONTAINER", "computeType": "BUILD_GENERAL1_SMALL", "image": "any"},
    serviceRole=ROLE,
)
build = builds.start_build(projectName="endless")["build"]["id"]
while builds.batch_get_builds(ids=[build])["builds"][0]["currentPhase"] != "BUILD":
    time.sleep(0.05)
print(cloud.settings.folder, flush=True)
time.sleep(600)
"""


def test_it_listens_on_the_loopback_interface_only(cloud: LocalCloud) -> None:
    addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in addresses - {"127.0.0.1"}:
        if not address.startswith("127."):
            with socket.socket() as probe:
                assert probe.connect_ex((address, cloud.settings.port)) != 0


def test_port_in_use_is_told_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LocalCloudError, match=f"Port {port} cannot be used: Address already in use"):
            LocalCloud(port=port).start()
    assert list(tmp_path.iterdir()) == []


@needs_proc
def test_nothing_is_left_after_stopping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with LocalCloud() as cloud:
        cloud.client("s3").create_bucket(Bucket="short-lived")
        assert belonging(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert belonging(tmp_path) == []


@needs_proc
def test_killed_parent_leaves_neither_process_nor_folder(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", KILLED], env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        folder = Path(parent.stdout.readline().strip())
        assert folder.parent == tmp_path
        assert len(belonging(folder)) > 2
        parent.kill()
    eventually(lambda: not belonging(folder), "end of every process")
    eventually(lambda: not folder.exists(), "end of the folder")


@needs_proc
def test_killed_server_leaves_neither_process_nor_folder() -> None:
    cloud = LocalCloud().start()
    folder = cloud.settings.folder
    os.kill(server_of(folder), signal.SIGKILL)
    assert cloud.wait(PATIENCE)
    assert not cloud.alive
    assert belonging(folder) == []
    assert not folder.exists()
    cloud.stop()


def test_profiles_and_configuration_of_the_user_are_ignored(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "somebody-elses")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:1")
    assert cloud.client("sts").get_caller_identity()["Account"] == "123456789012"
    environment = cloud.process_environment()
    assert "AWS_PROFILE" not in environment
    code = "import boto3; print(boto3.client('sts').get_caller_identity()['Account'])"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "123456789012"


def test_endpoints_of_single_services_are_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Bedrock to talk to is reached through its own endpoint, from builds and functions alike."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://localhost:2")
    with LocalCloud() as cloud:
        outputs = cloud.deploy(write_assembly(tmp_path))[STACK]
        event = json.dumps({"do": "describe"})
        reply = json.load(cloud.client("lambda").invoke(FunctionName=outputs["Worker"], Payload=event)["Payload"])
        assert reply["environment"]["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"] == "http://localhost:2"
        builds, spec = cloud.client("codebuild"), "version: 0.2\nphases: {build: {commands: [env]}}"
        build = builds.start_build(projectName=outputs["Make"], sourceTypeOverride="NO_SOURCE", buildspecOverride=spec)[
            "build"
        ]
        eventually(lambda: builds.batch_get_builds(ids=[build["id"]])["builds"][0]["buildComplete"], "end of the build")
        place = {"logGroupName": build["logs"]["groupName"], "logStreamName": build["logs"]["streamName"]}
        lines = [e["message"] for e in cloud.client("logs").get_log_events(**place, startFromHead=True)["events"]]
        assert "AWS_ENDPOINT_URL_BEDROCK_RUNTIME=http://localhost:2" in lines


@pytest.fixture
def assembly(tmp_path: Path) -> Path:
    return write_assembly(tmp_path / "assembly")


def execution_ended(cloud: LocalCloud, pipeline: str, execution_id: str) -> dict[str, Any]:
    client = cloud.client("codepipeline")

    def look() -> dict[str, Any] | None:
        reply = client.get_pipeline_execution(pipelineName=pipeline, pipelineExecutionId=execution_id)
        return None if reply["pipelineExecution"]["status"] == "InProgress" else reply["pipelineExecution"]

    return eventually(look, "end of the execution")


def test_state_is_there_again(tmp_path: Path, assembly: Path) -> None:
    """Everything that --state promises, over a change of port."""
    state = tmp_path / "state"
    with LocalCloud(state=state) as cloud:
        outputs = cloud.deploy(assembly)[STACK]
        cloud.client("sqs").send_message(QueueUrl=outputs["DeadLetters"], MessageBody="waiting")
        item = {"id": {"S": "kept"}, "value": {"S": "{}"}}
        cloud.client("dynamodb").put_item(TableName=outputs["Table"], Item=item)
        s3 = cloud.client("s3")
        for text in (b"first", b"second"):
            s3.put_object(Bucket=outputs["Results"], Key="a folder/ü.txt", Body=text)
        cloud.client("sns").publish(TopicArn=outputs["Alerts"], Subject="Kept", Message="text")
        start = cloud.client("codepipeline").start_pipeline_execution
        variables = [{"name": "who", "value": "ada"}]
        done = start(name=outputs["Pipeline"], variables=variables)["pipelineExecutionId"]
        execution_ended(cloud, outputs["Pipeline"], done)
        slow = [*variables, {"name": "mode", "value": "slow"}]
        interrupted = start(name=outputs["Pipeline"], variables=slow)["pipelineExecutionId"]
        port = cloud.settings.port
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        with LocalCloud(state=state) as cloud:
            _check_kept(cloud, assembly, outputs)
            assert execution_ended(cloud, outputs["Pipeline"], done)["status"] == "Succeeded"
            _check_interrupted(cloud, outputs, interrupted)


def _check_kept(cloud: LocalCloud, assembly: Path, outputs: dict[str, str]) -> None:
    again = cloud.deploy(assembly)[STACK]
    assert {name: value for name, value in again.items() if "http" not in value} == {
        name: value for name, value in outputs.items() if "http" not in value
    }
    messages = cloud.client("sqs").receive_message(QueueUrl=again["DeadLetters"]).get("Messages", [])
    assert [message["Body"] for message in messages] == ["waiting"]
    assert "Item" in cloud.client("dynamodb").get_item(TableName=again["Table"], Key={"id": {"S": "kept"}})
    s3, place = cloud.client("s3"), {"Bucket": again["Results"], "Key": "a folder/ü.txt"}
    assert s3.get_object(**place)["Body"].read() == b"second"
    versions = s3.list_object_versions(Bucket=again["Results"], Prefix="a folder/")["Versions"]
    old = next(version["VersionId"] for version in versions if not version["IsLatest"])
    assert s3.get_object(**place, VersionId=old)["Body"].read() == b"first"
    assert [mail.subject for mail in cloud.mails()] == ["Kept"]
    # Links work, too: queue to function to table, topic to outbox.
    cloud.client("sqs").send_message(QueueUrl=again["Work"], MessageBody="after the restart")
    eventually(lambda: "after the restart" in _table(cloud, again), "record of the message")
    cloud.client("sns").publish(TopicArn=again["Alerts"], Message="text")
    assert len(list(cloud.mails())) == 2


def _check_interrupted(cloud: LocalCloud, outputs: dict[str, str], execution_id: str) -> None:
    found = execution_ended(cloud, outputs["Pipeline"], execution_id)
    assert found["status"] == "Failed"
    assert "was stopped" in found["statusSummary"]
    # Whoever waits for it hears of it.
    eventually(
        lambda: any(execution_id in line and '"FAILED"' in line for line in _table(cloud, outputs).splitlines()),
        "event of the failure",
    )


def _table(cloud: LocalCloud, outputs: dict[str, str]) -> str:
    items = cloud.client("dynamodb").scan(TableName=outputs["Table"])["Items"]
    return "\n".join(item["value"]["S"] for item in items)


def test_state_has_one_cloud_at_a_time(tmp_path: Path) -> None:
    with LocalCloud(state=tmp_path), pytest.raises(LocalCloudError, match="already running"):
        LocalCloud(state=tmp_path).start()
    assert not instance.is_locked(tmp_path)


def test_server_that_cannot_start_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What its log said is told, although the log's folder is gone by then."""
    (tmp_path / "hypercorn.py").write_text("raise RuntimeError('broken installation')")
    monkeypatch.setattr(defectory, "__file__", str(tmp_path / "defectory" / "__init__.py"))
    (tmp_path / "defectory").symlink_to(Path(hooks.__file__).parents[2])
    with pytest.raises(LocalCloudError, match=r"ended at its start(.|\n)*RuntimeError: broken installation"):
        LocalCloud().start()


def test_without_start_it_says_so() -> None:
    with pytest.raises(LocalCloudError, match=r"not running: call start\(\)"):
        _ = LocalCloud().endpoint


def test_other_release_of_ministack_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "version", lambda _: "1.6.0")
    with pytest.raises(LocalCloudError, match=r"needs MiniStack 1\.5\.33, found 1\.6\.0.*pip install"):
        hooks.check_release()


def test_missing_ministack_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> str:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(hooks, "version", missing)
    with pytest.raises(LocalCloudError, match="not installed"):
        hooks.check_release()


@pytest.mark.parametrize(
    ("name", "parameters", "complaint"),
    [("gone", (), "has no .*gone"), ("changed", ("topic_arn", "subject"), "takes no subject")],
)
def test_hook_that_is_not_there_is_told_at_start(name: str, parameters: tuple[str, ...], complaint: str) -> None:
    def changed(topic_arn: str) -> None: ...

    module = ModuleType("ministack.services.sns")
    module.changed = changed  # type: ignore[attr-defined]
    with pytest.raises(LocalCloudError, match=complaint):
        hooks.require(module, name, *parameters)


def test_hook_is_given_the_original() -> None:
    module = ModuleType("ministack.services.sns")
    module.double = lambda number: 2 * number  # type: ignore[attr-defined]

    @hooks.replace(module, "double", "number")
    def double_and_more(original: Callable[[int], int], number: int) -> int:
        return original(number) + 1

    assert module.double(20) == 41
