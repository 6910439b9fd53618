"""The endpoint that a model answers at, in SageMaker."""

from __future__ import annotations

import math

from botocore.client import BaseClient
from botocore.exceptions import ClientError

from defectory.aws.clients import aws_client, error_code, service_errors
from defectory.aws.endpoint_errors import EndpointFault, fault_of
from defectory.errors import InputError, ServiceError, shorten
from defectory.inspection.verdicts import InspectionReply, parse_reply

PAYLOAD_LIMIT = 4_000_000
"""Bytes of a request; a serverless endpoint takes 4 MB, a real-time one more."""

# The caller waits longer than a client should: few attempts here, many there.
ATTEMPTS = 2


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
                body: bytes = reply["Body"].read()
        except ServiceError as error:
            raise self._explained(error) from error.__cause__
        try:
            inspection = parse_reply(body)
        except InputError as error:
            raise EndpointAnswerError(f"The endpoint {self._name} answered nonsense: {error}") from None
        if not math.isfinite(inspection.score):
            raise EndpointAnswerError(f"The endpoint {self._name} answered nonsense: a score of {inspection.score}.")
        return inspection

    def _explained(self, error: ServiceError) -> ServiceError:
        cause = error.__cause__
        fault = fault_of(cause)
        if isinstance(cause, ClientError) and error_code(cause) == "ModelError":
            status = int(cause.response.get("OriginalStatusCode", 0))
            words = shorten(str(cause.response.get("OriginalMessage", cause.response["Error"].get("Message", ""))), 300)
            if fault.is_passing:
                return EndpointBusyError(f"The model at {self._name} is not ready ({status}): {words}")
            return EndpointAnswerError(f"The model at {self._name} failed on the image ({status}): {words}")
        if fault.is_passing:
            return EndpointBusyError(str(error))
        if fault is EndpointFault.MISSING:
            return EndpointMissingError(
                f"The endpoint {self._name} does not exist. Train a model and deploy it there; then upload again."
            )
        return error
