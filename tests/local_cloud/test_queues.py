"""Queues: tasks that move dead letters back, and changes by several threads at once."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from defectory.local.cloud import LocalCloud
from tests.local_cloud.laboratory import unique
from tests.local_cloud.sample_app import eventually

pytestmark = pytest.mark.xdist_group("local-cloud")


class Pair:
    """A queue and the one that its dead letters go to."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.sqs = cloud.client("sqs")
        self.dead_url, self.dead = self.queue({})
        policy = json.dumps({"deadLetterTargetArn": self.dead, "maxReceiveCount": 1})
        self.url, self.arn = self.queue({"RedrivePolicy": policy, "VisibilityTimeout": "0"})

    def queue(self, attributes: dict[str, str]) -> tuple[str, str]:
        url = self.sqs.create_queue(QueueName=unique("queue"), Attributes=attributes)["QueueUrl"]
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, found["Attributes"]["QueueArn"]

    def kill(self, *bodies: str) -> None:
        """Send messages and receive them until they are dead letters."""
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=body)
        eventually(lambda: not self.receive(self.url) and self.count(self.dead_url) == len(bodies), "dead letters")

    def receive(self, url: str) -> list[dict[str, Any]]:
        return self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])

    def count(self, url: str) -> int:
        names = ["ApproximateNumberOfMessages"]
        return int(self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"][names[0]])

    def tasks(self) -> list[dict[str, Any]]:
        return self.sqs.list_message_move_tasks(SourceArn=self.dead, MaxResults=10)["Results"]

    def ended(self) -> dict[str, Any]:
        return eventually(lambda: next((t for t in self.tasks() if t["Status"] != "RUNNING"), None), "end of the task")


@pytest.fixture
def pair(cloud: LocalCloud) -> Pair:
    return Pair(cloud)


def test_dead_letters_go_back_to_where_they_came_from(pair: Pair) -> None:
    pair.kill("first", "second")
    pair.sqs.start_message_move_task(SourceArn=pair.dead)
    task = pair.ended()
    assert (task["Status"], task["SourceArn"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", pair.dead, 2)
    assert "TaskHandle" not in task
    messages = pair.receive(pair.url)
    assert sorted(message["Body"] for message in messages) == ["first", "second"]
    assert pair.count(pair.dead_url) == 0


def test_dead_letters_go_to_another_queue(pair: Pair) -> None:
    pair.kill("letter")
    url, arn = pair.queue({})
    pair.sqs.start_message_move_task(SourceArn=pair.dead, DestinationArn=arn)
    assert pair.ended()["DestinationArn"] == arn
    assert [message["Body"] for message in pair.receive(url)] == ["letter"]


def test_letters_that_came_from_nowhere_stay(pair: Pair) -> None:
    """Sent to the dead letters by hand, they name no queue to go back to."""
    pair.sqs.send_message(QueueUrl=pair.dead_url, MessageBody="by hand")
    pair.sqs.start_message_move_task(SourceArn=pair.dead)
    task = pair.ended()
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    assert pair.count(pair.dead_url) == 1


def test_a_slow_task_is_alone_and_can_be_cancelled(pair: Pair) -> None:
    pair.kill(*map(str, range(10)))
    handle = pair.sqs.start_message_move_task(SourceArn=pair.dead, MaxNumberOfMessagesPerSecond=1)["TaskHandle"]
    with pytest.raises(ClientError, match="Only one active task is allowed"):
        pair.sqs.start_message_move_task(SourceArn=pair.dead)
    assert pair.tasks()[0]["TaskHandle"] == handle
    moved = pair.sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"]
    assert moved < 10
    assert pair.ended()["Status"] == "CANCELLED"
    with pytest.raises(ClientError, match="Only active tasks can be cancelled"):
        pair.sqs.cancel_message_move_task(TaskHandle=handle)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"SourceArn": "arn:aws:sqs:us-east-1:123456789012:nowhere"}, "ResourceNotFoundException"),
        ({"DestinationArn": "arn:aws:sqs:us-east-1:123456789012:nowhere"}, "ResourceNotFoundException"),
        ({"MaxNumberOfMessagesPerSecond": 501}, "InvalidParameterValue"),
        ({"SourceArn": "own"}, "InvalidParameterValue"),
    ],
)
def test_what_aws_refuses_is_refused(pair: Pair, change: dict[str, Any], code: str) -> None:
    request = {"SourceArn": pair.dead, **change}
    if request["SourceArn"] == "own":
        # A queue, but no dead letters go there.
        request["SourceArn"] = pair.arn
    with pytest.raises(ClientError) as refusal:
        pair.sqs.start_message_move_task(**request)
    assert refusal.value.response["Error"]["Code"].rpartition(".")[2] == code


def test_an_unknown_task_cannot_be_cancelled(pair: Pair) -> None:
    with pytest.raises(ClientError, match="Task does not exist"):
        pair.sqs.cancel_message_move_task(TaskHandle="none")


def test_messages_of_several_senders_all_arrive(pair: Pair) -> None:
    """Of those that come while others are taken away none is lost."""
    with ThreadPoolExecutor(4) as threads:
        sent = [
            threads.submit(pair.sqs.send_message, QueueUrl=pair.dead_url, MessageBody=str(number))
            for number in range(60)
        ]
        bodies: set[str] = set()
        while not all(future.done() for future in sent) or pair.count(pair.dead_url):
            for message in pair.receive(pair.dead_url):
                bodies.add(message["Body"])
                pair.sqs.delete_message(QueueUrl=pair.dead_url, ReceiptHandle=message["ReceiptHandle"])
    assert bodies == set(map(str, range(60)))
