"""Limits of AWS's services: each passes what is at it, and refuses what is one beyond, with AWS's code and status."""

import io
import json
import struct
import time
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError

from defectory.local.clients import connect
from defectory.local.cloud import LocalCloud
from defectory.local.server.functions import HOST_RUNTIME
from tests.local_cloud.laboratory import REAL_TIME, Laboratory, unique
from tests.local_cloud.roles import ROLE
from tests.local_cloud.sample_app import eventually
from tests.local_cloud.test_permissions import Visitor

pytestmark = pytest.mark.xdist_group("local-cloud")

MIB = 1024 * 1024
# Answers with as many bytes as it is asked for, quotation marks included.
FUNCTION = "def handler(event, context):\n    return 'r' * (event - 2) if isinstance(event, int) else None\n"


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

    _careless: dict[str, BaseClient] = field(default_factory=dict)

    def client(self, service: str, *, careless: bool = False) -> BaseClient:
        """One that does not check requests itself, if it is ``careless``."""
        if not careless:
            return self.cloud.client(service)
        if service not in self._careless:
            self._careless[service] = boto3.client(
                service,
                endpoint_url=self.cloud.endpoint,
                region_name=self.cloud.settings.region,
                aws_access_key_id=self.cloud.settings.account,
                aws_secret_access_key=self.cloud.settings.secret,
                config=Config(
                    parameter_validation=False, disable_request_compression=True, retries={"total_max_attempts": 1}
                ),
            )
        return self._careless[service]


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
        "Runtime": HOST_RUNTIME,
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
    return {"Variables": {"AB": "v" * (size - len('{"AB":""}'))}}


@dataclass(frozen=True)
class Limit:
    """A request by a number: passes at ``at``, and fails at ``beyond``."""

    name: str
    operation: str
    request: Callable[[Place, int], dict[str, Any]]
    at: int
    code: str
    status: int = 400

    beyond: int | None = None

    @property
    def excess(self) -> int:
        return self.at + 1 if self.beyond is None else self.beyond


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
        "environment": {
            "type": "LINUX_CONTAINER",
            "image": "aws/codebuild/standard:7.0",
            "computeType": "BUILD_GENERAL1_SMALL",
        },
        "serviceRole": ROLE,
        "timeoutInMinutes": minutes,
    }


