"""Fixtures for tests that need AWS: moto's, never a real account."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from botocore.client import BaseClient
from moto import mock_aws

from defectory.aws.clients import aws_client
from defectory.sensors.service.requests_table import ACTIVE_INDEX, RequestsTable


class Nap:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now, self.waits = 0.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def nap() -> Nap:
    return Nap()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty AWS account in us-east-1."""
    for name, value in {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        aws_client.cache_clear()
        yield
    aws_client.cache_clear()


@pytest.fixture(scope="session")
def dynamodb_client() -> BaseClient:
    # Making a client takes boto3 longer than most of these tests.
    return boto3.client("dynamodb", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")


@pytest.fixture
def dynamodb(aws: None, dynamodb_client: BaseClient) -> BaseClient:
    """A client of DynamoDB that has an empty table ``requests`` with the keys and the index of the real one."""
    dynamodb_client.create_table(
        TableName="requests",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("user_id", "request_id", "active")
        ],
        KeySchema=_key("user_id"),
        GlobalSecondaryIndexes=[
            {"IndexName": ACTIVE_INDEX, "KeySchema": _key("active"), "Projection": {"ProjectionType": "KEYS_ONLY"}}
        ],
    )
    return dynamodb_client


@pytest.fixture
def table(dynamodb: BaseClient) -> RequestsTable:
    """An empty requests table."""
    return RequestsTable("requests", dynamodb)


def _key(partition: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": partition, "KeyType": "HASH"},
        {"AttributeName": "request_id", "KeyType": "RANGE"},
    ]
