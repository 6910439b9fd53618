"""The endpoint that a model answers at, in SageMaker."""

from __future__ import annotations

from botocore.client import BaseClient
from botocore.exceptions import ClientError

from defectory.aws.clients import aws_client, error_code, read_bounded, service_errors
from defectory.aws.failures import Fault, fault_of, original_status
from defectory.aws.hosted_model import ANSWER_LIMIT
from defectory.errors import FailureKind, ServiceError, shorten

PAYLOAD_LIMIT = 4_000_000
"""Bytes of a request; a serverless endpoint takes 4 MB, a real-time one more."""

# The caller waits longer than a client should: few attempts here, many there.
ATTEMPTS = 2
# Of an endpoint that is being made, and of one that has just been.
_COMING = ("Creating", "Updating", "SystemUpdating", "RollingBack", "InService")


class EndpointMissingError(ServiceError):
    """There is no such endpoint."""

    code = "EndpointMissing"
    kind = FailureKind.PERMANENT


class EndpointBusyError(ServiceError):
    """The endpoint is cold, throttled or slow, or being changed; later it may answer."""

    code = "EndpointBusy"


class EndpointFailedError(ServiceError):
    """The model's container died while it was asked, or failed on the image; one that is started anew may answer."""

    code = "EndpointFailed"


class EndpointAnswerError(ServiceError):
    """The model refuses the image, or its answer is none."""

    code = "EndpointAnswer"
    kind = FailureKind.PERMANENT


class ModelEndpoint:
    """The endpoint ``name``, which takes an image and answers JSON.

    ``client`` asks it, ``manager``, a client of SageMaker, asks about it.
    """

    def __init__(self, name: str, client: BaseClient | None = None, *, manager: BaseClient | None = None) -> None:
        self._name = name
        self._client = client or aws_client("sagemaker-runtime", attempts=ATTEMPTS)
        self._manager = manager

    @property
    def name(self) -> str:
        """The endpoint's name."""
        return self._name

    def ask(self, content: bytes, content_type: str) -> bytes:
        """The answer to an image.

        Args:
            content: the image's file, at most ``PAYLOAD_LIMIT`` bytes.
            content_type: ``image/png`` or ``image/jpeg``.

        Raises:
            EndpointMissingError: it does not exist; the message says what to do.
            EndpointBusyError: it may answer later, once it is made for one.
            EndpointFailedError: it died or failed while it was asked.
            EndpointAnswerError: the model refuses the image.
            ServiceError: anything else that SageMaker refuses.
        """
        try:
            with service_errors(f"ask the endpoint {self._name}"):
                reply = self._client.invoke_endpoint(
                    EndpointName=self._name, ContentType=content_type, Accept="application/json", Body=content
                )
                return read_bounded(reply["Body"], ANSWER_LIMIT)
        except ServiceError as error:
            raise self._explained(error) from error.__cause__

    def _explained(self, error: ServiceError) -> ServiceError:
        cause = error.__cause__
        fault = fault_of(cause)
        if isinstance(cause, ClientError) and error_code(cause) == "ModelError":
            status = original_status(cause)
            words = shorten(str(cause.response.get("OriginalMessage", cause.response["Error"].get("Message", ""))), 300)
            if fault is Fault.NOT_READY:
                return EndpointBusyError(f"The model at {self._name} is not ready ({status}): {words}")
            if fault is Fault.MODEL_FAILED:
                return EndpointFailedError(f"The model at {self._name} died or failed on the image ({status}): {words}")
            return EndpointAnswerError(f"The model at {self._name} refused the image ({status}): {words}")
        if fault.is_passing:
            return EndpointBusyError(str(error))
        if fault is Fault.MISSING:
            if self._is_to_come():
                return EndpointBusyError(f"The endpoint {self._name} is still being made.")
            return EndpointMissingError(
                f"The endpoint {self._name} does not exist. Train a model and deploy it there; then upload again."
            )
        return error

    def _is_to_come(self) -> bool:
        """Whether an endpoint that SageMaker does not find when it is asked is there, and will be found in a while.

        Raises:
            EndpointBusyError: SageMaker does not say now.
            ServiceError: SageMaker does not say.
        """
        try:
            with service_errors(f"look at the endpoint {self._name}"):
                manager = self._manager or aws_client("sagemaker", attempts=ATTEMPTS)
                return manager.describe_endpoint(EndpointName=self._name)["EndpointStatus"] in _COMING
        except ServiceError as error:
            fault = fault_of(error.__cause__)
            if fault is Fault.MISSING:
                return False
            if fault.is_passing:
                raise EndpointBusyError(str(error)) from error.__cause__
            raise
