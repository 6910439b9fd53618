"""Run one command and leave nothing of it behind: no process, no temporary folder.

Usage: ``python -I -S keeper.py --grace SECONDS [--remove DIR] [--input DESCRIPTOR] -- COMMAND...``

The keeper ends the command when it is asked to (SIGTERM), when its standard input closes, or when the process that
started it is gone; so a parent that is killed leaves no orphans.  However the command ends, every process that it
started is ended after it.  On Linux that holds for daemons that left their session as well, because the keeper adopts
orphans (``PR_SET_CHILD_SUBREAPER``); elsewhere it holds for the command's process group.

It is a script of the standard library alone, run without ``site``, so that it costs a few milliseconds.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
LINUX = sys.platform == "linux"


def adopt_orphans() -> None:
    """Make this process the parent of what its descendants leave behind (Linux; elsewhere nothing)."""
    if LINUX:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_descendants() -> None:
    """Kill every descendant of this process, and wait for each; needs ``adopt_orphans`` before."""
    while True:
        for pid in _descendants(os.getpid()) if LINUX else ():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            # Blocks until one is gone: killing a parent hands its children to us, so look again after each.
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _descendants(root: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                # The name in brackets may hold spaces and brackets; what follows the last bracket does not.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    pending = children.get(root, [])
    while pending:
        pid = pending.pop()
        yield pid
        pending += children.get(pid, [])


def keep(command: list[str], grace: float, stdin: int = subprocess.DEVNULL) -> int:
    """Run ``command`` until it ends or has to; return its exit status, 128 + n for signal n.

    Args:
        stdin: the command's standard input.
    """
    parent = os.getppid()
    waking, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda got, _: signals.append(got))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    adopt_orphans()
    child = subprocess.Popen(command, stdin=stdin, start_new_session=True)
    if stdin >= 0:
        os.close(stdin)
    watched = [waking, sys.stdin.fileno()]
    while child.poll() is None:
        ready, _, _ = select.select(watched, [], [], 0.5)
        if waking in ready:
            os.read(waking, 512)
        closed = sys.stdin.fileno() in ready and not os.read(sys.stdin.fileno(), 512)
        if signals or closed or os.getppid() != parent:
            _end(child, grace, waking)
    if not LINUX:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    end_descendants()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _end(child: subprocess.Popen[bytes], grace: float, waking: int) -> None:
    child.terminate()
    deadline = time.monotonic() + grace
    while child.poll() is None:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            child.kill()
            child.wait()
        elif select.select([waking], [], [], remaining)[0]:
            os.read(waking, 512)


def main() -> int:
    """Keep the command that the arguments name, and end as it ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--grace", type=float, default=2.0)
    parser.add_argument("--remove", type=Path)
    parser.add_argument("--input", type=int, default=subprocess.DEVNULL)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    try:
        return keep(options.command, options.grace, options.input)
    finally:
        if options.remove:
            shutil.rmtree(options.remove, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
