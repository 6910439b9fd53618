"""The server of every listener over real sockets: what hostile, slow and many clients get, and that others still do."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from defectory.door import Refused
from defectory.door import server as door_server
from defectory.door.server import Answer, GuardedServer, Head, Limits, Work

LARGEST = 1_000_000
PATIENCE = 30.0


class LengthServer(GuardedServer):
    """Says how long a body is; ``/wait`` does so once it may, ``/large`` says more than a socket holds."""

    def __init__(self, limits: Limits | None = None, **options: bool) -> None:
        super().__init__("127.0.0.1", 0, limits or Limits(body_bytes=LARGEST), threads=2, **options)
        self.working, self.released = threading.Semaphore(0), threading.Event()
        self.answered = self.waited = 0

    def route(self, head: Head) -> Answer | Work:
        if head.path == "/broken":
            raise RuntimeError("not for the client")
        if head.path == "/large":
            return Answer(200, bytes(32_000_000))
        if head.method == "POST":
            return self.wait if head.path == "/wait" else self.measure
        if head.method in ("GET", "HEAD"):
            return Answer(200, b'{"length": null}')
        raise Refused("Send a POST.", status=405, code="MethodNotAllowed", headers={"Allow": "GET, POST"})

    def measure(self, body: bytes) -> Answer:
        self.answered += 1
        return Answer(200, json.dumps({"length": len(body)}).encode())

    def wait(self, body: bytes) -> Answer:
        self.waited += 1
        self.working.release()
        self.released.wait(PATIENCE)
        return self.measure(body)


@contextmanager
def serving(server: LengthServer) -> Iterator[LengthServer]:
    with server:
        server.start()
        try:
            yield server
        finally:
            server.released.set()


@pytest.fixture(scope="module")
def server() -> Iterator[LengthServer]:
    with serving(LengthServer()) as running:
        yield running


def connect(server: GuardedServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)


def head(server: GuardedServer, line: str = "POST / HTTP/1.1", *headers: str) -> bytes:
    return "\r\n".join((line, f"Host: localhost:{server.port}", *headers, "", "")).encode("latin-1")


def read_all(connection: socket.socket) -> bytes:
    content = b""
    while piece := connection.recv(65536):
        content += piece
    return content


def raw(server: GuardedServer, request: bytes, *, half_close: bool = True) -> bytes:
    """All that comes back until the server closes."""
    with connect(server) as connection:
        connection.sendall(request)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


def read_one(connection: socket.socket) -> bytes:
    """The next answer of a connection that is kept."""
    content = b""
    while b"\r\n\r\n" not in content or len(content.partition(b"\r\n\r\n")[2]) < length_of(content):
        content += connection.recv(65536)
    return content


def length_of(answer: bytes) -> int:
    [line] = [line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length: ")]
    return int(line.partition(b": ")[2])


def parse(content: bytes) -> tuple[int, dict[str, str], dict]:
    """Status, headers and JSON of one answer."""
    lines, _, body = content.partition(b"\r\n\r\n")
    first, *rest = lines.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
    assert len(body) == int(headers["content-length"])
    return int(first.split()[1]), headers, json.loads(body)


HOST = "Host: localhost:{port}\r\n"
HOSTILE = {
    "continued": ("GET / HTTP/1.1\r\n x\r\n" + HOST, 400),
    "no-host": ("GET / HTTP/1.1\r\n", 400),
    "old-without-host": ("GET / HTTP/1.0\r\n", 403),
    "two-hosts": ("GET / HTTP/1.1\r\n" + HOST + "Host: evil.example\r\n", 400),
    "folded": ("GET / HTTP/1.1\r\nHost: localhost:{port}\r\n .evil.example\r\n", 403),
    "space-before-colon": ("GET / HTTP/1.1\r\n" + HOST + "Origin : null\r\n", 400),
    "no-colon": ("GET / HTTP/1.1\r\n" + HOST + "Origin\r\n", 400),
    "zero-byte": ("GET / HTTP/1.1\r\n" + HOST + "X: a\0b\r\n", 400),
    "rebound": ("GET http://localhost/ HTTP/1.1\r\nHost: evil.example\r\n", 403),
    "preflight": ("OPTIONS / HTTP/1.1\r\n" + HOST + "Origin: http://evil.example\r\n", 403),
    "huge-length": ("POST / HTTP/1.1\r\n" + HOST + "Content-Length: " + "9" * 5000 + "\r\n", 400),
    "large-length": ("POST / HTTP/1.1\r\n" + HOST + "Content-Length: 99999999999\r\n", 413),
    "no-length": ("POST / HTTP/1.1\r\n" + HOST, 411),
    "no-number": ("POST / HTTP/1.1\r\n" + HOST + "Content-Length: many\r\n", 400),
    "negative": ("POST / HTTP/1.1\r\n" + HOST + "Content-Length: -1\r\n", 400),
    "underscored": ("POST / HTTP/1.1\r\n" + HOST + "Content-Length: 1_0\r\n", 400),
    "superscript": ("POST / HTTP/1.1\r\n" + HOST + "Content-Length: \xb2\r\n", 400),
    "two-lengths": ("POST / HTTP/1.1\r\n" + HOST + "Content-Length: 1\r\nContent-Length: 2\r\n", 400),
    "in-pieces": ("POST / HTTP/1.1\r\n" + HOST + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", 411),
    "smuggled": ("POST / HTTP/1.1\r\n" + HOST + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n", 411),
    "bad-pieces": ("POST / HTTP/1.1\r\n" + HOST + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "compressed": ("POST / HTTP/1.1\r\n" + HOST + "Transfer-Encoding: gzip\r\n", 501),
    "no-method": (" / HTTP/1.1\r\n" + HOST, 400),
    "no-version": ("GET /\r\n" + HOST, 400),
    "wrong-version": ("GET / HTTP/eleven\r\n" + HOST, 400),
    "space-in-path": ("GET /a b HTTP/1.1\r\n" + HOST, 400),
    "no-http": ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", 400),
    "blank": ("\0" * 200 + "\r\n", 400),
    "long-line": ("GET /" + "a" * 40_000, 431),
    "many-headers": ("GET / HTTP/1.1\r\n" + HOST + "X: y\r\n" * 8_000 + "X: ", 431),
    "other-method": ("DELETE / HTTP/1.1\r\n" + HOST, 405),
    "options": ("OPTIONS * HTTP/1.1\r\n" + HOST, 405),
    "broken-route": ("GET /broken HTTP/1.1\r\n" + HOST, 500),
}


@pytest.mark.parametrize(("request_", "status"), HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("half_close", [True, False], ids=["half-closed", "open"])
def test_what_is_wrong_is_answered_in_json(server: LengthServer, request_: str, status: int, half_close: bool) -> None:
    # Where nothing is left that could be taken for the next request, the connection is kept.
    ending = "Connection: close\r\n" if status in (403, 405, 411, 500) and "\r\n\r\n" not in request_ else ""
    content = f"{request_}{ending}\r\n".replace("{port}", str(server.port)).encode("latin-1")
    answered, headers, reply = parse(raw(server, content, half_close=half_close))
    assert (answered, headers["content-type"]) == (status, "application/json")
    assert reply["error"]["code"]
    assert len(reply["error"]["message"]) < 300
    assert "not for the client" not in reply["error"]["message"]
    assert not any(name.startswith("access-control") for name in headers)
    assert parse(raw(server, head(server, "GET / HTTP/1.1")))[0] == 200


def test_a_request_that_ends_early_is_told(server: LengthServer) -> None:
    for request in (head(server, "POST / HTTP/1.1", "Content-Length: 9") + b"abc", b"POST / HTTP/1.1\r\nHo"):
        status, _, reply = parse(raw(server, request))
        assert (status, "closed before" in reply["error"]["message"]) == (400, True)


def test_a_refused_client_with_much_to_send_reads_why(server: LengthServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("POST", "/", bytes(20_000_000))
    answer = connection.getresponse()
    assert (answer.status, b"at most 1000000" in answer.read()) == (413, True)
    connection.close()


def test_pieces_are_taken_where_they_are_and_no_more_than_a_body_may_have() -> None:
    with serving(LengthServer(takes_pieces=True)) as server:
        chunked = head(server, "POST / HTTP/1.1", "Transfer-Encoding: chunked")
        assert parse(raw(server, chunked + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"))[2] == {"length": 5}
        assert parse(raw(server, chunked + b"f4241\r\n" + bytes(1_000_001)))[0] == 413
        assert parse(raw(server, chunked + b"no number\r\n"))[0] == 400
        assert server.answered == 1


def test_requests_in_one_packet_are_answered_in_turn(server: LengthServer) -> None:
    one = head(server, "POST / HTTP/1.1", "Content-Length: 3") + b"abc"
    last = head(server, "POST / HTTP/1.1", "Content-Length: 2", "Connection: close") + b"de"
    for half_close in (True, False):
        answers = raw(server, one * 3 + last, half_close=half_close)
        assert answers.count(b"HTTP/1.1 200 OK") == 4
        assert answers.count(b'{"length": 3}') == 3
        assert answers.endswith(b'{"length": 2}')
        assert answers.lower().count(b"connection: close") == 1


def test_a_connection_is_kept_unless_the_client_is_old(server: LengthServer) -> None:
    with connect(server) as connection:
        for _ in range(3):
            connection.sendall(head(server, "GET / HTTP/1.1"))
            assert parse(read_one(connection))[0] == 200
    status, headers, _ = parse(raw(server, head(server, "GET / HTTP/1.0"), half_close=False))
    assert (status, headers["connection"]) == (200, "close")


def test_head_is_answered_without_a_body(server: LengthServer) -> None:
    for line, status in (("HEAD / HTTP/1.1", b"200"), ("HEAD /broken HTTP/1.1", b"500")):
        answer = raw(server, head(server, line, "Connection: close"), half_close=False)
        assert answer.split()[1] == status
        assert answer.endswith(b"\r\n\r\n")


def test_who_asks_before_sending_a_body_is_told_to_go_on_or_why_not(server: LengthServer) -> None:
    expecting = ("Expect: 100-continue", "Connection: close")
    with connect(server) as connection:
        connection.sendall(head(server, "POST / HTTP/1.1", "Content-Length: 3", *expecting))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        assert parse(read_all(connection))[2] == {"length": 3}
    with connect(server) as connection:
        connection.sendall(head(server, "POST / HTTP/1.1", "Content-Length: 2000000", *expecting))
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")


def test_hundreds_of_half_open_connections_take_no_thread_and_nobodys_place(server: LengthServer) -> None:
    before = threading.active_count()
    with ExitStack() as stack:
        opened = [stack.enter_context(connect(server)) for _ in range(300)]
        for number, connection in enumerate(opened):
            begun = (b"", b"POST / HT", head(server)[:-2], head(server, "POST / HTTP/1.1", "Content-Length: 9") + b"x")
            connection.sendall(begun[number % 4] if number % 16 in (0, 1, 2, 3) else begun[number % 3])
        for _ in range(10):
            assert parse(raw(server, head(server, "POST / HTTP/1.1", "Content-Length: 3") + b"abc"))[0] == 200
        # Two that work, at most, wherever they were started.
        assert threading.active_count() <= before + 2


def test_more_connections_than_it_bears_are_told() -> None:
    with (
        serving(LengthServer(Limits(body_bytes=9, connections=2))) as server,
        connect(server),
        connect(server) as other,
    ):
        status, headers, reply = parse(raw(server, head(server, "GET / HTTP/1.1"), half_close=False))
        assert (status, reply["error"]["code"], headers["connection"]) == (503, "TooManyConnections", "close")
        other.sendall(head(server, "GET / HTTP/1.1", "Connection: close"))
        assert parse(read_all(other))[0] == 200


@pytest.mark.parametrize("limits", [{"requests": 1}, {"held_bytes": 20}], ids=["requests", "bytes"])
def test_more_requests_than_it_bears_are_told(limits: dict[str, int]) -> None:
    with serving(LengthServer(Limits(body_bytes=15, **limits))) as server:
        request = head(server, "POST /wait HTTP/1.1", "Content-Length: 15", "Connection: close") + bytes(15)
        with connect(server) as first:
            first.sendall(request)
            assert server.working.acquire(timeout=PATIENCE)
            status, headers, reply = parse(raw(server, request))
            assert (status, reply["error"]["code"], headers["retry-after"]) == (503, "Busy", "1")
            assert parse(raw(server, head(server, "GET / HTTP/1.1")))[0] == 200
            server.released.set()
            assert parse(read_all(first))[2] == {"length": 15}
        assert parse(raw(server, request))[0] == 200


@pytest.fixture(scope="module")
def hasty() -> Iterator[LengthServer]:
    """A server that waits for nothing long."""
    limits = Limits(body_bytes=LARGEST, head_seconds=0.2, request_seconds=0.2, idle_seconds=0)
    with serving(LengthServer(limits)) as running:
        yield running


@pytest.mark.parametrize("begun", ["", "POST / HTTP/1.1\r\nX: ", "body", "second"])
def test_slow_drips_end_at_a_deadline_for_all_of_them(hasty: LengthServer, begun: str) -> None:
    whole = head(hasty, "POST / HTTP/1.1", "Content-Length: 900000")
    stop = threading.Event()
    with connect(hasty) as connection:
        if begun == "second":
            connection.sendall(head(hasty, "GET / HTTP/1.1") + whole)
            assert parse(read_one(connection))[0] == 200
            drips = b"x"
        else:
            connection.sendall(whole if begun == "body" else begun.encode())
            drips = b"x" if begun else b""

        def drip() -> None:
            while not stop.wait(0.02):
                try:
                    connection.sendall(drips)
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        answer = read_all(connection)
        stop.set()
        dripping.join()
    status, headers, reply = parse(answer[answer.rindex(b"HTTP/1.1") :])
    assert (status, reply["error"]["code"], headers["connection"]) == (408, "RequestTimeout", "close")


def test_who_waits_too_long_for_an_answer_is_told_and_no_work_is_done_for_nobody(hasty: LengthServer) -> None:
    request = head(hasty, "POST /wait HTTP/1.1", "Content-Length: 1") + b"x"
    with ExitStack() as stack:
        waiting = [stack.enter_context(connect(hasty)) for _ in range(4)]
        for connection in waiting:
            connection.sendall(request)
        answers = [parse(read_all(connection)) for connection in waiting]
    assert {(status, reply["error"]["code"]) for status, _, reply in answers} == {(503, "AnswerTimeout")}
    pause = threading.Event()
    while hasty._requests:
        pause.wait(0.01)
    hasty.released.set()
    assert parse(raw(hasty, head(hasty, "POST / HTTP/1.1", "Content-Length: 1") + b"x"))[2] == {"length": 1}
    # As many as there are threads had begun.
    assert hasty.waited == 2


def test_a_client_that_reads_nothing_is_parted_from(hasty: LengthServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_server, "_LINGER_SECONDS", 0.1)
    with connect(hasty) as connection:
        connection.sendall(head(hasty, "GET /large HTTP/1.1"))
        pause = threading.Event()
        while hasty._server.server_state.connections:
            pause.wait(0.02)
        assert len(read_all(connection)) < 32_000_000


def test_a_stop_lets_requests_under_way_end() -> None:
    with serving(LengthServer()) as server, connect(server) as first, connect(server):
        first.sendall(head(server, "POST /wait HTTP/1.1", "Content-Length: 3") + b"abc")
        assert server.working.acquire(timeout=PATIENCE)
        server.shutdown()
        threading.Timer(0.3, server.released.set).start()
        status, _, reply = parse(read_all(first))
        assert (status, reply) == (200, {"length": 3})
    with pytest.raises(ConnectionRefusedError):
        connect(server)


def test_a_stop_ends_what_does_not_come_to_an_end() -> None:
    with serving(LengthServer(Limits(body_bytes=9, stop_seconds=0))) as server, connect(server) as first:
        first.sendall(head(server, "POST /wait HTTP/1.1", "Content-Length: 3") + b"abc")
        assert server.working.acquire(timeout=PATIENCE)
        server.shutdown()
        status, _, reply = parse(read_all(first))
        assert (status, reply["error"]["code"]) == (503, "Stopping")
