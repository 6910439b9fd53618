"""Why the server of a local cloud has ended, from what its keeper exits with."""

from __future__ import annotations

import signal
from pathlib import Path

_VMSTAT = Path("/proc/vmstat")
# The status that a shell, and our keeper, gives a command that a signal has ended.
_SIGNALLED = 128


def out_of_memory_kills(statistics: Path = _VMSTAT) -> int:
    """How many processes the kernel has killed for want of memory since it was started; 0 where it does not say."""
    try:
        lines = statistics.read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


def describe(status: int, out_of_memory: bool) -> str:
    """Why it ended, as a sentence goes on after "it": "was killed by SIGKILL, for want of memory".

    Args:
        status: of exit; 128 + n for signal n, negative where the keeper was killed itself.
        out_of_memory: whether the kernel has killed something for want of memory meanwhile.
    """
    number = -status if status < 0 else status - _SIGNALLED
    if number <= 0:
        return f"exited with status {status}"
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"exited with status {status}"
    if number == signal.SIGKILL:
        return f"was killed by {name}, " + ("for want of memory" if out_of_memory else "by somebody or something else")
    return f"was ended by {name}"
