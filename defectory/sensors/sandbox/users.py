"""An unprivileged user id that no other process has, for one run."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from defectory.errors import SandboxError

# The second is for containers that map 65536 ids only: above the accounts of people, below systemd's own.
_POOLS = ((1_000_000_000, 2_000_000_000), (20_000, 60_000))
_CHOWN, _DAC_OVERRIDE, _FOWNER, _KILL, _SETGID, _SETUID = 0, 1, 3, 5, 6, 7
_NEEDED = sum(1 << capability for capability in (_CHOWN, _DAC_OVERRIDE, _FOWNER, _KILL, _SETGID, _SETUID))


def available() -> bool:
    """Whether this process is root enough to become another user, and to end and clean up after it."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return int(effective, 16) & _NEEDED == _NEEDED and _pool() is not None


@contextlib.contextmanager
def leased_uid() -> Iterator[int]:
    """A user id that nobody has, and that no other run on this machine gets before this one gives it back.

    An abstract socket's name is the lease: unique by the kernel's word, and gone with its process.

    Raises:
        SandboxError: there is no free one.
    """
    pool = _pool()
    for _ in range(100 if pool else 0):
        assert pool is not None
        uid = random.SystemRandom().randrange(*pool)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lease:
            try:
                lease.bind(f"\0defectory-sandbox-{uid}")
            except OSError:
                continue
            if _is_free(uid):
                yield uid
                return
    raise SandboxError("own-user: no free user id for the run; this machine or container maps too few of them.")


def processes_of(uid: int) -> list[int]:
    """Ids of the processes of user ``uid`` that run or could run again."""
    pids = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - a hot loop
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # The owner of the folder would not do: root owns that of a process which may not be dumped.
            if entry.isdigit() and int(_status(entry, "Uid")) == uid and _status(entry, "State") not in ("Z", "X"):
                pids.append(int(entry))
    return pids


def threads_of(uid: int) -> int:
    """Number of threads of all processes of user ``uid``, which is what RLIMIT_NPROC counts."""
    total = 0
    for pid in processes_of(uid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            total += thread_count(pid)
    return total


def thread_count(pid: int) -> int:
    """Number of threads of process ``pid``.

    Raises:
        FileNotFoundError, ProcessLookupError: there is no such process.
    """
    return int(_status(pid, "Threads"))


def _status(pid: int | str, field: str) -> str:
    """First word of a field of ``/proc/<pid>/status``, where a process cannot fake one: its name has no line breaks."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:  # noqa: PTH123 - a hot loop
        return file.read().partition(f"\n{field}:\t")[2].split(None, 1)[0]


def _is_free(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return not processes_of(uid)
    return False


def _pool() -> tuple[int, int] | None:
    extents = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    mapped = [(int(inside), int(inside) + int(length)) for inside, _outside, length in extents]
    for first, last in _POOLS:
        if any(low <= first and last <= high for low, high in mapped):
            return first, last
    return None
