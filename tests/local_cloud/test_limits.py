"""Limits of AWS's services: each passes what is at it, and refuses what is one beyond, with AWS's code and status."""

import io
import json
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError

from defectory.local.cloud import LocalCloud
from defectory.local.clients import connect
from tests.local_cloud.laboratory import unique
from tests.local_cloud.roles import ROLE

pytestmark = pytest.mark.xdist_group("local-cloud")

MIB = 1024 * 1024
FUNCTION = "def handler(event, context):\n    return len(event)\n"


@dataclass
class Place:
    """Where the limits are tried: one resource of each kind."""

    cloud: LocalCloud
    queue: str
    topic: str
    bucket: str
    function: str
    log: dict[str, str]
    table: str

    def client(self, service: str) -> BaseClient:
        return self.cloud.client(service)


@pytest.fixture(scope="module")
def place(cloud: LocalCloud) -> Place:
    name = unique("limits")
    bucket = f"{name}-bucket"
    cloud.client("s3").create_bucket(Bucket=bucket)
    cloud.client("lambda").create_function(**function(name))
    cloud.client("logs").create_log_group(logGroupName=name)
    cloud.client("logs").create_log_stream(logGroupName=name, logStreamName=name)
    key = {"AttributeName": "id", "AttributeType": "S"}
    cloud.client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[key],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return Place(
        cloud,
        cloud.client("sqs").create_queue(QueueName=name)["QueueUrl"],
        cloud.client("sns").create_topic(Name=name)["TopicArn"],
        bucket,
        name,
        {"logGroupName": name, "logStreamName": name},
        name,
    )


