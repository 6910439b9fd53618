"""A cloud that is killed: what it had acknowledged is there again, and what was under way says that it ended.

In small: ``make drills`` kills at a hundred moments.
"""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from defectory.errors import LocalCloudError
from defectory.local import instance
from defectory.local.cloud import LocalCloud
from defectory.local.server.state.journal import FILE, Changes, Journal
from tests.local_cloud.processes import server_of
from tests.local_cloud.roles import ROLE, create_role
from tests.local_cloud.sample_app import STACK, eventually, write_assembly
from tests.support.kills import kill_repeatedly

pytestmark = pytest.mark.xdist_group("local-cloud-life")
WAITS = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}}}
TOPIC = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "made"}}
# A stack that is never made in full: nobody says that the condition has come.
HANDLE = {"Type": "AWS::CloudFormation::WaitConditionHandle"}
CONDITION = {
    "Type": "AWS::CloudFormation::WaitCondition",
    "DependsOn": "Topic",
    "Properties": {"Handle": {"Ref": "Handle"}, "Timeout": "3600"},
}
ENDLESS = {"Resources": {"Topic": TOPIC, "Handle": HANDLE, "Condition": CONDITION}}


def test_no_acknowledged_write_is_lost(tmp_path: Path) -> None:
    acknowledged, lost = kill_repeatedly(tmp_path / "state", times=3, seed=1, longest=0.3)
    assert lost == []
    assert acknowledged > 0


