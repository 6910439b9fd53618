"""boto3 clients: bounded retries with backoff, region and endpoint from the environment, errors in our own words."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from defectory.errors import ServiceError

MAX_ATTEMPTS = 6
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@cache
def aws_client(service: str, region: str | None = None, *, attempts: int = MAX_ATTEMPTS) -> BaseClient:
    """A boto3 client of ``service``, made once a process.

    Throttled and failed calls are tried up to ``attempts`` times with exponential backoff and jitter.
    """
    config = Config(
        retries={"mode": "standard", "max_attempts": attempts},
        connect_timeout=5,
        read_timeout=60,
        proxies=proxies_of(service),
    )
    return boto3.client(service, region_name=region, config=config)


def proxies_of(service: str, environ: Mapping[str, str] = os.environ) -> dict[str, str] | None:
    """The proxies to ``service``: none to an endpoint on this machine, else (None) those of the environment."""
    named = environ.get(f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}") or environ.get("AWS_ENDPOINT_URL", "")
    return {} if urlsplit(named).hostname in _LOOPBACK else None


def read_bounded(body: Any, limit: int) -> bytes:  # noqa: ANN401 - boto3 makes its classes at run time
    """The content of a reply's body, or its first ``limit`` + 1 bytes if it is longer.

    Raises:
        BotoCoreError: the connection broke off.
    """
    content: bytes = body.read(limit + 1)
    if len(content) <= limit:
        # Only at the end botocore looks whether all has come.
        body.read(1)
    return content


@contextmanager
def service_errors(doing: str) -> Iterator[None]:
    """Turn what botocore raises into a ``ServiceError`` that says what was being done."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise ServiceError(f"Cannot {doing}: {error}") from error


def code_behind(error: ServiceError) -> str:
    """The code that the service itself gave the error that `service_errors` turned; empty if none did."""
    cause = error.__cause__
    return error_code(cause) if isinstance(cause, ClientError) else ""


def error_code(error: ClientError) -> str:
    """The service's own code of an error, such as ``ConditionalCheckFailedException``."""
    return str(error.response.get("Error", {}).get("Code", ""))
