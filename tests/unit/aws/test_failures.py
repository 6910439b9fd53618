"""What the errors of AWS mean, for all who call it: which pass by themselves, and which somebody has to mend."""

from __future__ import annotations

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)

from defectory.aws import bedrock_runtime
from defectory.aws.failures import Fault, fault_of
from defectory.inspection import lookout


def refusal(code: str, message: str = "no", **details: object) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}, **details}, "InvokeEndpoint")


@pytest.mark.parametrize(
    ("error", "fault", "kind"),
    [
        # Runtime and control plane say it in different words and codes.
        (refusal("ValidationError", "Endpoint x of account 1 not found."), "missing", "permanent"),
        (refusal("ValidationException", 'Could not find endpoint "x".'), "missing", "permanent"),
        (refusal("ValidationException", 'Cannot update in-progress endpoint "x".'), "not_ready", "transient"),
        (refusal("ValidationError", "Body is too long"), "invalid", "permanent"),
        (refusal("ResourceNotFoundException"), "missing", "permanent"),
        (refusal("AccessDeniedException"), "forbidden", "environment"),
        (refusal("ThrottlingException"), "throttled", "transient"),
        (refusal("TooManyRequestsException"), "throttled", "transient"),
        (refusal("ProvisionedThroughputExceededException"), "throttled", "transient"),
        (refusal("SlowDown"), "throttled", "transient"),
        (refusal("ServiceUnavailable"), "throttled", "transient"),
        (refusal("ServiceUnavailableException"), "throttled", "transient"),
        (refusal("ModelNotReadyException"), "not_ready", "transient"),
        (refusal("ResourceLimitExceeded"), "not_ready", "transient"),
        (refusal("InternalFailure"), "in_trouble", "transient"),
        (refusal("InternalDependencyException"), "in_trouble", "transient"),
        # Of no code that anybody knows, the HTTP status decides.
        (refusal("Odd", ResponseMetadata={"HTTPStatusCode": 502}), "in_trouble", "transient"),
        (refusal("Odd", ResponseMetadata={"HTTPStatusCode": 404}), "other", "permanent"),
        (refusal("ModelError", OriginalStatusCode=429), "not_ready", "transient"),
        (refusal("ModelError", OriginalStatusCode=503), "not_ready", "transient"),
        (refusal("ModelError", OriginalStatusCode=504), "not_ready", "transient"),
        (refusal("ModelError", OriginalStatusCode=408), "not_ready", "transient"),
        (refusal("ModelError", OriginalStatusCode=400), "model_refused", "permanent"),
        (refusal("ModelError", OriginalStatusCode=499), "model_refused", "permanent"),
        # A container that was killed: SageMaker has no answer (0), its proxy none (502), or its server says 500.
        (refusal("ModelError", OriginalStatusCode=0), "model_failed", "transient"),
        (refusal("ModelError", OriginalStatusCode=500), "model_failed", "transient"),
        (refusal("ModelError", OriginalStatusCode=502), "model_failed", "transient"),
        (refusal("ModelError"), "model_failed", "transient"),
        (ReadTimeoutError(endpoint_url="https://x"), "unreachable", "transient"),
        (EndpointConnectionError(endpoint_url="https://x"), "unreachable", "transient"),
        (ConnectionClosedError(endpoint_url="https://x"), "unreachable", "transient"),
        (NoCredentialsError(), "credentials", "environment"),
        (refusal("ExpiredTokenException"), "credentials", "environment"),
        (ValueError("x"), "other", "permanent"),
        (None, "other", "permanent"),
    ],
)
def test_every_error_has_one_meaning(error, fault, kind):
    assert (fault_of(error), fault_of(error).kind) == (fault, kind)
    assert fault_of(error).is_passing is (kind == "transient")


@pytest.mark.parametrize("wait", [True, False])
def test_bedrock_and_the_others_agree_on_what_passes_by_itself(wait):
    codes = {
        True: (
            "ThrottlingException",
            "ModelNotReadyException",
            "ServiceUnavailableException",
            "InternalServerException",
        ),
        False: ("AccessDeniedException", "ResourceNotFoundException", "ExpiredTokenException", "ValidationException"),
    }
    for code in codes[wait]:
        trouble = bedrock_runtime._diagnose(code, "no", bedrock_runtime.TROUBLES)
        assert trouble.busy is wait
        assert fault_of(refusal(code)).is_passing is wait


def test_the_faults_that_callers_of_lookout_tell_apart_exist():
    assert lookout._EXCEPTION_OF_FAULT.keys() <= set(Fault)
