"""What was under way when the server ended: it cannot go on, so it ends as failed, and says so."""

from __future__ import annotations

from dataclasses import dataclass, field

from ministack.services import cloudformation, stepfunctions
from ministack.services.cloudformation import stacks

from defectory.local.server.hooks import require
from defectory.local.server.services import Scope

CAUSE = "The local cloud ended while this was under way."
# Begun by a change set that nobody has executed yet: waits for a person, not for the server.
WAITING = "REVIEW_IN_PROGRESS"


@dataclass(frozen=True, slots=True)
class Report:
    """What the start found: whether the last run was killed, and what it had to end as failed."""

    killed: bool
    executions: list[str] = field(default_factory=list)
    stacks: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """A sentence or more for whoever starts it; empty if there is nothing to say."""
        sentences = []
        if self.killed:
            sentences.append("The last run did not end by itself; everything that it had acknowledged is here.")
        if self.executions:
            sentences.append(f"Executions that were under way ended as FAILED: {', '.join(self.executions)}.")
        if self.stacks:
            sentences.append(f"Stacks whose change was cut short: {', '.join(self.stacks)}; deploy them again.")
        return " ".join(sentences)


def settle(*, killed: bool) -> Report:
    """End what was under way; after restoring, before requests are answered."""
    return Report(killed, _executions(), _stacks())


def _executions() -> list[str]:
    # MiniStack has ended them when it was given them.
    emit = require(stepfunctions, "_emit_execution_status_event", "execution")
    interrupted = []
    for (account, region, _), execution in list(require(stepfunctions, "_executions")._data.items()):
        if execution.get("error") != "States.ServiceRestart" or execution.get("cause") == CAUSE:
            continue
        execution["cause"] = CAUSE
        events = execution.setdefault("events", [])
        events.append(
            {
                "id": len(events) + 1,
                "type": "ExecutionFailed",
                "timestamp": execution["stopDate"],
                "executionFailedEventDetails": {"error": execution["error"], "cause": CAUSE},
            }
        )
        with Scope(account, region).entered():
            emit(execution)
        interrupted.append(str(execution["executionArn"]).rpartition(":execution:")[2])
    return interrupted


def _stacks() -> list[str]:
    add_event = require(
        stacks, "_add_event", "stack_id", "stack_name", "logical_id", "resource_type", "status", "reason"
    )
    interrupted = []
    for (account, region, _), stack in list(require(cloudformation, "_stacks")._data.items()):
        status = stack.get("StackStatus", "")
        if not status.endswith("_IN_PROGRESS") or status == WAITING:
            continue
        stack["StackStatus"] = _failed(status)
        stack["StackStatusReason"] = CAUSE
        id_, name = stack["StackId"], stack["StackName"]
        with Scope(account, region).entered():
            add_event(id_, name, name, "AWS::CloudFormation::Stack", stack["StackStatus"], CAUSE, physical_id=id_)
        interrupted.append(f"{name} ({stack['StackStatus']})")
    return interrupted


def _failed(status: str) -> str:
    """The status in which an operation ends that fails: UPDATE_ROLLBACK_FAILED of UPDATE_ROLLBACK_IN_PROGRESS."""
    if status.endswith("_CLEANUP_IN_PROGRESS"):
        # Only what was replaced is left to be removed.
        return status.removesuffix("_CLEANUP_IN_PROGRESS")
    return f"{status.removesuffix('_IN_PROGRESS')}_FAILED"
