"""No answer leaves before what it acknowledges is written; what is written is there again at the next start.

Before an answer leaves, the changes of the services that its request can have touched are committed. What changes
without a request (executions, logs, messages that were taken care of) is written every second. A server that keeps
nothing has none of this.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import json
import logging
import re
import sqlite3
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

from ministack import app
from ministack.services import cloudformation, s3

from defectory.errors import LocalCloudError
from defectory.local.server.admission import Application, Receive, Scope, Send
from defectory.local.server.hooks import replace, require
from defectory.local.server.invocations import INVOCATIONS
from defectory.local.server.queues import Queues
from defectory.local.server.settings import Settings
from defectory.local.server.state import recovery
from defectory.local.server.state.capture import Capture
from defectory.local.server.state.journal import Journal
from defectory.local.server.state.rows import decode, join

log = logging.getLogger(__name__)

# What requests to a service can touch, where that is not everything.
TOUCHED: Mapping[str, frozenset[str]] = {
    "dynamodb": frozenset({"dynamodb"}),
    "sqs": frozenset({"sqs"}),
    "logs": frozenset({"cloudwatch_logs"}),
    "lambda": frozenset({"lambda", "cloudwatch_logs", "sqs", INVOCATIONS}),
    "sns": frozenset({"sns", "sqs", INVOCATIONS}),
    "s3": frozenset({"s3", "sqs", "sns", "eventbridge", INVOCATIONS}),
}
SECONDS = 1.0
# Of all time, at most this share goes to looking at what nobody waits for.
SHARE = 0.05
_CREDENTIAL = re.compile(r"Credential=[^/,\s]+/\d{8}/[^/,\s]+/([a-z0-9-]+)/aws4_request")

_deliveries: contextvars.ContextVar[list[concurrent.futures.Future[None]] | None] = contextvars.ContextVar(
    "deliveries", default=None
)
_delivery: contextvars.ContextVar[concurrent.futures.Future[None] | None] = contextvars.ContextVar(
    "delivery", default=None
)


class Durability:
    """The journal of a running server."""

    def __init__(self, settings: Settings, queues: Queues) -> None:
        """Open the journal; nothing is restored yet.

        Raises:
            LocalCloudError: the kept state is damaged, or of an older version.
        """
        if old := sorted(settings.state.glob("*.json")):
            raise LocalCloudError(
                f"An older version of Defectory kept its state in {settings.state} ({old[0].name}), and this one "
                f"cannot read it. Use another folder, or remove {settings.state} to start without it."
            )
        self._endpoint = settings.endpoint
        self._journal = Journal(settings.state)
        self._capture = Capture({"sqs": queues.lock})
        self._sweeping: asyncio.Task[None] | None = None
        _wait_for_deliveries()

    def restore(self) -> recovery.Report:
        """Give MiniStack and the extensions what was kept, and begin to commit.

        Raises:
            LocalCloudError: a service does not take what was kept of it.
        """
        self._journal.move(self._endpoint)
        killed = self._journal.note("ended") == "no"
        modules: Mapping[str, str] = require(app, "_state_map")
        get_module = require(app, "_get_module", "name")
        services, unsaved = self._journal.services(), []
        # Functions last: their work begins as soon as they are there.
        for service in sorted((name for name in modules if name in services), key=lambda name: name == "lambda"):
            rows = list(self._journal.rows(service))
            state = join(service, ((path, decode(value)) for path, value in rows))
            try:
                get_module(modules[service]).load_persisted_state(state)
                # As it will be looked at from now on.
                self._capture.assume(service, rows)
                unsaved.append(self._capture.changes({service}))
            except Exception as error:
                log.exception("Restoring %s", service)
                raise LocalCloudError(
                    f"What {self._journal.path} holds of {service} cannot be used: {error!r}. "
                    f"Use another folder, or remove this file to start without it."
                ) from error
        for changes in unsaved:
            self._capture.forget(changes)
        report = recovery.settle(killed=killed)
        self.commit()
        self._capture.prune_packages()
        self._journal.set_note("ended", "no")
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep())
        return report

    def stop(self) -> None:
        """Write what is left, and close the journal."""
        if self._sweeping:
            self._sweeping.cancel()
        self.commit()
        self._journal.set_note("ended", "yes")
        self._journal.close()

    def applied_to(self, application: Application) -> Application:
        """The application, whose answers wait for their commit."""

        async def durable(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await application(scope, receive, send)
                return
            deliveries: list[concurrent.futures.Future[None]] = []
            token = _deliveries.set(deliveries)

            refused = False

            async def send_durably(message: dict[str, Any]) -> None:
                nonlocal refused
                if message["type"] == "http.response.start":
                    for delivery in deliveries:
                        await asyncio.wrap_future(delivery)
                    try:
                        self.commit(None if _stacks_change() else TOUCHED.get(_service(scope)))
                    except sqlite3.Error as error:
                        refused = True
                        await _fail(f"The state could not be written: {error}.", send)
                if not refused:
                    await send(message)

            try:
                await application(scope, receive, send_durably)
            finally:
                _deliveries.reset(token)

        return durable

    def commit(self, services: frozenset[str] | None = None) -> None:
        """Write what has changed in these services, or in all.

        Raises:
            sqlite3.Error: it could not be written, and is tried again with the next commit.
        """
        changes = self._capture.changes(services)
        if not changes:
            return
        try:
            self._journal.write(changes)
        except sqlite3.Error as error:
            self._capture.forget(changes)
            log.error("The state could not be written: %s", error)
            raise

    async def _sweep(self) -> None:
        pause = SECONDS
        while True:
            await asyncio.sleep(pause)
            started = time.monotonic()
            with suppress(sqlite3.Error):
                self.commit()
            pause = max(SECONDS, (time.monotonic() - started) / SHARE)


def _stacks_change() -> bool:
    """Whether a stack is being made or changed: with it, resources of every service."""
    stacks = require(cloudformation, "_stacks")
    return any(stack["StackStatus"].endswith("_IN_PROGRESS") for stack in list(stacks._data.values()))


def _service(scope: Scope) -> str:
    """The service that a request was signed for."""
    headers = dict(scope["headers"])
    match = _CREDENTIAL.search(headers.get(b"authorization", b"").decode("latin-1"))
    if match is None:
        match = _CREDENTIAL.search(unquote(scope.get("query_string", b"").decode("latin-1")))
    return match.group(1) if match else ""


async def _fail(message: str, send: Send) -> None:
    body = json.dumps({"__type": "InternalFailure", "message": message}).encode()
    headers = [(b"content-type", b"application/x-amz-json-1.1"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _wait_for_deliveries() -> None:
    """Let a request know of the notifications that its objects give rise to: S3 promises them, too."""
    notified = require(s3, "_bucket_notifications")

    @replace(s3, "_fire_s3_event_async", "bucket_name")
    def fire_later(original: Any, bucket: str, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
        deliveries = _deliveries.get()
        if deliveries is None or bucket not in notified:
            original(bucket, *arguments, **named)
            return
        delivery: concurrent.futures.Future[None] = concurrent.futures.Future()
        deliveries.append(delivery)
        # The thread that delivers gets a copy of this context.
        token = _delivery.set(delivery)
        try:
            original(bucket, *arguments, **named)
        finally:
            _delivery.reset(token)

    @replace(s3, "_fire_s3_event", "bucket_name", "key", "event_name")
    def fire(original: Any, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
        try:
            original(*arguments, **named)
        finally:
            if delivery := _delivery.get():
                delivery.set_result(None)
