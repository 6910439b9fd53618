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


def server_of(folder: Path) -> int:
    """The process of the server of the local cloud that lies in ``folder``."""
    commands = {}
    for pid in belonging(folder):
        with contextlib.suppress(OSError):
            commands[pid] = (Path(f"/proc/{pid}/cmdline").read_bytes(), _parent_of(pid))
    servers = {
        pid: parent
        for pid, (command, parent) in commands.items()
        if b"defectory.local.server\0" in command and b"keeper.py" not in command
    }
    # A process that the server is starting looks like it until it has become what it is to be.
    (server,) = (pid for pid, parent in servers.items() if parent not in servers)
    return server


def _parent_of(pid: int) -> int:
    # The second field is the name, in parentheses, and may hold anything.
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
