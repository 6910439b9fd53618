"""What a listener lets in: the rules that every HTTP server here applies before it does anything for a request.

A server on the loopback interface is in reach of every web page that its user opens, and of every other user of the
machine.  A browser tells on itself by three headers:

    Host             names the server that the page believes in.  By DNS rebinding a foreign name may lead here, so only
                     addresses, ``localhost`` and names that the owner allowed are taken, with the port listened on.
    Origin           names the page.  Only pages of this very server may send requests.
    Sec-Fetch-Site   says so of requests without an ``Origin`` as well, such as those for images and scripts.

Other programs are told apart by a secret, where the client can carry one.  No reply has a header of CORS.

This module needs the standard library alone: a server that runs outside of the package loads it by its path.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import json
import os
import re
import secrets
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email import errors
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Headers = Sequence[tuple[str, str]]

# Holds the token of 'defectory inspect serve': for the server a fixed one, for its clients the one to send.
TOKEN_VARIABLE = "DEFECTORY_SERVE_TOKEN"

# A Content-Length of more digits is no number of bytes that anybody has.
_LENGTH = re.compile(r"[0-9]{1,18}")
_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}))?")
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_HTTP_PORT = 80
_CUT_SHORT = (errors.MissingHeaderBodySeparatorDefect, errors.FirstHeaderLineIsContinuationDefect)
# How long, and how much, a refused client is listened to so that it comes to read why.
_LINGER_SECONDS = 5.0
_LINGER_BYTES = 64 * 1024 * 1024
_CONNECTIONS = 128


class Refused(Exception):
    """A request that is not let in; the message names the rule and the fix."""

    def __init__(self, message: str, *, status: int = 403, code: str = "Forbidden") -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True, slots=True)
class Authority:
    """A host and a port as a ``Host`` header names them, in lower case; an IPv6 address without its brackets."""

    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Authority | None:
        """None if it is none: a user's name, a path, spaces, half an address..."""
        match = _AUTHORITY.fullmatch(text.lower())
        if match is None:
            return None
        host, port = match["host"], None if match["port"] is None else int(match["port"])
        if port is not None and port > 65535:
            return None
        if host.startswith("["):
            host = host[1:-1]
            return cls(host, port) if is_address(host) else None
        # A browser takes a name that ends in digits for an address in another notation.
        if not is_address(host) and (not _NAME.fullmatch(host) or host.rpartition(".")[2].isdigit()):
            return None
        return cls(host, port)


@dataclass(frozen=True, slots=True)
class Door:
    """The rules for one listener.

    Args:
        port: what ``Host`` has to name beside an address or ``localhost``; None for any, where the port that clients
            know may be another one (a listener that is not on loopback).
        names: further host names, such as of a proxy in front; None lets in any.
    """

    port: int | None = None
    names: frozenset[str] | None = frozenset()

    def check(self, headers: Headers, *, linked: bool = False) -> None:
        """Let a request in, or not.

        Args:
            headers: all of them, those that came twice too.
            linked: whether a link from elsewhere may lead here, because its address holds what proves the right to it.

        Raises:
            Refused: it comes from a web page of another server, or believes in another server itself.
        """
        host = self._host(headers)
        origin = _only(headers, "origin")
        # The scheme is not compared: where a proxy speaks TLS, its pages are this server's too.
        if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
            raise Refused(
                f"The header Origin is {_shown(origin)}: web pages of other servers are not let in. "
                "Send the request from a program instead of a page."
            )
        site = _only(headers, "sec-fetch-site")
        if site in (None, "same-origin", "none"):
            return
        opened = _only(headers, "sec-fetch-mode") == "navigate" and _only(headers, "sec-fetch-dest") == "document"
        if not (linked and opened and site in ("cross-site", "same-site")):
            raise Refused(
                f"The header Sec-Fetch-Site is {_shown(site or '')}: web pages of other servers are not let in. "
                "Open the address by itself, or send the request from a program."
            )

    def _host(self, headers: Headers) -> str:
        text = (_only(headers, "host") or "").lower()
        if self.names is None:
            return text
        authority = Authority.parse(text)
        if authority is None:
            raise Refused(f"The header Host is {_shown(text)}, which is no host name with an optional port.")
        if authority.host in self.names:
            return text
        if not (is_address(authority.host) or authority.host == "localhost" or authority.host.endswith(".localhost")):
            raise Refused(
                f"The header Host is {_shown(text)}: only addresses, localhost and names that were allowed are let in. "
                "Use one of those, or allow this name where the server is started."
            )
        if self.port is not None and (authority.port or _HTTP_PORT) != self.port:
            raise Refused(f"The header Host is {_shown(text)}, and this server is at port {self.port}. Use that port.")
        return text


