"""Roles of these tests, where it does not matter what a role may do."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from defectory.local.cloud import LocalCloud
from tests.local_cloud.signed import send, sign

SERVICES = ("codebuild", "codepipeline", "lambda", "sagemaker", "states")
ROLE = "arn:aws:iam::123456789012:role/any"
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def create_role(cloud: LocalCloud, name: str = "any", *statements: dict[str, Any], boundary: str = "") -> str:
    """A role that services assume, of these permissions, or of all; its ARN."""
    trust = {"Effect": "Allow", "Principal": {"Service": [f"{name}.amazonaws.com" for name in SERVICES]}}
    limits = {"PermissionsBoundary": boundary} if boundary else {}
    role = cloud.client("iam").create_role(
        RoleName=name, AssumeRolePolicyDocument=policy({**trust, "Action": "sts:AssumeRole"}), **limits
    )
    grant(cloud, name, *(statements or (EVERYTHING,)))
    return str(role["Role"]["Arn"])


def grant(cloud: LocalCloud, role: str, *statements: dict[str, Any]) -> None:
    """Let a role do this, and nothing that it might do before."""
    cloud.client("iam").put_role_policy(RoleName=role, PolicyName="own", PolicyDocument=policy(*statements))


def policy(*statements: dict[str, Any]) -> str:
    """A policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def open_queue(cloud: LocalCloud, queue: str, service: str = "events.amazonaws.com") -> str:
    """Let a service of AWS send to a queue; the queue's ARN."""
    sqs = cloud.client("sqs")
    arn = str(sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])
    sending = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sqs:SendMessage", "Resource": arn}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy(sending)})
    return arn


@contextmanager
def without_waits(cloud: LocalCloud) -> Iterator[None]:
    """Let state machines not wait before they try again."""

    def scale(factor: float) -> None:
        body = json.dumps({"stepfunctions._SFN_WAIT_SCALE": factor}).encode()
        headers = sign(cloud, "POST", "/_ministack/config", body)
        assert send(cloud, "POST", "/_ministack/config", body, headers).status == 200

    scale(0.01)
    try:
        yield
    finally:
        scale(1.0)
