"""Amazon Bedrock's runtime: one client for any number of threads, bounded retries, and failures told with their cure.

Two things make it more than one call.  Quotas count by the minute, longer than the SDK's own retries last, so the
waiting is done here, bounded in attempts and in time.  And most refusals have a cure that their message does not name,
so each is translated into what to do.
"""

from __future__ import annotations

import logging
import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError
from botocore.parsers import ResponseParserError

from defectory.aws.clients import proxies_of
from defectory.errors import FailureKind, InputError, ServiceError

logger = logging.getLogger(__name__)

T = TypeVar("T")

READ_TIMEOUT = 300.0
CONNECT_TIMEOUT = 10.0
LONGEST_WAIT = 30.0


class ModelBusyError(ServiceError):
    """The model is throttled, not ready, slow or in trouble, even after bounded retries; later it may answer."""

    code = "ModelBusy"


class ModelRefusedError(ServiceError):
    """The model refused for a reason that does not pass by itself: no access, no such model here, a used-up quota."""

    code = "ModelRefused"
    kind = FailureKind.PERMANENT


class AnswerError(Exception):
    """What came back with status 200 is no answer of the model; the class's name is the failure's code."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A kind of failure: how many attempts it is worth in all, and what the user can do about it.

    ``busy`` tells those that pass by themselves, if not so soon.
    """

    code: str
    message: str
    attempts: int
    cure: str
    busy: bool = False

    @property
    def error(self) -> type[ServiceError]:
        """What it ends in.  Of a kind that nobody knows, nobody knows whether it passes."""
        if self.busy:
            return ModelBusyError
        return ModelRefusedError if self.attempts == 1 and self.code else ServiceError


_THROTTLING = "Throttling.*|TooManyRequests.*|ServiceQuotaExceeded.*|LimitExceeded.*"
_CREDENTIALS = (
    "UnrecognizedClient.*|InvalidSignature.*|ExpiredToken.*|IncompleteSignature|InvalidClientTokenId"
    "|MissingAuthenticationToken.*|.*Credential.*Error|.*Token.*Error|.*SSO.*"
)
# The first that fits counts.
TROUBLES = (
    Trouble(
        _THROTTLING,
        "per day",
        1,
        "The day's quota is used up: ask for a higher one in Service Quotas (Amazon Bedrock), or go on tomorrow.",
    ),
    Trouble(
        _THROTTLING,
        "",
        8,
        "Ask for higher quotas of requests and tokens a minute in Service Quotas (Amazon Bedrock), or do less at once.",
        busy=True,
    ),
    Trouble("ModelNotReady.*", "", 8, "The model is being made ready; try again in some minutes.", busy=True),
    Trouble(
        "ModelTimeout.*|ReadTimeoutError",
        "",
        2,
        "The answer took too long: try again later, or choose a faster model.",
        busy=True,
    ),
    Trouble(
        "EndpointConnectionError|ConnectTimeoutError|ConnectionClosedError|ResponseStreamingError|IncompleteReadError",
        "",
        3,
        "Check the network (or the VPC endpoint of bedrock-runtime), and that Bedrock exists in this region.",
    ),
    Trouble(
        "ServiceUnavailable.*|InternalServer.*|InternalFailure|ModelError.*|5\\d\\d|ResponseParserError",
        "",
        4,
        "The fault is on Bedrock's side: try again later, or use a profile that spans more regions.",
        busy=True,
    ),
    Trouble(
        "AccessDenied.*",
        "marketplace|subscri",
        1,
        "A third party's model is subscribed to on its first call, which takes up to 15 minutes and needs "
        "aws-marketplace:Subscribe, Unsubscribe and ViewSubscriptions.",
    ),
    Trouble(
        "AccessDenied.*|ResourceNotFound.*",
        "access|authori|use case|explicit deny",
        1,
        "Allow bedrock:InvokeModel on the inference profile and on the model in every region that it routes to, and "
        "see in Bedrock's console that the account has access to the model (Anthropic's need a use-case form, once).",
    ),
    Trouble(_CREDENTIALS, "", 1, "Renew the AWS credentials: `aws sts get-caller-identity` has to work."),
    Trouble(
        "ValidationException",
        "on-demand throughput",
        1,
        "Name an inference profile instead of the bare model: us.…, eu.…, apac.… or global.… in front of its id.",
    ),
    Trouble(
        "ValidationException|ParamValidationError",
        "identifier|modelId",
        1,
        "Check the model id; a profile is called from the regions of its prefix (us., eu., apac.) only.",
    ),
    Trouble("ResourceNotFound.*", "", 1, "The model is retired or not in this region: choose a current one."),
    Trouble("ValidationException", "too long|too many input", 1, "The prompt is too long for this model."),
    Trouble("", "", 1, "See Amazon Bedrock's troubleshooting guide for this error."),
)


