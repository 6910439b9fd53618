"""A model behind an endpoint of SageMaker: ask it, and ask about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from botocore.exceptions import BotoCoreError, ClientError

from defectory.aws.clients import aws_client, read_bounded
from defectory.aws.failures import Fault, fault_of
from defectory.errors import ServiceError

ANSWER_LIMIT = 25 * 1024 * 1024
"""Bytes of an answer: the most that an endpoint of SageMaker passes on."""


class HostingError(ServiceError):
    """The endpoint refused or failed; ``fault`` says in which way."""

    code = "HostingFailed"

    def __init__(self, message: str, fault: Fault) -> None:
        super().__init__(message)
        self.fault, self.kind = fault, fault.kind


def invoke(name: str, body: bytes, *, content_type: str, accept: str, region: str | None = None) -> bytes:
    """The endpoint's answer to one image.

    Raises:
        HostingError: there is none; the message has the container's own words where it was the one that refused.
    """
    with _hosting_errors(f"ask the endpoint {name}"):
        answer = aws_client("sagemaker-runtime", region).invoke_endpoint(
            EndpointName=name, Body=body, ContentType=content_type, Accept=accept
        )
        content = read_bounded(answer["Body"], ANSWER_LIMIT)
    if len(content) > ANSWER_LIMIT:
        raise HostingError(f"The endpoint {name} answered more than {ANSWER_LIMIT:,} bytes.", Fault.OTHER)
    return content


@dataclass(frozen=True, slots=True)
class HostedVersion:
    """A model in service: the endpoint's configuration, the model's archive in S3, and the kind of the endpoint."""

    config: str
    archive: str
    kind: Literal["serverless", "realtime", "lambda"]


class HostedModel:
    """The endpoint ``name``, as those who put models into service see it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def current(self) -> HostedVersion | None:
        """The model in service; None without an endpoint.

        Raises:
            HostingError: the endpoint cannot be looked at.
        """
        client = aws_client("sagemaker")
        try:
            with _hosting_errors(f"look at the endpoint {self._name}"):
                config = client.describe_endpoint(EndpointName=self._name)["EndpointConfigName"]
                variants = client.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
                model = client.describe_model(ModelName=variants[0]["ModelName"])
        except HostingError as error:
            if error.fault is Fault.MISSING:
                return None
            raise
        kind: Literal["serverless", "realtime"] = "serverless" if "ServerlessConfig" in variants[0] else "realtime"
        return HostedVersion(str(config), str(model["PrimaryContainer"]["ModelDataUrl"]), kind)

    def ask(self, image: bytes, content_type: str) -> bytes:
        """The answer to an image.

        Raises:
            HostingError: there is none.
        """
        return invoke(self._name, image, content_type=content_type, accept="application/json")


def endpoint_status(name: str, *, region: str | None = None) -> str:
    """``InService``, ``Creating``, ``Updating``, ``Failed``...

    Raises:
        HostingError: there is no such endpoint, or it may not be looked at.
    """
    with _hosting_errors(f"look at the endpoint {name}"):
        return str(aws_client("sagemaker", region).describe_endpoint(EndpointName=name)["EndpointStatus"])


@contextmanager
def _hosting_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise HostingError(f"Cannot {doing}: {_reason(error)}", fault_of(error)) from error


def _reason(error: ClientError | BotoCoreError) -> str:
    """What the container itself said, where it was the one to refuse."""
    if not isinstance(error, ClientError):
        return str(error)
    try:
        # The containers' toolkit has a traceback follow.
        answer, _ = json.JSONDecoder().raw_decode(str(error.response.get("OriginalMessage", "")))
        return str(answer["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return str(error)
