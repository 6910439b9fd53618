"""Amazon Bedrock's text models through the Converse API: one prompt in, one reply out."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any, Literal

from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from defectory.aws.bedrock_runtime import BedrockRuntime, identify
from defectory.errors import shorten

logger = logging.getLogger(__name__)

Ending = Literal["complete", "truncated", "refused", "malformed"]

_ENDINGS: dict[str, Ending] = {
    "end_turn": "complete",
    "stop_sequence": "complete",
    "max_tokens": "truncated",
    "model_context_window_exceeded": "truncated",
    "content_filtered": "refused",
    "guardrail_intervened": "refused",
}
REPLY_LIMIT = 1_000_000
"""Characters of a reply; none that is of use is nearly as long."""

_MAX_TOKENS = re.compile(r"max(?:imum)?[ _]?tokens", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ModelReply:
    """What the model said, how it ended (only ``complete`` is worth reading) and what it cost in tokens."""

    text: str
    ending: Ending
    stop_reason: str
    input_tokens: int
    output_tokens: int


class BedrockModel(BedrockRuntime):
    """One text model, named by an inference profile."""

    def ask(self, prompt: str, *, max_tokens: int | None, patience: float = 600.0) -> ModelReply:
        """Send ``prompt`` as a conversation of its own and return the reply.

        Args:
            max_tokens: bound of the reply; None leaves it to the model.  A bound above the model's own is dropped.
            patience: no attempt is begun later than this many seconds from now.

        Raises:
            ServiceError: refused, or still failing after the attempts it is worth; names the model, the region and
                what to do.
        """

        def send(client: Any) -> ModelReply:  # noqa: ANN401
            nonlocal max_tokens
            try:
                return self._converse(client, prompt, max_tokens)
            except ClientError as error:
                code, message = identify(error)
                if max_tokens is None or code != "ValidationException" or not _MAX_TOKENS.search(message):
                    raise
                logger.info("%s: a bound of %d tokens is refused, leaving it out", self.model_id, max_tokens)
                max_tokens = None
            return self._converse(client, prompt, max_tokens)

        return self._call(send, patience)

    def _converse(self, client: Any, prompt: str, max_tokens: int | None) -> ModelReply:  # noqa: ANN401
        bounds: dict[str, Any] = {} if max_tokens is None else {"inferenceConfig": {"maxTokens": max_tokens}}
        response = client.converse(
            modelId=self.model_id, messages=[{"role": "user", "content": [{"text": prompt}]}], **bounds
        )
        if "output" not in response or "stopReason" not in response:
            # botocore reads any body with status 200, such as a proxy's page, as an answer without members.
            raise ResponseParserError("The answer is no Converse reply; something between here and Bedrock made it up")
        blocks = response["output"].get("message", {}).get("content", [])
        usage = response.get("usage", {})
        stop_reason = shorten(str(response["stopReason"]), 64)
        # Reasoning comes in blocks of its own, which hold no "text".
        text = "".join(block["text"] for block in blocks if "text" in block)
        reply = ModelReply(
            text=text[:REPLY_LIMIT],
            ending=_ENDINGS.get(stop_reason, "malformed") if len(text) <= REPLY_LIMIT else "malformed",
            stop_reason=stop_reason,
            input_tokens=int(usage.get("inputTokens", 0)),
            output_tokens=int(usage.get("outputTokens", 0)),
        )
        logger.info(
            "%s: %d tokens in, %d out, %s", self.model_id, reply.input_tokens, reply.output_tokens, reply.stop_reason
        )
        return reply
