"""Asynchronous invocations of functions: accepted once, tried as often as Lambda would, and kept until they are over.

MiniStack tries again in a thread of its own and forgets what it was at when it ends; here an event that was accepted
is tried again by the next start with the same state.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ministack.core import responses
from ministack.services import lambda_svc

from defectory.local.server.hooks import replace, require
from defectory.local.server.services import Extension, Response, Scope, add_state, in_thread

INVOCATIONS = "asynchronous-invocations"


@dataclass(frozen=True, slots=True)
class _Policy:
    """What a function's configuration says of asynchronous invocations; seconds."""

    retries: int
    oldest: float
    destination: str

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> _Policy:
        config = record.get("config") or record
        invoke = record.get("event_invoke_config") or (record.get("event_invoke_configs") or {}).get("$LATEST") or {}
        retries = invoke.get("MaximumRetryAttempts")
        failure = (invoke.get("DestinationConfig") or {}).get("OnFailure") or {}
        return cls(
            retries=2 if retries is None else int(retries),
            oldest=float(invoke.get("MaximumEventAgeInSeconds", 21_600)),
            destination=failure.get("Destination") or (config.get("DeadLetterConfig") or {}).get("TargetArn") or "",
        )


class Invocations(Extension):
    """The invocations that were accepted and are not over."""

    def __init__(self) -> None:
        self._pending = require(responses, "AccountRegionScopedDict")()
        self._execute = require(lambda_svc, "_execute_function", "func", "event")
        self._give_up = require(lambda_svc, "_route_async_failure", "target_arn", "func_name", "event", "result")
        self._scope = require(lambda_svc, "_account_region_from_function_config", "config")
        self._find = require(lambda_svc, "_get_func_record_for_ref")
        self._record = require(lambda_svc, "_execution_record_for_config", "func", "config")
        self._base: float = require(lambda_svc, "_LAMBDA_ASYNC_RETRY_BASE_SECONDS")
        self._longest: float = require(lambda_svc, "_LAMBDA_ASYNC_RETRY_MAX_SECONDS")
        self._stopping = threading.Event()
        add_state(INVOCATIONS, self)

        @replace(lambda_svc, "invoke_async_with_retry", "func", "event")
        def accept(_: Any, func: dict[str, Any], event: object) -> None:  # noqa: ANN401
            config = func.get("config") or func
            scope = Scope(*self._scope(config))
            accepted = {"function": config["FunctionArn"], "event": event, "at": time.time()}
            id_ = uuid.uuid4().hex
            self._pending.set_scoped(scope.account, scope.region, id_, accepted)
            with scope.entered():
                in_thread(self._run, id_, accepted, func, name=f"invocation {id_}")

    def start(self) -> None:
        for (account, region, id_), accepted in list(self._pending._data.items()):
            with Scope(account, region).entered():
                func, config, _ = self._find(accepted["function"])
                if func and config:
                    record = self._record(func, config)
                    in_thread(self._run, id_, accepted, record, name=f"invocation {id_}")
                else:
                    self._pending.pop(id_)

    def stop(self) -> None:
        self._stopping.set()

    def _run(self, id_: str, accepted: Mapping[str, Any], record: dict[str, Any]) -> None:
        policy, event = _Policy.of(record), accepted["event"]
        result = self._try(record, event, policy, accepted["at"])
        if self._stopping.is_set() and (result is None or result.get("error")):
            # Did it fail, or was it ended?  The next start tries it again.
            return
        if result and result.get("error") and policy.destination:
            name = (record.get("config") or record).get("FunctionName", "")
            self._give_up(policy.destination, name, event, result)
        self._pending.pop(id_, None)

    def _try(self, record: dict[str, Any], event: object, policy: _Policy, at: float) -> dict[str, Any] | None:
        """The result of the last attempt; None if there was none."""
        result: dict[str, Any] | None = None
        for attempt in range(policy.retries + 1):
            if attempt:
                delay = min(self._base * 2 ** (attempt - 1), self._longest)
                if time.time() - at + delay > policy.oldest or self._stopping.wait(delay):
                    break
            result = self._execute(record, event)
            if not result.get("error"):
                break
        return result

    # ---- what is kept

    async def handle_request(self, *_: object) -> Response:
        raise AssertionError("no requests come here")

    def get_state(self) -> dict[str, Any]:
        return {"pending": self._pending}

    def load_persisted_state(self, data: Mapping[str, Any]) -> None:
        self._pending.update(data.get("pending", {}))

    def reset(self) -> None:
        self._pending.clear()
