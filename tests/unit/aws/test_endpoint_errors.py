"""What SageMaker's errors about an endpoint mean, for all who ask one."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError

from defectory.aws.endpoint_errors import EndpointFault, fault_of
from defectory.inspection import lookout


def refusal(code: str, message: str = "no", **details: object) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}, **details}, "InvokeEndpoint")


@pytest.mark.parametrize(
    ("error", "fault", "passing"),
    [
        # Runtime and control plane say it in different words and codes.
        (refusal("ValidationError", "Endpoint x of account 1 not found."), "missing", False),
        (refusal("ValidationException", 'Could not find endpoint "x".'), "missing", False),
        (refusal("ValidationError", "Body is too long"), "invalid", False),
        (refusal("AccessDeniedException"), "forbidden", False),
        (refusal("ThrottlingException"), "throttled", True),
        (refusal("TooManyRequestsException"), "throttled", True),
        (refusal("ServiceUnavailable"), "throttled", True),
        (refusal("ServiceUnavailableException"), "throttled", True),
        (refusal("ModelNotReadyException"), "not_ready", True),
        (refusal("InternalFailure"), "in_trouble", True),
        (refusal("InternalDependencyException"), "in_trouble", True),
        (refusal("ModelError", OriginalStatusCode=429), "not_ready", True),
        (refusal("ModelError", OriginalStatusCode=503), "not_ready", True),
        (refusal("ModelError", OriginalStatusCode=504), "not_ready", True),
        (refusal("ModelError", OriginalStatusCode=400), "model_refused", False),
        (refusal("ModelError", OriginalStatusCode=499), "model_refused", False),
        (refusal("ModelError", OriginalStatusCode=500), "model_failed", False),
        (refusal("ModelError"), "model_failed", False),
        (ReadTimeoutError(endpoint_url="https://x"), "unreachable", True),
        (EndpointConnectionError(endpoint_url="https://x"), "unreachable", True),
        # Nothing that time mends.
        (NoCredentialsError(), "other", False),
        (refusal("ExpiredTokenException"), "other", False),
        (ValueError("x"), "other", False),
        (None, "other", False),
    ],
)
def test_every_error_has_one_meaning(error, fault, passing):
    assert fault_of(error) == fault
    assert fault_of(error).is_passing is passing


def test_the_faults_that_callers_of_lookout_tell_apart_exist():
    assert lookout._EXCEPTION_OF_FAULT.keys() <= set(EndpointFault)
