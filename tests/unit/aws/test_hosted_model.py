"""Endpoints of SageMaker, as callers of Lookout for Vision and the training machine meet them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.response import StreamingBody
from botocore.stub import Stubber

from defectory.aws import hosted_model
from defectory.aws.hosted_model import HostedModel, HostedVersion, HostingError, invoke
from defectory.inspection.lookout import LOOKOUT_MEDIA_TYPE, LookoutForVision

NAMES = {"ProjectName": "boards", "ModelVersion": "1"}
KEYS = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}


@pytest.fixture(scope="module")
def clients() -> dict[str, BaseClient]:
    return {name: boto3.client(name, **KEYS) for name in ("sagemaker", "sagemaker-runtime")}


@pytest.fixture
def stubs(clients: dict[str, BaseClient], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Stubber]]:
    """SageMaker's clients, which answer what the test says."""
    monkeypatch.setattr(hosted_model, "aws_client", lambda service, region=None: clients[service])
    made = {name: Stubber(client) for name, client in clients.items()}
    for stub in made.values():
        stub.activate()
    yield made
    for stub in made.values():
        stub.assert_no_pending_responses()
        stub.deactivate()


@pytest.fixture
def client() -> LookoutForVision:
    return LookoutForVision(endpoint_name="factory-inspection")


def test_the_client_asks_the_endpoint_for_lookouts_shape(stubs: dict[str, Stubber], client: LookoutForVision) -> None:
    answer = json.dumps({"DetectAnomalyResult": {"IsAnomalous": False}}).encode()
    stubs["sagemaker-runtime"].add_response(
        "invoke_endpoint",
        {"Body": StreamingBody(io.BytesIO(answer), len(answer)), "ContentType": LOOKOUT_MEDIA_TYPE},
        {
            "EndpointName": "factory-inspection",
            "Body": b"photo",
            "ContentType": "image/jpeg",
            "Accept": LOOKOUT_MEDIA_TYPE,
        },
    )
    result = client.detect_anomalies(**NAMES, Body=b"photo", ContentType="image/jpeg")
    assert result["DetectAnomalyResult"] == {"IsAnomalous": False}


@pytest.mark.parametrize(
    ("code", "message", "details", "expected"),
    [
        ("ValidationError", "Endpoint x of account 1 not found.", {}, "ResourceNotFoundException"),
        ("ValidationError", "Body is too long", {}, "ValidationException"),
        ("ModelError", "client error (400)", {"OriginalStatusCode": 400}, "ValidationException"),
        ("ModelError", "server error (500)", {"OriginalStatusCode": 500}, "InternalServerException"),
        ("ModelNotReadyException", "loading", {}, "ConflictException"),
        ("ThrottlingException", "slow down", {}, "ThrottlingException"),
        ("AccessDeniedException", "no", {}, "AccessDeniedException"),
    ],
)
def test_refusals_become_the_exceptions_that_callers_know(
    stubs: dict[str, Stubber], client: LookoutForVision, code: str, message: str, details: dict, expected: str
) -> None:
    stubs["sagemaker-runtime"].add_client_error("invoke_endpoint", code, message, modeled_fields=details)
    with pytest.raises(getattr(client.exceptions, expected)) as refusal:
        client.detect_anomalies(**NAMES, Body=b"photo", ContentType="image/png")
    assert refusal.value.response["Error"]["Code"] == expected


def test_the_containers_own_words_come_through_without_its_traceback(stubs: dict[str, Stubber]) -> None:
    said = json.dumps({"error": {"code": "BadImage", "message": "request body: must be an image"}})
    details = {"OriginalStatusCode": 400, "OriginalMessage": f"{said}\nTraceback (most recent call last): ..."}
    stubs["sagemaker-runtime"].add_client_error("invoke_endpoint", "ModelError", "long", modeled_fields=details)
    with pytest.raises(HostingError) as refusal:
        invoke("factory-inspection", b"x", content_type="image/png", accept="application/json")
    assert str(refusal.value) == "Cannot ask the endpoint factory-inspection: request body: must be an image"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("InService", "HOSTED"),
        ("Updating", "HOSTED"),
        ("Creating", "STARTING_HOSTING"),
        ("Deleting", "STOPPING_HOSTING"),
        ("Failed", "HOSTING_FAILED"),
    ],
)
def test_states_of_the_endpoint_are_those_of_a_model(
    stubs: dict[str, Stubber], client: LookoutForVision, status: str, expected: str
) -> None:
    stubs["sagemaker"].add_response("describe_endpoint", _endpoint(status))
    assert client.describe_model(**NAMES)["ModelDescription"]["Status"] == expected


@pytest.mark.parametrize(
    ("hosting", "kind"),
    [
        ({"ServerlessConfig": {"MemorySizeInMB": 3072, "MaxConcurrency": 10}}, "serverless"),
        ({"InstanceType": "ml.c6i.large", "InitialInstanceCount": 1}, "realtime"),
    ],
)
def test_the_model_in_service_is_found_by_way_of_its_configuration(
    stubs: dict[str, Stubber], hosting: dict[str, Any], kind: Any
) -> None:
    stub, when = stubs["sagemaker"], "2026-11-21T00:00:00Z"
    stub.add_response("describe_endpoint", _endpoint("InService"))
    stub.add_response(
        "describe_endpoint_config",
        {
            "EndpointConfigName": "run-1",
            "EndpointConfigArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/run-1",
            "ProductionVariants": [{"VariantName": "AllTraffic", "ModelName": "run-1", **hosting}],
            "CreationTime": when,
        },
        {"EndpointConfigName": "run-1"},
    )
    stub.add_response(
        "describe_model",
        {
            "ModelName": "run-1",
            "ModelArn": "arn:aws:sagemaker:us-east-1:123456789012:model/run-1",
            "PrimaryContainer": {"Image": "i", "ModelDataUrl": "s3://parts/models/run-1/model.tar.gz"},
            "CreationTime": when,
        },
        {"ModelName": "run-1"},
    )
    archive = "s3://parts/models/run-1/model.tar.gz"
    assert HostedModel("factory-inspection").current() == HostedVersion("run-1", archive, kind)


def test_without_an_endpoint_there_is_no_current_model(stubs: dict[str, Stubber]) -> None:
    stubs["sagemaker"].add_client_error("describe_endpoint", "ValidationException", "Could not find endpoint")
    assert HostedModel("factory-inspection").current() is None


def test_an_endpoint_that_may_not_be_looked_at_is_not_taken_for_none(stubs: dict[str, Stubber]) -> None:
    stubs["sagemaker"].add_client_error("describe_endpoint", "AccessDeniedException", "no")
    with pytest.raises(HostingError):
        HostedModel("factory-inspection").current()


def _endpoint(status: str) -> dict[str, str]:
    when = "2026-11-21T00:00:00Z"
    return {
        "EndpointName": "factory-inspection",
        "EndpointArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint/factory-inspection",
        "EndpointConfigName": "run-1",
        "EndpointStatus": status,
        "CreationTime": when,
        "LastModifiedTime": when,
    }
