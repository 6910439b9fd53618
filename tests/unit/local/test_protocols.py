"""Requests that could be authorized for one thing and do another, and those that say what they want once."""

import json
from typing import Any

import pytest
from ministack import app

from defectory.local.server.authorization.protocols import PROTOCOLS, Unclear, read
from defectory.local.server.authorization.requirements import Request, needed

FORM = {"content-type": "application/x-www-form-urlencoded"}


def ask(
    service: str, target: str = "", body: Any = b"", path: str = "/", method: str = "POST", **query: Any
) -> tuple[str, dict[str, Any]]:
    headers = {"x-amz-target": target, "content-type": "application/x-amz-json-1.0"} if target else FORM
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lists = {name: value if isinstance(value, list) else [value] for name, value in query.items()}
    wish = read(service, method, path, headers, content, lists)
    return wish.operation, dict(wish.members)


def test_what_is_said_once_is_understood() -> None:
    assert ask("dynamodb", "DynamoDB_20120810.GetItem", {"TableName": "t"}) == ("GetItem", {"TableName": "t"})
    assert (
        ask("sqs", "AmazonSQS.SendMessage", {"QueueUrl": "q", "MessageBody": "&Action=DeleteQueue"})[0] == "SendMessage"
    )
    assert ask("sns", body=b"Action=Publish&TopicArn=t&Version=2010-03-31") == (
        "Publish",
        {"TopicArn": ["t"], "Version": ["2010-03-31"]},
    )
    assert ask("sns", method="GET", Action="ListTopics")[0] == "ListTopics"
    assert ask("sts", body=b"Action=AssumeRole&RoleArn=r&Tags.member.1.Key=k")[0] == "AssumeRole"
    assert ask("monitoring", "GraniteServiceVersion20100801.PutMetricData", {"Namespace": "n"})[0] == "PutMetricData"
    assert ask("s3", path="/album/photo", method="PUT") == ("", {})
    assert ask("sagemaker", path="/endpoints/e/invocations", body=b"a photo") == ("", {})


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        # The operation, in two places.
        ({"service": "dynamodb", "target": "DynamoDB_20120810.DeleteTable", "Action": "ListTables"}, "in its query"),
        ({"service": "sqs", "target": "AmazonSQS.DeleteQueue", "Action": "SendMessage"}, "in its query"),
        ({"service": "sqs", "target": "Other.SendMessage", "body": b"Action=DeleteQueue"}, "is not of sqs"),
        ({"service": "sns", "body": b"Action=DeleteTopic", "Action": "ListTopics"}, "has Action twice"),
        ({"service": "sns", "body": b"Action=ListTopics&Action=DeleteTopic"}, "has Action twice"),
        ({"service": "sns", "Action": ["ListTopics", "DeleteTopic"], "method": "GET"}, "has Action twice"),
        ({"service": "iam", "target": "IAMService.DeleteRole", "Action": "ListRoles"}, "X-Amz-Target"),
        ({"service": "s3", "path": "/album/photo", "method": "PUT", "Action": "GetObject"}, "beside its path"),
        ({"service": "s3", "path": "/album/photo", "method": "PUT", "target": "x.GetObject"}, "beside its path"),
        ({"service": "lambda", "path": "/2015-03-31/functions/f", "method": "DELETE", "Action": "Invoke"}, "beside"),
        ({"service": "sagemaker", "path": "/endpoints/e/invocations", "target": "SageMaker.DeleteModel"}, "beside"),
        # What it is about.
        ({"service": "sns", "body": b"Action=Publish&TopicArn=a", "TopicArn": "b"}, "has TopicArn twice"),
        ({"service": "sqs", "target": "AmazonSQS.SendMessage", "body": {}, "QueueUrl": "b"}, "in its query"),
        (
            {
                "service": "states",
                "target": "AWSStepFunctions.DescribeExecution",
                "body": {"executionArn": "a", "stateMachineArn": "b"},
            },
            "has no parameter stateMachineArn",
        ),
        (
            {"service": "sns", "body": b"Action=Unsubscribe&SubscriptionArn=a&TopicArn=b"},
            "has no parameter TopicArn",
        ),
        # Neither.
        ({"service": "sqs", "body": b'{"QueueUrl": "a", "x": "&Action=DeleteQueue&QueueUrl=b&"}'}, "no parameter"),
        ({"service": "dynamodb", "target": "DynamoDB_20120810.GetItem", "body": b"[1]"}, "no JSON object"),
        ({"service": "dynamodb", "target": "DynamoDB_20120810.GetItem", "body": b"{"}, "not JSON"),
        ({"service": "dynamodb", "target": "DynamoDB_20120810.Unheard", "body": {}}, "no operation Unheard"),
        ({"service": "sns", "body": b"TopicArn=a"}, "no operation where"),
        ({"service": "sns", "body": b"Action=Publish", "method": "PUT"}, "without being a POST"),
        # Of services that act by themselves, or that nobody looked at.
        ({"service": "cloudformation", "body": b"Action=CreateStack"}, "who may use cloudformation"),
        ({"service": "scheduler", "path": "/schedules/s"}, "who may use scheduler"),
        ({"service": "pipes", "path": "/v1/pipes/p"}, "who may use pipes"),
    ],
)
def test_what_is_said_twice_is_refused(request_: dict[str, Any], why: str) -> None:
    with pytest.raises(Unclear, match=why):
        ask(**request_)


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "query"),
    [
        ("GET", "/", {}, b"", {}),
        ("GET", "/restapis", {}, b"", {}),
        ("DELETE", "/2015-03-31/functions/f", {}, b"", {}),
        ("POST", "/", {"x-amz-target": "Any.List", "content-type": "application/x-amz-json-1.1"}, b"{}", {}),
        ("POST", "/", {"content-type": "application/x-www-form-urlencoded"}, b"Action=List&Version=1", {}),
        ("GET", "/", {}, b"", {"Action": ["List"]}),
    ],
)
def test_a_service_that_nobody_checks_is_closed_to_every_role(
    method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
) -> None:
    unchecked = set(app.SERVICE_HANDLERS) - PROTOCOLS.keys()
    assert {"apigateway", "appsync", "cognito-idp", "elasticloadbalancing", "firehose", "iot", "pipes"} < unchecked
    assert len(unchecked) > 60
    for service in unchecked:
        with pytest.raises(Unclear, match=f"does not check who may use {service}"):
            needed(Request(service, method, path, headers, body, query))


@pytest.mark.parametrize("path", ["http://localhost/vault/photo", "//vault/photo", "/vault/a\0b", "vault/photo"])
def test_a_path_that_s3_would_take_for_another_is_unclear(path: str) -> None:
    with pytest.raises(Unclear, match="its path is none"):
        needed(Request("s3", "GET", path, {}, b"", {}))


@pytest.mark.parametrize("path", ["/vault//a", "/vault/a//b/", "/vault/a", "/vault///", "/vault/a/b"])
def test_a_key_is_what_follows_the_bucket(path: str) -> None:
    assert needed(Request("s3", "GET", path, {}, b"", {}))[0].resource == f"arn:aws:s3::{path.replace('/', ':', 1)}"
