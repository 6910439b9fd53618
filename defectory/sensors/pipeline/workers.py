"""Workers: run one function over many jobs, each in its own process, so that one's death is only that job's result.

A process pool would lose every pending job when one of its processes is killed; here each job has its own process, and
at most ``workers`` run at once.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

from defectory.errors import shorten
from defectory.unwinding import held, unwinding
from defectory.writing import disk_problem

Job = TypeVar("Job")
Result = TypeVar("Result")

MEMORY_BYTES = 6 * 2**30
STOP_SECONDS = 5.0
LONGEST_FOLDER = 64
_DESCRIPTORS = Path("/proc/self/fd")


@dataclass(frozen=True, slots=True)
class Lost:
    """A job without a result: its process died, took too long, or raised something unexpected.

    ``disk`` is what the disk refused, such as "No space left on device", where that was it.
    """

    reason: str
    disk: str = ""


@dataclass(frozen=True, slots=True)
class _Running(Generic[Job]):
    job: Job
    process: multiprocessing.process.BaseProcess
    deadline: float


def run_isolated(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    seconds: float,
    workers: int | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> Generator[tuple[Job, Result | Lost], None, None]:
    """Call ``function(job)`` for every job in parallel processes and yield ``(job, outcome)`` as each one ends.

    Args:
        function: a module-level function; it, the jobs and the results have to be picklable.
        seconds: how long one job may take before its process is killed.
        workers: processes at once; the machine's cores when None.
        memory_bytes: address space of one process, so that a file that unpacks without end hurts its own job only.

    A script that calls this has to guard its own entry with ``if __name__ == "__main__":``, as with any process pool.
    """
    # Forking the calling process would copy threads that hold locks (polars warns of it); the fork server has none, and
    # what it has imported already costs its children nothing.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([function.__module__])
    if jobs:
        # It takes no interruption while it is started; what tracks resources would let them in again.
        resource_tracker.ensure_running()
        with _short_temporary_folder(), _interrupts_blocked():
            forkserver.ensure_running()
    waiting = list(reversed(jobs))
    running: dict[Connection, _Running[Job]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < (workers or os.cpu_count() or 1):
                job = waiting.pop()
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(function, job, sender, memory_bytes), daemon=True)
                # A process that was started is one that will be stopped.
                with held():
                    process.start()
                    sender.close()
                    running[receiver] = _Running(job, process, time.monotonic() + seconds)
            next_deadline = min(task.deadline for task in running.values())
            ready = wait(list(running), timeout=max(0.0, next_deadline - time.monotonic()))
            for receiver, task in list(running.items()):
                if receiver in ready:
                    outcome = _receive(receiver, task.process)
                elif time.monotonic() >= task.deadline:
                    _stop(task.process)
                    outcome = Lost(f"took longer than {seconds:.0f} s and was stopped")
                else:
                    continue
                del running[receiver]
                receiver.close()
                task.process.join(STOP_SECONDS)
                _stop(task.process)
                yield task.job, outcome
    finally:
        for task in running.values():
            _stop(task.process)


@contextmanager
def _short_temporary_folder() -> Iterator[None]:
    """Let the temporary folder have a short name: the fork server listens at a socket in it, whose path is limited.

    The limit is of the kernel: 108 bytes on Linux, 104 on macOS, of which ``multiprocessing`` needs 32.
    """
    folder = tempfile.gettempdir()
    if len(os.fsencode(folder)) <= LONGEST_FOLDER:
        yield
        return
    before = tempfile.tempdir
    if _DESCRIPTORS.is_dir():
        # Another name of the same folder, good as long as this process holds it open: so to its end.
        tempfile.tempdir = str(_DESCRIPTORS / str(os.open(folder, os.O_RDONLY)))
    else:
        tempfile.tempdir = "/tmp"
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT here and, for good, in what is started meanwhile: Ctrl-C is this process's to handle."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _receive(receiver: Connection, process: multiprocessing.process.BaseProcess) -> Any:  # noqa: ANN401
    try:
        return receiver.recv()
    except (EOFError, OSError):
        process.join(STOP_SECONDS)
        code = process.exitcode or 0
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return Lost(f"its process ended {how} before it had a result")


def _stop(process: multiprocessing.process.BaseProcess) -> None:
    """End a worker, giving it time to remove its temporary files."""
    process.terminate()
    process.join(STOP_SECONDS)
    process.kill()
    process.join()


def _work(function: Callable[[Job], Result], job: Job, sender: Connection, memory_bytes: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it stops its workers
    if sys.platform == "linux":  # macOS has the limit in name only and refuses it
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        soft = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    outcome: Result | Lost
    try:
        with unwinding():
            outcome = function(job)
    except SystemExit:
        raise
    except BaseException as error:  # a panic in polars is no Exception
        disk = disk_problem(error)
        if not disk:
            traceback.print_exc()
        outcome = Lost(f"unexpected {type(error).__name__}: {shorten(str(error), 300)}", disk)
    # Whoever is to have it may be gone.
    with suppress(BrokenPipeError):
        sender.send(outcome)
