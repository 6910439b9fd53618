"""An instance of an endpoint or of a transform job: a process that serves one model, and what can be asked of it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from defectory.door import TOKEN_VARIABLE, new_secret
from defectory.local.server.logs import LogStream
from defectory.local.server.sagemaker import container as program
from defectory.local.server.sagemaker.volume import MOUNT, PROGRAM, SUBMIT_DIRECTORY, Volume, python
from defectory.local.server.services import in_thread

# What SageMaker allows a serverless endpoint's container to answer its first ping.
STARTUP_SECONDS = 180.0
PARAMETERS_SECONDS = 2.0
# Where a container's server is to listen, as SageMaker says.
BIND = "SAGEMAKER_BIND_TO_PORT"
# Repositories of AWS's containers for frameworks.
_FRAMEWORKS = re.compile(r"(sagemaker-)?(scikit-learn|xgboost|huggingface|pytorch|tensorflow|mxnet|djl)(-[\w-]+)?")
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
        self._port = 0
        if _has_toolkit(str(container.get("Image", ""))):
            self._start_toolkit(entry, environment, own)
        else:
            self._start_program(entry, environment, own)

    def _start_toolkit(self, entry: Path, environment: Mapping[str, str], own: Mapping[str, str]) -> None:
        """Let the toolkit of AWS's container serve the functions of the program."""
        volume = self._volume
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
        self._follower = in_thread(self._log.follow, self._process.stdout, name="container log")
        with os.fdopen(read_end) as pipe:
            ready = select.select([pipe], [], [], STARTUP_SECONDS)[0]
            self._port = int(pipe.readline() or 0) if ready else 0

    def _start_program(self, entry: Path, environment: Mapping[str, str], own: Mapping[str, str]) -> None:
        """Let the program serve by itself, as in a container of one's own; the port is what SageMaker tells it."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        # Ours asks for the token; others are as open as to SageMaker, on loopback alone.
        variables = {**own, BIND: str(self._port), TOKEN_VARIABLE: self._token}
        self._process = subprocess.Popen(
            python(entry),
            cwd=self._volume.code,
            env=self._volume.environment(environment, variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdout
        self._follower = in_thread(self._log.follow, self._process.stdout, name="container log")

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

    def execution_parameters(self) -> dict[str, Any]:
        """What the container says of how a transform job is to ask it; nothing, if it does not say."""
        try:
            reply = self._ask("GET", "/execution-parameters", b"", {}, seconds=PARAMETERS_SECONDS)
            parameters = json.loads(reply.body) if reply.status == 200 else {}
        except (OSError, http.client.HTTPException, ValueError):
            return {}
        return parameters if isinstance(parameters, dict) else {}

    def kill(self) -> None:
        """End the process and all that it started; ``close`` is still to be called."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the process and all that it started, and remove the volume."""
        if self._closed:
            return
        self._closed = True
        self.kill()
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


def launch(container: Mapping[str, Any], volume: Volume, environment: Mapping[str, str], log: LogStream) -> Instance:
    """An instance that serves; ``volume`` and ``log`` end with it, or here if it does not come to serve.

    Raises:
        ContentError: model or code are not what they should be.
        NotServing: it does not answer.
    """
    instance: Instance | None = None
    try:
        instance = Instance(container, volume, environment, log)
        instance.await_ready()
    except BaseException as error:
        log.put(f"The container did not start: {type(error).__name__} {error}".rstrip())
        if instance:
            instance.close()
        else:
            volume.remove()
            log.close()
        raise
    return instance


def _has_toolkit(image: str) -> bool:
    """Whether an image is one of AWS's for frameworks, whose toolkit serves a program's functions."""
    return bool(_FRAMEWORKS.fullmatch(image.rpartition("/")[2].partition(":")[0].partition("@")[0]))


def _model_data(container: Mapping[str, Any]) -> tuple[str, bool] | None:
    """Where the model is, if there is one, and whether it is an archive."""
    source = (container.get("ModelDataSource") or {}).get("S3DataSource")
    if source:
        return str(source["S3Uri"]), source.get("CompressionType") == "Gzip"
    return (str(container["ModelDataUrl"]), True) if container.get("ModelDataUrl") else None
