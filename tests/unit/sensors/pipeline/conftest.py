"""Given: an AWS account in memory, a request in its table, and an author who says what the test tells it to."""

import json
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from moto import mock_aws

from defectory.aws.alerts import Alerts
from defectory.aws.clients import aws_client
from defectory.sensors.authors import Script, ScriptTask
from defectory.sensors.authors.catalogue import CatalogueAuthor
from defectory.sensors.pipeline.simulation import Simulation, simulate
from defectory.sensors.service.datasets_bucket import DatasetsBucket
from defectory.sensors.service.requests import RequestEvent, SensorRequest
from defectory.sensors.service.requests_table import RequestsTable

TABLE, BUCKET = "requests", "datasets"


@pytest.fixture
def aws(monkeypatch):
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    aws_client.cache_clear()
    with mock_aws():
        boto3.client("dynamodb").create_table(
            TableName=TABLE,
            KeySchema=[
                {"AttributeName": "user_id", "KeyType": "HASH"},
                {"AttributeName": "request_id", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "user_id", "AttributeType": "S"},
                {"AttributeName": "request_id", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield
    aws_client.cache_clear()


@pytest.fixture
def table(aws):
    return RequestsTable(TABLE)


@pytest.fixture
def bucket(aws):
    return DatasetsBucket(BUCKET)


@pytest.fixture
def objects(aws):
    """Reads the bucket: keys to bytes."""

    def read():
        s3 = boto3.client("s3")
        found = s3.list_objects_v2(Bucket=BUCKET).get("Contents", ())
        return {each["Key"]: s3.get_object(Bucket=BUCKET, Key=each["Key"])["Body"].read() for each in found}

    return read


@pytest.fixture
def topic(aws):
    return boto3.client("sns").create_topic(Name="alerts")["TopicArn"]


@pytest.fixture
def alerts(topic):
    return Alerts(topic)


@pytest.fixture
def sent(topic):
    """Reads the alerts sent so far, subjects and messages."""
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    boto3.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:123456789012:inbox")

    def read():
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", ())
        return [(json.loads(each["Body"])["Subject"], json.loads(each["Body"])["Message"]) for each in messages]

    return read


@pytest.fixture
def accept(table):
    """Accepts a request for the machines named, as the trigger does."""

    def create(*machines, industry="semiconductor", author="bedrock"):
        event = RequestEvent(industry=industry, number=len(machines), user_id="ann", year=2024, seed=7)
        request = SensorRequest.new(
            event, machines=machines, author=author, retention=timedelta(days=30), now=datetime.now(UTC)
        )
        return table.create(request, token=request.request_id, fingerprint=event.fingerprint)

    return create


class FakeAuthor:
    """Answers for each machine with the next of its replies, raising exceptions; ``asked`` remembers the questions."""

    name = "bedrock"

    def __init__(self, replies):
        self.replies = {machine: list(each) for machine, each in replies.items()}
        self.asked = []

    def write_script(self, task):
        self.asked.append((task.machine, None, ()))
        return self._answer(task)

    def repair_script(self, task, script, failures):
        self.asked.append((task.machine, script.source, tuple(failures)))
        return self._answer(task)

    def _answer(self, task):
        reply = self.replies[task.machine].pop(0)
        if isinstance(reply, Exception):
            raise reply
        return Script(reply, author="bedrock", trusted=False, prompt=f"Simulate {task.machine}", model_id="some-model")


@pytest.fixture
def fake_author():
    return FakeAuthor


@pytest.fixture(scope="session")
def year_of_data(tmp_path_factory):
    """A dataset in order, made once: year 2024 of the catalogue's plasma etcher."""
    task = ScriptTask(industry="semiconductor", machine="Plasma Etcher", year=2024, seed=3)
    folder = tmp_path_factory.mktemp("data") / "plasma-etcher"
    result = simulate(Simulation("plasma-etcher", task, CatalogueAuthor().write_script(task).source, folder))
    assert result.ok, result.reasons
    return folder
