"""Requests as they go over the wire, signed by botocore or not."""

import http.client
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from unittest import mock
from urllib.parse import urlsplit

from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from defectory.local.cloud import LocalCloud

DIGEST = "x-amz-content-sha256"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    content: bytes

    @property
    def permissive(self) -> list[str]:
        """The headers that would let web pages read it."""
        return [name for name, _ in self.headers if name.lower().startswith("access-control-")]


def sign(
    cloud: LocalCloud,
    method: str,
    path: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    *,
    service: str = "cloudformation",
    account: str = "",
    secret: str = "",
    token: str = "",
    ago: timedelta = timedelta(),
) -> dict[str, str]:
    """The headers of a signed request, signed some time ago."""
    request = AWSRequest(method, cloud.endpoint + path, data=body, headers=headers or {})
    # That of S3 would say itself what the body is.
    signer = auth.S3SigV4Auth if service == "s3" and DIGEST not in request.headers else auth.SigV4Auth
    credentials = Credentials(account or cloud.settings.account, secret or cloud.settings.secret, token or None)
    with _clock(ago):
        signer(credentials, service, cloud.settings.region).add_auth(request)
    return {"Host": urlsplit(cloud.endpoint).netloc, **dict(request.headers.items())}


def presign(
    cloud: LocalCloud,
    path: str,
    *,
    ago: timedelta = timedelta(),
    method: str = "GET",
    account: str = "",
    secret: str = "",
    token: str = "",
) -> str:
    """The path of a presigned address of S3, good for a minute."""
    request = AWSRequest(method, cloud.endpoint + path)
    credentials = Credentials(account or cloud.settings.account, secret or cloud.settings.secret, token or None)
    with _clock(ago):
        auth.S3SigV4QueryAuth(credentials, "s3", cloud.settings.region, expires=60).add_auth(request)
    return request.url.removeprefix(cloud.endpoint)


def send(cloud: LocalCloud, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
    """Send exactly these headers, and the body's length."""
    connection = http.client.HTTPConnection("127.0.0.1", cloud.settings.port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        sent = {"Host": urlsplit(cloud.endpoint).netloc, **(headers or {})}
        if body and "Content-Length" not in sent:
            sent["Content-Length"] = str(len(body))
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders(body or None)
        answer = connection.getresponse()
        return Answer(answer.status, answer.getheaders(), answer.read())
    finally:
        connection.close()


def send_raw(port: int, request: bytes) -> bytes:
    """What a server answers to bytes that no library would send, until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


def _clock(ago: timedelta) -> mock._patch:
    then = datetime.now(UTC) - ago
    # How botocore calls it is its own affair; what it signs has to be this time.
    return mock.patch.object(auth, "get_current_datetime", lambda *_, **__: then.replace(tzinfo=None))
