"""How an extension takes part in MiniStack: as a service of its own, or by calling one.

Everything in MiniStack belongs to an account and a region, which travel in context variables; a thread has to be
started with ``in_thread`` to act for whom its starter acted.
"""

from __future__ import annotations

import contextvars
import json
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from ministack import app
from ministack.core import responses, router

from defectory.errors import LocalCloudError
from defectory.local.server.hooks import require

Response = tuple[int, dict[str, str], bytes]


class Extension:
    """Something that the cloud has beyond MiniStack; made once, when its hooks have to be found."""

    def start(self) -> None:
        """Called when what was kept is restored, just before requests are answered."""

    def stop(self) -> None:
        """Called when no more is to be done: end every process and every wait."""


class Service(Protocol):
    """What MiniStack asks of the module of a service; the state is saved as JSON."""

    async def handle_request(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        query_params: Mapping[str, Any],
    ) -> Response: ...

    def get_state(self) -> dict[str, Any]: ...

    def load_persisted_state(self, data: dict[str, Any]) -> None: ...

    def reset(self) -> None: ...


class ServiceFault(Exception):
    """An error that a service answers with."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose resources are meant."""

    account: str
    region: str

    @classmethod
    def current(cls) -> Scope:
        return cls(_get_account_id(), _get_region())

    def entered(self) -> AbstractContextManager[None]:
        """Act for this account in this region."""
        entered: AbstractContextManager[None] = _request_scope(self.account, self.region)
        return entered

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


def add_service(name: str, service: Service, *, target_prefix: str) -> None:
    """Let ``service`` answer requests whose ``X-Amz-Target`` starts with ``target_prefix``; its state is saved too.

    Raises:
        LocalCloudError: MiniStack has a service of that name by now.
    """
    registry = require(app, "SERVICE_REGISTRY")
    if name in registry:
        raise LocalCloudError(f"MiniStack has a service {name} of its own by now; the extension has to go.")
    registry[name] = {"module": name}
    add_state(name, service)
    require(app, "SERVICE_HANDLERS")[name] = require(app, "_lazy_handler", "module_name")(name)
    require(router, "SERVICE_PATTERNS")[name] = {
        "target_prefixes": [target_prefix],
        "host_patterns": [rf"{name}\."],
        "credential_scope": name,
    }


def add_state(name: str, service: Service) -> None:
    """Keep the state of ``service``, which need not answer requests."""
    require(app, "_loaded_modules")[name] = service
    require(app, "_state_map")[name] = name


def call(service: str, target: str, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401
    """Call an operation of a JSON service, such as ``AmazonSSM.GetParameters``, as the current account.

    Only from a thread: MiniStack's loop has to be free to answer.

    Raises:
        ServiceFault: the service answered with an error.
    """
    headers = {"x-amz-target": target, "content-type": "application/x-amz-json-1.1"}
    body = json.dumps(parameters).encode()
    handler = require(app, "SERVICE_HANDLERS")[service]
    status, _, reply = _call_sync(handler, "POST", "/", headers, body, {})
    answer: dict[str, Any] = json.loads(reply or b"{}")
    if status >= 400:
        code = str(answer.get("__type", status)).rpartition("#")[2]
        raise ServiceFault(code, str(answer.get("message") or answer.get("Message") or code))
    return answer


def json_operations(
    operations: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]], headers: Mapping[str, str], body: bytes
) -> Response:
    """Answer a request of a JSON service by one of its ``operations``."""
    operation = headers.get("x-amz-target", "").rpartition(".")[2]
    try:
        if operation not in operations:
            names = ", ".join(operations)
            raise ServiceFault("InvalidAction", f"The local cloud does not know {operation or 'this'}, only {names}.")
        try:
            parameters = json.loads(body or b"{}")
        except ValueError:
            raise ServiceFault("SerializationException", "The request is not JSON.") from None
        reply: Response = _json_response(operations[operation](parameters))
    except ServiceFault as fault:
        reply = _error_response(fault.code, str(fault), 400)
    return reply


def in_thread(work: Callable[..., object], *arguments: object, name: str) -> threading.Thread:
    """Start ``work`` in a thread that acts for the current account and region."""
    thread = threading.Thread(target=contextvars.copy_context().run, args=(work, *arguments), name=name, daemon=True)
    thread.start()
    return thread


_get_account_id = require(responses, "get_account_id")
_get_region = require(responses, "get_region")
_request_scope = require(responses, "request_scope", "account_id", "region")
_json_response = require(responses, "json_response", "data")
_error_response = require(responses, "error_response_json", "code", "message", "status")
_call_sync = require(app, "call_service_handler_sync", "handler", "method", "path", "headers", "body", "query_params")
