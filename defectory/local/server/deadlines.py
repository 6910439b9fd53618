"""Ends executions whose time is up, which MiniStack lets run: express ones, and those of machines with a timeout.

https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html has five minutes for express executions; the
machine's own ``TimeoutSeconds`` is said in
https://docs.aws.amazon.com/step-functions/latest/dg/statemachine-structure.html.
"""

from __future__ import annotations

import contextvars
import json
import threading
from collections.abc import Callable
from typing import Any

from ministack.services import stepfunctions

from defectory.local.server.hooks import replace, require

EXPRESS_SECONDS = 300.0
"""How long an express execution may take."""


class Deadlines:
    """Ends executions as ``TIMED_OUT``; what they have under way goes on, but nothing comes of it.

    ``express_seconds`` is how long express ones may take.
    """

    def __init__(self, express_seconds: float = EXPRESS_SECONDS) -> None:
        self._express_seconds = express_seconds
        self._machines = require(stepfunctions, "_state_machines")
        self._executions = require(stepfunctions, "_executions")
        self._write = require(stepfunctions, "_add_event", "execution", "event_type", "details")
        self._tell = require(stepfunctions, "_emit_execution_status_event", "execution")
        self._now = require(stepfunctions, "now_iso")
        self._watch()

    def _watch(self) -> None:
        @replace(stepfunctions, "_run_execution", "exec_arn")
        def run(original: Callable[[str], None], exec_arn: str) -> None:
            execution = self._executions.get(exec_arn)
            seconds = self._seconds_of(execution) if execution else None
            if seconds is None:
                original(exec_arn)
            elif not done_within(seconds, lambda: original(exec_arn)):
                self._end(execution)

        @replace(stepfunctions, "_fail_execution", "execution", "error", "cause")
        def fail(original: Callable[..., None], execution: dict[str, Any], *why: str) -> None:
            # One that was stopped or is out of time stays so, whatever its last task ends as.
            if execution["status"] == "RUNNING":
                original(execution, *why)

    def _seconds_of(self, execution: dict[str, Any]) -> float | None:
        """How long an execution may take; None if there is no limit."""
        machine = self._machines.get(execution["stateMachineArn"])
        if machine is None:
            return None
        try:
            own = json.loads(machine["definition"]).get("TimeoutSeconds")
        except ValueError:
            # MiniStack fails it.
            own = None
        limits = [own, self._express_seconds if machine["type"] == "EXPRESS" else None]
        return min((seconds for seconds in limits if seconds is not None), default=None)

    def _end(self, execution: dict[str, Any]) -> None:
        if execution["status"] != "RUNNING":
            return
        execution["status"], execution["stopDate"] = "TIMED_OUT", self._now()
        self._write(execution, "ExecutionTimedOut")
        self._tell(execution)


def done_within(seconds: float, work: Callable[[], object]) -> bool:
    """Whether ``work``, which acts for the current account and region, is done after so many seconds; it goes on."""
    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True)
    thread.start()
    thread.join(min(seconds, threading.TIMEOUT_MAX))
    return not thread.is_alive()
