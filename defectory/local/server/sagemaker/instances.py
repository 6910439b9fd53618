"""An instance of an endpoint: a process that serves one model, and what can be asked of it."""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from defectory.door import new_secret
from defectory.local.server.logs import LogStream
from defectory.local.server.sagemaker import container as program
from defectory.local.server.sagemaker.volume import MOUNT, PROGRAM, SUBMIT_DIRECTORY, Volume, python
from defectory.local.server.services import in_thread

# What SageMaker allows a serverless endpoint's container to answer its first ping.
STARTUP_SECONDS = 180.0
POLL_SECONDS = 0.02


class NotServing(Exception):
    """The container does not come to answer."""


class TimedOut(Exception):
    """The container did not answer an invocation in time."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a container answered; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Instance:
    """A process and its volume; ended by ``close``, or by itself if the program fails."""

    def __init__(
        self, container: Mapping[str, Any], volume: Volume, environment: Mapping[str, str], log: LogStream
    ) -> None:
        """Bring the model and the code into the volume and start the process; ``await_ready`` before any invocation.

        Args:
            container: a container of a model, as in the API.

        Raises:
            ContentError: model or code are not what they should be.
        """
        own = {str(name): str(value) for name, value in (container.get("Environment") or {}).items()}
        self._volume = volume
        self._log = log
        self._closed = False
        self._token = new_secret()
        if data := _model_data(container):
            uri, packed = data
            if packed:
                volume.unpack(uri, volume.model)
            else:
                volume.download(uri, volume.model)
        volume.unpack(own.get(SUBMIT_DIRECTORY) or f"{MOUNT}/model/code", volume.code)
        entry = volume.program(own.get(PROGRAM) or "inference.py")
        own |= {PROGRAM: entry.name, SUBMIT_DIRECTORY: str(volume.code)}
        read_end, write_end = os.pipe()
        try:
            self._process = subprocess.Popen(
                python(Path(program.__file__), str(entry), str(volume.model), str(write_end)),
                cwd=volume.code,
                env=volume.environment(environment, own),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[write_end],
                start_new_session=True,
            )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError), self._process.stdin as stdin:
            stdin.write(f"{self._token}\n".encode())
        self._follower = in_thread(log.follow, self._process.stdout, name="endpoint log")
        with os.fdopen(read_end) as pipe:
            ready = select.select([pipe], [], [], STARTUP_SECONDS)[0]
            self._port = int(pipe.readline() or 0) if ready else 0

    @property
    def alive(self) -> bool:
        return not self._closed and self._process.poll() is None

    def await_ready(self) -> None:
        """Wait until ``/ping`` is answered well.

        Raises:
            NotServing: it never will be.
        """
        deadline = time.monotonic() + STARTUP_SECONDS
        while self._port and self.alive and time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self._ask("GET", "/ping", b"", {}, seconds=5.0).status == 200:
                    return
            time.sleep(POLL_SECONDS)
        raise NotServing

    def invoke(self, body: bytes, headers: Mapping[str, str], seconds: float) -> Reply:
        """Let the model answer.

        Raises:
            TimedOut: it takes too long; the process is still at it.
            NotServing: the process ended.
        """
        try:
            return self._ask("POST", "/invocations", body, headers, seconds)
        except TimeoutError:
            raise TimedOut from None
        except (OSError, http.client.HTTPException) as error:
            raise NotServing(str(error)) from None

    def close(self) -> None:
        """End the process and all that it started, and remove the volume."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._volume.remove()
        self._follower.join(1.0)
        self._log.close()

    def _ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str], seconds: float) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=seconds)
        try:
            connection.request(method, path, body, {**headers, "Authorization": f"Bearer {self._token}"})
            response = connection.getresponse()
            return Reply(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        finally:
            connection.close()


def _model_data(container: Mapping[str, Any]) -> tuple[str, bool] | None:
    """Where the model is, if there is one, and whether it is an archive."""
    source = (container.get("ModelDataSource") or {}).get("S3DataSource")
    if source:
        return str(source["S3Uri"]), source.get("CompressionType") == "Gzip"
    return (str(container["ModelDataUrl"]), True) if container.get("ModelDataUrl") else None
