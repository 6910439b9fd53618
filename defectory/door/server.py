"""The HTTP server of our listeners: uvicorn, with the door's rules in front and a bound for all that a client takes.

What is left to uvicorn and h11 is HTTP/1.1.  What they leave open is closed here: a request that cannot be read, comes
too slowly or waits too long is answered in JSON like any other; connections, requests under way and the bytes of their
bodies are counted; work is done by a fixed number of threads, and none of them waits for a client.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import logging
import os
import socket
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from . import Address, Door, Headers, Refused, content_length, is_loopback

logger = logging.getLogger(__name__)

# For headers that have not come to their end.
_HEAD_BYTES = 32 * 1024
# How long, and how much, a refused client is listened to so that it comes to read why.
_LINGER_SECONDS = 5.0
_LINGER_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What the clients of a server may take, all of them together or one request.

    Attributes:
        body_bytes: the largest body; a larger one is answered 413.
        held_bytes: all bodies that are held at once; what would be more is answered 503.
        requests: at once, those that wait for a thread included; further ones are answered 503.
        connections: at once; further ones are answered 503.
        head_seconds: from a request's first byte, or the connection's beginning, to the end of its headers; then 408.
        request_seconds: from the end of its headers to its answer, None for any time; then 408 if its body has not
            come, 503 otherwise.
        idle_seconds: between an answer and the next request on its connection, which is then closed.
        stop_seconds: for requests under way when the server is told to stop.
    """

    body_bytes: int
    held_bytes: int = 256 * 1024 * 1024
    requests: int = 64
    connections: int = 512
    head_seconds: float = 10.0
    request_seconds: float | None = 60.0
    idle_seconds: int = 60
    stop_seconds: int = 10


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body; names of headers are in lower case, ``path`` and ``query`` as they were sent."""

    method: str
    path: str
    query: str
    headers: Headers
    peer: Address
    own: Address

    def header(self, name: str) -> str:
        """The first header of this name, "" if there is none."""
        return next((value for key, value in self.headers if key == name), "")

    @property
    def has_body(self) -> bool:
        """Whether a body comes after it."""
        return bool(self.header("transfer-encoding")) or self.header("content-length") not in ("", "0")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client gets: JSON, unless ``headers`` say otherwise."""

    status: int
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Work = Callable[[bytes], Answer]
"""From a request's body to its answer; done on one of the server's threads, may raise ``Refused``."""


