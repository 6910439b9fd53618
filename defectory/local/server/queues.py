"""SQS: one change of queues at a time, and dead letters moved back to where they came from.

MiniStack changes queues in several threads, and a message that one adds while another takes some away can be lost.
Tasks that move messages it does not know; see "StartMessageMoveTask" in the API reference of Amazon SQS.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from ministack.core import concurrency
from ministack.services import eventbridge, lambda_svc, s3, sns, sqs

from defectory.local.server.hooks import replace, require
from defectory.local.server.services import Extension, Scope, in_thread

# AWS: messages a second that a task may be told to move at most.
FASTEST = 500
# AWS lists so many tasks of a queue.
LISTED = 10
_ENDED = frozenset({"COMPLETED", "CANCELLED", "FAILED"})


@dataclass(slots=True)
class _MoveTask:
    """A task that moves the messages of a dead-letter queue."""

    handle: str
    source: str
    destination: str
    rate: int | None
    to_move: int
    status: str = "RUNNING"
    moved: int = 0
    failure: str = ""
    started: float = field(default_factory=time.time)

    def api(self) -> dict[str, Any]:
        """As ListMessageMoveTasks answers."""
        return {
            **({"TaskHandle": self.handle} if self.status == "RUNNING" else {}),
            "Status": self.status,
            "SourceArn": self.source,
            **({"DestinationArn": self.destination} if self.destination else {}),
            **({"MaxNumberOfMessagesPerSecond": self.rate} if self.rate else {}),
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.to_move,
            **({"FailureReason": self.failure} if self.failure else {}),
            "StartedTimestamp": int(self.started * 1000),
        }


class Queues(Extension):
    """All queues of all accounts; ``lock`` is held while one changes."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._tasks: list[_MoveTask] = []
        self._stopping = threading.Event()
        self._error = require(sqs, "_Err")
        self._by_arn = require(sqs, "_queue_by_arn", "arn")
        self._queues = require(sqs, "_queues")
        self._new_fields = require(sqs, "_build_send_sys_attrs", "now", "sys_attrs_input")
        self._wake = require(concurrency, "esm_wake")
        handlers: dict[str, Callable[..., Any]] = require(sqs, "_HANDLERS")
        self._change_one_at_a_time(handlers)
        handlers |= {
            "StartMessageMoveTask": self._start_task,
            "ListMessageMoveTasks": self._list_tasks,
            "CancelMessageMoveTask": self._cancel_task,
        }

    def start(self) -> None:
        """Whoever was at a message has ended with the last run: it is there for others at once."""
        now = time.time()
        for queue in list(self._queues._data.values()):
            for message in queue["messages"]:
                if message["receive_count"] and message["visible_at"] > now:
                    message["visible_at"] = now

    def stop(self) -> None:
        self._stopping.set()

    def _change_one_at_a_time(self, handlers: dict[str, Callable[..., Any]]) -> None:
        require(sqs, "_queues_lock")
        sqs._queues_lock = self.lock
        for name, handler in handlers.items():
            # This one waits, and what it does in between is below.
            if name != "ReceiveMessage":
                handlers[name] = self._locked(handler)
        for module, name in (
            (sqs, "_act_send_message"),
            (sqs, "_collect_msgs"),
            (sqs, "_dlq_sweep"),
            (sqs, "_expire_retained"),
            (s3, "_deliver_event_to_sqs"),
            (sns, "_deliver_to_sqs"),
            (eventbridge, "_dispatch_to_sqs"),
            (lambda_svc, "_route_async_failure"),
        ):
            replace(module, name)(self._call_locked)

    def _call_locked(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        with self.lock:
            return function(*arguments, **named)

    def _locked(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def locked(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
            return self._call_locked(function, *arguments, **named)

        return locked

    # ---- tasks that move messages

    def _start_task(self, data: Mapping[str, Any], _: str) -> dict[str, Any]:
        source, destination = str(data.get("SourceArn", "")), str(data.get("DestinationArn") or "")
        rate = data.get("MaxNumberOfMessagesPerSecond")
        if rate is not None and not 1 <= int(rate) <= FASTEST:
            raise self._error("InvalidParameterValue", f"MaxNumberOfMessagesPerSecond must be from 1 to {FASTEST}.")
        queue = self._existing(source)
        if destination:
            self._existing(destination)
        if not self._is_dead_letter_queue(source):
            message = "Source queue must be configured as a Dead Letter Queue."
            raise self._error("InvalidParameterValue", message)
        if any(task.source == source and task.status in ("RUNNING", "CANCELLING") for task in self._tasks):
            message = "There is already a task running. Only one active task is allowed for a source queue arn."
            raise self._error("InvalidParameterValue", message)
        with self.lock:
            task = _MoveTask(uuid.uuid4().hex, source, destination, rate and int(rate), to_move=len(queue["messages"]))
            self._tasks.append(task)
        in_thread(self._move, task, name=f"move task {task.handle}")
        return {"TaskHandle": task.handle}

    def _list_tasks(self, data: Mapping[str, Any], _: str) -> dict[str, Any]:
        source, limit = str(data.get("SourceArn", "")), int(data.get("MaxResults") or 1)
        self._existing(source)
        if not 1 <= limit <= LISTED:
            raise self._error("InvalidParameterValue", f"MaxResults must be from 1 to {LISTED}.")
        tasks = [task for task in reversed(self._tasks) if task.source == source]
        return {"Results": [task.api() for task in tasks[:limit]]}

    def _cancel_task(self, data: Mapping[str, Any], _: str) -> dict[str, Any]:
        handle = data.get("TaskHandle")
        task = next((task for task in self._tasks if task.handle == handle), None)
        if task is None:
            raise self._error("ResourceNotFoundException", "Task does not exist.", 404)
        if task.status in _ENDED:
            raise self._error("UnsupportedOperation", "Only active tasks can be cancelled.")
        task.status = "CANCELLED"
        return {"ApproximateNumberOfMessagesMoved": task.moved}

    def _existing(self, arn: str) -> dict[str, Any]:
        queue: dict[str, Any] | None = self._by_arn(arn)
        if queue is None:
            message = "The resource that you specified for the SourceArn or DestinationArn parameter doesn't exist."
            raise self._error("ResourceNotFoundException", message, 404)
        return queue

    def _is_dead_letter_queue(self, arn: str) -> bool:
        scope = Scope.current()
        policies = (
            queue["attributes"].get("RedrivePolicy")
            for (account, region, _), queue in list(self._queues._data.items())
            if (account, region) == (scope.account, scope.region)
        )
        return any(json.loads(policy).get("deadLetterTargetArn") == arn for policy in policies if policy)

    def _move(self, task: _MoveTask) -> None:
        while task.status == "RUNNING" and not self._stopping.is_set():
            with self.lock:
                failure = self._move_next(task)
            if failure:
                task.failure = failure if failure != _EMPTY else ""
                task.status = "COMPLETED" if failure == _EMPTY else "FAILED"
            elif task.rate:
                self._stopping.wait(1 / task.rate)

    def _move_next(self, task: _MoveTask) -> str:
        """Move the oldest message that can be moved; empty if one was, else why not."""
        source = self._by_arn(task.source)
        if source is None:
            return "AWS.SimpleQueueService.NonExistentQueue"
        now = time.time()
        message = next((message for message in source["messages"] if message["visible_at"] <= now), None)
        if message is None:
            return _EMPTY
        origin = task.destination or (message.get("sys") or {}).get("DeadLetterQueueSourceArn", "")
        target = self._by_arn(origin)
        if target is None:
            return "CouldNotDetermineMessageSource" if not origin else "AWS.SimpleQueueService.NonExistentQueue"
        # As in AWS, it is a new message with the same content.
        kept = {name: value for name, value in message.items() if name != "enqueued_at"}
        moved = {
            **kept,
            "id": str(uuid.uuid4()),
            "receipt_handle": None,
            "sent_at": now,
            "visible_at": now,
            "receive_count": 0,
            "first_receive_at": None,
            "sys": self._new_fields(now, {}),
        }
        target["messages"].append(moved)
        source["messages"] = [other for other in source["messages"] if other is not message]
        task.moved += 1
        self._wake.set()
        return ""


_EMPTY = "empty"
