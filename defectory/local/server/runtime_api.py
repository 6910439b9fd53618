"""One execution environment of a function: a process under AWS's own runtime client, and the API that it talks to.

The client (``awslambdaric``) polls ``/2018-06-01/runtime/invocation/next`` and posts what the handler returned or
raised; see "Using the Lambda runtime API for custom runtimes" in the AWS Lambda Developer Guide.

That client can carry no secret: it sends no header that one could give it, and half of it takes no path before its own.
So the kernel is asked whose process is at the other end (on Linux; elsewhere other users of the machine are not kept
out), and an answer is taken only for the invocation that is under way, whose id nobody guesses.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from defectory.door import Refused, check_peer_user
from defectory.door.server import Answer, GuardedServer, Head, Limits, Work

# AWS Lambda's limit of a synchronous reply.
REPLY_LIMIT = 6_291_556
# More is read of a reply than it may have, to say so; the next invocation may be long in coming.
LIMITS = Limits(body_bytes=64 * 1024 * 1024, request_seconds=None, idle_seconds=3600)
API = "/2018-06-01/runtime"
# AWS allows 10 s and then starts over under the function's own timeout; a loaded laptop is slower than that.
INIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class InvocationResult:
    """What came of an invocation: a JSON document, an error's document if ``failed``, and what was logged."""

    payload: Any
    failed: bool
    log: str


