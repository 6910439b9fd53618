"""A small world around the sandbox: files, servers and a parent process that a script must not reach."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from defectory.sensors.sandbox import Limits, detect_layers, layers

TOKEN = "token-that-no-script-may-learn-5f1c"
SMALL = Limits(
    wall_seconds=20, cpu_seconds=10, memory_mb=2048, disk_mb=8, file_mb=4, files=12, output_kb=64, threads=24
)


def lesser_modes() -> list[tuple[str, ...]]:
    """Combinations of layers, other than all there are, that may run a model's script on this machine."""
    rest = tuple(layer for layer in detect_layers() if not layer.startswith("landlock"))
    found = [(*rest, "namespaces")] if layers._can_make_namespaces() else []
    return found + ([rest] if "own-user" in rest else [])


@dataclass(frozen=True)
class Servers:
    """Where the servers listen that tell the token to everybody who connects."""

    port: int
    unix: str
    abstract: str


@dataclass
class World:
    """What lies around the sandbox."""

    folder: Path
    servers: Servers
    buffer: ctypes.Array = field(default_factory=lambda: ctypes.create_string_buffer(TOKEN.encode()))

    def constants(self) -> str:
        """Lines that tell an attack where everything is; a real attacker would have to find out."""
        known = {
            "SECRET": str(self.folder / "home" / ".aws" / "credentials"),
            "VICTIM": str(self.folder),
            "PORT": self.servers.port,
            "UNIX": self.servers.unix,
            "ABSTRACT": self.servers.abstract,
            "PARENT": os.getpid(),
            "BUFFER": ctypes.addressof(self.buffer),
            "WON": TOKEN[::-1],
        }
        return "".join(f"{name} = {value!r}\n" for name, value in known.items())

    def snapshot(self) -> list[tuple[object, ...]]:
        """Names, modes, owners, links, times and contents of everything in the folder, and the parent's memory."""
        found: list[tuple[object, ...]] = [(self.buffer.value,)]
        for path in sorted(self.folder.rglob("*")):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found.append((str(path), status.st_mode, status.st_uid, status.st_nlink, status.st_mtime_ns, content))
        return found


class _Tell(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"column\n{TOKEN}\n".encode())

    def log_message(self, *_: object) -> None:
        pass


def _tell(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.sendall(TOKEN.encode())


@contextlib.contextmanager
def serving() -> Iterator[Servers]:
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="defectory-servers-"))
        Path(folder).chmod(0o755)
        where = Servers(0, f"{folder}/socket", f"\0defectory-test-{os.getpid()}")
        for address in (where.unix, where.abstract):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            listener.bind(address)
            listener.listen()
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            threading.Thread(target=_tell, args=(listener,), daemon=True).start()
        Path(where.unix).chmod(0o777)
        web = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), _Tell))
        threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        stack.callback(web.shutdown)
        yield Servers(web.server_port, where.unix, where.abstract)


@contextlib.contextmanager
def world_around(servers: Servers, *, open_to_everybody: bool) -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="defectory-victim-"))
    credentials = folder / "home" / ".aws" / "credentials"
    credentials.parent.mkdir(parents=True)
    credentials.write_text(f"[default]\naws_secret_access_key={TOKEN}\n")
    for path in (folder, *folder.rglob("*")):
        if open_to_everybody:
            path.chmod(0o777 if path.is_dir() else 0o666)
        else:
            path.chmod(0o755 if path.is_dir() else 0o600)
    yield World(folder, servers)
    shutil.rmtree(folder)


def texts(files: Iterable[Path]) -> str:
    """Everything that ``files`` say."""
    return "".join(file.read_text(errors="replace") for file in files if file.is_file())
