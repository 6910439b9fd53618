"""What is on this machine no proxy reaches: neither boto3, nor Lookout's client, nor the local cloud's processes."""

from __future__ import annotations

import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from defectory.aws.clients import aws_client, proxies_of
from defectory.inspection.lookout import InternalServerException, LookoutForVision
from defectory.local.clients import connect
from defectory.local.environment import client_environment, inherited

# Nobody listens on port 9 of loopback.
DEAD = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def dead_proxies(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, DEAD)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


class Answers(BaseHTTPRequestHandler):
    """Answers every request with the server's own answer."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    do_GET = do_POST

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as listening:
        listening.answer = b"{}"
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield listening
        listening.shutdown()


def test_lookouts_client_reaches_loopback_past_a_dead_proxy(server):
    server.answer = b'{"DetectAnomalyResult": {"IsAnomalous": false}}'
    client = LookoutForVision(endpoint_url=f"http://127.0.0.1:{server.server_port}", token="t" * 16)

    answer = client.detect_anomalies(ProjectName="p", ModelVersion="1", Body=b"image", ContentType="image/png")

    assert answer["DetectAnomalyResult"] == {"IsAnomalous": False}


@pytest.mark.parametrize("nonsense", [b"<html>502</html>", b"[]", b'"text"', b""])
def test_lookouts_client_takes_no_page_for_an_answer(server, nonsense):
    server.answer = nonsense
    client = LookoutForVision(endpoint_url=f"http://127.0.0.1:{server.server_port}", token="t" * 16)

    with pytest.raises(InternalServerException, match="no JSON object"):
        client.detect_anomalies(ProjectName="p", ModelVersion="1", Body=b"image", ContentType="image/png")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_boto3_reaches_loopback_past_a_dead_proxy(server, monkeypatch, host):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{server.server_port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    runtime = aws_client.__wrapped__("sagemaker-runtime", "us-east-1", attempts=1)
    reply = runtime.invoke_endpoint(EndpointName="line", Body=io.BytesIO(b"image").getvalue())
    assert reply["Body"].read() == b"{}"

    local = connect("dynamodb", f"http://{host}:{server.server_port}", "123456789012", "secret", "us-east-1")
    assert local.list_tables()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_aws_itself_is_reached_as_the_environment_says():
    assert proxies_of("s3", {}) is None
    assert proxies_of("s3", {"AWS_ENDPOINT_URL": "https://s3.example.com"}) is None
    assert proxies_of("s3", {"AWS_ENDPOINT_URL_S3": "http://[::1]:4566"}) == {}
    # A service's own endpoint wins.
    named = {"AWS_ENDPOINT_URL": "http://localhost:1", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "https://example.com"}
    assert proxies_of("bedrock-runtime", named) is None


def test_processes_of_the_local_cloud_keep_loopback_from_proxies():
    base = {"HTTP_PROXY": DEAD, "no_proxy": "intranet,localhost"}
    assert inherited(base)["no_proxy"] == inherited(base)["NO_PROXY"] == "intranet,localhost,127.0.0.1,::1"
    assert inherited({"PATH": "/bin"}) == {"PATH": "/bin"}
    assert "127.0.0.1" in client_environment("http://localhost:1", "1" * 12, "s", "us-east-1")["NO_PROXY"]