class BedrockRuntime:
    """One model at Bedrock's runtime; what is asked of it is up to those who inherit.

    Args:
        client: boto3's ``bedrock-runtime`` client.
        model_id: id of a model or of an inference profile.
        sleep, clock: replaced in tests.
    """

    troubles: ClassVar[tuple[Trouble, ...]] = ()
    """Kinds of failure that this family of models knows besides those of all; they are looked at first."""

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - boto3 makes its classes at run time
        model_id: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model_id = model_id
        self._client, self._sleep, self._clock = client, sleep, clock

    @classmethod
    def connect(
        cls,
        model_id: str,
        *,
        region: str | None = None,
        read_timeout: float = READ_TIMEOUT,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Self:
        """Make a client in ``region`` (or the environment's); nothing is sent yet.

        Adaptive mode slows all threads down together once Bedrock throttles; it makes one attempt, because the
        attempts are counted here, where each kind of failure gets its own number.

        Raises:
            InputError: no region is given or configured.
        """
        config = Config(
            retries={"mode": "adaptive", "total_max_attempts": 1},
            read_timeout=read_timeout,
            connect_timeout=CONNECT_TIMEOUT,
            max_pool_connections=64,
            tcp_keepalive=True,
            proxies=proxies_of("bedrock-runtime"),
        )
        try:
            session = boto3.Session(region_name=region or os.environ.get("AWS_REGION"))
            client = session.client("bedrock-runtime", config=config)
        except NoRegionError:
            raise InputError("region", "an AWS region that has Bedrock", fix="Set AWS_REGION, or pass it.") from None
        except (BotoCoreError, ValueError) as error:
            raise ServiceError(f"Cannot make a Bedrock client for {model_id}: {error}") from error
        return cls(client, model_id, sleep=sleep)

    @property
    def region(self) -> str:
        """The region that the model is called in."""
        return str(self._client.meta.region_name)

    def _call(self, send: Callable[[Any], T], patience: float) -> T:
        """What ``send`` makes of the client, tried again as often as its failures are worth it.

        Args:
            send: makes one request; botocore's exceptions and ``AnswerError`` count as failures.
            patience: no attempt is begun later than this many seconds from now.

        Raises:
            ModelBusyError: still throttled, not ready or failing on Bedrock's side after the attempts that it is worth.
            ModelRefusedError: refused for a reason that does not pass.
            ServiceError: failing otherwise.  All name the model, the region and what to do.
        """
        deadline = self._clock() + patience
        attempt = 0
        while True:
            attempt += 1
            try:
                return send(self._client)
            except (ClientError, BotoCoreError, ResponseParserError, AnswerError) as error:
                code, message = identify(error)
                trouble = _diagnose(code, message, (*self.troubles, *TROUBLES))
                wait = min(LONGEST_WAIT, 2.0**attempt) * random.uniform(0.5, 1.0)
                if attempt >= trouble.attempts or self._clock() + wait > deadline:
                    raise trouble.error(self._report(code, message, attempt, trouble.cure)) from error
                logger.warning("%s: %s, attempt %d, waiting %.1f s", self.model_id, code, attempt, wait)
            self._sleep(wait)

    def _report(self, code: str, message: str, attempts: int, cure: str) -> str:
        retries = f" after {attempts} attempts" if attempts > 1 else ""
        return f"Bedrock model {self.model_id} in {self.region} failed{retries}: {code}: {message} {cure}"


def identify(error: Exception) -> tuple[str, str]:
    """Code and message of a failure; failures that never reached the service are called after botocore's exception."""
    if isinstance(error, ClientError):
        details = error.response.get("Error", {})
        return str(details.get("Code", "Unknown")), _sentence(details.get("Message"))
    return type(error).__name__, _sentence(error)


def _sentence(message: object) -> str:
    text = " ".join(str(message or "no message").split())[:500]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _diagnose(code: str, message: str, troubles: tuple[Trouble, ...]) -> Trouble:
    return next(
        trouble
        for trouble in troubles
        if (not trouble.code or re.fullmatch(trouble.code, code)) and re.search(trouble.message, message, re.IGNORECASE)
    )
