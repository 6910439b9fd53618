"""Amazon Bedrock's text models through the Converse API: one prompt in, one reply out.

The only place that knows boto3's ``bedrock-runtime``.  Two things make it more than one call.  Quotas count by the
minute, longer than the SDK's own retries last, so the waiting is done here, bounded in attempts and in time.  And most
refusals have a cure that their message does not name, so each is translated into what to do.
"""

from __future__ import annotations

import logging
import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError
from botocore.parsers import ResponseParserError

from defectory.errors import InputError, ServiceError

logger = logging.getLogger(__name__)

Ending = Literal["complete", "truncated", "refused", "malformed"]

READ_TIMEOUT = 300.0
CONNECT_TIMEOUT = 10.0
LONGEST_WAIT = 30.0

_ENDINGS: dict[str, Ending] = {
    "end_turn": "complete",
    "stop_sequence": "complete",
    "max_tokens": "truncated",
    "model_context_window_exceeded": "truncated",
    "content_filtered": "refused",
    "guardrail_intervened": "refused",
}


@dataclass(frozen=True, slots=True)
class ModelReply:
    """What the model said, how it ended (only ``complete`` is worth reading) and what it cost in tokens."""

    text: str
    ending: Ending
    stop_reason: str
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class _Trouble:
    """A kind of failure: how many attempts it is worth in all, and what the user can do about it."""

    code: str
    message: str
    attempts: int
    cure: str


_MAX_TOKENS = re.compile(r"max(?:imum)?[ _]?tokens", re.IGNORECASE)
_THROTTLING = "Throttling.*|TooManyRequests.*|ServiceQuotaExceeded.*|LimitExceeded.*"
_CREDENTIALS = (
    "UnrecognizedClient.*|InvalidSignature.*|ExpiredToken.*|IncompleteSignature|InvalidClientTokenId"
    "|MissingAuthenticationToken.*|.*Credential.*Error|.*Token.*Error|.*SSO.*"
)
# The first that fits counts.
_TROUBLES = (
    _Trouble(
        _THROTTLING,
        "per day",
        1,
        "The day's quota is used up: ask for a higher one in Service Quotas (Amazon Bedrock), or go on tomorrow.",
    ),
    _Trouble(
        _THROTTLING,
        "",
        8,
        "Ask for higher quotas of requests and tokens a minute in Service Quotas (Amazon Bedrock), or for fewer "
        "machines at once.",
    ),
    _Trouble("ModelNotReady.*", "", 8, "The model is being made ready; try again in some minutes."),
    _Trouble(
        "ModelTimeout.*|ReadTimeoutError",
        "",
        2,
        "The answer took too long: try again later, or choose a faster model.",
    ),
    _Trouble(
        "EndpointConnectionError|ConnectTimeoutError|ConnectionClosedError",
        "",
        3,
        "Check the network (or the VPC endpoint of bedrock-runtime), and that Bedrock exists in this region.",
    ),
    _Trouble(
        "ServiceUnavailable.*|InternalServer.*|InternalFailure|ModelError.*|5\\d\\d|ResponseParserError",
        "",
        4,
        "The fault is on Bedrock's side: try again later, or use a profile that spans more regions.",
    ),
    _Trouble(
        "AccessDenied.*",
        "marketplace|subscri",
        1,
        "A third party's model is subscribed to on its first call, which takes up to 15 minutes and needs "
        "aws-marketplace:Subscribe, Unsubscribe and ViewSubscriptions.",
    ),
    _Trouble(
        "AccessDenied.*|ResourceNotFound.*",
        "access|authori|use case|explicit deny",
        1,
        "Allow bedrock:InvokeModel on the inference profile and on the model in every region that it routes to, and "
        "see in Bedrock's console that the account has access to the model (Anthropic's need a use-case form, once).",
    ),
    _Trouble(_CREDENTIALS, "", 1, "Renew the AWS credentials: `aws sts get-caller-identity` has to work."),
    _Trouble(
        "ValidationException",
        "on-demand throughput",
        1,
        "Name an inference profile instead of the bare model: us.…, eu.…, apac.… or global.… in front of its id.",
    ),
    _Trouble(
        "ValidationException|ParamValidationError",
        "identifier|modelId",
        1,
        "Check the model id; a profile is called from the regions of its prefix (us., eu., apac.) only.",
    ),
    _Trouble("ResourceNotFound.*", "", 1, "The model is retired or not in this region: choose a current one."),
    _Trouble("ValidationException", "too long|too many input", 1, "The prompt is too long for this model."),
    _Trouble("", "", 1, "See Amazon Bedrock's troubleshooting guide for this error."),
)


