"""What a listener lets in: the rules that every HTTP server here applies before it does anything for a request.

A server on the loopback interface is in reach of every web page that its user opens, and of every other user of the
machine.  A browser tells on itself by three headers:

    Host             names the server that the page believes in.  By DNS rebinding a foreign name may lead here, so only
                     addresses, ``localhost`` and names that the owner allowed are taken, with the port listened on.
    Origin           names the page.  Only pages of this very server may send requests.
    Sec-Fetch-Site   says so of requests without an ``Origin`` as well, such as those for images and scripts.

Other programs are told apart by a secret, where the client can carry one.  No reply has a header of CORS.

The rules need the standard library alone; ``server``, which applies them to HTTP, needs uvicorn besides, and
``models``, which has a model answer, reads images.  A program that runs outside of the package loads the first two by
their paths.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
import secrets
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Headers = Sequence[tuple[str, str]]
Address = tuple[str, int]

# Holds the token of 'inspect serve' and 'detect serve': for the server a fixed one, for its clients the one to send.
TOKEN_VARIABLE = "DEFECTORY_SERVE_TOKEN"

# A Content-Length of more digits is no number of bytes that anybody has.
_LENGTH = re.compile(r"[0-9]{1,18}")
_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}))?")
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_HTTP_PORT = 80


class Refused(Exception):
    """A request that is refused; the message names the rule and the fix, ``headers`` go with the answer."""

    def __init__(
        self, message: str, *, status: int = 403, code: str = "Forbidden", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, dict(headers or {})


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


def peer_user(peer: Address, own: Address) -> int | None:
    """The user whose process is at the other end of an IPv4 connection within this machine, as the kernel says.

    None where the kernel does not say (it does on Linux); -1 if it knows of no such process.
    """
    table = Path("/proc/net/tcp")
    theirs, ours = _kernel_address(peer), _kernel_address(own)
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


def check_peer_user(peer: Address, own: Address) -> None:
    """For clients that can carry no secret: they have to be of the user's own processes, where the kernel says.

    Raises:
        Refused: another user is at the other end.
    """
    user = peer_user(peer, own)
    if user not in (None, os.geteuid()):
        raise Refused("This server is for processes of the user who started it alone.")


def _only(headers: Headers, name: str) -> str | None:
    """The value of a header that may be there once; of two, a proxy and this server might believe a different one."""
    values = [value for key, value in headers if key.lower() == name]
    if len(values) > 1:
        raise Refused(f"The header {name.title()} is there {len(values)} times. Send it once.", status=403)
    return values[0].strip(" \t") if values else None


def _shown(text: str, limit: int = 60) -> str:
    """Of a header that anybody may have written, not more than a message bears."""
    return ascii(text if len(text) <= limit else text[: limit - 1] + "…")


def _kernel_address(address: Address) -> str:
    host, port = address[:2]
    (number,) = struct.unpack("=I", socket.inet_aton(host))
    return f"{number:08X}:{port:04X}"
