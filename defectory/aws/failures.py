"""What the errors of AWS mean: the one place that knows their codes.

``fault_of`` tells what is wrong, ``Fault.kind`` whether the same call may succeed later.
"""

from __future__ import annotations

from enum import StrEnum, auto

from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as UnreachableError

from defectory.aws.clients import error_code
from defectory.errors import FailureKind


class Fault(StrEnum):
    """Why a service, or a model behind an endpoint of SageMaker, does not answer as it should."""

    MISSING = auto()
    """There is no such thing."""
    FORBIDDEN = auto()
    """The caller may not."""
    CREDENTIALS = auto()
    """The caller has none, or they have expired."""
    INVALID = auto()
    """The service takes the request for none."""
    THROTTLED = auto()
    """Too many calls at once."""
    NOT_READY = auto()
    """It is still loading or being changed, or has no room now."""
    IN_TROUBLE = auto()
    """The service failed."""
    UNREACHABLE = auto()
    """The connection broke, or nobody answered in time."""
    MODEL_REFUSED = auto()
    """The model's container takes the image for none (4xx)."""
    MODEL_FAILED = auto()
    """The model's container died while it was asked, or failed on the image: nobody can tell which."""
    OTHER = auto()
    """Anything else."""

    @property
    def kind(self) -> FailureKind:
        """Whether the same call may succeed later."""
        if self in _PASSING:
            return FailureKind.TRANSIENT
        return FailureKind.ENVIRONMENT if self in (Fault.FORBIDDEN, Fault.CREDENTIALS) else FailureKind.PERMANENT

    @property
    def is_passing(self) -> bool:
        """Whether it may pass by itself, so that the same call may succeed later."""
        return self.kind is FailureKind.TRANSIENT


def fault_of(error: BaseException | None) -> Fault:
    """What a refused or failed call means; ``OTHER`` for what is none."""
    if isinstance(error, HTTPClientError | UnreachableError | IncompleteReadError):
        return Fault.UNREACHABLE
    if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError):
        return Fault.CREDENTIALS
    if not isinstance(error, ClientError):
        return Fault.OTHER
    code = error_code(error)
    if code == "ModelError":
        return _fault_of_model(original_status(error))
    if code in ("ValidationError", "ValidationException"):
        message = str(error).lower()
        # "Endpoint x of account y not found", 'Could not find endpoint "x"'.
        if any(words in message for words in ("not found", "not find")):
            return Fault.MISSING
        # 'Cannot update in-progress endpoint "x"'.
        return Fault.NOT_READY if "in-progress" in message else Fault.INVALID
    if fault := _FAULTS.get(code):
        return fault
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    return Fault.IN_TROUBLE if status >= 500 else Fault.OTHER


def original_status(error: ClientError) -> int:
    """The HTTP status that a model's container answered; 0 where SageMaker got no answer from it.

    SageMaker speaks in the container's stead, with status 0, where it has died or takes too long.
    """
    status = error.response.get("OriginalStatusCode")
    return int(status) if status is not None else 0


def _fault_of_model(status: int) -> Fault:
    if status in (408, 425, 429, 503, 504):
        return Fault.NOT_READY
    return Fault.MODEL_REFUSED if 400 <= status < 500 else Fault.MODEL_FAILED


_PASSING = frozenset({Fault.THROTTLED, Fault.NOT_READY, Fault.IN_TROUBLE, Fault.UNREACHABLE, Fault.MODEL_FAILED})
_FAULTS = {
    code: fault
    for fault, codes in {
        Fault.MISSING: ("ResourceNotFound", "ResourceNotFoundException"),
        Fault.FORBIDDEN: ("AccessDenied", "AccessDeniedException"),
        Fault.CREDENTIALS: (
            *("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"),
            *("InvalidSignatureException", "MissingAuthenticationToken", "SignatureDoesNotMatch"),
        ),
        Fault.THROTTLED: (
            *("Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestLimitExceeded"),
            *("RequestThrottledException", "TooManyRequestsException", "SlowDown"),
            *("ProvisionedThroughputExceededException", "BandwidthLimitExceeded", "PriorRequestNotComplete"),
            *("ServiceUnavailable", "ServiceUnavailableException"),
        ),
        Fault.NOT_READY: (
            *("ModelNotReadyException", "ResourceInUse", "ResourceInUseException", "ConflictException"),
            *("ResourceLimitExceeded", "ResourceLimitExceededException", "TransactionInProgressException"),
        ),
        Fault.IN_TROUBLE: (
            *("InternalFailure", "InternalServerException", "InternalServerError", "InternalError"),
            *("InternalDependencyException", "InternalStreamFailure", "RequestTimeout", "RequestTimeoutException"),
        ),
    }.items()
    for code in codes
}
