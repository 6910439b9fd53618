"""Somebody with a session of a role of these tests, and what the local cloud tells them."""

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError

from defectory.local.cloud import LocalCloud
from tests.local_cloud.laboratory import unique
from tests.local_cloud.roles import create_role, policy
from tests.local_cloud.signed import Answer, presign, send, sign

TRUST_ALL = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
# One for all: each would read the models of services anew.
SESSION = boto3.session.Session()


class Visitor:
    """Somebody with a session of a role."""

    def __init__(self, cloud: LocalCloud, *statements: dict[str, Any], boundary: str = "", **session: Any) -> None:
        self.cloud, self.role = cloud, unique("visitor")
        arn = create_role(cloud, self.role, *statements, boundary=boundary)
        iam = cloud.client("iam")
        iam.update_assume_role_policy(RoleName=self.role, PolicyDocument=policy(TRUST_ALL))
        given = cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="visit", **session)["Credentials"]
        self.keys = (given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
        self.arn = f"arn:aws:sts::123456789012:assumed-role/{self.role}/visit"

    def client(self, service: str, **config: Any) -> BaseClient:
        key, secret, token = self.keys
        keys = {"aws_access_key_id": key, "aws_secret_access_key": secret, "aws_session_token": token}
        return SESSION.client(
            service, endpoint_url=self.cloud.endpoint, region_name="us-east-1", config=Config(**config), **keys
        )

    def send(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, *, service: str
    ) -> Answer:
        """Send exactly this, signed by the session."""
        key, secret, token = self.keys
        signed = sign(self.cloud, method, path, body, headers, service=service, account=key, secret=secret, token=token)
        return send(self.cloud, method, path, body, signed)

    def link(self, method: str, path: str) -> str:
        """The path of an address of S3 that the session signed, good for a minute."""
        key, secret, token = self.keys
        return presign(self.cloud, path, method=method, account=key, secret=secret, token=token)

    def denied(self, call: Callable[[], object], action: str, resource: str, why: str = "") -> str:
        """The code of the error that ``call`` is answered with, whose message has to be AWS's."""
        with pytest.raises(ClientError) as caught:
            call()
        error = caught.value.response["Error"]
        why = why or f"because no identity-based policy allows the {action} action"
        named = f'"{resource}"' if action.startswith("s3:") else resource
        assert error["Message"] == f"User: {self.arn} is not authorized to perform: {action} on resource: {named} {why}"
        return str(error["Code"])
