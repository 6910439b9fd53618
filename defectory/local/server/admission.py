"""The door of the local cloud: every request passes here before MiniStack sees it.

Nothing is exempt: not MiniStack's own pages, not its health, not what AWS answers to anybody (public objects,
functions' addresses, forms that upload).  A web page is turned away by what its browser says of it, everybody else by
the signature; who has a presigned address has a signature.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import uuid4
from xml.sax.saxutils import escape

from defectory.door import Door, Refused
from defectory.local.server.authorization.gate import OWN_PATH, calling
from defectory.local.server.settings import Settings
from defectory.local.server.signatures import Claim, Denied, Signatures, SignedRequest

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# Of a client whose signature covers a body that has yet to come: more than AWS takes in such requests.
UNVERIFIED_BYTES = 128 * 1024 * 1024
# How much, and how long, a refused client is listened to so that it comes to read why.
DRAINED_BYTES = 16 * 1024 * 1024
DRAIN_SECONDS = 5.0


class _Gone(Exception):
    """The client went away."""


class _Body:
    """What comes of a request, piece by piece."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.complete = False

    async def piece(self) -> bytes:
        """The next piece; raises ``_Gone``."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        self.complete = not message.get("more_body", False)
        return bytes(message.get("body", b""))


class Admission:
    """MiniStack behind the door."""

    def __init__(self, application: Application, settings: Settings) -> None:
        self._application = application
        self._door = Door(settings.port)
        self._signatures = Signatures(settings.account, settings.secret)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "websocket":
            # Nothing here speaks it, and it knows no rule of origins but the server's.
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._application(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, body = SignedRequest.of(scope), _Body(receive)
        try:
            claim = self._claim(scope, request)
            if claim.caller and scope["path"].startswith(OWN_PATH):
                raise Denied("AccessDenied", f"{claim.caller.arn} is not the operator of this local cloud.")
            pieces = await _read(claim, body)
        except Denied as denial:
            with contextlib.suppress(TimeoutError, _Gone):
                await asyncio.wait_for(_drain(body), DRAIN_SECONDS)
            await _deny(request, denial, send)
        except _Gone:
            pass
        else:
            with calling(claim.caller):
                await self._application(scope, _replaying(pieces, receive), _without_cors(send))

    def _claim(self, scope: Scope, request: SignedRequest) -> Claim:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        try:
            self._door.check(headers, linked=request.presigned and request.method in ("GET", "HEAD"))
        except Refused as refusal:
            raise Denied("AccessDenied", str(refusal), status=refusal.status) from None
        if request.method == "OPTIONS":
            raise Denied("AccessForbidden", "CORSResponse: CORS is not enabled: web pages have no access.")
        claim = self._signatures.claim(request)
        if claim.payload is not None:
            claim.check()
        return claim


async def _read(claim: Claim, body: _Body) -> list[bytes]:
    """The body of a request, in pieces; verified."""
    limit = UNVERIFIED_BYTES if claim.payload is None else None
    pieces, size, digest = [], 0, hashlib.sha256()
    while not body.complete:
        piece = await body.piece()
        pieces.append(piece)
        digest.update(piece)
        size += len(piece)
        if limit is not None and size > limit:
            text = (
                f"The body has more than {limit} bytes. Sign its digest in x-amz-content-sha256 to send a larger one."
            )
            raise Denied("RequestEntityTooLarge", text, status=413)
    if claim.payload is None:
        claim.check(digest.hexdigest())
    else:
        claim.check_body(digest.hexdigest(), pieces)
    return pieces


async def _drain(body: _Body) -> None:
    # Not read, what is still coming would be answered by a reset, and the client might never read why.
    size = 0
    while not body.complete and size < DRAINED_BYTES:
        size += len(await body.piece())


def _replaying(pieces: list[bytes], receive: Receive) -> Receive:
    remaining = deque(pieces)

    async def receive_again() -> dict[str, Any]:
        if not remaining:
            return await receive()
        piece = remaining.popleft()
        return {"type": "http.request", "body": piece, "more_body": bool(remaining)}

    return receive_again


def _without_cors(send: Send) -> Send:
    async def send_without(message: dict[str, Any]) -> None:
        if "headers" in message:
            headers = [entry for entry in message["headers"] if not entry[0].lower().startswith(b"access-control-")]
            message = {**message, "headers": headers}
        await send(message)

    return send_without


async def _deny(request: SignedRequest, denial: Denied, send: Send) -> None:
    kind, body = _document(request, denial)
    headers = {
        "content-type": kind,
        "content-length": str(len(body)),
        "x-amzn-errortype": denial.code,
        "x-amzn-requestid": str(uuid4()),
    }
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": denial.status, "headers": encoded})
    await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else body})


def _document(request: SignedRequest, denial: Denied) -> tuple[str, bytes]:
    """Content type and content of an error, in the form in which the client's library reads errors."""
    code, message = escape(denial.code), escape(str(denial))
    error = f"<Code>{code}</Code><Message>{message}</Message>"
    content_type = request.headers.get("content-type", "")
    if "x-amz-target" in request.headers or "json" in content_type:
        return "application/x-amz-json-1.1", json.dumps({"__type": denial.code, "message": str(denial)}).encode()
    if content_type.startswith("application/x-www-form-urlencoded"):
        return "text/xml", f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error></ErrorResponse>".encode()
    if _service(request) in ("", "s3"):
        declaration = '<?xml version="1.0" encoding="UTF-8"?>'
        return "application/xml", f"{declaration}\n<Error>{error}</Error>".encode()
    return "application/json", json.dumps({"__type": denial.code, "message": str(denial)}).encode()


def _service(request: SignedRequest) -> str:
    """The service that a request names in its credential, whether or not that is a right one; "" for none."""
    credential = request.headers.get("authorization") or "".join(request.query.get("X-Amz-Credential", []))
    scope = credential.partition("Credential=")[2].partition(",")[0] or credential
    return scope.split("/")[3] if scope.count("/") == 4 else ""
