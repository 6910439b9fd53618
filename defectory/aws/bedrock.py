"""Amazon Bedrock's text models through the Converse API: one prompt in, one reply out, asked for what the model can."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from botocore.exceptions import ClientError, ParamValidationError
from botocore.parsers import ResponseParserError

from defectory.aws.bedrock_runtime import BedrockRuntime, identify
from defectory.aws.model_capabilities import capabilities_of
from defectory.aws.tokens import ServiceTier, TokenUsage
from defectory.errors import shorten

logger = logging.getLogger(__name__)

Ending = Literal["complete", "truncated", "overflow", "refused", "malformed"]

THINKING_TOKENS = 8_000
"""What a model may think, beyond the bound of its answer, that thinks without being asked to."""

_ENDINGS: dict[str, Ending] = {
    "end_turn": "complete",
    "stop_sequence": "complete",
    "tool_use": "complete",
    "max_tokens": "truncated",
    "model_context_window_exceeded": "overflow",
    "content_filtered": "refused",
    "guardrail_intervened": "refused",
    "malformed_model_output": "malformed",
    "malformed_tool_use": "malformed",
}

# What a request can do without, by the words in which Bedrock, or an older SDK, refuses it; the first that fits counts.
_DISPENSABLE: Mapping[str, re.Pattern[str]] = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "maxTokens": r"max(?:imum)?[ _]?tokens",
        "temperature": r"temperature|sampling",
        "toolChoice": r"tool_?choice",
        "strict": r"\bstrict\b",
        "toolConfig": r"toolConfig|tool use|tools?\b.*not supported",
        "cachePoint": r"cachePoint|cache_control|prompt caching",
        "serviceTier": r"service_? ?tier",
    }.items()
}
# An older SDK names all members that it does know besides.
_UNKNOWN_MEMBER = re.compile(r'Unknown parameter in [^"]*"(\w+)"')
_REFUSALS = frozenset({"ValidationException", "AccessDeniedException", "ParamValidationError"})


@dataclass(frozen=True, slots=True)
class Tool:
    """What a model may call in place of a text answer: ``properties`` are JSON schemas, all of them required."""

    name: str
    description: str
    properties: Mapping[str, Any]


REPLY_LIMIT = 1_000_000
"""Characters of a reply; none that is of use is nearly as long."""


@dataclass(frozen=True, slots=True)
class ModelReply:
    """What the model said, how it ended (only ``complete`` is worth reading) and what it cost in tokens.

    ``text`` holds no reasoning.  ``tool_input`` is what the tool was called with, unchecked; None if it was not called.
    """

    text: str
    ending: Ending
    stop_reason: str
    usage: TokenUsage
    tier: str = "default"
    tool_input: object = None


@dataclass(frozen=True, slots=True)
class _Question:
    """What ``ask`` was asked for."""

    prompt: str
    max_tokens: int | None
    tool: Tool | None
    cached: int
    tier: ServiceTier
    images: tuple[bytes, ...]


class BedrockModel(BedrockRuntime):
    """One text model, named by an inference profile.

    What a request asks for follows from what the model can do; what Bedrock refuses all the same is left out of this
    and of all later requests.
    """

    def __init__(self, client: Any, model_id: str, **options: Any) -> None:  # noqa: ANN401 - as its base has them
        super().__init__(client, model_id, **options)
        self.capabilities = capabilities_of(model_id)
        self._refused: set[str] = set()

    @classmethod
    def connect(cls, model_id: str, *, base_model_id: str | None = None, **options: Any) -> Self:  # noqa: ANN401
        """Make a client as `BedrockRuntime.connect` does.

        Args:
            base_model_id: the model behind ``model_id`` where its name does not tell, as of an application's own
                inference profile, or one whose like it is.
        """
        model = super().connect(model_id, **options)
        model.capabilities = capabilities_of(base_model_id or model_id)
        return model

    def ask(
        self,
        prompt: str,
        *,
        max_tokens: int | None,
        tool: Tool | None = None,
        cached: int = 0,
        tier: ServiceTier = "default",
        images: Sequence[bytes] = (),
        patience: float = 600.0,
    ) -> ModelReply:
        """Send ``prompt`` as a conversation of its own and return the reply.

        Args:
            max_tokens: bound of the answer; None leaves it to the model.  It is never more than the model can.
            tool: to be called with the answer, where the model has tools; a model that cannot be made to call it may
                answer in text.
            cached: so many characters at the prompt's beginning are cached, where the model can, for later calls that
                begin in the same way.
            tier: flex is cheaper and slower; for models that have it.
            images: pictures in JPEG, at most 20; they come before the prompt and are numbered from 1.
            patience: no attempt is begun later than this many seconds from now.

        Raises:
            ServiceError: refused, or still failing after the attempts it is worth; names the model, the region and
                what to do.
        """
        question = _Question(prompt, max_tokens, tool, cached, tier, tuple(images))

        def send(client: Any) -> ModelReply:  # noqa: ANN401
            while True:
                request, features = self._request(question)
                try:
                    return self._converse(client, request, tool)
                except (ClientError, ParamValidationError) as error:
                    feature = _refused(error, features)
                    if feature is None:
                        raise
                    logger.warning("%s: %s is refused, going on without: %s", self.model_id, feature, error)
                    self._refused.add(feature)

        return self._call(send, patience)

    def bound(self, max_tokens: int) -> int:
        """Most tokens that an answer of ``max_tokens`` may take, what the model thinks before it included."""
        capable = self.capabilities
        if capable.thinks_unasked:
            max_tokens += THINKING_TOKENS
        return min(max_tokens, capable.max_output_tokens or max_tokens)

    def _request(self, question: _Question) -> tuple[dict[str, Any], frozenset[str]]:
        """The request's members, and which of them it could do without."""
        capable, features = self.capabilities, set[str]()

        def use(feature: str, able: bool) -> bool:
            if able and feature not in self._refused:
                features.add(feature)
            return feature in features

        inference: dict[str, Any] = {}
        if question.max_tokens is not None and use("maxTokens", True):
            inference["maxTokens"] = self.bound(question.max_tokens)
        request: dict[str, Any] = {}
        if question.tool and use("toolConfig", capable.tools):
            strict = use("strict", capable.strict_tools)
            request["toolConfig"] = {"tools": [{"toolSpec": _tool_spec(question.tool, strict)}]}
            if use("toolChoice", capable.forced_tools):
                request["toolConfig"]["toolChoice"] = {"tool": {"name": question.tool.name}}
            # Amazon advises greedy decoding for calling tools.
            if use("temperature", capable.sampling):
                inference["temperature"] = 0.0
        shared, own = question.prompt[: question.cached], question.prompt[question.cached :]
        content: list[dict[str, Any]] = [{"text": question.prompt}]
        if shared and own and use("cachePoint", capable.cache_min_tokens is not None):
            content = [{"text": shared}, {"cachePoint": {"type": "default"}}, {"text": own}]
        content = [*_numbered(question.images), *content]
        if question.tier != "default" and use("serviceTier", capable.flex):
            request["serviceTier"] = {"type": question.tier}
        if inference:
            request["inferenceConfig"] = inference
        return {"messages": [{"role": "user", "content": content}], **request}, frozenset(features)

    def _converse(self, client: Any, request: dict[str, Any], tool: Tool | None) -> ModelReply:  # noqa: ANN401
        response = client.converse(modelId=self.model_id, **request)
        if "output" not in response or "stopReason" not in response:
            # botocore reads any body with status 200, such as a proxy's page, as an answer without members.
            raise ResponseParserError("The answer is no Converse reply; something between here and Bedrock made it up")
        blocks = response["output"].get("message", {}).get("content", [])
        usage = response.get("usage", {})
        stop_reason = shorten(str(response["stopReason"]), 64)
        # Reasoning comes in blocks of its own, which hold no "text".
        text = "".join(block["text"] for block in blocks if "text" in block)
        calls = [block["toolUse"] for block in blocks if "toolUse" in block]
        reply = ModelReply(
            text=text[:REPLY_LIMIT],
            ending=_ENDINGS.get(stop_reason, "malformed") if len(text) <= REPLY_LIMIT else "malformed",
            stop_reason=stop_reason,
            usage=TokenUsage(
                input=int(usage.get("inputTokens", 0)),
                output=int(usage.get("outputTokens", 0)),
                cache_read=int(usage.get("cacheReadInputTokens", 0)),
                cache_write=int(usage.get("cacheWriteInputTokens", 0)),
            ),
            # A request that names none is answered without a word about it.
            tier=str(response.get("serviceTier", {}).get("type", "default")),
            tool_input=next((call.get("input") for call in calls if tool and call.get("name") == tool.name), None),
        )
        self._log(reply)
        return reply

    def _log(self, reply: ModelReply) -> None:
        usage = reply.usage
        logger.info(
            "%s: %d tokens in, %d out, %d read from the cache, %d written to it, tier %s, %s",
            *(self.model_id, usage.input, usage.output, usage.cache_read, usage.cache_write),
            *(reply.tier, reply.stop_reason),
        )


def _numbered(images: Sequence[bytes]) -> list[dict[str, Any]]:
    """Blocks of pictures, each with its number before it."""
    return [
        block
        for number, image in enumerate(images, 1)
        for block in ({"text": f"Picture {number}:"}, {"image": {"format": "jpeg", "source": {"bytes": image}}})
    ]


def _tool_spec(tool: Tool, strict: bool) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": dict(tool.properties),
        "required": sorted(tool.properties),
    }
    # Nova takes nothing else at a schema's top; strict tools have to say that there is nothing else.
    if strict:
        schema["additionalProperties"] = False
    spec: dict[str, Any] = {"name": tool.name, "description": tool.description, "inputSchema": {"json": schema}}
    return {**spec, "strict": True} if strict else spec


def _refused(error: Exception, features: frozenset[str]) -> str | None:
    """What of a request is refused that it can do without."""
    code, message = identify(error)
    if code not in _REFUSALS:
        return None
    if member := _UNKNOWN_MEMBER.search(message):
        message = member[1]
    return next((name for name, words in _DISPENSABLE.items() if words.search(message) and name in features), None)