class GuardedServer(ABC):
    """A server whose requests have passed the door and keep its limits; subclasses say what is answered, by ``route``.

    It listens from its creation on, and answers once it is served: by ``serve_forever``, or by ``start``.

    Args:
        host: the address, or name of one, to listen on.
        port: 0 for any that is free.
        names: host names that may lead here beside addresses and localhost, None for any.
        threads: how many requests are worked on at once.
        takes_pieces: whether a body may come in pieces (Transfer-Encoding: chunked) instead of with its length.

    Raises:
        OSError, OverflowError: the address cannot be listened on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        limits: Limits,
        *,
        names: Iterable[str] | None = (),
        threads: int = 1,
        takes_pieces: bool = False,
    ) -> None:
        self.limits = limits
        self._takes_pieces = takes_pieces
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._requests = self._held = 0
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=limits.connections)
        # For the connections, which inherit it: headers and body are written one after the other, and the second would
        # wait until the client has acknowledged the first.  asyncio does so for sockets of its own alone.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.host, self.port = self._socket.getsockname()[:2]
        allowed = None if names is None else frozenset(name.lower() for name in names)
        self.door = Door(self.port if is_loopback(host) else None, allowed)
        self._server = uvicorn.Server(self._config())
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    @abstractmethod
    def route(self, head: Head) -> Answer | Work:
        """What to do for a request that the door let in: an answer at once, or work for a thread.

        Called on the thread that all connections share, so it must not wait for anything.

        Raises:
            Refused: the request is not to be handled; its body is then not read.
        """

    def refusal(self, refused: Refused, head: Head | None) -> Answer:
        """The answer to a refused request; ``head`` is None if it could not be read."""
        content = {"error": {"code": refused.code, "message": str(refused)}}
        return Answer(refused.status, json.dumps(content).encode(), refused.headers)

    def serve_forever(self) -> None:
        """Answer until ``shutdown``, SIGINT or SIGTERM; a signal then takes its usual course."""
        self._server.run(sockets=[self._socket])

    def start(self) -> None:
        """Answer on a thread of its own until ``close``."""
        self._thread = threading.Thread(target=self.serve_forever, name="http-server", daemon=True)
        self._thread.start()

    def shutdown(self) -> None:
        """Stop: requests under way are answered first, within their limit, others are taken no more."""
        self._server.should_exit = True

    def close(self) -> None:
        """Stop, and wait until that is done if it was started here."""
        self.shutdown()
        if self._thread is not None:
            self._thread.join()
        self._socket.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _config(self) -> uvicorn.Config:
        class Connection(_Connection):
            listener = self

        return uvicorn.Config(
            cast(Any, self._application),
            interface="asgi3",
            http=Connection,
            loop="asyncio",
            ws="none",
            lifespan="off",
            backlog=self.limits.connections,
            # Who calls is told by the socket, not by a header that anybody may send.
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            # What clients do wrong is told to them; told to the log as well, they could fill it.
            log_level="error",
            h11_max_incomplete_event_size=_HEAD_BYTES,
            timeout_keep_alive=self.limits.idle_seconds,
            timeout_graceful_shutdown=self.limits.stop_seconds,
        )

    async def _application(self, scope: Mapping[str, Any], receive: _Receive, send: _Send) -> None:
        """The ASGI application (https://asgi.readthedocs.io/en/latest/specs/www.html)."""
        head, body = _head(scope), _Body(receive)
        try:
            answer = await self._answer(head, body)
        except _Gone:
            return
        except asyncio.CancelledError:
            # By uvicorn, when there is no time left before the stop.
            message = "The server was stopped before the answer was there. Try again when it is back."
            answer = self.refusal(Refused(message, status=503, code="Stopping"), head)
        except Refused as refused:
            answer = self.refusal(refused, head)
        except Exception:
            logger.exception("%s %s", head.method, head.path)
            failure = Refused("The server failed. Its log says more.", status=500, code="InternalError")
            answer = self.refusal(failure, head)
        # Where the next request begins is unknown after a body that was not read.
        headers = _header_lines(answer, close=head.has_body and not body.complete)
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.content})

    async def _answer(self, head: Head, body: _Body) -> Answer:
        self.door.check(head.headers)
        work = self.route(head)
        if isinstance(work, Answer):
            return work
        limit = self._body_limit(head)
        if self._requests >= self.limits.requests or self._held + limit > self.limits.held_bytes:
            message = "The server has as many requests under way as it can bear. Try again in a moment."
            raise Refused(message, status=503, code="Busy", headers={"Retry-After": "1"})
        self._requests += 1
        self._held += limit
        try:
            return await self._work(work, await body.read(limit), body)
        finally:
            self._requests -= 1
            self._held -= limit

    def _body_limit(self, head: Head) -> int:
        """How long the body is, or may be at most."""
        if head.method in ("GET", "HEAD"):
            return 0
        if self._takes_pieces and head.header("transfer-encoding"):
            return self.limits.body_bytes
        return content_length(head.headers, self.limits.body_bytes)

    async def _work(self, work: Work, content: bytes, body: _Body) -> Answer:
        """Let a thread work, unless nobody waits for it any more."""
        gone = asyncio.ensure_future(body.await_disconnect())
        future = self._pool.submit(work, content)
        done = asyncio.wrap_future(future)
        try:
            await asyncio.wait((gone, done), return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                raise _Gone
            return done.result()
        finally:
            gone.cancel()
            done.cancel()
            future.cancel()


_Receive = Callable[[], Any]
_Send = Callable[[Mapping[str, Any]], Any]


class _Gone(Exception):
    """Nobody waits for the answer any more."""


class _Body:
    """The body of a request, as ASGI hands it over."""

    def __init__(self, receive: _Receive) -> None:
        self._receive = receive
        self.complete = False

    async def read(self, limit: int) -> bytes:
        """All of it; raises ``Refused`` if it is longer than ``limit``, ``_Gone`` if it will never be whole."""
        content = bytearray()
        while not self.complete:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            content += message.get("body", b"")
            if len(content) > limit:
                message = f"The body has more than {limit} bytes. Send a smaller one."
                raise Refused(message, status=413, code="TooLarge")
            self.complete = not message.get("more_body", False)
        return bytes(content)

    async def await_disconnect(self) -> None:
        """Come back once the client is gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


class _Connection(H11Protocol):
    """A connection that is never waited for longer than the limits say, and refused in the listener's own words."""

    listener: GuardedServer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._refused = self._ended = False
        self._discarded = 0
        lingering = _LingeringTransport(cast(asyncio.Transport, transport), self.loop, self._is_sending)
        super().connection_made(cast(asyncio.Transport, lingering))
        limits = self.listener.limits
        self._deadline: asyncio.TimerHandle | None = self.loop.call_later(limits.head_seconds, self._expire)
        self._working = False
        if len(self.connections) > limits.connections:
            message = "The server has as many connections as it can bear. Try again in a moment."
            self._refuse(Refused(message, status=503, code="TooManyConnections", headers={"Retry-After": "1"}))

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_deadline(None)
        cast(_LingeringTransport, self.transport).lost()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            self._discarded += len(data)
            if self._discarded > _LINGER_BYTES:
                self.transport.abort()
            return
        if self._deadline is None and not self._working:
            self._set_deadline(self.listener.limits.head_seconds)
        super().data_received(data)
        self._watch_answer()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more; what it sent whole is answered."""
        if self.transport.is_closing():
            return False
        self._ended = True
        if self._is_working and not self.cycle.more_body:
            return True
        if self._is_working or self.conn.trailing_data[0]:
            message = "The connection was closed before the request was complete. Send all of it."
            self._refuse(Refused(message, status=400, code="BadRequest"))
        return False

    def on_response_complete(self) -> None:
        self._working = False
        self._set_deadline(None)
        super().on_response_complete()
        # There may be another request already.
        self._watch_answer()
        if self._ended and not self._working and not self.transport.is_closing():
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        error = sys.exception()
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else HTTPStatus.BAD_REQUEST
        code = "HeadersTooLarge" if status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE else "BadRequest"
        message = f"The request cannot be read: {str(error or msg)[:80]}. Send it as HTTP/1.1 has it (RFC 9112)."
        self._refuse(Refused(message, status=status, code=code))

    def shutdown(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    @property
    def _is_working(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _is_sending(self) -> bool:
        """Whether the client may still be sending what nobody will read."""
        return not self._ended and (self._refused or self.conn.their_state in (h11.SEND_BODY, h11.ERROR))

    def _watch_answer(self) -> None:
        if self._is_working and not self._working and not self.transport.is_closing():
            self._working = True
            self._set_deadline(self.listener.limits.request_seconds)

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        limits = self.listener.limits
        if self.transport.is_closing():
            return
        if not self._is_working:
            message = f"The request's headers took longer than {limits.head_seconds:g} s. Send them at once."
            refused = Refused(message, status=408, code="RequestTimeout")
        elif self.cycle.more_body:
            message = (
                f"The request's body took longer than {limits.request_seconds:g} s. Send it faster, or a smaller one."
            )
            refused = Refused(message, status=408, code="RequestTimeout")
        else:
            message = f"The answer took longer than {limits.request_seconds:g} s. Try again when there is less to do."
            refused = Refused(message, status=503, code="AnswerTimeout", headers={"Retry-After": "1"})
        self._refuse(refused)

    def _refuse(self, refused: Refused) -> None:
        """Answer in place of the application, and close the connection."""
        head = _head(self.scope) if self._is_working else None
        self._set_deadline(None)
        self._refused = True
        if self._is_working:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            # The answer is on its way, and is not read.
            self.transport.abort()
            return
        answer = self.listener.refusal(refused, head)
        content = b"" if head is not None and head.method == "HEAD" else answer.content
        response = h11.Response(
            status_code=answer.status,
            headers=_header_lines(answer, close=True),
            reason=HTTPStatus(answer.status).phrase.encode(),
        )
        for event in (response, h11.Data(data=content), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class _LingeringTransport:
    """A transport that is closed within a bounded time, and so that a client who is still sending reads the answer.

    Closed at once, what is still coming would be answered by a reset, and the client might never read why it was
    refused; nor would a client that reads nothing ever be parted from.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, is_sending: Callable[[], bool]
    ) -> None:
        self._transport, self._loop, self._is_sending = transport, loop, is_sending
        self._end: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._end is not None or self._transport.is_closing()

    def close(self) -> None:
        if self.is_closing():
            return
        self._end = self._loop.call_later(_LINGER_SECONDS, self._transport.abort)
        if self._is_sending():
            self._transport.write_eof()
            self._transport.resume_reading()
        else:
            self._transport.close()

    def lost(self) -> None:
        if self._end is not None:
            self._end.cancel()


def available_cores() -> int:
    """How many of the machine's cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _head(scope: Mapping[str, Any]) -> Head:
    return Head(
        method=scope["method"],
        path=scope["raw_path"].decode("ascii"),
        query=scope["query_string"].decode("ascii"),
        headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]],
        peer=scope["client"] or ("", 0),
        own=scope["server"] or ("", 0),
    )


def _header_lines(answer: Answer, *, close: bool) -> list[tuple[bytes, bytes]]:
    headers = {"Content-Type": "application/json", **answer.headers, "Content-Length": str(len(answer.content))}
    if close:
        headers["Connection"] = "close"
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
