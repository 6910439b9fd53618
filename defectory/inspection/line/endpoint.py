"""The endpoint that a model answers at, in SageMaker."""

from __future__ import annotations

import math

from botocore.client import BaseClient
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as UnreachableError

from defectory.aws.clients import aws_client, error_code, service_errors
from defectory.errors import InputError, ServiceError, shorten
from defectory.inspection.verdicts import InspectionReply, parse_reply

PAYLOAD_LIMIT = 4_000_000
"""Bytes of a request; a serverless endpoint takes 4 MB, a real-time one more."""

# The caller waits longer than a client should: few attempts here, many there.
ATTEMPTS = 2
# What passes by itself: too many calls, a container that still starts, a service in trouble.
BUSY_CODES = frozenset(
    {
        *("ThrottlingException", "TooManyRequestsException", "ModelNotReadyException"),
        *("ServiceUnavailable", "ServiceUnavailableException", "InternalFailure", "InternalServerException"),
        *("InternalDependencyException", "InternalStreamFailure", "InternalServerError"),
    }
)


class EndpointMissingError(ServiceError):
    """There is no such endpoint."""

    code = "EndpointMissing"


class EndpointBusyError(ServiceError):
    """The endpoint is cold, throttled, slow or restarting; later it may answer."""

    code = "EndpointBusy"


class EndpointAnswerError(ServiceError):
    """The model failed on the image, or its answer is no inspection."""

    code = "EndpointAnswer"


class InspectionEndpoint:
    """The endpoint ``name``, which takes an image and answers an inspection."""

    def __init__(self, name: str, client: BaseClient | None = None) -> None:
        self._name = name
        self._client = client or aws_client("sagemaker-runtime", attempts=ATTEMPTS)

    def inspect(self, content: bytes, content_type: str) -> InspectionReply:
        """Ask for the inspection of an image.

        Args:
            content: the image's file, at most ``PAYLOAD_LIMIT`` bytes.
            content_type: ``image/png`` or ``image/jpeg``.

        Raises:
            EndpointMissingError: it does not exist; the message says what to do.
            EndpointBusyError: it may answer later.
            EndpointAnswerError: it does not answer as agreed.
            ServiceError: anything else that SageMaker refuses.
        """
        try:
            with service_errors(f"ask the endpoint {self._name}"):
                reply = self._client.invoke_endpoint(
                    EndpointName=self._name, ContentType=content_type, Accept="application/json", Body=content
                )
                answer: bytes = reply["Body"].read()
        except ServiceError as error:
            raise self._explained(error) from error.__cause__
        try:
            inspection = parse_reply(answer)
        except InputError as error:
            raise EndpointAnswerError(f"The endpoint {self._name} answered nonsense: {error}") from None
        if not math.isfinite(inspection.score):
            raise EndpointAnswerError(f"The endpoint {self._name} answered nonsense: a score of {inspection.score}.")
        return inspection

    def _explained(self, error: ServiceError) -> ServiceError:
        cause = error.__cause__
        if isinstance(cause, HTTPClientError | UnreachableError | IncompleteReadError):
            return EndpointBusyError(str(error))
        if not isinstance(cause, ClientError):
            return error
        code, message = error_code(cause), str(cause.response.get("Error", {}).get("Message", ""))
        if code in BUSY_CODES:
            return EndpointBusyError(str(error))
        if code == "ValidationError" and "not found" in message.lower():
            return EndpointMissingError(
                f"The endpoint {self._name} does not exist. Train a model and deploy it there; then upload again."
            )
        if code == "ModelError":
            status = int(cause.response.get("OriginalStatusCode", 0))
            said = shorten(str(cause.response.get("OriginalMessage", message)), 300)
            if status in (429, 503, 504):
                return EndpointBusyError(f"The model at {self._name} is not ready ({status}): {said}")
            return EndpointAnswerError(f"The model at {self._name} failed on the image ({status}): {said}")
        return error
