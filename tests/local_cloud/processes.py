"""What processes there are."""

import contextlib
import subprocess
from pathlib import Path


def using(mark: str) -> list[int]:
    """The processes, other than this one's own, that have ``mark`` in their command line."""
    listed = subprocess.run(["ps", "-eo", "pid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = (line.split(None, 2) for line in listed.splitlines())
    return [int(row[0]) for row in rows if len(row) == 3 and mark in row[2] and not row[1].startswith("Z")]


def belonging(folder: Path) -> list[int]:
    """The processes that have ``folder`` in their command line or environment (Linux)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                if str(folder).encode() in told:
                    found.append(int(entry.name))
    return found
