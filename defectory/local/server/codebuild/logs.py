"""A build's log in CloudWatch Logs."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Mapping
from typing import IO, Any

from defectory.local.server.services import ServiceFault, call, in_thread

EVENT_LIMIT = 200_000
BATCH = 5000
SECONDS = 0.25


class LogStream:
    """A stream in CloudWatch Logs that lines are put into, a few times a second."""

    def __init__(self, place: Mapping[str, Any]) -> None:
        self._names = {"logGroupName": place["groupName"], "logStreamName": place["streamName"]}
        with contextlib.suppress(ServiceFault):
            call("logs", "Logs_20140328.CreateLogGroup", logGroupName=place["groupName"])
        call("logs", "Logs_20140328.CreateLogStream", **self._names)
        self._lines: queue.SimpleQueue[tuple[int, str] | None] = queue.SimpleQueue()
        self._writer = in_thread(self._write, name="build log")

    def follow(self, stream: IO[bytes]) -> None:
        """Put every line of a binary stream, until its end."""
        while line := stream.readline(EVENT_LIMIT):
            self.put(line.decode("utf-8", "replace").rstrip("\r\n"))

    def put(self, line: str) -> None:
        # CloudWatch Logs takes no empty message.
        self._lines.put((int(time.time() * 1000), line or " "))

    def close(self) -> None:
        """Write what is left."""
        self._lines.put(None)
        self._writer.join()

    def _write(self) -> None:
        more = True
        while more:
            batch = [self._lines.get()]
            time.sleep(SECONDS if batch[0] else 0)
            with contextlib.suppress(queue.Empty):
                while batch[-1] and len(batch) < BATCH:
                    batch.append(self._lines.get_nowait())
            more = batch[-1] is not None
            events = [{"timestamp": at, "message": text} for at, text in filter(None, batch)]
            if events:
                call("logs", "Logs_20140328.PutLogEvents", logEvents=events, **self._names)


def log_place(project: Mapping[str, Any], build_id: str) -> dict[str, Any]:
    configured = (project.get("logsConfig") or {}).get("cloudWatchLogs") or {}
    stream = build_id.rpartition(":")[2]
    if prefix := configured.get("streamName"):
        stream = f"{prefix}/{stream}"
    return {
        "groupName": configured.get("groupName") or f"/aws/codebuild/{project['name']}",
        "streamName": stream,
        "cloudWatchLogs": {"status": "ENABLED"},
    }
