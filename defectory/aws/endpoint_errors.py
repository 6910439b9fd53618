"""What SageMaker's errors about an endpoint mean: the one place that knows its codes."""

from __future__ import annotations

from enum import StrEnum, auto

from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as UnreachableError

from defectory.aws.clients import error_code


class EndpointFault(StrEnum):
    """Why an endpoint does not answer, or cannot be looked at."""

    MISSING = auto()
    """There is no such endpoint."""
    FORBIDDEN = auto()
    """The caller may not."""
    INVALID = auto()
    """SageMaker takes the request for none."""
    THROTTLED = auto()
    """Too many calls at once."""
    NOT_READY = auto()
    """The model is still loading, or has no room now."""
    IN_TROUBLE = auto()
    """SageMaker failed."""
    UNREACHABLE = auto()
    """The connection broke, or nobody answered in time."""
    MODEL_REFUSED = auto()
    """The model's container takes the image for none (4xx)."""
    MODEL_FAILED = auto()
    """The model's container failed on the image (5xx)."""
    OTHER = auto()
    """Anything else."""

    @property
    def is_passing(self) -> bool:
        """Whether it passes by itself, so that the same call may succeed later."""
        return self in _PASSING


def fault_of(error: BaseException | None) -> EndpointFault:
    """What a refused or failed call of SageMaker's means; ``OTHER`` for what is none."""
    if isinstance(error, HTTPClientError | UnreachableError | IncompleteReadError):
        return EndpointFault.UNREACHABLE
    if not isinstance(error, ClientError):
        return EndpointFault.OTHER
    code = error_code(error)
    if code == "ModelError":
        return _fault_of_model(int(error.response.get("OriginalStatusCode", 500)))
    if code in ("ValidationError", "ValidationException"):
        # "Endpoint x of account y not found", 'Could not find endpoint "x"'.
        missing = any(words in str(error).lower() for words in ("not found", "not find"))
        return EndpointFault.MISSING if missing else EndpointFault.INVALID
    return _FAULTS.get(code, EndpointFault.OTHER)


def _fault_of_model(status: int) -> EndpointFault:
    if status in (429, 503, 504):
        return EndpointFault.NOT_READY
    return EndpointFault.MODEL_REFUSED if 400 <= status < 500 else EndpointFault.MODEL_FAILED


_PASSING = frozenset(
    {EndpointFault.THROTTLED, EndpointFault.NOT_READY, EndpointFault.IN_TROUBLE, EndpointFault.UNREACHABLE}
)
_FAULTS = {
    "AccessDeniedException": EndpointFault.FORBIDDEN,
    "ThrottlingException": EndpointFault.THROTTLED,
    "TooManyRequestsException": EndpointFault.THROTTLED,
    "ServiceUnavailable": EndpointFault.THROTTLED,
    "ServiceUnavailableException": EndpointFault.THROTTLED,
    "ModelNotReadyException": EndpointFault.NOT_READY,
    "InternalFailure": EndpointFault.IN_TROUBLE,
    "InternalServerException": EndpointFault.IN_TROUBLE,
    "InternalServerError": EndpointFault.IN_TROUBLE,
    "InternalDependencyException": EndpointFault.IN_TROUBLE,
    "InternalStreamFailure": EndpointFault.IN_TROUBLE,
}