def function(name: str = "", **more: Any) -> dict[str, Any]:
    """The request for a function."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("index.py", FUNCTION)
    return {
        "FunctionName": name or unique("limited"),
        "Runtime": "python3.12",
        "Handler": "index.handler",
        "Role": ROLE,
        "Code": {"ZipFile": package.getvalue()},
        **more,
    }


def letters(number: int) -> str:
    """A name that is not taken."""
    return uuid.uuid4().hex[: min(number, 12)].ljust(number, "n")


def environment(size: int) -> dict[str, Any]:
    """Variables whose JSON has ``size`` bytes."""
    return {"Variables": {"A": "v" * (size - len('{"A":""}'))}}


@dataclass(frozen=True)
class Limit:
    """A request by a number: passes at ``at``, and fails at ``beyond``."""

    name: str
    operation: str
    request: Callable[[Place, int], dict[str, Any]]
    at: int
    code: str
    status: int = 400
    beyond: int = 0

    @property
    def excess(self) -> int:
        return self.beyond if self.beyond or self.at == 0 else self.at + 1


def attributes(size: int) -> dict[str, Any]:
    """A message attribute that counts ``size`` bytes."""
    return {"a": {"DataType": "String", "StringValue": "v" * (size - len("a") - len("String"))}}


def put_object(place: Place, **more: Any) -> dict[str, Any]:
    return {"Bucket": place.bucket, "Key": "k", "Body": b"", **more}


def batch(sizes: list[int], text: str) -> list[dict[str, Any]]:
    return [{"Id": str(index), text: "m" * size} for index, size in enumerate(sizes)]


def project(minutes: int) -> dict[str, Any]:
    return {
        "name": unique("project"),
        "source": {"type": "NO_SOURCE", "buildspec": "version: 0.2"},
        "artifacts": {"type": "NO_ARTIFACTS"},
        "environment": {"type": "LINUX_CONTAINER", "image": "aws/codebuild/standard:7.0", "computeType": "BUILD_GENERAL1_SMALL"},
        "serviceRole": ROLE,
        "timeoutInMinutes": minutes,
    }


VALIDATION, INVALID = "ValidationException", "InvalidParameterValue"
LIMITS = [
    # ---- Lambda
    Limit("lambda timeout", "lambda.create_function", lambda _, n: function(Timeout=n), 900, VALIDATION),
    Limit("lambda least timeout", "lambda.create_function", lambda _, n: function(Timeout=n), 1, VALIDATION, beyond=-1),
    Limit("lambda memory", "lambda.create_function", lambda _, n: function(MemorySize=n), 10_240, VALIDATION),
    Limit("lambda least memory", "lambda.create_function", lambda _, n: function(MemorySize=n), 128, VALIDATION, beyond=127),
    Limit("lambda name", "lambda.create_function", lambda _, n: function(letters(n)), 64, VALIDATION),
    Limit("lambda storage", "lambda.create_function", lambda _, n: function(EphemeralStorage={"Size": n}), 10_240, VALIDATION),
    Limit(
        "lambda environment",
        "lambda.create_function",
        lambda _, n: function(Environment=environment(n)),
        4096,
        "InvalidParameterValueException",
    ),
    Limit(
        "lambda changed environment",
        "lambda.update_function_configuration",
        lambda place, n: {"FunctionName": place.function, "Environment": environment(n)},
        4096,
        "InvalidParameterValueException",
    ),
    Limit(
        "lambda event",
        "lambda.invoke",
        lambda place, n: {"FunctionName": place.function, "InvocationType": "Event", "Payload": b'"' + b"e" * (n - 2) + b'"'},
        MIB,
        "RequestEntityTooLargeException",
        413,
    ),
    # ---- SNS
    Limit("sns subject", "sns.publish", lambda place, n: {"TopicArn": place.topic, "Message": "m", "Subject": "s" * n}, 100, "InvalidParameter"),
    Limit(
        "sns message with attributes",
        "sns.publish",
        lambda place, n: {"TopicArn": place.topic, "Message": "m" * (n - 100), "MessageAttributes": attributes(100)},
        256 * 1024,
        "InvalidParameter",
    ),
    Limit(
        "sns batch",
        "sns.publish_batch",
        lambda place, n: {"TopicArn": place.topic, "PublishBatchRequestEntries": batch([1] * n, "Message")},
        10,
        "TooManyEntriesInBatchRequest",
    ),
    Limit(
        "sns size of a batch",
        "sns.publish_batch",
        lambda place, n: {"TopicArn": place.topic, "PublishBatchRequestEntries": batch([n - 1000, 1000], "Message")},
        256 * 1024,
        "BatchRequestTooLong",
    ),
    Limit("sns topic", "sns.create_topic", lambda _, n: {"Name": letters(n)}, 256, "InvalidParameter"),
    # ---- SQS
    Limit(
        "sqs message with attributes",
        "sqs.send_message",
        lambda place, n: {"QueueUrl": place.queue, "MessageBody": "m" * (n - 100), "MessageAttributes": attributes(100)},
        MIB,
        INVALID,
    ),
    Limit(
        "sqs attributes",
        "sqs.send_message",
        lambda place, n: {
            "QueueUrl": place.queue,
            "MessageBody": "m",
            "MessageAttributes": {f"a{index}": {"DataType": "String", "StringValue": "v"} for index in range(n)},
        },
        10,
        INVALID,
    ),
    Limit(
        "sqs batch",
        "sqs.send_message_batch",
        lambda place, n: {"QueueUrl": place.queue, "Entries": batch([1] * n, "MessageBody")},
        10,
        "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
    ),
    Limit(
        "sqs size of a batch",
        "sqs.send_message_batch",
        lambda place, n: {"QueueUrl": place.queue, "Entries": batch([n - 1000, 1000], "MessageBody")},
        MIB,
        "AWS.SimpleQueueService.BatchRequestTooLong",
    ),
    Limit("sqs queue", "sqs.create_queue", lambda _, n: {"QueueName": letters(n)}, 80, INVALID),
    Limit(
        "sqs delay", "sqs.send_message", lambda place, n: {"QueueUrl": place.queue, "MessageBody": "m", "DelaySeconds": n}, 900, INVALID
    ),
    Limit(
        "sqs visibility", "sqs.receive_message", lambda place, n: {"QueueUrl": place.queue, "VisibilityTimeout": n}, 43_200, INVALID
    ),
    Limit(
        "sqs visibility of a queue",
        "sqs.set_queue_attributes",
        lambda place, n: {"QueueUrl": place.queue, "Attributes": {"VisibilityTimeout": str(n)}},
        43_200,
        "InvalidAttributeValue",
    ),
    Limit(
        "sqs messages at a time", "sqs.receive_message", lambda place, n: {"QueueUrl": place.queue, "MaxNumberOfMessages": n}, 10, INVALID
    ),
    # ---- S3
    Limit("s3 key", "s3.put_object", lambda place, n: put_object(place, Key="é" * (n // 2) + "k" * (n % 2)), 1024, "KeyTooLongError"),
    Limit("s3 metadata", "s3.put_object", lambda place, n: put_object(place, Metadata={"name": "v" * (n - 4)}), 2048, "MetadataTooLarge"),
    Limit(
        "s3 objects deleted at once",
        "s3.delete_objects",
        lambda place, n: {"Bucket": place.bucket, "Delete": {"Objects": [{"Key": f"gone/{index}"} for index in range(n)]}},
        1000,
        "MalformedXML",
    ),
    Limit(
        "s3 tags", "s3.put_object", lambda place, n: put_object(place, Tagging="&".join(f"t{index}=v" for index in range(n))), 10, "BadRequest"
    ),
    Limit("s3 bucket", "s3.create_bucket", lambda _, n: {"Bucket": letters(n)}, 63, "InvalidBucketName"),
    # ---- EventBridge
    Limit("events", "events.put_events", lambda _, n: {"Entries": [event(1)] * n}, 10, VALIDATION),
    Limit("events size", "events.put_events", lambda _, n: {"Entries": [event(1000), event(n - 1000 - 2 * 10)]}, MIB, VALIDATION),
    # ---- Systems Manager
    Limit("ssm standard", "ssm.put_parameter", lambda _, n: parameter("v" * n), 4096, VALIDATION),
    Limit("ssm advanced", "ssm.put_parameter", lambda _, n: parameter("v" * n, Tier="Advanced"), 8192, VALIDATION),
    Limit(
        "ssm levels", "ssm.put_parameter", lambda _, n: parameter("v", Name="/p" * (n - 1) + "/" + letters(12)), 15, "HierarchyLevelLimitExceededException"
    ),
    # ---- CloudWatch Logs
    Limit("logs events", "logs.put_log_events", lambda place, n: logged(place, ["m"] * n), 10_000, "InvalidParameterException"),
    Limit("logs event", "logs.put_log_events", lambda place, n: logged(place, ["m" * (n - 26)]), MIB, "InvalidParameterException"),
    Limit(
        "logs size of a batch",
        "logs.put_log_events",
        lambda place, n: logged(place, ["m" * 1000, "m" * (n - 1000 - 2 * 26)]),
        MIB,
        "InvalidParameterException",
    ),
    # ---- CodeBuild, CodePipeline
    Limit("codebuild timeout", "codebuild.create_project", lambda _, n: project(n), 2160, VALIDATION),
    Limit("codebuild least timeout", "codebuild.create_project", lambda _, n: project(n), 5, VALIDATION, beyond=4),
    # ---- DynamoDB
    Limit("dynamodb item", "dynamodb.put_item", lambda place, n: put_item(place, data=n - len("iddata") - 1), 400 * 1024, VALIDATION),
    Limit("dynamodb key", "dynamodb.put_item", lambda place, n: put_item(place, key=n), 2048, VALIDATION),
    Limit(
        "dynamodb expression",
        "dynamodb.scan",
        lambda place, n: {
            "TableName": place.table,
            "FilterExpression": "id = :a".ljust(n),
            "ExpressionAttributeValues": {":a": {"S": "a"}},
        },
        4096,
        VALIDATION,
    ),
    Limit(
        "dynamodb batch",
        "dynamodb.batch_write_item",
        lambda place, n: {
            "RequestItems": {place.table: [{"PutRequest": {"Item": {"id": {"S": f"item {index}"}}}} for index in range(n)]}
        },
        25,
        VALIDATION,
    ),
    # ---- CloudFormation
    Limit("cloudformation resources", "cloudformation.validate_template", lambda _, n: template(Resources=n), 500, "ValidationError"),
    Limit("cloudformation parameters", "cloudformation.validate_template", lambda _, n: template(Parameters=n), 200, "ValidationError"),
    Limit("cloudformation outputs", "cloudformation.validate_template", lambda _, n: template(Outputs=n), 200, "ValidationError"),
    Limit("cloudformation text", "cloudformation.validate_template", lambda _, n: {"TemplateBody": template()["TemplateBody"].ljust(n)}, 51_200, "ValidationError"),
    # ---- SageMaker
    Limit(
        "sagemaker name",
        "sagemaker.create_model_package_group",
        lambda _, n: {"ModelPackageGroupName": letters(n)},
        63,
        VALIDATION,
    ),
]


def event(size: int) -> dict[str, str]:
    """An event whose detail has ``size`` bytes; what else counts has 10."""
    return {"Source": "tests", "DetailType": "trial", "Detail": json.dumps({"a": "v" * max(size - 9, 0)})}


def parameter(value: str, **more: Any) -> dict[str, Any]:
    return {"Name": f"/{letters(12)}", "Type": "String", "Value": value, **more}


def logged(place: Place, messages: list[str]) -> dict[str, Any]:
    now = int(time.time() * 1000)
    return {**place.log, "logEvents": [{"timestamp": now, "message": message} for message in messages]}


def put_item(place: Place, key: int = 1, data: int = 1) -> dict[str, Any]:
    return {"TableName": place.table, "Item": {"id": {"S": "k" * key}, "data": {"S": "d" * data}}}


def template(**numbers: int) -> dict[str, Any]:
    """A template with a number of entries in each section."""
    kinds = {
        "Resources": {"Type": "AWS::SNS::Topic"},
        "Parameters": {"Type": "String"},
        "Outputs": {"Value": "v"},
    }
    sections = {
        section: {f"N{index}": kinds[section] for index in range(number)}
        for section, number in ({"Resources": 1} | numbers).items()
    }
    return {"TemplateBody": json.dumps(sections)}


def call(place: Place, operation: str, request: dict[str, Any]) -> dict[str, Any]:
    service, _, name = operation.partition(".")
    return getattr(place.client(service), name)(**request)


def refusal(place: Place, operation: str, request: dict[str, Any]) -> tuple[str, int, str]:
    """Code, status and message."""
    with pytest.raises(ClientError) as raised:
        call(place, operation, request)
    error = raised.value.response
    return error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Message"]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_limit(place: Place, limit: Limit) -> None:
    call(place, limit.operation, limit.request(place, limit.at))
    code, status, message = refusal(place, limit.operation, limit.request(place, limit.excess))
    assert (code, status) == (limit.code, limit.status), message