class ExecutionEnvironment:
    """A process that serves one invocation at a time."""

    def __init__(
        self, command: Sequence[str], code: Path, environment: Mapping[str, str], temporary: Path, timeout: float
    ) -> None:
        """Start the process; ``temporary`` is created for it and removed with it.

        Args:
            timeout: seconds that an invocation may take.
        """
        self._timeout = timeout
        self._invocations: queue.Queue[tuple[Mapping[str, str], bytes] | None] = queue.Queue()
        self._answers: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._current = ""
        self._ready = threading.Event()
        self._killed = False
        self._temporary = temporary
        temporary.mkdir(parents=True)
        self._api = _RuntimeApi(self)
        self._api.start()
        self._output, written = os.pipe()
        os.set_blocking(self._output, False)
        self._log = _Log(self._output)
        try:
            self._process = subprocess.Popen(
                command,
                cwd=code,
                env={
                    **environment,
                    "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._api.port}",
                    "TMPDIR": str(temporary),
                },
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                start_new_session=True,
            )
        finally:
            os.close(written)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def invoke(self, request_id: str, event: object, function_arn: str, trace: str | None) -> InvocationResult:
        """Run the handler on ``event``; after an exit or a timeout the environment is of no more use."""
        failure = self._await_init(request_id)
        if failure is None:
            headers = {
                "Lambda-Runtime-Aws-Request-Id": request_id,
                "Lambda-Runtime-Deadline-Ms": str(int((time.time() + self._timeout) * 1000)),
                "Lambda-Runtime-Invoked-Function-Arn": function_arn,
            }
            if trace:
                headers["Lambda-Runtime-Trace-Id"] = trace
            self._current = request_id
            self._invocations.put((headers, json.dumps(event, ensure_ascii=False).encode()))
            failure = self._await_answer(request_id)
        return failure

    def close(self) -> None:
        """End the process and everything that it holds."""
        self._kill()
        self._invocations.put(None)
        # That takes the server a moment, for which nobody has to wait.
        threading.Thread(target=self._api.close, daemon=True).start()
        self._log.close()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _await_init(self, request_id: str) -> InvocationResult | None:
        """None once the runtime asks for work, else why it never will."""
        deadline = time.monotonic() + max(INIT_SECONDS, self._timeout)
        while not self._ready.wait(0.05):
            if not self._answers.empty():
                # An init error: the process says why, and exits.
                return self._answer(request_id)
            if not self.alive:
                return self._exited(request_id)
            if time.monotonic() > deadline:
                return self._failed("Sandbox.Timedout", f"RequestId: {request_id} Error: Init timed out")
        return None

    def _await_answer(self, request_id: str) -> InvocationResult:
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                return self._answer(request_id, wait=min(0.1, max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                pass
            if not self.alive:
                with contextlib.suppress(queue.Empty):
                    return self._answer(request_id, wait=0.1)
                return self._exited(request_id)
            if time.monotonic() >= deadline:
                message = f"Task timed out after {self._timeout:.2f} seconds"
                self._kill()
                self._log.add(f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())}Z {request_id} {message}\n")
                return self._failed("Sandbox.Timedout", f"RequestId: {request_id} Error: {message}")

    def _answer(self, request_id: str, wait: float = 0.0) -> InvocationResult:
        kind, body = self._answers.get(timeout=wait) if wait else self._answers.get_nowait()
        if len(body) > REPLY_LIMIT:
            message = f"Response payload size exceeded maximum allowed payload size ({REPLY_LIMIT} bytes)."
            return self._failed("Function.ResponseSizeTooLarge", message)
        return InvocationResult(json.loads(body), failed=kind == "error", log=self._log.take())

    def _exited(self, request_id: str) -> InvocationResult:
        status = self._process.wait()
        if status < 0:
            how = f"with error: signal: {signal.Signals(-status).name.removeprefix('SIG').lower()}"
        else:
            how = f"with error: exit status {status}" if status else "without providing a reason"
        return self._failed("Runtime.ExitError", f"RequestId: {request_id} Error: Runtime exited {how}")

    def _failed(self, error_type: str, message: str) -> InvocationResult:
        return InvocationResult({"errorType": error_type, "errorMessage": message}, failed=True, log=self._log.take())

    def _kill(self) -> None:
        if not self._killed:
            # Once: afterwards the number may be another group's.
            self._killed = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _next(self) -> Answer:
        """The next invocation, once there is one."""
        self._ready.set()
        invocation = self._invocations.get()
        if invocation is None:
            # For others who wait.
            self._invocations.put(None)
            return Answer(410, b"{}")
        headers, event = invocation
        return Answer(200, event, headers)

    def _take(self, kind: str, body: bytes) -> Answer:
        self._answers.put((kind, body))
        return Answer(202, b'{"status":"OK"}')

    def _kind(self, path: str) -> str:
        """What is posted to a path: "response" or "error"; raises ``Refused`` if it is not expected."""
        if path == f"{API}/init/error":
            return "error"
        for kind in ("response", "error"):
            if self._current and path == f"{API}/invocation/{self._current}/{kind}":
                return kind
        raise Refused("No such invocation is under way.", status=400, code="InvalidRequestID")


class _RuntimeApi(GuardedServer):
    """What the runtime client of one environment talks to."""

    def __init__(self, environment: ExecutionEnvironment) -> None:
        # One thread waits for the next invocation; a client that lost that answer may ask once more, or post an error.
        super().__init__("127.0.0.1", 0, LIMITS, threads=4, takes_pieces=True)
        self._environment = environment

    def route(self, head: Head) -> Answer | Work:
        """The routes of the API that the client uses."""
        check_peer_user(head.peer, head.own)
        environment = self._environment
        if head.method == "GET" and head.path == f"{API}/invocation/next":
            return lambda _: environment._next()
        if head.method == "POST":
            kind = environment._kind(head.path)
            return lambda body: environment._take(kind, body)
        return Answer(404, b"{}")


class _Log:
    """What a process writes, read as it comes so that it never waits, and complete whenever it is taken."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._pieces: list[bytes] = []
        self._open = True
        threading.Thread(target=self._follow, name="function-log", daemon=True).start()

    def add(self, text: str) -> None:
        with self._lock:
            self._read()
            self._pieces.append(text.encode())

    def take(self) -> str:
        """What was written since the last time; whatever the process wrote before it answered is there."""
        with self._lock:
            self._read()
            text = b"".join(self._pieces).decode("utf-8", "replace")
            self._pieces.clear()
            return text

    def close(self) -> None:
        with self._lock:
            if self._open:
                self._open = False
                os.close(self._descriptor)

    def _follow(self) -> None:
        while True:
            with self._lock:
                if not self._open or not self._read():
                    return
                descriptor = self._descriptor
            waiting = select.poll()
            waiting.register(descriptor, select.POLLIN)
            waiting.poll(500)

    def _read(self) -> bool:
        """Read what is there; False at the end."""
        while self._open:
            try:
                piece = os.read(self._descriptor, 65536)
            except BlockingIOError:
                return True
            if not piece:
                return False
            self._pieces.append(piece)
        return False