VALIDATION, INVALID = "ValidationException", "InvalidParameterValue"
LIMITS = [
    # ---- Lambda
    Limit("lambda timeout", "lambda.create_function", lambda _, n: function(Timeout=n), 900, VALIDATION),
    Limit("lambda least timeout", "lambda.create_function", lambda _, n: function(Timeout=n), 1, VALIDATION, beyond=0),
    Limit("lambda memory", "lambda.create_function", lambda _, n: function(MemorySize=n), 10_240, VALIDATION),
    Limit(
        "lambda least memory",
        "lambda.create_function",
        lambda _, n: function(MemorySize=n),
        128,
        VALIDATION,
        beyond=127,
    ),
    Limit("lambda name", "lambda.create_function", lambda _, n: function(letters(n)), 64, VALIDATION),
    Limit(
        "lambda storage",
        "lambda.create_function",
        lambda _, n: function(EphemeralStorage={"Size": n}),
        10_240,
        VALIDATION,
    ),
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
        lambda place, n: {
            "FunctionName": place.function,
            "InvocationType": "Event",
            "Payload": b'"' + b"e" * (n - 2) + b'"',
        },
        MIB,
        "RequestEntityTooLargeException",
        413,
    ),
    Limit(
        "lambda request",
        "lambda.invoke",
        lambda place, n: {"FunctionName": place.function, "Payload": b'"' + b"e" * (n - 2) + b'"'},
        6 * MIB,
        "RequestEntityTooLargeException",
        413,
    ),
    Limit(
        "lambda package",
        "lambda.create_function",
        lambda _, n: unpacks_to(n),
        250 * MIB,
        "InvalidParameterValueException",
    ),
    # ---- SNS
    Limit(
        "sns subject",
        "sns.publish",
        lambda place, n: {"TopicArn": place.topic, "Message": "m", "Subject": "s" * n},
        100,
        "InvalidParameter",
    ),
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
        lambda place, n: {
            "QueueUrl": place.queue,
            "MessageBody": "m" * (n - 100),
            "MessageAttributes": attributes(100),
        },
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
        "sqs delay",
        "sqs.send_message",
        lambda place, n: {"QueueUrl": place.queue, "MessageBody": "m", "DelaySeconds": n},
        900,
        INVALID,
    ),
    Limit(
        "sqs visibility",
        "sqs.receive_message",
        lambda place, n: {"QueueUrl": place.queue, "VisibilityTimeout": n},
        43_200,
        INVALID,
    ),
    Limit(
        "sqs visibility of a queue",
        "sqs.set_queue_attributes",
        lambda place, n: {"QueueUrl": place.queue, "Attributes": {"VisibilityTimeout": str(n)}},
        43_200,
        "InvalidAttributeValue",
    ),
    Limit(
        "sqs messages at a time",
        "sqs.receive_message",
        lambda place, n: {"QueueUrl": place.queue, "MaxNumberOfMessages": n},
        10,
        INVALID,
    ),
    # ---- S3
    Limit(
        "s3 key",
        "s3.put_object",
        lambda place, n: put_object(place, Key="é" * (n // 2) + "k" * (n % 2)),
        1024,
        "KeyTooLongError",
    ),
    Limit(
        "s3 metadata",
        "s3.put_object",
        lambda place, n: put_object(place, Metadata={"name": "v" * (n - 4)}),
        2048,
        "MetadataTooLarge",
    ),
    Limit(
        "s3 objects deleted at once",
        "s3.delete_objects",
        lambda place, n: {
            "Bucket": place.bucket,
            "Delete": {"Objects": [{"Key": f"gone/{index}"} for index in range(n)]},
        },
        1000,
        "MalformedXML",
    ),
    Limit(
        "s3 tags",
        "s3.put_object",
        lambda place, n: put_object(place, Tagging="&".join(f"t{index}=v" for index in range(n))),
        10,
        "BadRequest",
    ),
    Limit("s3 bucket", "s3.create_bucket", lambda _, n: {"Bucket": letters(n)}, 63, "InvalidBucketName"),
    # ---- EventBridge
    Limit("events", "events.put_events", lambda _, n: {"Entries": [event(1)] * n}, 10, VALIDATION),
    Limit(
        "events size",
        "events.put_events",
        lambda _, n: {"Entries": [event(1000), event(n - 1000 - 2 * 10)]},
        MIB,
        VALIDATION,
    ),
    # ---- Systems Manager
    Limit("ssm standard", "ssm.put_parameter", lambda _, n: parameter("v" * n), 4096, VALIDATION),
    Limit("ssm advanced", "ssm.put_parameter", lambda _, n: parameter("v" * n, Tier="Advanced"), 8192, VALIDATION),
    Limit(
        "ssm levels",
        "ssm.put_parameter",
        lambda _, n: parameter("v", Name="/p" * (n - 1) + "/" + letters(12)),
        15,
        "HierarchyLevelLimitExceededException",
    ),
    # ---- CloudWatch Logs
    Limit(
        "logs events",
        "logs.put_log_events",
        lambda place, n: logged(place, ["m"] * n),
        10_000,
        "InvalidParameterException",
    ),
    Limit(
        "logs event",
        "logs.put_log_events",
        lambda place, n: logged(place, ["m" * (n - 26)]),
        MIB,
        "InvalidParameterException",
    ),
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
    Limit("codepipeline setting", "codepipeline.create_pipeline", lambda _, n: pipeline("v" * n), 1000, VALIDATION),
    # ---- DynamoDB
    Limit(
        "dynamodb item",
        "dynamodb.put_item",
        lambda place, n: put_item(place, data=n - len("iddata") - 1),
        400 * 1024,
        VALIDATION,
    ),
    Limit("dynamodb key", "dynamodb.put_item", lambda place, n: put_item(place, key=n), 2048, VALIDATION),
    Limit(
        "dynamodb expression",
        "dynamodb.scan",
        lambda place, n: {
            "TableName": place.table,
            "FilterExpression": f"{'NOT ' * ((n - 7) // 4)}{'id = :a':>{7 + (n - 7) % 4}}",
            "ExpressionAttributeValues": {":a": {"S": "a"}},
        },
        4096,
        VALIDATION,
    ),
    Limit(
        "dynamodb batch",
        "dynamodb.batch_write_item",
        lambda place, n: {
            "RequestItems": {
                place.table: [{"PutRequest": {"Item": {"id": {"S": f"item {index}"}}}} for index in range(n)]
            }
        },
        25,
        VALIDATION,
    ),
    # ---- CloudFormation
    Limit(
        "cloudformation resources",
        "cloudformation.validate_template",
        lambda _, n: template(Resources=n),
        500,
        "ValidationError",
    ),
    Limit(
        "cloudformation parameters",
        "cloudformation.validate_template",
        lambda _, n: template(Parameters=n),
        200,
        "ValidationError",
    ),
    Limit(
        "cloudformation outputs",
        "cloudformation.validate_template",
        lambda _, n: template(Outputs=n),
        200,
        "ValidationError",
    ),
    Limit(
        "cloudformation text",
        "cloudformation.validate_template",
        lambda _, n: {"TemplateBody": template()["TemplateBody"].ljust(n)},
        51_200,
        "ValidationError",
    ),
    # ---- SageMaker
    Limit(
        "sagemaker name",
        "sagemaker.create_model_package_group",
        lambda _, n: {"ModelPackageGroupName": letters(n)},
        63,
        VALIDATION,
    ),
]


def unpacks_to(size: int) -> dict[str, Any]:
    """A function whose package says that it has ``size`` bytes."""
    request = function()
    package = bytearray(request["Code"]["ZipFile"])
    # Where the archive's directory has the size: after the signature, 20 bytes of what else is known of the file.
    place = package.index(b"PK\x01\x02") + 24
    package[place : place + 4] = struct.pack("<I", size)
    return request | {"Code": {"ZipFile": bytes(package)}}


def pipeline(value: str) -> dict[str, Any]:
    """A pipeline with a setting of an action."""

    def action(category: str, provider: str, configuration: dict[str, str], **artifacts: Any) -> dict[str, Any]:
        kind = {"category": category, "owner": "AWS", "provider": provider, "version": "1"}
        return {"name": category, "actionTypeId": kind, "configuration": configuration, **artifacts}

    source = {"S3Bucket": "sources", "S3ObjectKey": value, "PollForSourceChanges": "false"}
    stages = [
        ("Source", action("Source", "S3", source, outputArtifacts=[{"name": "Source"}])),
        ("Build", action("Build", "CodeBuild", {"ProjectName": "built"}, inputArtifacts=[{"name": "Source"}])),
    ]
    return {
        "pipeline": {
            "name": unique("pipeline"),
            "roleArn": ROLE,
            "artifactStore": {"type": "S3", "location": "artifacts"},
            "stages": [{"name": name, "actions": [made]} for name, made in stages],
            "pipelineType": "V2",
            "executionMode": "QUEUED",
        }
    }


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


def call(place: Place, operation: str, request: dict[str, Any], *, careless: bool = False) -> dict[str, Any]:
    service, _, name = operation.partition(".")
    return getattr(place.client(service, careless=careless), name)(**request)


def refusal(place: Place, operation: str, request: dict[str, Any], *, careless: bool = False) -> tuple[str, int, str]:
    """Code, status and message."""
    with pytest.raises(ClientError) as raised:
        call(place, operation, request, careless=careless)
    error = raised.value.response
    return error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Message"]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_limit(place: Place, limit: Limit) -> None:
    call(place, limit.operation, limit.request(place, limit.at))
    # What is too little, boto3 would refuse itself.
    careless = limit.excess < limit.at
    code, status, message = refusal(place, limit.operation, limit.request(place, limit.excess), careless=careless)
    assert (code, status) == (limit.code, limit.status), message


def publication(place: Place, **more: str) -> dict[str, Any]:
    return {"TopicArn": place.topic, "Message": "m", **more}


REFUSALS: list[tuple[str, str, Callable[[Place], dict[str, Any]], str, str]] = [
    (
        "line in a subject",
        "sns.publish",
        lambda place: publication(place, Subject="a\nb"),
        "InvalidParameter",
        "Subject",
    ),
    ("empty subject", "sns.publish", lambda place: publication(place, Subject=""), "InvalidParameter", "Subject"),
    ("empty message", "sns.publish", lambda place: publication(place, Message=""), "InvalidParameter", "Empty message"),
    (
        "characters of a message",
        "sqs.send_message",
        lambda place: {"QueueUrl": place.queue, "MessageBody": "\x00"},
        "InvalidMessageContents",
        "characters",
    ),
    (
        "characters of a queue's name",
        "sqs.create_queue",
        lambda _: {"QueueName": "a.b"},
        "InvalidParameterValue",
        "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
    ),
    (
        "wait for messages",
        "sqs.receive_message",
        lambda place: {"QueueUrl": place.queue, "WaitTimeSeconds": 21},
        "InvalidParameterValue",
        "WaitTimeSeconds",
    ),
    (
        "visibility of a message",
        "sqs.change_message_visibility",
        lambda place: {"QueueUrl": place.queue, "ReceiptHandle": "r", "VisibilityTimeout": 43_201},
        "InvalidParameterValue",
        "VisibilityTimeout",
    ),
    (
        "layers of a function",
        "lambda.create_function",
        lambda _: function(Layers=["arn:aws:lambda:us-east-1:123456789012:layer:l:1"] * 6),
        "InvalidParameterValueException",
        "5 layers",
    ),
    (
        "bucket like an address",
        "s3.create_bucket",
        lambda _: {"Bucket": "192.168.0.1"},
        "InvalidBucketName",
        "not valid",
    ),
    ("bucket with two dots", "s3.create_bucket", lambda _: {"Bucket": "two..dots"}, "InvalidBucketName", "not valid"),
    (
        "events at all",
        "events.put_events",
        lambda _: {"Entries": []},
        "ValidationException",
        "greater than or equal to 1",
    ),
    (
        "characters of a parameter's name",
        "ssm.put_parameter",
        lambda _: parameter("v", Name="a b"),
        "ValidationException",
        "letters, numbers",
    ),
    (
        "order of events",
        "logs.put_log_events",
        lambda place: {**place.log, "logEvents": [{"timestamp": at, "message": "m"} for at in (2, 1)]},
        "InvalidParameterException",
        "chronological order",
    ),
    (
        "span of events",
        "logs.put_log_events",
        lambda place: {**place.log, "logEvents": [{"timestamp": at, "message": "m"} for at in (0, 86_400_001)]},
        "InvalidParameterException",
        "24 hours",
    ),
    (
        "serverless memory",
        "sagemaker.create_endpoint_config",
        lambda _: {
            "EndpointConfigName": unique("config"),
            "ProductionVariants": [
                {
                    "VariantName": "v",
                    "ModelName": "m",
                    "ServerlessConfig": {"MemorySizeInMB": 6145, "MaxConcurrency": 1},
                }
            ],
        },
        "ValidationException",
        "'productionVariants.1.member.serverlessConfig.memorySizeInMB' failed to satisfy constraint: Member must have "
        "value less than or equal to 6144",
    ),
]


@pytest.mark.parametrize(
    ("name", "operation", "request_of", "code", "words"), REFUSALS, ids=[each[0] for each in REFUSALS]
)
def test_refusal(
    place: Place, name: str, operation: str, request_of: Callable[[Place], dict[str, Any]], code: str, words: str
) -> None:
    told, status, message = refusal(place, operation, request_of(place), careless=True)
    assert (told, status) == (code, 400)
    assert words in message, name


def test_parts_but_the_last_have_a_least_size(place: Place) -> None:
    def uploaded(*sizes: int) -> dict[str, Any]:
        s3 = place.client("s3")
        where = {"Bucket": place.bucket, "Key": "parts"}
        where["UploadId"] = s3.create_multipart_upload(**where)["UploadId"]
        parts = [
            {"PartNumber": number, "ETag": s3.upload_part(**where, PartNumber=number, Body=bytes(size))["ETag"]}
            for number, size in enumerate(sizes, 1)
        ]
        return {**where, "MultipartUpload": {"Parts": parts}}

    call(place, "s3.complete_multipart_upload", uploaded(5 * MIB, 1))
    request = uploaded(5 * MIB - 1, 1)
    assert refusal(place, "s3.complete_multipart_upload", request)[:2] == ("EntityTooSmall", 400)
    part = {"Body": b"", "PartNumber": 10_001, **{name: request[name] for name in ("Bucket", "Key", "UploadId")}}
    assert refusal(place, "s3.upload_part", part)[:2] == ("InvalidArgument", 400)


def test_reply_of_a_function_has_a_limit(place: Place) -> None:
    replies = [
        call(place, "lambda.invoke", {"FunctionName": place.function, "Payload": str(size)})
        for size in (6_291_556, 6_291_557)
    ]
    assert [reply.get("FunctionError") for reply in replies] == [None, "Unhandled"]
    told = json.load(replies[1]["Payload"])
    assert told["errorType"] == "Function.ResponseSizeTooLarge"


@pytest.mark.parametrize(
    ("number", "dimensions", "values", "collection"),
    [
        (1000, 30, 150, ""),
        (1001, 1, 1, "MetricData"),
        (1, 31, 1, "MetricData.member.1.Dimensions"),
        (1, 1, 151, "MetricData.member.1.Values"),
    ],
)
def test_metrics_have_limits(place: Place, number: int, dimensions: int, values: int, collection: str) -> None:
    datum = {"MetricName": "m", "Dimensions": [{"Name": f"d{index}", "Value": "v"} for index in range(dimensions)]}
    first = datum | {"Values": [1.0] * values, "Counts": [1.0] * values}
    request = {"Namespace": "Limits", "MetricData": [first, *[{"MetricName": "m", "Value": 1.0}] * (number - 1)]}
    if not collection:
        call(place, "cloudwatch.put_metric_data", request)
        return
    code, status, message = refusal(place, "cloudwatch.put_metric_data", request, careless=True)
    assert (code, status) == ("InvalidParameterValue", 400)
    assert message.startswith(f"The collection {collection} must not have a size greater than")


def test_request_of_metrics_has_a_limit(place: Place) -> None:
    data = [
        {"MetricName": letters(255), "Value": 1.0, "Dimensions": [{"Name": letters(255), "Value": letters(1024)}] * 30}
    ]
    request = {"Namespace": "Limits", "MetricData": data * 30}
    # Compressed, it is small.
    call(place, "cloudwatch.put_metric_data", request)
    code, status, _ = refusal(place, "cloudwatch.put_metric_data", request, careless=True)
    assert (code, status) == ("RequestEntityTooLarge", 413)


def test_real_time_endpoint_stays_real_time(laboratory: Laboratory) -> None:
    container = laboratory.container()
    endpoint = laboratory.endpoint(container, **REAL_TIME)
    with pytest.raises(ClientError, match="serverless") as raised:
        laboratory.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=laboratory.config(container))
    assert raised.value.response["Error"]["Code"] == "ValidationException"
    laboratory.sagemaker.delete_endpoint(EndpointName=endpoint)


