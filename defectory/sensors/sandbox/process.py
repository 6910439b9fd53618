"""Start a sandboxed process, watch what its own limits cannot stop, and end it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from defectory.errors import SandboxError
from defectory.sensors.sandbox import users
from defectory.sensors.sandbox.layers import CHILD, PYTHON
from defectory.sensors.sandbox.limits import Limits

MB = 1 << 20
_TICK = 0.02
_SETUP_SECONDS = 60
_KILL_ROUNDS = 400
# Threads that a plain user's other programs may start meanwhile: they count against the same kernel limit.
_OTHER_THREADS = 256


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """How the process ended: its exit status (negative: the signal), what it printed, and the limit it broke if any."""

    status: int
    output: str
    breach: str
    cpu_seconds: float
    wall_seconds: float


def run_sandboxed(
    source: str, work: Path, limits: Limits, layers: tuple[str, ...], uid: int | None, breach: Callable[[], str]
) -> ProcessResult:
    """Run ``source`` under ``layers`` in the folder ``work``, as user ``uid`` when given.

    ``breach`` is asked all the time whether the script has broken a rule that the caller watches.

    Raises:
        SandboxError: a layer could not be put on; nothing of the script was run.
    """
    started = time.monotonic()
    output_read, output_write = os.pipe()
    status_read, status_write = os.pipe()
    with _closing(output_read, status_read), tempfile.TemporaryFile() as orders:
        with _closing(output_write, status_write):
            kinds = [layer.partition(":")[0] for layer in layers]
            orders.write(
                json.dumps(
                    {
                        "source": source,
                        "work": str(work),
                        "layers": kinds,
                        "uid": uid,
                        "parent": os.getpid(),
                        "status_fd": status_write,
                        "rlimits": _rlimits(limits, uid),
                    }
                ).encode()
            )
            orders.seek(0)
            # No preexec_fn: Python code between fork and exec can deadlock in a parent with threads.
            process = subprocess.Popen(
                [*PYTHON, str(CHILD)],
                stdin=orders,
                stdout=output_write,
                stderr=output_write,
                cwd=work,
                env=_environment(work),
                pass_fds=(status_write,),
                start_new_session=True,
            )
        try:
            _await_layers(status_read, output_read, layers)
            return _watch(process, output_read, limits, started, breach)
        finally:
            _end(process, uid)


@contextlib.contextmanager
def _closing(*descriptors: int) -> Iterator[None]:
    try:
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _environment(work: Path) -> dict[str, str]:
    """The child's whole environment; of the parent's only where its interpreter finds its libraries."""
    inherited = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return inherited | {
        "PATH": "/usr/bin:/bin",
        "HOME": str(work),
        "TMPDIR": str(work),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "ARROW_IO_THREADS": "2",
        "POLARS_MAX_THREADS": "2",
        "POLARS_ASYNC_THREAD_COUNT": "2",
        # glibc otherwise reserves 64 MB of address space for each thread.
        "MALLOC_ARENA_MAX": "2",
    }


def _rlimits(limits: Limits, uid: int | None) -> dict[str, int]:
    bounds = {
        "RLIMIT_AS": limits.memory_mb * MB,
        "RLIMIT_CPU": limits.cpu_seconds,
        "RLIMIT_FSIZE": limits.file_mb * MB,
        "RLIMIT_NOFILE": 256,
        "RLIMIT_CORE": 0,
    }
    if uid is not None:
        bounds["RLIMIT_NPROC"] = limits.threads
    elif Path("/proc/self/status").exists():
        bounds["RLIMIT_NPROC"] = users.threads_of(os.getuid()) + limits.threads + _OTHER_THREADS
    return bounds


def _await_layers(status_read: int, output_read: int, layers: tuple[str, ...]) -> None:
    """Wait until the child has put on exactly ``layers``."""
    reply = b"" if _is_silent_for(status_read, _SETUP_SECONDS) else os.read(status_read, 65536)
    report: dict[str, Any] = json.loads(reply) if reply else {}
    if set(report.get("layers", ())) == set(layers):
        return
    os.set_blocking(output_read, False)
    with contextlib.suppress(BlockingIOError):
        report.setdefault("error", os.read(output_read, 2000).decode(errors="replace").strip())
    raise SandboxError(
        f"The sandbox could not be set up ({report.get('error') or report.get('layers') or 'no answer'}); "
        f"wanted {', '.join(layers)}. Nothing of the script was run."
    )


def _watch(
    process: subprocess.Popen[bytes], output_read: int, limits: Limits, started: float, breach: Callable[[], str]
) -> ProcessResult:
    os.set_blocking(output_read, False)
    allowed = limits.output_kb * 1024
    output, reason = bytearray(), ""
    tick, next_check = _TICK, 0.0
    while True:
        if tick == _TICK and not _is_silent_for(output_read, tick):
            # At the end of the stream the process is about to exit, or has closed its output and goes on.
            tick = tick if _read(output_read, output, allowed) else 0.0005
        elif tick < _TICK:
            time.sleep(tick)
            tick = min(tick * 2, _TICK / 2)
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if (now := time.monotonic()) >= next_check:
            next_check = now + _TICK
            reason = _excess(process.pid, limits, now - started) or _too_much(output, limits) or breach()
            if reason:
                os.killpg(process.pid, signal.SIGKILL)
                _, status, usage = os.wait4(process.pid, 0)
                break
    process.returncode = os.waitstatus_to_exitcode(status)
    _read(output_read, output, allowed)
    return ProcessResult(
        status=process.returncode,
        output=output[:allowed].decode(errors="replace"),
        breach=reason or _too_much(output, limits) or breach(),
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        wall_seconds=time.monotonic() - started,
    )


def _is_silent_for(descriptor: int, seconds: float) -> bool:
    poll = select.poll()  # select.select cannot watch descriptors above 1023, which a large parent may have
    poll.register(descriptor, select.POLLIN)
    return not poll.poll(seconds * 1000)


def _read(descriptor: int, output: bytearray, limit: int) -> bool:
    """Take what there is to read, up to one byte more than ``limit`` in all; false at the end of the stream."""
    while len(output) <= limit:
        try:
            chunk = os.read(descriptor, min(65536, limit + 1 - len(output)))
        except BlockingIOError:
            return True
        if not chunk:
            return False
        output += chunk
    return True


def _too_much(output: bytearray, limits: Limits) -> str:
    return f"printed more than {limits.output_kb} KB" if len(output) > limits.output_kb * 1024 else ""


def _excess(pid: int, limits: Limits, wall_seconds: float) -> str:
    if wall_seconds > limits.wall_seconds:
        return f"ran longer than {limits.wall_seconds} seconds on the clock"
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        if (threads := users.thread_count(pid)) > limits.threads:
            return f"started {threads} threads, more than {limits.threads}"
    return ""


def _end(process: subprocess.Popen[bytes], uid: int | None) -> None:
    """Leave nothing running: not the process, not its group, not its user's others."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.returncode is None:
        process.wait()
    if uid is None:
        return
    for _ in range(_KILL_ROUNDS):
        pids = users.processes_of(uid)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not pids:
            return
        time.sleep(0.005)
    raise SandboxError(f"Processes of the run's user {uid} do not end: {pids}.")
