"""A local cloud that is killed while clients write to it, and what they were told is there.

Each kind of write is an endless series; an entry of the ledger is made when its answer has come. After the kill the
next start with the same state is asked for every entry.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from defectory.local.cloud import LocalCloud
from tests.local_cloud.processes import server_of
from tests.local_cloud.roles import ROLE, create_role, open_queue

TEMPLATE = '{"Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "of-%s"}}}}'
PASSES = '{"StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "End": true}}}'
Clients = Callable[[str], BaseClient]
Check = Callable[[Clients], bool]


@dataclass
class Ledger:
    """What was acknowledged, by what it is called; and the messages that have to be in the queue."""

    entries: dict[str, Check] = field(default_factory=dict)
    messages: set[str] = field(default_factory=set)
    notified: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.entries) + len(self.messages) + len(self.notified)

    def lost(self, clients: Clients) -> list[str]:
        """What is not there."""
        lost = [name for name, check in self.entries.items() if not _holds_true(check, clients)]
        lost += sorted(self.messages - _drained(clients, "work"))
        bodies = "\n".join(_drained(clients, "events"))
        return lost + [f"notification of {key}" for key in sorted(self.notified) if f'"{key}"' not in bodies]


def _holds_true(check: Check, clients: Clients) -> bool:
    try:
        return check(clients)
    except (ClientError, KeyError):
        # Not even there.
        return False


def clients_of(cloud: LocalCloud) -> Clients:
    """Clients that ask once: who asks again does not know which of the answers was lost."""
    session = boto3.Session(cloud.settings.account, cloud.settings.secret, region_name=cloud.settings.region)
    clients: dict[str, BaseClient] = {}
    config = Config(retries={"total_max_attempts": 1}, read_timeout=60, signature_version="s3v4")

    def client(service: str) -> BaseClient:
        if service not in clients:
            signed = config if service == "s3" else Config(retries={"total_max_attempts": 1}, read_timeout=60)
            clients[service] = session.client(service, endpoint_url=cloud.endpoint, config=signed)
        return clients[service]

    return client


def furnish(cloud: LocalCloud) -> None:
    """What the writers write to."""
    create_role(cloud)
    clients = clients_of(cloud)
    clients("dynamodb").create_table(
        TableName="items",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    sqs = clients("sqs")
    for name, service in (("work", "sns.amazonaws.com"), ("events", "s3.amazonaws.com")):
        open_queue(cloud, sqs.create_queue(QueueName=name)["QueueUrl"], service)
    s3, arn = clients("s3"), "arn:aws:sqs:us-east-1:123456789012:events"
    s3.create_bucket(Bucket="objects")
    s3.put_bucket_versioning(Bucket="objects", VersioningConfiguration={"Status": "Enabled"})
    notification = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    s3.put_bucket_notification_configuration(Bucket="objects", NotificationConfiguration=notification)
    topic = clients("sns").create_topic(Name="news")["TopicArn"]
    clients("sns").subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint="arn:aws:sqs:us-east-1:123456789012:work",
        Attributes={"RawMessageDelivery": "true"},
    )
    clients("logs").create_log_group(logGroupName="log")
    clients("stepfunctions").create_state_machine(name="passes", definition=PASSES, roleArn=ROLE)


def strike(cloud: LocalCloud, mark: str, seconds: float) -> Ledger:
    """Let clients write for so long, kill the server in the middle of it, and return what was acknowledged."""
    ledger, clients = Ledger(), clients_of(cloud)
    for service in (
        "dynamodb",
        "sqs",
        "s3",
        "sns",
        "ssm",
        "iam",
        "stepfunctions",
        "cloudformation",
        "logs",
        "sagemaker",
    ):
        # Made here: a session is not for several threads.
        clients(service)
    writers = [threading.Thread(target=_write, args=(series(clients, ledger, mark),)) for series in SERIES]
    for writer in writers:
        writer.start()
    time.sleep(seconds)
    os.kill(server_of(cloud.settings.folder), signal.SIGKILL)
    for writer in writers:
        writer.join()
    assert cloud.wait(60)
    return ledger


def kill_repeatedly(state: Path, times: int, seed: int, longest: float) -> tuple[int, list[str]]:
    """Kill a cloud over one state so many times, at random moments; return the number of acknowledged writes, and
    what was lost of them.
    """
    moments = random.Random(seed)
    acknowledged, lost = 0, []
    cloud = LocalCloud(state=state).start()
    furnish(cloud)
    try:
        for number in range(times):
            ledger = strike(cloud, f"k{number}", moments.uniform(0.0, longest))
            cloud.stop()
            cloud = LocalCloud(state=state).start()
            assert "did not end by itself" in cloud.report
            acknowledged += len(ledger)
            lost += [f"kill {number}: {what}" for what in ledger.lost(clients_of(cloud))]
    finally:
        cloud.stop()
    return acknowledged, lost


def _write(series: Iterator[None]) -> None:
    try:
        for _ in series:
            pass
    except (BotoCoreError, ClientError, OSError):
        # The server is gone.
        return


def _items(clients: Clients, ledger: Ledger, mark: str) -> Iterator[None]:
    table: Any = clients("dynamodb")
    for number in range(1_000_000):
        key = {"id": {"S": f"{mark}-{number}"}}
        table.put_item(TableName="items", Item={**key, "n": {"N": "0"}})
        ledger.entries[f"item {mark}-{number}"] = lambda use, key=key: "Item" in _item(use, key)
        yield
        table.update_item(
            TableName="items", Key=key, UpdateExpression="SET n = :n", ExpressionAttributeValues={":n": {"N": "7"}}
        )
        ledger.entries[f"update of item {mark}-{number}"] = lambda use, key=key: (
            _item(use, key)["Item"]["n"]["N"] == "7"
        )
        yield
        if number % 3 == 0:
            doomed = {"id": {"S": f"{mark}-doomed-{number}"}}
            table.put_item(TableName="items", Item=doomed)
            table.delete_item(TableName="items", Key=doomed)
            ledger.entries[f"deletion {mark}-{number}"] = lambda use, key=doomed: "Item" not in _item(use, key)
            yield


def _item(clients: Clients, key: dict[str, Any]) -> dict[str, Any]:
    reply: dict[str, Any] = clients("dynamodb").get_item(TableName="items", Key=key)  # type: ignore[attr-defined]
    return reply


def _messages(clients: Clients, ledger: Ledger, mark: str) -> Iterator[None]:
    sqs: Any = clients("sqs")
    url = sqs.get_queue_url(QueueName="work")["QueueUrl"]
    for number in range(1_000_000):
        sqs.send_message(QueueUrl=url, MessageBody=f"message {mark}-{number}")
        ledger.messages.add(f"message {mark}-{number}")
        yield
        # One in flight at the kill comes back.
        sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1, VisibilityTimeout=3600)
        yield


def _publications(clients: Clients, ledger: Ledger, mark: str) -> Iterator[None]:
    sns: Any = clients("sns")
    for number in range(1_000_000):
        sns.publish(TopicArn="arn:aws:sns:us-east-1:123456789012:news", Message=f"news {mark}-{number}")
        ledger.messages.add(f"news {mark}-{number}")
        yield


def _objects(clients: Clients, ledger: Ledger, mark: str) -> Iterator[None]:
    s3: Any = clients("s3")
    for number in range(1_000_000):
        key, body = f"{mark}-{number % 5}", f"{mark} {number} ".encode() * 5_000
        version = s3.put_object(Bucket="objects", Key=key, Body=body)["VersionId"]
        place = {"Bucket": "objects", "Key": key, "VersionId": version}
        ledger.entries[f"object {key} {number}"] = lambda use, place=place, body=body: _content(use, place) == body
        ledger.notified.add(key)
        yield
        if number % 4 == 0:
            part = {"Bucket": "objects", "Key": f"{mark}-parts-{number}"}
            part["UploadId"] = s3.create_multipart_upload(**part)["UploadId"]
            s3.upload_part(**part, PartNumber=1, Body=body)
            ledger.entries[f"part {key} {number}"] = lambda use, part=part: len(_parts(use, part)) == 1
            yield


def _content(clients: Clients, place: dict[str, str]) -> bytes:
    client: Any = clients("s3")
    content: bytes = client.get_object(**place)["Body"].read()
    return content


def _parts(clients: Clients, upload: dict[str, str]) -> list[Any]:
    client: Any = clients("s3")
    return list(client.list_parts(**upload).get("Parts", []))


def _resources(clients: Clients, ledger: Ledger, mark: str) -> Iterator[None]:
    ssm, iam, states = clients("ssm"), clients("iam"), clients("stepfunctions")
    stacks, models, logs, sqs = clients("cloudformation"), clients("sagemaker"), clients("logs"), clients("sqs")
    for number in range(1_000_000):
        name = f"{mark}-{number}"
        ssm.put_parameter(Name=name, Value=name, Type="String")  # type: ignore[attr-defined]
        ledger.entries[f"parameter {name}"] = _holds("ssm", "get_parameter", Name=name)
        yield
        iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")  # type: ignore[attr-defined]
        ledger.entries[f"role {name}"] = _holds("iam", "get_role", RoleName=name)
        yield
        arn = "arn:aws:states:us-east-1:123456789012:stateMachine:passes"
        run = states.start_execution(stateMachineArn=arn, name=name)["executionArn"]  # type: ignore[attr-defined]
        ledger.entries[f"execution {name}"] = lambda use, run=run: _ended(use, run)
        yield
        sqs.create_queue(QueueName=name)  # type: ignore[attr-defined]
        ledger.entries[f"queue {name}"] = _holds("sqs", "get_queue_url", QueueName=name)
        yield
        stacks.create_stack(StackName=name, TemplateBody=TEMPLATE % name)  # type: ignore[attr-defined]
        ledger.entries[f"stack {name}"] = lambda use, name=name: _settled(use, name)
        yield
        container = {"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/any:1"}
        models.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)  # type: ignore[attr-defined]
        ledger.entries[f"model {name}"] = _holds("sagemaker", "describe_model", ModelName=name)
        yield
        logs.create_log_stream(logGroupName="log", logStreamName=name)  # type: ignore[attr-defined]
        event = [{"timestamp": int(time.time() * 1000), "message": name}]
        logs.put_log_events(logGroupName="log", logStreamName=name, logEvents=event)  # type: ignore[attr-defined]
        ledger.entries[f"line {name}"] = lambda use, name=name: _line(use, name) == [name]
        yield


def _holds(service: str, operation: str, **parameters: Any) -> Check:
    def check(clients: Clients) -> bool:
        try:
            getattr(clients(service), operation)(**parameters)
        except ClientError:
            return False
        return True

    return check


def _ended(clients: Clients, execution: str) -> bool:
    """Whether it is there, and does not seem to run for ever."""
    client: Any = clients("stepfunctions")
    return str(client.describe_execution(executionArn=execution)["status"]) in ("SUCCEEDED", "FAILED")


def _settled(clients: Clients, name: str) -> bool:
    client: Any = clients("cloudformation")
    (stack,) = client.describe_stacks(StackName=name)["Stacks"]
    if stack["StackStatus"] == "CREATE_COMPLETE":
        return _holds("sns", "get_topic_attributes", TopicArn=f"arn:aws:sns:us-east-1:123456789012:of-{name}")(clients)
    return str(stack["StackStatus"]) == "CREATE_FAILED"


def _line(clients: Clients, stream: str) -> list[str]:
    client: Any = clients("logs")
    reply = client.get_log_events(logGroupName="log", logStreamName=stream, startFromHead=True)
    return [event["message"] for event in reply["events"]]


def _drained(clients: Clients, queue: str) -> set[str]:
    """The bodies of all messages of a queue, which is empty afterwards."""
    sqs: Any = clients("sqs")
    url, bodies = sqs.get_queue_url(QueueName=queue)["QueueUrl"], set()
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        bodies |= {message["Body"] for message in messages}
        receipts = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
        sqs.delete_message_batch(QueueUrl=url, Entries=receipts)
    return bodies


SERIES = (_items, _messages, _publications, _objects, _resources)