class Killed:
    """A cloud with the sample app and work under way in it, killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        cloud = LocalCloud(state=self.state).start()
        self.outputs = cloud.deploy(write_assembly(folder / "assembly"))[STACK]
        self._begin(cloud)
        os.kill(server_of(cloud.settings.folder), signal.SIGKILL)
        self.ending = cloud.ending()
        cloud.stop()
        self.cloud = LocalCloud(state=self.state).start()

    def _begin(self, cloud: LocalCloud) -> None:
        create_role(cloud)
        machines, sqs, pipelines = (cloud.client(name) for name in ("stepfunctions", "sqs", "codepipeline"))
        machine = machines.create_state_machine(name="waits", definition=json.dumps(WAITS), roleArn=ROLE)
        self.execution = machines.start_execution(stateMachineArn=machine["stateMachineArn"], name="run")[
            "executionArn"
        ]
        slow = [{"name": "who", "value": "ada"}, {"name": "mode", "value": "slow"}]
        self.pipeline_execution = pipelines.start_pipeline_execution(name=self.outputs["Pipeline"], variables=slow)
        sqs.send_message(QueueUrl=self.outputs["DeadLetters"], MessageBody="in flight")
        sqs.receive_message(QueueUrl=self.outputs["DeadLetters"], VisibilityTimeout=3600)
        stacks = cloud.client("cloudformation")
        stacks.create_stack(StackName="endless", TemplateBody=json.dumps(ENDLESS))
        eventually(
            lambda: any(topic["TopicArn"].endswith(":made") for topic in cloud.client("sns").list_topics()["Topics"]),
            "first resource of the stack",
        )
        # Accepted, and about to be tried for the second time when the kill comes.
        event = json.dumps({"do": "jam", "why": "accepted before the kill"})
        cloud.client("lambda").invoke(FunctionName=self.outputs["Worker"], InvocationType="Event", Payload=event)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    case = Killed(tmp_path_factory.mktemp("killed"))
    yield case
    case.cloud.stop()


def test_the_end_is_explained(killed: Killed) -> None:
    assert killed.ending.startswith("It was killed by SIGKILL, ")


def test_the_next_start_says_what_it_found(killed: Killed) -> None:
    report = killed.cloud.report
    assert "did not end by itself; everything that it had acknowledged is here" in report
    assert "ended as FAILED: waits:run" in report
    assert "endless (CREATE_FAILED)" in report


def test_execution_ended_as_failed_with_the_reason(killed: Killed) -> None:
    machines = killed.cloud.client("stepfunctions")
    found = machines.describe_execution(executionArn=killed.execution)
    assert (found["status"], found["cause"]) == ("FAILED", "The local cloud ended while this was under way.")
    events = machines.get_execution_history(executionArn=killed.execution)["events"]
    assert events[-1]["type"] == "ExecutionFailed"


def test_pipeline_ended_as_failed(killed: Killed) -> None:
    name, id_ = killed.outputs["Pipeline"], killed.pipeline_execution["pipelineExecutionId"]
    found = killed.cloud.client("codepipeline").get_pipeline_execution(pipelineName=name, pipelineExecutionId=id_)
    assert found["pipelineExecution"]["status"] == "Failed"


def test_message_in_flight_comes_back(killed: Killed) -> None:
    sqs = killed.cloud.client("sqs")
    url = sqs.get_queue_url(QueueName=killed.outputs["DeadLetters"].rpartition("/")[2])["QueueUrl"]
    messages = sqs.receive_message(QueueUrl=url).get("Messages", [])
    assert [message["Body"] for message in messages] == ["in flight"]


def test_accepted_invocation_is_tried_again(killed: Killed) -> None:
    """It fails as often as it may, and goes where failures go."""
    sqs = killed.cloud.client("sqs")
    url = sqs.get_queue_url(QueueName=killed.outputs["Failures"].rpartition("/")[2])["QueueUrl"]
    messages = eventually(lambda: sqs.receive_message(QueueUrl=url).get("Messages"), "message of the failure")
    assert ["accepted before the kill" in message["Body"] for message in messages] == [True]


def test_stack_that_was_cut_short_is_deployed_again(killed: Killed) -> None:
    stacks = killed.cloud.client("cloudformation")
    assert stacks.describe_stacks(StackName="endless")["Stacks"][0]["StackStatus"] == "CREATE_FAILED"
    stacks.delete_stack(StackName="endless")
    topics = killed.cloud.client("sns").list_topics
    eventually(lambda: all(not t["TopicArn"].endswith(":made") for t in topics()["Topics"]), "end of what it had made")
    stacks.create_stack(StackName="endless", TemplateBody=json.dumps({"Resources": {"Topic": TOPIC}}))
    stacks.get_waiter("stack_create_complete").wait(StackName="endless", WaiterConfig={"Delay": 1})


def test_links_work_as_before(killed: Killed) -> None:
    """Queue to function to table: the event source mapping is there."""
    cloud = killed.cloud
    url = cloud.client("sqs").get_queue_url(QueueName=killed.outputs["Work"].rpartition("/")[2])["QueueUrl"]
    cloud.client("sqs").send_message(QueueUrl=url, MessageBody="after the kill")

    def recorded() -> bool:
        items = cloud.client("dynamodb").scan(TableName=killed.outputs["Table"])["Items"]
        return any("after the kill" in item["value"]["S"] for item in items)

    eventually(recorded, "record of the message")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The folder of a state in which nothing is yet."""
    instance.claim_state(tmp_path)
    (tmp_path / "state").mkdir()
    return tmp_path


def test_state_of_an_older_version_is_refused(state: Path) -> None:
    (state / "state" / "sqs.json").write_text("{}")
    with pytest.raises(LocalCloudError, match=r"older version .* \(sqs\.json\)(.|\n)*Use another folder"):
        LocalCloud(state=state).start()
    assert not instance.is_locked(state)


def test_damaged_state_is_told_and_left_alone(state: Path) -> None:
    damaged = state / "state" / FILE
    damaged.write_bytes(b"no database at all, " * 300)
    with pytest.raises(LocalCloudError, match=r"state\.sqlite3 cannot be used: file is not a database"):
        LocalCloud(state=state).start()
    assert damaged.read_bytes() == b"no database at all, " * 300
    assert not instance.is_locked(state)


def test_what_a_service_does_not_take_is_told_and_left_alone(state: Path) -> None:
    rows = [("sqs", ("queues", "region", "123456789012", "us-east-1", "'kept'"), '{"no": "messages"}')]
    journal = Journal(state / "state")
    journal.write(Changes(written=rows))
    journal.close()
    with pytest.raises(LocalCloudError, match=r"state\.sqlite3 holds of sqs cannot be used"):
        LocalCloud(state=state).start()
    assert list(Journal(state / "state").rows("sqs")) == [row[1:] for row in rows]
