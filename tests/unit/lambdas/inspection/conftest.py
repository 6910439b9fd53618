"""The line's functions on moto's services; SageMaker and Step Functions are scripted."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from botocore.exceptions import ClientError
from PIL import Image

from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.aws.state_machine import StateMachine
from defectory.inspection.line.alerts import InspectionMails, InspectionNotifier
from defectory.inspection.line.endpoint import InspectionEndpoint
from defectory.inspection.line.inspecting import UploadInspector
from defectory.inspection.line.recording import InspectionRecorder
from defectory.inspection.line.results_table import INDEXES, ResultsTable
from defectory.inspection.verdicts import Inspection, InspectionReply, Thresholds
from defectory.line.alerts import Pages
from defectory.line.buckets import ResultsBucket, read_upload
from defectory.line.uploads import Upload
from tests.unit.lambdas.conftest import FakeAlerts

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def refusal(code: str, message: str = "no", operation: str = "Operation", **more) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}, **more}, operation)


def reply(verdict: str = "FAIL", score: float = 0.8) -> InspectionReply:
    heatmap = np.zeros((32, 48), np.float32)
    heatmap[8:12, 20:30] = 1
    empty = np.zeros((32, 48), np.uint8)
    return InspectionReply.of(
        Inspection(
            *(verdict, score, 0.93, Thresholds(0.5, 0.6), "3f9a1c2b", heatmap, empty, empty),
            *((), 96, 64, ("score",)),
        )
    )


@dataclass
class FakeSageMaker:
    """A runtime that answers, in turn, what the test scripts; exceptions are raised.

    ``status`` is the endpoint's, or why SageMaker does not say.
    """

    answers: list[object] = field(default_factory=list)
    asked: list[dict] = field(default_factory=list)
    status: str | Exception = field(
        default_factory=lambda: refusal("ValidationException", 'Could not find endpoint "line".')
    )

    def describe_endpoint(self, *, EndpointName):
        if isinstance(self.status, Exception):
            raise self.status
        return {"EndpointName": EndpointName, "EndpointStatus": self.status}

    def invoke_endpoint(self, **request):
        self.asked.append(request)
        answer = self.answers.pop(0) if self.answers else reply()
        if isinstance(answer, Exception):
            raise answer
        content = answer if isinstance(answer, bytes) else answer.model_dump_json().encode()
        return {"Body": io.BytesIO(content)}


@dataclass
class FakeStepFunctions:
    """As Step Functions does, takes each name once."""

    started: dict[str, dict] = field(default_factory=dict)
    error: Exception | None = None

    def start_execution(self, *, stateMachineArn, name, input):
        if self.error:
            raise self.error
        assert len(name) <= 80
        if name in self.started:
            raise refusal("ExecutionAlreadyExists")
        self.started[name] = json.loads(input)
        return {"executionArn": f"{stateMachineArn}:{name}"}


@pytest.fixture
def sagemaker():
    return FakeSageMaker()


@pytest.fixture
def stepfunctions():
    return FakeStepFunctions()


@pytest.fixture
def machine(stepfunctions):
    return StateMachine("arn:machine", stepfunctions)


@pytest.fixture
def s3(aws, s3_client):
    for bucket in ("uploads", "results"):
        s3_client.create_bucket(Bucket=bucket)
    s3_client.put_bucket_versioning(Bucket="uploads", VersioningConfiguration={"Status": "Enabled"})
    return s3_client


@pytest.fixture(scope="session")
def s3_client():
    import boto3

    return boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")


@pytest.fixture
def upload(s3):
    """Uploads a file and tells what S3 would tell of it."""

    def put(content: bytes, key: str = "part 7.png") -> Upload:
        stored = s3.put_object(Bucket="uploads", Key=key, Body=content)
        return Upload(
            bucket="uploads",
            key=key,
            version_id=stored["VersionId"],
            size=len(content),
            uploaded_at="2026-11-21T11:59:00.000Z",
        )

    return put


@pytest.fixture
def inspector(s3, sagemaker):
    return UploadInspector(
        endpoint=InspectionEndpoint("line", sagemaker, manager=sagemaker),
        results=ResultsBucket("results", s3),
        read=lambda upload: read_upload(upload, s3),
        retention=timedelta(days=30),
    )


@pytest.fixture
def results(aws, dynamodb_client):
    """An empty table of results with the keys and indexes of the real one."""
    names = {"inspection_id", *(name for keys in INDEXES.values() for name in keys)}
    dynamodb_client.create_table(
        TableName="results",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
        KeySchema=[{"AttributeName": "inspection_id", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": index,
                "KeySchema": [
                    {"AttributeName": name, "KeyType": kind} for name, kind in zip(keys, ("HASH", "RANGE"), strict=True)
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
            for index, keys in INDEXES.items()
        ],
    )
    return ResultsTable("results", dynamodb_client)


@pytest.fixture
def recorder(results):
    return InspectionRecorder(results, timedelta(days=30), DeploymentMetrics("plant"))


@pytest.fixture
def topics():
    return {"defect": FakeAlerts(), "review": FakeAlerts()}


@pytest.fixture
def notifier(results, topics):
    return InspectionNotifier(results, topics, InspectionMails(Pages("us-east-1", "results")), limit=3)


@pytest.fixture
def photo():
    """Makes an image's file."""

    def make(size=(96, 64), mode="RGB", format="PNG", seed=1) -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
        content = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(content, format)
        return content.getvalue()

    return make


@pytest.fixture
def told():
    """A message of the queue as S3 writes it."""

    def message(*uploads: tuple[str, str], message_id="m1", event="ObjectCreated:Put", **more) -> dict:
        records = [
            {
                "eventName": event,
                "eventTime": "2026-11-21T11:59:00.000Z",
                "s3": {
                    "bucket": {"name": "uploads"},
                    "object": {"key": key, "size": 10, "versionId": version, "sequencer": "1", **more},
                },
            }
            for key, version in uploads
        ]
        return {"messageId": message_id, "body": json.dumps({"Records": records})}

    return message


@pytest.fixture
def calling(monkeypatch, context):
    """Call a handler whose ``maker`` of services gives what the test made."""

    def call(module: SimpleNamespace, maker: str, made: object, event: object):
        monkeypatch.setattr(module, maker, lambda: made)
        return module.handler(event, context)

    return call
