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
import re
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

from defectory.door import GuardedHandler, GuardedServer, Refused, check_peer_user

# AWS Lambda's limit of a synchronous reply.
REPLY_LIMIT = 6_291_556
# What is read of a reply that is too large, to say so.
LARGEST_BODY = 64 * 1024 * 1024
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
        self._api = self._serve()
        self._output, written = os.pipe()
        os.set_blocking(self._output, False)
        self._log = _Log(self._output)
        try:
            self._process = subprocess.Popen(
                command,
                cwd=code,
                env={
                    **environment,
                    "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._api.server_address[1]}",
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
        # shutdown() waits for the serving thread to look up, which it does twice a second.
        threading.Thread(target=self._stop_serving, daemon=True).start()
        self._log.close()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _stop_serving(self) -> None:
        self._api.shutdown()
        self._api.server_close()

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

    def _kind(self, path: str) -> str:
        """What is posted to a path: "response" or "error"; raises ``Refused`` if it is not expected."""
        if path == f"{API}/init/error":
            return "error"
        for kind in ("response", "error"):
            if self._current and path == f"{API}/invocation/{self._current}/{kind}":
                return kind
        raise Refused("No such invocation is under way.", status=400, code="InvalidRequestID")

    def _serve(self) -> GuardedServer:
        environment = self

        class RuntimeApi(GuardedHandler):
            def admit(self) -> None:
                super().admit()
                check_peer_user(self.connection)

            def do_GET(self) -> None:
                if self.path != f"{API}/invocation/next":
                    self.answer(404, b"{}")
                    return
                environment._ready.set()
                invocation = environment._invocations.get()
                if invocation is None:
                    self.close_connection = True
                    return
                headers, event = invocation
                self.answer(200, event, headers.items())

            def do_POST(self) -> None:
                try:
                    kind = environment._kind(self.path)
                    body = self._pieces() if "Transfer-Encoding" in self.headers else self.body(LARGEST_BODY)
                except Refused as refusal:
                    self.part(refusal)
                    return
                environment._answers.put((kind, body))
                self.answer(202, b'{"status":"OK"}')

            def _pieces(self) -> bytes:
                """The body as curl sends it when it does not say how long it is."""
                pieces: list[bytes] = []
                remaining = LARGEST_BODY
                while size := self._size():
                    remaining -= size
                    if remaining < 0:
                        raise Refused("The body is too large.", status=413, code="TooLarge")
                    pieces.append(self.rfile.read(size))
                    self.rfile.readline(3)
                while self.rfile.readline(1024).strip():
                    pass
                return b"".join(pieces)

            def _size(self) -> int:
                line = self.rfile.readline(64).partition(b";")[0].strip()
                if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", line):
                    raise Refused("A piece of the body has no length.", status=400, code="BadRequest")
                return int(line, 16)

            def log_message(self, *_: object) -> None:
                pass

        server = GuardedServer(("127.0.0.1", 0), RuntimeApi)
        threading.Thread(target=server.serve_forever, name="runtime-api", daemon=True).start()
        return server


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
