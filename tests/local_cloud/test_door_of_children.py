"""The doors of the processes that a local cloud starts: functions' runtime API and endpoints' containers."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from defectory.local.cloud import LocalCloud
from defectory.local.server.runtime_api import API, ExecutionEnvironment, InvocationResult
from defectory.local.server.sagemaker import container
from tests.local_cloud.laboratory import Laboratory
from tests.local_cloud.signed import send_raw

PROGRAM = """
import os
def model_fn(folder): return "model"
def transform_fn(model, content, content_type, accept, context):
    return ",".join(sorted(context.get_all_request_header(0))), "text/plain"
"""
ASK = """
import http.client, os, sys
"".encode("idna")  # loaded before this user can no longer read it
os.setuid(int(sys.argv[3]))
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=30)
connection.request("POST", sys.argv[2], b"{}")
print(connection.getresponse().status)
"""


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[ExecutionEnvironment]:
    """A function's environment whose process asks for nothing."""
    idle = [sys.executable, "-c", "import time; time.sleep(600)"]
    environment = ExecutionEnvironment(idle, tmp_path, {}, tmp_path / "temporary", timeout=30.0)
    yield environment
    environment.close()


def call(port: int, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def test_an_answer_is_taken_for_the_invocation_under_way_alone(runtime: ExecutionEnvironment) -> None:
    port = runtime._api.port
    assert call(port, "POST", f"{API}/invocation/guess/response", b"{}")[0] == 400
    outcomes: list[InvocationResult] = []
    invoking = threading.Thread(target=lambda: outcomes.append(runtime.invoke("secret-id", {}, "arn", None)))
    invoking.start()
    assert call(port, "GET", f"{API}/invocation/next") == (200, b"{}")
    for path in (f"{API}/invocation/guess/response", f"{API}/invocation//response", "/response", f"{API}/exit/error"):
        assert call(port, "POST", path, b'"forged"')[0] == 400
    assert call(port, "POST", f"{API}/invocation/secret-id/response", b'"right"')[0] == 202
    invoking.join()
    assert [(outcome.payload, outcome.failed) for outcome in outcomes] == [("right", False)]


def test_lengths_that_are_none_end_no_runtime_api(runtime: ExecutionEnvironment) -> None:
    port = runtime._api.port
    for line, status in (
        ("Content-Length: " + "9" * 5000, b"400"),
        ("Content-Length: 99999999999", b"413"),
        ("Content-Length: many", b"400"),
        ("Transfer-Encoding: chunked\r\nX: y", b"400"),
    ):
        request = f"POST {API}/init/error HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{line}\r\n\r\nnonsense\r\n"
        assert send_raw(port, request.encode()).split()[1] == status
    assert runtime._answers.empty()
    assert call(port, "GET", "/elsewhere")[0] == 404


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="only root can be another user for a moment")
def test_another_user_of_the_machine_is_refused(runtime: ExecutionEnvironment) -> None:
    for user, status in ((65534, "403\n"), (0, "202\n")):
        assert runtime._answers.empty()
        command = [sys.executable, "-c", ASK, str(runtime._api.port), f"{API}/init/error", str(user)]
        assert subprocess.run(command, capture_output=True, text=True, check=False).stdout == status


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[int]:
    """The port of a container whose token is "right"."""
    (tmp_path / "program.py").write_text(PROGRAM)
    told, tell = os.pipe()
    command = [sys.executable, "-S", str(container.__file__), str(tmp_path / "program.py"), str(tmp_path), str(tell)]
    environment = {"PYTHONPATH": sysconfig.get_path("purelib")}
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[tell], env=environment) as process:
        os.close(tell)
        assert process.stdin
        with process.stdin as given:
            given.write(b"right\n")
        with os.fdopen(told) as said:
            port = int(said.readline())
        while call(port, "GET", "/ping", headers={"Authorization": "Bearer right"})[0] == 503:
            pass
        yield port
        process.kill()


def test_a_container_answers_whoever_started_it(endpoint: int) -> None:
    right = {"Authorization": "Bearer right"}
    status, content = call(endpoint, "POST", "/invocations", b"x", {**right, "X-Amzn-Trace-Id": "1"})
    assert status == 200
    # The program sees what it would see in SageMaker.
    assert "X-Amzn-Trace-Id" in content.decode().split(",")
    assert "Authorization" not in content.decode()
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert call(endpoint, "POST", "/invocations", b"x", headers)[0] == 401
        assert call(endpoint, "GET", "/ping", headers=headers)[0] == 401
    for lie in ({"Host": "evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert call(endpoint, "POST", "/invocations", b"x", {**right, **lie})[0] == 403


def test_lengths_that_are_none_end_no_container(endpoint: int) -> None:
    for line, status in (
        ("Content-Length: " + "9" * 5000, b"400"),
        ("Content-Length: 99999999999", b"413"),
        ("Content-Length: many", b"400"),
        ("Transfer-Encoding: chunked", b"411"),
    ):
        head = f"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1:{endpoint}\r\nAuthorization: Bearer right\r\n"
        assert send_raw(endpoint, f"{head}{line}\r\n\r\n".encode()).split()[1] == status
    assert call(endpoint, "GET", "/ping", headers={"Authorization": "Bearer right"})[0] == 200


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel lists what listens on Linux")
@pytest.mark.xdist_group("local-cloud")
def test_a_cloud_at_work_listens_on_loopback_alone(cloud: LocalCloud, sample: dict, laboratory: Laboratory) -> None:
    """And opens no port of which these tests do not know."""
    laboratory.ask(laboratory.endpoint(laboratory.container()))
    cloud.client("lambda").invoke(FunctionName=sample["Worker"], Payload=b'{"do": "describe"}')
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                listening.append((fields[1].partition(":")[0], fields[9]))
    names = {f"socket:[{inode}]": address for address, inode in listening}
    ours: dict[int, list[str]] = {}
    for pid in processes_of(cloud):
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                target = os.readlink(descriptor)  # noqa: PTH115 - no path is meant
            except OSError:
                continue
            if target in names:
                ours.setdefault(pid, []).append(names[target])
    addresses = {address for found in ours.values() for address in found}
    assert addresses == {"0100007F"}
    # The server with its gateway and a runtime API for each function's process, and one port for each container.
    assert len(ours) >= 2


def processes_of(cloud: LocalCloud) -> list[int]:
    """The keeper of a cloud and all that descends from it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        parents.setdefault(parent, []).append(int(entry.name))
    found = [cloud._process.pid]
    for pid in found:
        found += parents.get(pid, [])
    return found