def test_resource_of_a_template_has_the_same_limits(place: Place) -> None:
    code = {"ZipFile": FUNCTION}
    properties = {"Runtime": HOST_RUNTIME, "Handler": "index.handler", "Role": ROLE, "Code": code, "Timeout": "901"}
    template = {"Resources": {"Function": {"Type": "AWS::Lambda::Function", "Properties": properties}}}
    stacks, name = place.client("cloudformation"), unique("limited")
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template))

    def look() -> list[str]:
        events = stacks.describe_stack_events(StackName=name)["StackEvents"]
        return [event["ResourceStatusReason"] for event in events if event["ResourceStatus"] == "CREATE_FAILED"]

    reasons = eventually(look, "failure of the stack")
    assert any("Member must have value less than or equal to 900" in reason for reason in reasons), reasons
    stacks.delete_stack(StackName=name)


def test_who_may_not_ask_is_not_told_of_limits(place: Place) -> None:
    stranger = Visitor(place.cloud, {"Effect": "Allow", "Action": "sqs:GetQueueUrl", "Resource": "*"}).client("sqs")
    with pytest.raises(ClientError) as raised:
        stranger.send_message(QueueUrl=place.queue, MessageBody="m", DelaySeconds=901)
    assert raised.value.response["Error"]["Code"] == "AccessDenied"


def test_service_that_a_region_lacks_is_refused_there(place: Place) -> None:
    def elsewhere(service: str, region: str) -> BaseClient:
        return connect(service, place.cloud.endpoint, place.cloud.settings.account, place.cloud.settings.secret, region)

    assert elsewhere("codepipeline", "eu-west-1").list_pipelines()["pipelines"] == []
    with pytest.raises(
        ClientError, match=r"AWS has no codepipeline in ca-west-1, as of .*choose another region"
    ) as raised:
        elsewhere("codepipeline", "ca-west-1").list_pipelines()
    assert raised.value.response["Error"]["Code"] == "ServiceNotInRegion"