def is_address(host: str) -> bool:
    """Whether it is an IP address as a browser writes it, which no DNS server can lead elsewhere."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether what listens there is in reach of this machine alone."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def new_secret() -> str:
    """A secret that nobody guesses, of characters that need no quoting anywhere."""
    return secrets.token_urlsafe(32)


def same_secret(secret: str, expected: str) -> bool:
    """Whether two secrets are the same, in a time that does not tell where they differ."""
    return hmac.compare_digest(secret.encode("utf-8", "surrogateescape"), expected.encode())


def check_bearer(headers: Headers, token: str) -> None:
    """Compare ``Authorization: Bearer TOKEN``.

    Raises:
        Refused: with status 401; the header is missing, there twice, or holds another token.
    """
    scheme, _, credential = (_only(headers, "authorization") or "").partition(" ")
    if scheme.lower() != "bearer" or not same_secret(credential.strip(), token):
        raise Refused("The header Authorization has to be 'Bearer TOKEN'.", status=401, code="Unauthorized")


def content_length(headers: Headers, largest: int) -> int:
    """How many bytes the body has.

    Raises:
        Refused: with status 411, 400 or 413; nobody knows, or they are too many.
    """
    if _only(headers, "transfer-encoding") is not None:
        message = "The body comes in pieces (Transfer-Encoding). Send its length in the header Content-Length instead."
        raise Refused(message, status=411, code="LengthRequired")
    text = _only(headers, "content-length")
    if text is None:
        message = "The request needs the header Content-Length with the number of bytes of its body."
        raise Refused(message, status=411, code="LengthRequired")
    if not text.isascii() or not text.isdigit():
        message = f"The header Content-Length is {_shown(text)}, which is no number of bytes."
        raise Refused(message, status=400, code="BadRequest")
    if not _LENGTH.fullmatch(text) or int(text) > largest:
        message = f"The body has {_shown(text)} bytes, at most {largest} are taken. Send a smaller one."
        raise Refused(message, status=413, code="TooLarge")
    return int(text)


def peer_user(connection: socket.socket) -> int | None:
    """The user whose process is at the other end of an IPv4 connection within this machine, as the kernel says.

    None where the kernel does not say (it does on Linux); -1 if it knows of no such process.
    """
    table = Path("/proc/net/tcp")
    theirs, ours = _kernel_address(connection.getpeername()), _kernel_address(connection.getsockname())
    # The table is not read in one go: a line may be missed while others come and go.
    for _ in range(3):
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            return None
        for line in lines:
            fields = line.split()
            if fields[1:3] == [theirs, ours]:
                return int(fields[7])
    return -1


def check_peer_user(connection: socket.socket) -> None:
    """For clients that can carry no secret: they have to be of the user's own processes, where the kernel says.

    Raises:
        Refused: another user is at the other end.
    """
    user = peer_user(connection)
    if user not in (None, os.geteuid()):
        raise Refused("This server is for processes of the user who started it alone.")


class GuardedServer(ThreadingHTTPServer):
    """A server with a thread for each connection, of which there are no more than it can bear."""

    daemon_threads = True
    door: Door

    def __init__(
        self, address: tuple[str, int], handler: type[GuardedHandler], *, names: Iterable[str] | None = ()
    ) -> None:
        """Listen; ``names`` are host names that may lead here, None for any."""
        self._free = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__(address, handler)
        allowed = None if names is None else frozenset(name.lower() for name in names)
        self.door = Door(self.server_port if is_loopback(address[0]) else None, allowed)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            # No thread is left to say anything.
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        # A client that goes away in the middle of something is no fault of the server's.
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class GuardedHandler(BaseHTTPRequestHandler):
    """A handler whose methods see only what has passed the server's door."""

    server: GuardedServer
    protocol_version = "HTTP/1.1"
    # Small answers go out at once, not after the client has acknowledged the headers.
    disable_nagle_algorithm = True

    def admit(self) -> None:
        """Raise ``Refused`` if the request is not to be handled; called once its headers are read."""
        # The parser takes a line that is no header for the end of them, and leaves out what follows.
        if any(isinstance(defect, _CUT_SHORT) for defect in self.headers.defects):
            raise Refused("A line among the headers is none.", status=400, code="BadRequest")
        self.server.door.check(self.headers.items())

    def refuse(self, refusal: Refused) -> None:
        """Answer a request that was not let in."""
        self.answer(refusal.status, json.dumps({"error": {"code": refusal.code, "message": str(refusal)}}).encode())

    def answer(self, status: int, content: bytes, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Answer with JSON, unless ``headers`` say otherwise."""
        try:
            self.send_response(status)
            sent = dict(headers)
            for name, value in {"Content-Type": "application/json", **sent, "Content-Length": len(content)}.items():
                self.send_header(name, str(value))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content if self.command != "HEAD" else b"")
        except (BrokenPipeError, ConnectionResetError):
            # The caller went away; nobody is left to tell.
            self.close_connection = True

    def body(self, largest: int) -> bytes:
        """The request's body.

        Raises:
            Refused: it is too large, or nobody knows how large.
        """
        return self.rfile.read(content_length(self.headers.items(), largest))

    def part(self, refusal: Refused) -> None:
        """Refuse a request whose body was not read, and with it the connection: where the next begins is unknown."""
        self.close_connection = True
        self.refuse(refusal)
        # Closed at once, what is still coming would be answered by a reset, and the client might never read why.
        deadline, remaining = time.monotonic() + _LINGER_SECONDS, _LINGER_BYTES
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(1.0)
            while remaining > 0 and time.monotonic() < deadline and (piece := self.connection.recv(65536)):
                remaining -= len(piece)

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        try:
            self.admit()
        except Refused as refusal:
            self.part(refusal)
            return False
        return True


def _only(headers: Headers, name: str) -> str | None:
    """The value of a header that may be there once; of two, a proxy and this server might believe a different one."""
    values = [value for key, value in headers if key.lower() == name]
    if len(values) > 1:
        raise Refused(f"The header {name.title()} is there {len(values)} times. Send it once.", status=403)
    return values[0].strip(" \t") if values else None


def _shown(text: str, limit: int = 60) -> str:
    """Of a header that anybody may have written, not more than a message bears."""
    return ascii(text if len(text) <= limit else text[: limit - 1] + "…")


def _kernel_address(address: tuple[str, int]) -> str:
    host, port = address[:2]
    (number,) = struct.unpack("=I", socket.inet_aton(host))
    return f"{number:08X}:{port:04X}"
