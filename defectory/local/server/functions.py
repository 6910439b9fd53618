"""Lambda functions in Python under AWS's own runtime client, in processes that see what they would see in AWS.

A function finds the standard library, its own package, and what Lambda's runtime brings (boto3 and its requirements): a
package that lacks something fails here as it would there.  Its environment is its own variables and Lambda's.

MiniStack's worker turns every exception into one type and loses what ``logging`` writes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import logging
import os
import platform
import shutil
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc

from defectory.archives import ArchiveError, Limits, extract, zip_members
from defectory.errors import LocalCloudError
from defectory.local.server.authorization.deliveries import LAMBDA
from defectory.local.server.authorization.permissions import Permissions
from defectory.local.server.hooks import replace, require
from defectory.local.server.runtime_api import ExecutionEnvironment, InvocationResult
from defectory.local.server.services import Extension, ServiceFault
from defectory.local.server.settings import Settings

log = logging.getLogger(__name__)

# What Lambda's Python runtimes have beside the standard library.
RUNTIME_MODULES = (
    "awslambdaric",
    "runtime_client",
    "simplejson",
    "snapshot_restore_py",
    "boto3",
    "botocore",
    "s3transfer",
    "jmespath",
    "dateutil",
    "six",
    "urllib3",
)
# Lambda takes 250 MB, of libraries for its own platform; those for this machine's may be larger.
PACKAGE = Limits(1024**3, 100_000)
HOST_RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
# Each is a Python process; more at once only make each other slow.
INVOCATIONS = max(4, 2 * (os.cpu_count() or 1))
# Those that wait for an invocation cost memory alone.  One upload goes through several functions: were there room for
# no more than run at once, each would have to make room for the next, and start anew.
ENVIRONMENTS = INVOCATIONS + 12
# How long an invocation waits for its turn; a function that waits for itself gets an answer in the end.
QUEUE_SECONDS = 60.0


class _Unsupported(Exception):
    """The function cannot run here; the message says why and what to do."""


class _Busy(Exception):
    """Its turn did not come in time."""


@dataclass(frozen=True, slots=True)
class Function:
    """One version of a function, as configured."""

    arn: str
    digest: str
    config: Mapping[str, Any]
    package: bytes
    package_digest: str

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Function:
        config = record["config"]
        package = record["code_zip"]
        decisive = {
            name: config.get(name)
            for name in (
                "Version",
                "Runtime",
                "Handler",
                "Timeout",
                "MemorySize",
                "Environment",
                "LoggingConfig",
                "Role",
            )
        }
        digest = hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode())
        package_digest = config.get("CodeSha256") or hashlib.sha256(package).hexdigest()
        digest.update(package_digest.encode())
        # The ARN may end in the alias or version that was called; seven parts name the function.
        arn = ":".join(config["FunctionArn"].split(":")[:7])
        return cls(arn=arn, digest=digest.hexdigest(), config=config, package=package, package_digest=package_digest)

    def same_as(self, other: Function) -> bool:
        return (self.arn, self.digest) == (other.arn, other.digest)

    @property
    def timeout(self) -> int:
        return int(self.config.get("Timeout") or 3)

    def check(self) -> None:
        """Raise ``_Unsupported`` if it needs what the local cloud has not."""
        runtime = self.config["Runtime"]
        if runtime != HOST_RUNTIME:
            raise _Unsupported(
                f"The function declares {runtime}, and the local cloud runs on {HOST_RUNTIME}: deploy it with the "
                f"context lambda_python={HOST_RUNTIME.removeprefix('python')} and lambda_platform=host, or start the "
                f"local cloud with {runtime}."
            )
        if self.config.get("Layers"):
            raise _Unsupported("The function has layers, which the local cloud does not apply: package them with it.")


class Functions(Extension):
    """Runs functions, as many at once as the machine bears, in processes kept warm for the next invocation."""

    def __init__(self, settings: Settings, permissions: Permissions) -> None:
        self._settings = settings
        self._permissions = permissions
        self._folder = settings.work / "functions"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._runtime = self._link_runtime()
        self._pool = _Pool(self._start)
        self._unpacking = threading.Lock()
        self._variables = require(lambda_svc, "_runtime_env_vars", "config")
        self._trace = require(lambda_svc, "_xray_trace_id_for_invocation", "config")
        throttled = require(lambda_svc, "_throttle_response", "reason_code", "msg")

        @replace(lambda_svc, "_execute_function_warm", "func", "event", "request_id")
        def execute(original: Any, record: dict[str, Any], event: object, request_id: str) -> Any:  # noqa: ANN401
            config = record.get("config") or record
            if not str(config.get("Runtime")).startswith("python") or not record.get("code_zip"):
                return original(record, event, request_id)
            try:
                outcome = self.invoke(Function.of({**record, "config": config}), event, request_id)
            except _Busy:
                return throttled(
                    reason_code="ConcurrentInvocationLimitExceeded",
                    msg=f"Rate Exceeded: {INVOCATIONS} invocations were under way for {QUEUE_SECONDS:.0f} seconds",
                )
            except ServiceFault as fault:
                outcome = InvocationResult(
                    {"errorType": "Runtime.AccessDenied", "errorMessage": str(fault)}, True, f"{fault}\n"
                )
            except _Unsupported as error:
                outcome = InvocationResult(
                    {"errorType": "Runtime.Unsupported", "errorMessage": str(error)}, True, f"{error}\n"
                )
            return {"body": outcome.payload, "error": outcome.failed, "log": outcome.log}

        functions = require(lambda_svc, "_functions")

        @replace(lambda_svc, "_fetch_code_from_s3", "bucket", "key", "version_id")
        def fetch(original: Any, *arguments: Any, **named: Any) -> bytes | None:  # noqa: ANN401
            package: bytes | None = original(*arguments, **named)
            # Functions share packages of hundreds of megabytes; one copy in memory does for all.
            return next(
                (held for function in functions.values() if (held := function.get("code_zip")) == package), package
            )

        @replace(lambda_svc, "invalidate_worker", "func_name")
        def invalidate(original: Any, name: str, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
            original(name, *arguments, **named)
            self._pool.forget(lambda function: function.arn.endswith(f":{name}"))

        @replace(lambda_runtime, "reset")
        def reset(original: Any) -> None:  # noqa: ANN401
            original()
            self._pool.forget(lambda _: True)

    def stop(self) -> None:
        self._pool.close()

    def invoke(self, function: Function, event: object, request_id: str) -> InvocationResult:
        """Run the function on ``event``.

        Raises:
            _Unsupported, _Busy: it was not run.
        """
        function.check()
        with self._pool.lease(function) as environment:
            return environment.invoke(
                request_id, event, str(function.config["FunctionArn"]), self._trace(dict(function.config))
            )

    def _start(self, function: Function) -> ExecutionEnvironment:
        code = self._unpack(function)
        command = [sys.executable, "-S", "-m", "awslambdaric", str(function.config.get("Handler"))]
        return ExecutionEnvironment(
            command,
            code,
            self._environment(function, code),
            temporary=self._folder / f"tmp-{uuid.uuid4().hex}",
            timeout=function.timeout,
        )

    def _environment(self, function: Function, code: Path) -> dict[str, str]:
        config = function.config
        logging_config = config.get("LoggingConfig") or {}
        name, version = str(config["FunctionName"]), str(config.get("Version") or "$LATEST")
        session = self._permissions.session(str(config.get("Role")), name, LAMBDA)
        return {
            "LANG": "C.UTF-8",
            **self._settings.process_environment(*session.keys),
            "TZ": ":UTC",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{config['Runtime']}",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_VERSION": version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config.get("MemorySize") or 128),
            "AWS_LAMBDA_LOG_GROUP_NAME": str(logging_config.get("LogGroup") or f"/aws/lambda/{name}"),
            "AWS_LAMBDA_LOG_STREAM_NAME": f"{time.strftime('%Y/%m/%d')}/[{version}]{uuid.uuid4().hex}",
            "AWS_LAMBDA_LOG_FORMAT": str(logging_config.get("LogFormat") or "Text"),
            **({"AWS_LAMBDA_LOG_LEVEL": level} if (level := logging_config.get("ApplicationLogLevel")) else {}),
            "_HANDLER": str(config.get("Handler")),
            "LAMBDA_TASK_ROOT": str(code),
            "LAMBDA_RUNTIME_DIR": str(self._runtime),
            **self._variables(dict(config)),
            # Without ``site`` these and the standard library are all that there is.
            "PYTHONPATH": f"{code}{os.pathsep}{self._runtime}",
        }

    def _unpack(self, function: Function) -> Path:
        code = self._folder / hashlib.sha256(function.package_digest.encode()).hexdigest()
        with self._unpacking:
            if not code.exists():
                unfinished = self._folder / f"unpacking-{uuid.uuid4().hex}"
                try:
                    extract(zip_members(io.BytesIO(function.package), PACKAGE), unfinished)
                    unfinished.rename(code)
                except ArchiveError as error:
                    raise _Unsupported(f"The function's package cannot be unpacked: {error}") from None
                finally:
                    shutil.rmtree(unfinished, ignore_errors=True)
        return code

    def _link_runtime(self) -> Path:
        folder = self._folder / f"runtime-{HOST_RUNTIME}-{platform.machine()}"
        folder.mkdir(parents=True, exist_ok=True)
        for name in RUNTIME_MODULES:
            spec = importlib.util.find_spec(name)
            if spec is None or spec.origin is None:
                raise LocalCloudError(
                    f"The runtime of functions needs the Python module {name}: pip install 'defectory[local]'"
                )
            origin = Path(spec.origin)
            source = origin.parent if spec.submodule_search_locations else origin
            link = folder / source.name
            link.unlink(missing_ok=True)
            link.symlink_to(source)
        return folder


@dataclass(eq=False, slots=True)
class _Lease:
    """An environment in use, or about to be; not reusable once its function changed."""

    function: Function
    environment: ExecutionEnvironment | None = None
    reusable: bool = True


class _Pool:
    """Execution environments, each leased to one invocation at a time: a bounded number at work, and one in all."""

    def __init__(
        self,
        start: Callable[[Function], ExecutionEnvironment],
        *,
        invocations: int = INVOCATIONS,
        environments: int = ENVIRONMENTS,
    ) -> None:
        self._start = start
        self._invocations = invocations
        self._environments = environments
        self._changed = threading.Condition()
        # The longest idle first.
        self._idle: list[tuple[Function, ExecutionEnvironment]] = []
        self._leases: set[_Lease] = set()
        self._closed = False

    @contextmanager
    def lease(self, function: Function) -> Iterator[ExecutionEnvironment]:
        """An environment of the function, when it is its turn: a warm one, else a new one.

        Raises:
            _Busy: its turn did not come in time.
        """
        lease, discarded = self._take(function)
        try:
            for other in discarded:
                other.close()
            if lease.environment is None:
                lease.environment = self._start(function)
            yield lease.environment
        finally:
            self._give_back(lease)

    def _take(self, function: Function) -> tuple[_Lease, list[ExecutionEnvironment]]:
        deadline = time.monotonic() + QUEUE_SECONDS
        with self._changed:
            while not self._closed and len(self._leases) >= self._invocations:
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not self._changed.wait(remaining):
                    raise _Busy
            if self._closed:
                raise _Busy
            discarded = self._drop(lambda other: other.arn == function.arn and other.digest != function.digest)
            warm = next((entry for entry in reversed(self._idle) if entry[0].same_as(function)), None)
            if warm:
                self._idle.remove(warm)
            elif len(self._idle) + len(self._leases) >= self._environments:
                discarded.append(self._make_room())
            lease = _Lease(function, warm[1] if warm else None)
            self._leases.add(lease)
            return lease, discarded

    def _make_room(self) -> ExecutionEnvironment:
        """Take the longest idle environment of a function that has most of them: each shall keep one."""
        counts = Counter(function.arn for function, _ in self._idle)
        entry = max(self._idle, key=lambda entry: counts[entry[0].arn])
        self._idle.remove(entry)
        return entry[1]

    def _give_back(self, lease: _Lease) -> None:
        environment = lease.environment
        with self._changed:
            self._leases.remove(lease)
            keep = environment is not None and environment.alive and lease.reusable and not self._closed
            if environment is not None and keep:
                self._idle.append((lease.function, environment))
            self._changed.notify()
        if environment is not None and not keep:
            environment.close()

    def forget(self, meant: Callable[[Function], bool]) -> None:
        """Use no environment again whose function is meant."""
        with self._changed:
            discarded = self._drop(meant)
            for lease in self._leases:
                lease.reusable = lease.reusable and not meant(lease.function)
        for environment in discarded:
            environment.close()

    def close(self) -> None:
        """End every environment, at work or not, and give no more."""
        with self._changed:
            self._closed = True
            ending = self._drop(lambda _: True)
            ending += [lease.environment for lease in self._leases if lease.environment]
            self._changed.notify_all()
        for environment in ending:
            environment.close()

    def _drop(self, meant: Callable[[Function], bool]) -> list[ExecutionEnvironment]:
        dropped = [entry for entry in self._idle if meant(entry[0])]
        self._idle = [entry for entry in self._idle if entry not in dropped]
        return [environment for _, environment in dropped]
