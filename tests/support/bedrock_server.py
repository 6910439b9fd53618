"""A stand-in for Amazon Bedrock that speaks Converse over HTTP, with replies and failures as a test scripts them.

>>> with BedrockServer(Reply("1. Plasma Etcher"), THROTTLED) as bedrock:
...     client = boto3.client("bedrock-runtime", endpoint_url=bedrock.endpoint, ...)

Replies are given in order; ``responder`` answers whatever the queue does not.  Reached by other processes too, through
``AWS_ENDPOINT_URL_BEDROCK_RUNTIME``.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import unquote

MODEL = "us.amazon.nova-pro-v1:0"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says.

    ``reasoning`` becomes a reasoning block before the text; ``parts`` replaces ``text``; ``call`` is a tool's name and
    what it is called with.
    """

    text: str = ""
    stop_reason: str = "end_turn"
    reasoning: str = ""
    parts: tuple[str, ...] = ()
    seconds: float = 0.0
    call: tuple[str, Any] | None = None

    def body(self, request: Request) -> dict[str, Any]:
        content: list[dict[str, Any]] = []
        if self.reasoning:
            content.append({"reasoningContent": {"reasoningText": {"text": self.reasoning, "signature": "c2ln"}}})
            content.append({"reasoningContent": {"redactedContent": "c2VjcmV0"}})
        content += [{"text": part} for part in self.parts or ((self.text,) if self.text else ())]
        if self.call:
            content.append({"toolUse": {"toolUseId": "tooluse_1", "name": self.call[0], "input": self.call[1]}})
        read, written = request.cached
        usage = {
            "inputTokens": len(request.prompt) // 4 - read - written,
            "cacheReadInputTokens": read,
            "cacheWriteInputTokens": written,
            "outputTokens": sum(map(len, self.parts or (self.text,))) // 4,
        }
        tier = {"serviceTier": request.body["serviceTier"]} if "serviceTier" in request.body else {}
        return {
            **tier,
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": self.stop_reason,
            "usage": usage | {"totalTokens": sum(usage.values())},
            "metrics": {"latencyMs": 10},
        }


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as Bedrock words it."""

    code: str
    status: int
    message: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Dropped:
    """The connection is reset before any answer."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """An answer that is no reply, as from a proxy in between; it breaks off before its last ``missing`` bytes."""

    body: bytes = b"<html>502 Bad Gateway</html>"
    status: int = 200
    missing: int = 0


Answer = Reply | Failure | Dropped | Garbage | str

THROTTLED = Failure("ThrottlingException", 429, "Too many requests, please wait before trying again.")
THROTTLED_TODAY = Failure("ThrottlingException", 429, "Too many tokens per day, please wait before trying again.")
DENIED = Failure("AccessDeniedException", 403, "You don't have access to the model with the specified model ID.")
NOT_SUBSCRIBED = Failure(
    "AccessDeniedException",
    403,
    "Model access is denied due to IAM user or service role is not authorized to perform the required AWS Marketplace "
    "actions (aws-marketplace:ViewSubscriptions, aws-marketplace:Subscribe) to enable access to this model.",
)
NOT_READY = Failure("ModelNotReadyException", 429, "The model is not ready to serve this request.")
MODEL_TIMEOUT = Failure("ModelTimeoutException", 408, "The request took too long to process.")
MODEL_ERROR = Failure("ModelErrorException", 424, "The model returned an error while processing the request.")
UNAVAILABLE = Failure("ServiceUnavailableException", 503, "Bedrock is unable to process your request.")
INTERNAL = Failure("InternalServerException", 500, "The system encountered an unexpected error during processing.")
NO_ON_DEMAND = Failure(
    "ValidationException",
    400,
    f"Invocation of model ID {MODEL} with on-demand throughput isn’t supported. Retry your request with the ID or ARN "
    "of an inference profile that contains this model.",
)
UNKNOWN_MODEL = Failure("ValidationException", 400, "The provided model identifier is invalid.")
TOO_MANY_TOKENS = Failure(
    "ValidationException",
    400,
    "The maximum tokens you requested exceeds the model limit of 4096. Try again with fewer.",
)
RETIRED = Failure("ResourceNotFoundException", 404, "This model version has reached the end of its life.")
EXPIRED = Failure("ExpiredTokenException", 403, "The security token included in the request is expired")


@dataclass(frozen=True, slots=True)
class Request:
    """One call that arrived, as the wire brought it."""

    model_id: str
    body: dict[str, Any]
    region: str = ""
    cached: tuple[int, int] = (0, 0)
    """Tokens read from the cache and written to it."""

    @property
    def prompt(self) -> str:
        """All text of the conversation."""
        messages = self.body.get("messages") or []
        return "\n".join("".join(block.get("text", "") for block in m.get("content", [])) for m in messages)

    @property
    def prefix(self) -> str:
        """The text before the last cache point."""
        content = [block for message in self.body.get("messages") or [] for block in message.get("content", [])]
        points = [i for i, block in enumerate(content) if "cachePoint" in block]
        return "".join(block.get("text", "") for block in content[: points[-1]]) if points else ""

    @property
    def tool_choice(self) -> dict[str, Any] | None:
        choice: dict[str, Any] | None = self.body.get("toolConfig", {}).get("toolChoice")
        return choice

    @property
    def max_tokens(self) -> int | None:
        value: int | None = self.body.get("inferenceConfig", {}).get("maxTokens")
        return value


Responder = Callable[[Request], Answer]


@dataclass
class BedrockServer:
    """Serves ``POST /model/{modelId}/converse`` on a free port of 127.0.0.1 while its context lasts.

    Attributes:
        replies: answers still to be given, first to last; a plain string is a complete reply.
        responder: answers what the queue does not; without one that is an error naming this.
        requests: every call that arrived, in order.
        endpoint: URL for ``endpoint_url`` or ``AWS_ENDPOINT_URL_BEDROCK_RUNTIME``.
    """

    operation: ClassVar[str] = "converse"

    replies: deque[Answer]
    responder: Responder | None = None
    requests: list[Request] = field(default_factory=list)
    endpoint: str = ""

    def __init__(self, *replies: Answer, responder: Responder | None = None) -> None:
        self.replies, self.responder, self.requests = deque(replies), responder, []
        self._cache: set[tuple[str, str]] = set()
        self._closing = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> BedrockServer:
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.bedrock = self
        self.endpoint = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def prompts(self) -> list[str]:
        """The text of every call, in order."""
        return [request.prompt for request in self.requests]

    def refusal(self, request: Request) -> Failure | None:
        """What Bedrock refuses before the model sees it; None lets it through."""
        try:
            _validate(request.body)
            _validate_for(request.model_id, request.body)
        except ValueError as error:
            return Failure("ValidationException", 400, str(error))
        return None

    def receive(self, model_id: str, body: dict[str, Any], region: str) -> Request:
        """The call that arrived, with what its cache point saves or costs it."""
        request = Request(model_id, body, region)
        tokens = len(request.prefix) // 4
        with self._lock:
            read = (model_id, request.prefix) in self._cache
        return replace(request, cached=(tokens, 0) if read else (0, tokens))

    def answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            self._cache.add((request.model_id, request.prefix))
            if self.replies:
                return self.replies.popleft()
        if self.responder is not None:
            return self.responder(request)
        return Failure("ValidationException", 400, "BedrockServer: the test scripted no reply for this call.")

    def wait(self, seconds: float) -> None:
        """Let a slow answer wait, but never beyond the end of the test."""
        if seconds:
            self._closing.wait(seconds)


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    bedrock: BedrockServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http

    def do_POST(self) -> None:
        payload = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        bedrock = self.server.bedrock
        path = re.fullmatch(rf"/model/([^/]+)/{bedrock.operation}", self.path)
        if path is None:
            self._fail(Failure("UnknownOperationException", 404, f"no operation at {self.path}"))
            return
        authorization = self.headers.get("Authorization", "")
        if not authorization.startswith(("AWS4-HMAC-SHA256 Credential=", "Bearer ")):
            self._fail(Failure("MissingAuthenticationTokenException", 403, "Missing Authentication Token"))
            return
        try:
            body = json.loads(payload)
        except ValueError as error:
            self._fail(Failure("ValidationException", 400, str(error)))
            return
        scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/bedrock/", authorization)
        request = bedrock.receive(unquote(path[1]), body, scope[1] if scope else "")
        if refusal := bedrock.refusal(request):
            self._fail(refusal)
            return
        answer = bedrock.answer(request)
        answer = Reply(answer) if isinstance(answer, str) else answer
        match answer:
            case Failure():
                bedrock.wait(answer.seconds)
                self._fail(answer)
            case Garbage():
                promised = str(len(answer.body) + answer.missing)
                self._send(answer.status, answer.body, "text/html", {"Content-Length": promised})
                self.close_connection = self.close_connection or bool(answer.missing)
            case Dropped():
                # Without lingering, closing sends a reset instead of an orderly end.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
            case _:
                bedrock.wait(answer.seconds)
                self._send(200, json.dumps(answer.body(request)).encode())

    def _fail(self, failure: Failure) -> None:
        kind = f"{failure.code}:http://internal.amazon.com/coral/com.amazon.bedrock/"
        body = json.dumps({"message": failure.message}).encode()
        self._send(failure.status, body, headers={"x-amzn-ErrorType": kind})

    def _send(
        self, status: int, body: bytes, kind: str = "application/json", headers: dict[str, str] | None = None
    ) -> None:
        try:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("x-amzn-RequestId", "9251f066-a420-483b-b3ae-7485084f6dc6")
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # the client gave up waiting, which slow answers are scripted for

    def log_message(self, format: str, *args: object) -> None:
        """Requests are recorded, not printed."""


def _validate(body: object) -> None:
    """Refuse what Bedrock refuses.

    Raises:
        ValueError: no messages, wrong order of roles, a blank text, a token limit below 1.
    """
    if not isinstance(body, dict) or not body.get("messages"):
        raise ValueError("A conversation must start with a user message. Try again with a conversation that does.")
    expected = "user"
    for message in body["messages"]:
        if message.get("role") != expected:
            raise ValueError("A conversation must alternate between user and assistant roles, the user first.")
        expected = "assistant" if expected == "user" else "user"
        for block in message.get("content") or [{"text": ""}]:
            if not str(block.get("text", "x")).strip():
                raise ValueError("The text field in the ContentBlock object is blank.")
    if expected == "user":
        raise ValueError("The model does not support assistant message prefill; end with a user message.")
    limit = body.get("inferenceConfig", {}).get("maxTokens", 1)
    if not isinstance(limit, int) or limit < 1:
        raise ValueError("inferenceConfig.maxTokens must be at least 1.")


# What some models refuse, in Bedrock's words.
_UNFORCED = re.compile(r"claude-(?:opus|sonnet)-5-5")
_UNSAMPLED = re.compile(r"claude-(?:opus-4-[78]|opus-5|sonnet-5|haiku-5)")
_WITHOUT_TOOLS = re.compile(r"deepseek\.r1|titan")
_LONGEST = {"amazon.nova-pro": 5_000, "amazon.nova-lite": 5_000, "amazon.nova-micro": 5_000}


def _validate_for(model_id: str, body: dict[str, Any]) -> None:
    """Refuse what this model is known to refuse.

    Raises:
        ValueError: with what Bedrock says then.
    """
    tools, inference = body.get("toolConfig", {}), body.get("inferenceConfig", {})
    if tools and _WITHOUT_TOOLS.search(model_id):
        raise ValueError("This model doesn't support tool use.")
    if _UNFORCED.search(model_id) and "auto" not in tools.get("toolChoice", {"auto": {}}):
        raise ValueError('tool_choice: type "tool" and "any" are not supported for this model.')
    if _UNSAMPLED.search(model_id) and {"temperature", "topP"} & set(inference):
        raise ValueError("`temperature` is deprecated for this model.")
    if "claude" in model_id and "serviceTier" in body:
        raise ValueError("The provided service tier is not supported for this model.")
    for tool in tools.get("tools", []) if "nova" in model_id else ():
        if set(tool["toolSpec"]["inputSchema"]["json"]) - {"type", "properties", "required"}:
            raise ValueError("The value at toolConfig.tools.0.toolSpec.inputSchema.json is not supported.")
    longest = next((tokens for name, tokens in _LONGEST.items() if name in model_id), None)
    if longest and inference.get("maxTokens", 0) > longest:
        raise ValueError(f"The maximum tokens you requested exceeds the model limit of {longest}.")
