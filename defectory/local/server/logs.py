"""What processes of the cloud write, as streams in CloudWatch Logs."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from typing import IO, Any

from defectory.local.server.services import ServiceFault, call, in_thread

EVENT_LIMIT = 200_000
BATCH = 5000
# What CloudWatch Logs takes at once, and what it counts for an event beside its text.
BATCH_BYTES, EVENT_BYTES = 1024 * 1024, 26
SECONDS = 0.25


class LogStream:
    """A stream in CloudWatch Logs that lines are put into, a few times a second."""

    def __init__(self, group: str, stream: str, *, discard: bool = False) -> None:
        """Make the group, if there is none, and the stream; only from a thread, as ``call`` is.

        With ``discard`` nothing is made and nothing is kept: whoever writes may not.
        """
        self._discard = discard
        self._closing = threading.Event()
        self._lines: queue.SimpleQueue[tuple[int, str] | None] = queue.SimpleQueue()
        if discard:
            return
        self._names = {"logGroupName": group, "logStreamName": stream}
        with contextlib.suppress(ServiceFault):
            call("logs", "Logs_20140328.CreateLogGroup", logGroupName=group)
        call("logs", "Logs_20140328.CreateLogStream", **self._names)
        self._writer = in_thread(self._write, name=f"log {stream}")

    def follow(self, stream: IO[bytes]) -> None:
        """Put every line of a binary stream, until its end."""
        while line := stream.readline(EVENT_LIMIT):
            self.put(line.decode("utf-8", "replace").rstrip("\r\n"))

    def put(self, line: str) -> None:
        # CloudWatch Logs takes no empty message.
        if not self._discard:
            self._lines.put((int(time.time() * 1000), line or " "))

    def close(self) -> None:
        """Write what is left."""
        if self._discard:
            return
        self._closing.set()
        self._lines.put(None)
        self._writer.join()

    def _write(self) -> None:
        more = True
        while more:
            batch = [self._lines.get()]
            self._closing.wait(SECONDS if batch[0] else 0)
            with contextlib.suppress(queue.Empty):
                while batch[-1] and len(batch) < BATCH:
                    batch.append(self._lines.get_nowait())
            more = batch[-1] is not None
            for events in batches([line for line in batch if line]):
                call("logs", "Logs_20140328.PutLogEvents", logEvents=events, **self._names)


def batches(lines: list[tuple[int, str]]) -> Iterator[list[dict[str, Any]]]:
    """Lines with their times (ms) as the events of requests that CloudWatch Logs takes: in order, and not too large."""
    batch: list[dict[str, Any]] = []
    size = 0
    for at, text in sorted(lines, key=lambda line: line[0]):
        counted = len(text.encode()) + EVENT_BYTES
        if batch and size + counted > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append({"timestamp": at, "message": text})
        size += counted
    if batch:
        yield batch
