"""A wire to AWS that fails: a proxy that refuses some requests, and signs the others anew for the local cloud."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from defectory.local.cloud import LocalCloud

# As DynamoDB (JSON) and SNS (XML) say that there are too many calls.
THROTTLED = {
    "dynamodb": (
        "application/x-amz-json-1.0",
        b'{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"Too many."}',
    ),
    "sns": (
        "text/xml",
        b'<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type>'
        b"<Code>Throttling</Code><Message>Rate exceeded</Message></Error><RequestId>1</RequestId></ErrorResponse>",
    ),
}


class FaultyWire:
    """The way to ``service`` of a local cloud; ``refuse`` says of each request whether it is throttled."""

    def __init__(self, cloud: LocalCloud, service: str, refuse: Callable[[], bool]) -> None:
        self.refused = self.passed = 0
        wire, settings = self, cloud.settings
        target = urlsplit(cloud.endpoint)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if refuse():
                    wire.refused += 1
                    kind, content = THROTTLED[service]
                    self._answer(400, {"Content-Type": kind}, content)
                    return
                wire.passed += 1
                kept = ("Content-Type", "X-Amz-Target")
                headers = {name: self.headers[name] for name in kept if name in self.headers}
                request = AWSRequest("POST", f"{cloud.endpoint}{self.path}", headers, body)
                credentials = Credentials(settings.account, settings.secret)
                SigV4Auth(credentials, service, settings.region).add_auth(request)
                connection = http.client.HTTPConnection(target.hostname or "", target.port or 0, timeout=60)
                connection.request("POST", self.path, body, dict(request.headers))
                reply = connection.getresponse()
                self._answer(reply.status, {"Content-Type": reply.getheader("Content-Type", "")}, reply.read())
                connection.close()

            def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