class BedrockModel:
    """One model, called through one client that any number of threads may share.

    Args:
        client: boto3's ``bedrock-runtime`` client.
        model_id: id of an inference profile.
        sleep, clock: replaced in tests.
    """

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
    ) -> BedrockModel:
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
        return str(self._client.meta.region_name)

    def ask(self, prompt: str, *, max_tokens: int | None, patience: float = 600.0) -> ModelReply:
        """Send ``prompt`` as a conversation of its own and return the reply.

        Args:
            max_tokens: bound of the reply; None leaves it to the model.  A bound above the model's own is dropped.
            patience: no attempt is begun later than this many seconds from now.

        Raises:
            ServiceError: refused, or still failing after the attempts it is worth; names the model, the region and
                what to do.
        """
        deadline = self._clock() + patience
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._converse(prompt, max_tokens)
            except (ClientError, BotoCoreError, ResponseParserError) as error:
                code, message = _identify(error)
                if max_tokens is not None and code == "ValidationException" and _MAX_TOKENS.search(message):
                    logger.info("%s: a bound of %d tokens is refused, leaving it out", self.model_id, max_tokens)
                    max_tokens = None
                    continue
                trouble = _diagnose(code, message)
                wait = min(LONGEST_WAIT, 2.0**attempt) * random.uniform(0.5, 1.0)
                if attempt >= trouble.attempts or self._clock() + wait > deadline:
                    raise ServiceError(self._report(code, message, attempt, trouble.cure)) from error
                logger.warning("%s: %s, attempt %d, waiting %.1f s", self.model_id, code, attempt, wait)
            self._sleep(wait)

    def _converse(self, prompt: str, max_tokens: int | None) -> ModelReply:
        bounds: dict[str, Any] = {} if max_tokens is None else {"inferenceConfig": {"maxTokens": max_tokens}}
        response = self._client.converse(
            modelId=self.model_id, messages=[{"role": "user", "content": [{"text": prompt}]}], **bounds
        )
        if "output" not in response or "stopReason" not in response:
            # botocore reads any body with status 200, such as a proxy's page, as an answer without members.
            raise ResponseParserError("The answer is no Converse reply; something between here and Bedrock made it up")
        blocks = response["output"].get("message", {}).get("content", [])
        usage = response.get("usage", {})
        stop_reason = str(response["stopReason"])
        reply = ModelReply(
            # Reasoning comes in blocks of its own, which hold no "text".
            text="".join(block["text"] for block in blocks if "text" in block),
            ending=_ENDINGS.get(stop_reason, "malformed"),
            stop_reason=stop_reason,
            input_tokens=int(usage.get("inputTokens", 0)),
            output_tokens=int(usage.get("outputTokens", 0)),
        )
        logger.info(
            "%s: %d tokens in, %d out, %s", self.model_id, reply.input_tokens, reply.output_tokens, reply.stop_reason
        )
        return reply

    def _report(self, code: str, message: str, attempts: int, cure: str) -> str:
        tried = f" after {attempts} attempts" if attempts > 1 else ""
        return f"Bedrock model {self.model_id} in {self.region} failed{tried}: {code}: {message} {cure}"


def _identify(error: Exception) -> tuple[str, str]:
    """Code and message of a failure; failures that never reached the service are called after botocore's exception."""
    if isinstance(error, ClientError):
        details = error.response.get("Error", {})
        return str(details.get("Code", "Unknown")), _sentence(details.get("Message"))
    return type(error).__name__, _sentence(error)


def _sentence(message: object) -> str:
    text = " ".join(str(message or "no message").split())[:500]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _diagnose(code: str, message: str) -> _Trouble:
    return next(
        trouble
        for trouble in _TROUBLES
        if (not trouble.code or re.fullmatch(trouble.code, code)) and re.search(trouble.message, message, re.IGNORECASE)
    )
