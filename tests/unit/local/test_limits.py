"""What the limits of the local cloud's services say of a request, without a cloud."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from unittest import mock
from urllib.parse import urlencode

import pytest
from ministack.core.responses import request_scope

from defectory.local.server.authorization.requirements import Request, action_of
from defectory.local.server.codepipeline.execution import ActionFailed, ActionRun
from defectory.local.server.codepipeline.providers import SOURCE_BYTES, S3Source, check_variables
from defectory.local.server.limits import call, constraints, regions, rules
from defectory.local.server.limits.enforcement import check
from defectory.local.server.limits.fault import LimitExceeded
from defectory.local.server.limits.requests import check_size
from defectory.local.server.limits.templates import check_resource
from defectory.local.server.objects import Objects

ROLE = "arn:aws:iam::123456789012:role/any"
ARN = "arn:aws:sagemaker:us-east-1:123456789012:model/"


def request(service: str, target: str = "", body: bytes = b"", path: str = "/", **headers: str) -> Request:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(service, "POST", path, {"x-amz-target": target, **given}, body, {})


def test_everything_that_does_not_hold_is_named_at_once() -> None:
    metadata = {"kind": "k" * 257}
    group = {
        "ModelPackageGroupName": "-",
        "ModelPackageGroupDescription": "d" * 1025,
        "Tags": [{"Key": "", "Value": ""}],
    }
    with pytest.raises(LimitExceeded) as raised:
        constraints.check("sagemaker:CreateModelPackageGroup", group)
    told = str(raised.value)
    assert told.startswith(
        "3 validation errors detected: Value '-' at 'modelPackageGroupName' failed to satisfy constr"
    )
    assert "Member must satisfy regular expression pattern" in told
    assert "at 'modelPackageGroupDescription' failed to satisfy constraint: Member must have length less than" in told
    assert "Value '' at 'tags.1.member.key' failed to satisfy constraint: Member must have length greater than" in told
    with pytest.raises(
        LimitExceeded, match=r"at 'customerMetadataProperties' .* Map value must satisfy constraint: \["
    ):
        constraints.check("sagemaker:CreateModelPackage", {"CustomerMetadataProperties": metadata})


def test_secrets_and_long_values_are_not_repeated() -> None:
    with pytest.raises(LimitExceeded) as raised:
        constraints.check("lambda:CreateFunction", {"Description": "d" * 1000})
    assert len(str(raised.value)) < 400
    with pytest.raises(LimitExceeded) as raised:
        constraints.check("lambda:CreateFunction", {"Environment": {"Variables": {"?": "secret"}}})
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("action", ["ssm:NoSuchThing", "dynamodb:PutItem", "", "states:StartExecution"])
def test_what_is_not_modelled_here_passes(action: str) -> None:
    assert not constraints.known(action)
    constraints.check(action, {"anything": 1})


@pytest.mark.parametrize(
    ("operation", "path"), [("CreateFunction", "functions"), ("UpdateFunctionCode", "functions/f/code")]
)
def test_package_in_a_request_has_a_limit(operation: str, path: str) -> None:
    action, method = f"lambda:{operation}", "PUT" if operation == "UpdateFunctionCode" else "POST"
    fits = Request("lambda", method, f"/2015-03-31/{path}", {}, bytes(69_905_067), {})
    assert action_of(fits) == action
    check_size(action, fits)
    with pytest.raises(LimitExceeded, match=f"smaller than 69905067 bytes for the {operation} operation") as raised:
        check_size(action, replace(fits, body=bytes(69_905_068)))
    assert (raised.value.code, raised.value.status) == ("RequestEntityTooLargeException", 413)


def test_form_is_read_as_a_tree() -> None:
    form = {
        "Action": "PublishBatch",
        "PublishBatchRequestEntries.member.2.Id": "b",
        "PublishBatchRequestEntries.member.1.Id": "a",
        "PublishBatchRequestEntries.member.1.MessageAttributes.entry.1.Name": "n",
    }
    read = call.members(request("sns", body=urlencode(form).encode(), content_type="application/x-www-form-urlencoded"))
    assert read["PublishBatchRequestEntries"] == [{"Id": "a", "MessageAttributes": [{"Name": "n"}]}, {"Id": "b"}]


def test_cbor_is_read() -> None:
    # {"Namespace": "n", "MetricData": [{}, {}]}
    body = bytes.fromhex("a2694e616d657370616365616e6a4d65747269634461746182a0a0")
    read = call.members(request("monitoring", body=body, content_type="application/cbor"))
    assert read == {"Namespace": "n", "MetricData": [{}, {}]}


@pytest.mark.parametrize("body", [b"[1]", b"{", b"\xff", b"[" * 100_000])
def test_what_cannot_be_read_is_left_to_the_service(body: bytes) -> None:
    assert call.members(request("ssm", "AmazonSSM.PutParameter", body)) == {}


@pytest.mark.parametrize(
    ("target", "members"),
    [
        ("AmazonSQS.ReceiveMessage", {"WaitTimeSeconds": "soon"}),
        ("AmazonSQS.SendMessage", {"MessageBody": "m", "MessageAttributes": 5}),
        ("Logs_20140328.PutLogEvents", {"logEvents": [{"message": "m", "timestamp": at} for at in (1, "later")]}),
    ],
)
def test_parameter_of_another_type_is_refused_in_words(target: str, members: dict[str, Any]) -> None:
    service = "sqs" if "SQS" in target else "logs"
    with pytest.raises(LimitExceeded, match="another type") as raised:
        check(request(service, target, json.dumps(members).encode()))
    assert raised.value.code == "SerializationException"


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "functions/f/invocations"), ("PUT", "functions/f/configuration")]
)
def test_body_is_not_taken_for_what_the_address_holds(method: str, path: str) -> None:
    body = json.dumps({"FunctionName": "a b", "Qualifier": "?" * 200}).encode()
    check(Request("lambda", method, f"/2015-03-31/{path}", {}, body, {}))


@pytest.mark.parametrize("name", ["a..b", "10.0.0.1", "xn--bucket", "sthree-bucket", "bucket-s3alias", "bucket--ol-s3"])
def test_buckets_names_that_s3_keeps_for_itself(name: str) -> None:
    with pytest.raises(LimitExceeded, match="not valid"):
        rules.check_bucket_name(name)


def test_attributes_count_in_either_form() -> None:
    value = {"DataType": "String", "StringValue": "v" * (rules.MESSAGES - 9)}
    rules.RULES["sqs:SendMessage"]({"MessageBody": "m", "MessageAttributes": {"ab": value}})
    with pytest.raises(LimitExceeded, match="shorter than 1048576"):
        rules.RULES["sqs:SendMessage"]({"MessageBody": "mm", "MessageAttributes": {"ab": value}})
    entry = {"Message": "m", "MessageAttributes": [{"Name": "ab", "Value": value}]}
    with pytest.raises(LimitExceeded, match="put together"):
        rules.RULES["sns:PublishBatch"]({"PublishBatchRequestEntries": [entry]})


TEMPLATES: list[tuple[str, dict[str, Any], str]] = [
    ("AWS::Lambda::Function", {"Timeout": "901"}, "less than or equal to 900"),
    ("AWS::Lambda::Function", {"MemorySize": 10_241}, "less than or equal to 10240"),
    ("AWS::Lambda::Function", {"Environment": {"Variables": {"AB": "v" * 4096}}}, "exceeded the 4KB limit"),
    ("AWS::Lambda::EventSourceMapping", {"BatchSize": 10_001}, "'batchSize'"),
    ("AWS::SQS::Queue", {"QueueName": "a.b"}, "hyphens, or underscores"),
    ("AWS::SNS::Topic", {"TopicName": "a b"}, "Topic Name"),
    ("AWS::SSM::Parameter", {"Value": "v" * 4097}, "maximum parameter value of 4096"),
    ("AWS::CodeBuild::Project", {"TimeoutInMinutes": 2161}, "'timeoutInMinutes'"),
    ("AWS::CodePipeline::Pipeline", {"Name": "a b"}, "'pipeline.name'"),
    ("AWS::Events::Rule", {"Name": "a b"}, "'name'"),
    ("AWS::Logs::LogGroup", {"LogGroupName": "a b"}, "'logGroupName'"),
    ("AWS::SageMaker::Model", {"ModelName": "a_b"}, "'modelName'"),
]


@pytest.mark.parametrize(
    ("kind", "properties", "words"), TEMPLATES, ids=[f"{kind} {index}" for index, (kind, _, _) in enumerate(TEMPLATES)]
)
def test_resources_have_the_limits_of_requests(kind: str, properties: dict[str, Any], words: str) -> None:
    with pytest.raises(LimitExceeded, match=words):
        check_resource(kind, properties)


@pytest.mark.parametrize(
    ("kind", "properties"),
    [
        ("AWS::SQS::Queue", {}),
        ("AWS::SNS::Topic", {"DisplayName": "a b"}),
        ("AWS::Lambda::Function", {"Timeout": "900", "Role": ROLE, "Environment": {"Variables": {"AB": "v"}}}),
        ("AWS::SageMaker::Endpoint", {"EndpointConfigName": ARN + "e" * 63}),
        ("AWS::SageMaker::EndpointConfig", {"ProductionVariants": [{"VariantName": "v", "ModelName": ARN + "m" * 63}]}),
        ("Custom::Thing", {"Timeout": 901}),
    ],
)
def test_resources_within_the_limits_pass(kind: str, properties: dict[str, Any]) -> None:
    check_resource(kind, properties)


@pytest.mark.parametrize(("region", "service"), [("ca-west-1", "codepipeline"), ("cn-north-1", "bedrock-runtime")])
def test_region_lacks_what_the_table_says(region: str, service: str) -> None:
    with request_scope("123456789012", region):
        regions.check_region("s3", "", {})
        with pytest.raises(LimitExceeded, match=f"AWS has no {service.partition('-')[0]} in {region}"):
            regions.check_region(service, "", {})


def test_region_without_serverless_endpoints() -> None:
    variants = [{"VariantName": "v", "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}]
    body = json.dumps({"EndpointConfigName": "c", "ProductionVariants": variants}).encode()
    asked = request("sagemaker", "SageMaker.CreateEndpointConfig", body)
    with request_scope("123456789012", "eu-west-1"):
        check(asked)
    with request_scope("123456789012", "us-gov-west-1"), pytest.raises(LimitExceeded, match="no serverless endpoints"):
        check(asked)
    with (
        request_scope("123456789012", "ca-west-1"),
        pytest.raises(LimitExceeded, match=r"Unrecognized resource types: \["),
    ):
        check_resource("AWS::CodePipeline::Pipeline", {})


class Store:
    """In the place of S3's objects: one, of a size that takes no room on the disk."""

    def __init__(self, file: Path, size: int) -> None:
        self.file = file
        with file.open("wb") as stream:
            stream.truncate(size)

    def path(self, *_: str) -> Path:
        return self.file

    def copy(self, *_: object) -> dict[str, str]:
        return {"etag": '"e"'}


@pytest.mark.parametrize(("size", "fits"), [(SOURCE_BYTES, True), (SOURCE_BYTES + 1, False)])
def test_source_of_a_pipeline_has_a_limit(tmp_path: Path, size: int, fits: bool) -> None:
    anyone, pipeline = mock.Mock(), mock.Mock()
    pipeline.pipeline.artifact_store.key = ""
    run = ActionRun("Source", mock.Mock(), outputs={"Source": ("artifacts", "p/Source/1")})
    run.configuration = {"S3Bucket": "sources", "S3ObjectKey": "photos.zip"}
    source = S3Source(cast(Objects, Store(tmp_path / "object", size)), anyone)
    if fits:
        source.run(pipeline, run)
        assert run.variables["ETag"] == '"e"'
    else:
        with pytest.raises(ActionFailed, match=r"The artifact photos.zip has 7516192769 bytes; at most 7516192768"):
            source.run(pipeline, run)


def test_variables_of_an_action_have_a_limit() -> None:
    check_variables({"a": "é" * 61_439, "b": ""})
    with pytest.raises(ActionFailed, match="have 122881 bytes; at most 122880"):
        check_variables({"a": "é" * 61_439, "b": "v"})
