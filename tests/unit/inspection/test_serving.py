"""A model served by HTTP: SageMaker's contract, Lookout for Vision's route, and the client in its place."""

from __future__ import annotations

import base64
import http.client
import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from defectory.errors import InputError
from defectory.inspection.lookout import (
    LOOKOUT_MEDIA_TYPE,
    LookoutError,
    LookoutForVision,
    detect_anomalies_answer,
)
from defectory.inspection.serving import InspectionServer
from defectory.inspection.verdicts import DefectArea, Inspection, InspectionReply, Thresholds, decode_grey, parse_reply
from defectory.vision.images import encode_jpeg, encode_png

DETECT = "/2020-11-20/projects/boards/models/1/detect"
TOKEN = "a-token-of-these-tests"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
PNG = {"Content-Type": "image/png"}


@dataclass
class BrightnessModel:
    """Takes white pixels for scratches and red ones for dents."""

    broken: bool = False
    seen: list[tuple[int, ...]] = field(default_factory=list)

    def inspect(self, image: NDArray[np.uint8]) -> Inspection:
        if self.broken:
            raise RuntimeError("no such tensor")
        self.seen.append(image.shape)
        scratch = (image > 250).all(axis=2)
        dent = (image[..., 0] > 250) & ~scratch
        classes = np.where(scratch, 1, np.where(dent, 2, 0)).astype(np.uint8)
        share = float((classes > 0).mean())
        areas = (
            DefectArea(name="scratch", area=float(scratch.mean()), regions=1, color="#2ca02c"),
            DefectArea(name="dent", area=float(dent.mean()), regions=1, color="#ff0000"),
        )
        return Inspection(
            verdict="FAIL" if share else "PASS",
            score=share,
            confidence=0.9,
            thresholds=Thresholds(review=0.0, fail=1e-9),
            model_version="v1",
            heatmap=(classes > 0).astype(np.float32),
            mask=np.where(classes > 0, 255, 0).astype(np.uint8),
            classes=classes,
            defects=tuple(area for area in areas if area.area),
            width=image.shape[1],
            height=image.shape[0],
        )


@pytest.fixture
def model() -> BrightnessModel:
    return BrightnessModel()


@pytest.fixture(scope="module")
def running() -> Iterator[InspectionServer]:
    with InspectionServer(port=0, token=TOKEN) as server:
        server.start()
        yield server


@pytest.fixture
def server(running: InspectionServer, model: BrightnessModel) -> InspectionServer:
    running.model = model
    return running


@pytest.fixture
def client(server: InspectionServer) -> LookoutForVision:
    return LookoutForVision(endpoint_url=server.url, token=TOKEN)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    content: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.content)


def call(server: InspectionServer, method: str, path: str, body: bytes | None = None, headers: dict | None = None):
    """The answer to somebody who has the token, unless ``headers`` say otherwise."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    try:
        connection.request(method, path, body, {**AUTHORIZED, **(headers or {})})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def good_part() -> NDArray[np.uint8]:
    return np.full((16, 20, 3), 90, np.uint8)


def scratched_part() -> NDArray[np.uint8]:
    part = good_part()
    part[2:4, 5:10] = 255  # 10 of 320 pixels
    return part


def dented_and_scratched_part() -> NDArray[np.uint8]:
    part = scratched_part()
    part[10, 0:4] = (255, 0, 0)
    return part


def test_ping_says_whether_the_model_is_there(server: InspectionServer, model: BrightnessModel) -> None:
    server.model = None
    refused = call(server, "GET", "/ping")
    assert refused.status == 503
    assert refused.json["error"]["code"] == "Loading"

    server.model = model
    assert call(server, "GET", "/ping").status == 200


def test_invocations_answers_what_the_model_says(server: InspectionServer, model: BrightnessModel) -> None:
    part = scratched_part()

    answer = call(server, "POST", "/invocations", encode_png(part), PNG)

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    reply = parse_reply(answer.content)
    assert reply == InspectionReply.of(model.inspect(part))
    assert (decode_grey(reply.mask) > 0).sum() == 10


def test_jpeg_is_taken_as_well(server: InspectionServer, model: BrightnessModel) -> None:
    answer = call(server, "POST", "/invocations", encode_jpeg(good_part()), {"Content-Type": "image/jpeg"})
    assert parse_reply(answer.content).verdict == "PASS"
    assert model.seen == [(16, 20, 3)]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/invocations?format=lookout", {}),
        ("/invocations", {"X-Amzn-SageMaker-Custom-Attributes": "trace=1,format=lookout"}),
        ("/invocations", {"Accept": LOOKOUT_MEDIA_TYPE}),
        (DETECT, {}),
    ],
)
def test_answers_in_lookouts_shape_however_it_is_asked_for(
    server: InspectionServer, model: BrightnessModel, path: str, headers: dict[str, str]
) -> None:
    part = scratched_part()
    answer = call(server, "POST", path, encode_png(part), {**PNG, **headers})
    assert answer.json == detect_anomalies_answer(model.inspect(part))


def test_lookouts_shape_names_areas_and_colours_the_mask(model: BrightnessModel) -> None:
    part = dented_and_scratched_part()

    result = detect_anomalies_answer(model.inspect(part))["DetectAnomalyResult"]

    assert result["Source"] == {"Type": "direct"}
    assert result["IsAnomalous"] is True
    assert result["Confidence"] == 0.9
    assert [area["Name"] for area in result["Anomalies"]] == ["background", "scratch", "dent"]
    assert [area["PixelAnomaly"]["Color"] for area in result["Anomalies"]] == ["#FFFFFF", "#2CA02C", "#FF0000"]
    areas = [area["PixelAnomaly"]["TotalPercentageArea"] for area in result["Anomalies"]]
    assert areas == pytest.approx([306 / 320, 10 / 320, 4 / 320])
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(result["AnomalyMask"]))))
    assert mask.shape == part.shape
    assert mask[2, 5].tolist() == [0x2C, 0xA0, 0x2C]
    assert mask[10, 0].tolist() == [255, 0, 0]
    assert mask[0, 0].tolist() == [255, 255, 255]


def test_lookouts_shape_of_a_normal_part_is_all_background(model: BrightnessModel) -> None:
    result = detect_anomalies_answer(model.inspect(good_part()))["DetectAnomalyResult"]
    assert result["IsAnomalous"] is False
    [background] = result["Anomalies"]
    assert background["PixelAnomaly"]["TotalPercentageArea"] == 1.0


def test_a_reply_gives_lookouts_shape_too(model: BrightnessModel) -> None:
    inspection = model.inspect(scratched_part())
    assert detect_anomalies_answer(InspectionReply.of(inspection)) == detect_anomalies_answer(inspection)

    bare = detect_anomalies_answer(InspectionReply.of(inspection, images=False))["DetectAnomalyResult"]
    assert bare.keys() == {"Source", "IsAnomalous", "Confidence"}


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [
        ("POST", "/invocations", b"", PNG, 400, "BadImage"),
        ("POST", "/invocations", b"not an image", PNG, 400, "BadImage"),
        ("POST", "/invocations", encode_png(scratched_part())[:60], PNG, 400, "BadImage"),
        ("POST", "/invocations", b"x", {"Content-Type": "text/plain"}, 415, "UnsupportedMediaType"),
        ("POST", "/invocations?format=xml", b"x", PNG, 400, "UnknownFormat"),
        ("POST", "/invocations", b"", {**PNG, "Content-Length": "99999999999"}, 413, "TooLarge"),
        ("POST", "/invocations", b"", {**PNG, "Content-Length": "9" * 5000}, 400, "BadRequest"),
        ("POST", "/invocations", b"", {**PNG, "Content-Length": "-1"}, 400, "BadRequest"),
        ("POST", "/invocations", b"", {**PNG, "Content-Length": "1_0"}, 400, "BadRequest"),
        ("POST", "/invocations", b"", {**PNG, "Content-Length": "²"}, 400, "BadRequest"),
        ("POST", "/invocations", b"", {**PNG, "Transfer-Encoding": "chunked"}, 411, "LengthRequired"),
        ("POST", "/elsewhere", b"x", PNG, 404, "NotFound"),
        ("GET", "/invocations", None, {}, 405, "MethodNotAllowed"),
    ],
    ids=[
        *("nothing", "no-image", "half-an-image", "text", "unknown-format", "large", "huge", "negative"),
        *("underscored", "superscript", "in-pieces", "elsewhere", "wrong-method"),
    ],
)
def test_refusals_say_what_was_wrong_and_the_server_goes_on(
    server: InspectionServer,
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    answer = call(server, method, path, body, headers)
    assert (answer.status, answer.json["error"]["code"]) == (status, code)
    assert answer.json["error"]["message"]
    assert call(server, "GET", "/ping").status == 200


@pytest.mark.parametrize(
    "given",
    [{}, {"Authorization": f"Basic {TOKEN}"}, {"Authorization": "Bearer"}, {"Authorization": f"Bearer {TOKEN[:-1]}"}],
    ids=["none", "basic", "empty", "wrong"],
)
@pytest.mark.parametrize("path", ["/invocations", DETECT, "/elsewhere"])
def test_nothing_is_inspected_without_the_token(
    server: InspectionServer, model: BrightnessModel, given: dict[str, str], path: str
) -> None:
    answer = call(server, "POST", path, encode_png(good_part()), {**PNG, "Authorization": "", **given})
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json["error"]["code"] == "Unauthorized"
    assert "inspect serve' printed" in answer.json["error"]["message"]
    assert model.seen == []


def test_the_largest_body_without_the_token_still_reads_why(server: InspectionServer) -> None:
    answer = call(server, "POST", "/invocations", bytes(20_000_000), {**PNG, "Authorization": "Bearer guess"})
    assert answer.status == 401


def test_health_is_told_to_anybody_but_pages_of_others(server: InspectionServer) -> None:
    assert call(server, "GET", "/ping", headers={"Authorization": ""}).status == 200
    foreign = call(server, "GET", "/ping", headers={"Origin": "http://evil.example"})
    assert (foreign.status, foreign.json["error"]["code"]) == (403, "Forbidden")


@pytest.mark.parametrize(
    "lie",
    [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}],
    ids=["host", "origin", "sandboxed", "script"],
)
@pytest.mark.parametrize("path", ["/invocations", DETECT])
def test_pages_of_others_are_not_let_in_even_with_the_token(
    server: InspectionServer, model: BrightnessModel, path: str, lie: dict[str, str]
) -> None:
    answer = call(server, "POST", path, encode_png(good_part()), {**PNG, **lie})
    assert answer.status == 403
    assert not any(name.lower().startswith("access-control") for name in answer.headers)
    assert model.seen == []


def test_names_that_were_allowed_lead_here(model: BrightnessModel) -> None:
    with InspectionServer(port=0, model=model, token=TOKEN, names=["Inspection.example"]) as server:
        server.start()
        answers = [
            call(server, "GET", "/ping", headers={"Host": host}) for host in ("inspection.example", "other.example")
        ]
    assert [answer.status for answer in answers] == [200, 403]


def test_a_container_of_sagemaker_takes_any_name_and_asks_for_no_token(model: BrightnessModel) -> None:
    with InspectionServer("0.0.0.0", 0, model, token=None, names=None) as server:
        server.start()
        headers = {**PNG, "Host": "model.aws.local:8080", "Authorization": ""}
        answer = call(server, "POST", "/invocations", encode_png(good_part()), headers)
        foreign = call(
            server, "POST", "/invocations", encode_png(good_part()), {**headers, "Origin": "http://evil.example"}
        )
    assert (answer.status, foreign.status) == (200, 403)


def test_a_failing_model_is_no_secret(server: InspectionServer, model: BrightnessModel) -> None:
    model.broken = True
    answer = call(server, "POST", "/invocations", encode_png(good_part()), PNG)
    assert (answer.status, answer.json["error"]["code"]) == (500, "ModelFailed")
    # What is inside stays in the log.
    assert "no such tensor" not in answer.json["error"]["message"]


def test_one_connection_carries_many_requests(server: InspectionServer) -> None:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    for path in ("/elsewhere", "/invocations", "/invocations"):
        connection.request("POST", path, encode_png(good_part()), {**PNG, **AUTHORIZED})
        answer = connection.getresponse()
        answer.read()
    assert answer.status == 200
    connection.close()


def test_concurrent_callers_each_get_their_own_answer(server: InspectionServer) -> None:
    verdicts: dict[int, str] = {}

    def ask(number: int) -> None:
        part = scratched_part() if number % 2 else good_part()
        verdicts[number] = parse_reply(call(server, "POST", "/invocations", encode_png(part), PNG).content).verdict

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == {number: "FAIL" if number % 2 else "PASS" for number in range(12)}


def test_a_model_that_cannot_be_loaded_stops_the_server() -> None:
    def load() -> BrightnessModel:
        raise InputError("bundle", "a model")

    with InspectionServer(port=0, token=TOKEN) as server:
        server.load(load)
        server.serve_forever()
        assert isinstance(server.failure, InputError)


def test_an_address_in_use_is_refused_with_the_fix(server: InspectionServer) -> None:
    with pytest.raises(InputError, match="--port"):
        InspectionServer(port=server.port, token=TOKEN)


class TestClient:
    """``LookoutForVision``, against the server."""

    def test_detects(self, client: LookoutForVision, model: BrightnessModel) -> None:
        part = scratched_part()
        answer = client.detect_anomalies(
            ProjectName="boards", ModelVersion="1", Body=io.BytesIO(encode_png(part)), ContentType="image/png"
        )
        expected = detect_anomalies_answer(model.inspect(part))
        assert answer["DetectAnomalyResult"] == expected["DetectAnomalyResult"]
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200

    @pytest.mark.parametrize(
        "wrong",
        [
            {"ProjectName": "-boards"},
            {"ProjectName": "b/../../x"},
            {"ModelVersion": "latest"},
            {"ContentType": "image/webp"},
            {"Body": b""},
            {"Body": b"not an image"},
        ],
    )
    def test_refuses_as_the_service_did(self, client: LookoutForVision, wrong: dict[str, object]) -> None:
        call = {"ProjectName": "boards", "ModelVersion": "1", "Body": b"\x89PNG", "ContentType": "image/png"}
        with pytest.raises(client.exceptions.ValidationException) as refusal:
            client.detect_anomalies(**{**call, **wrong})
        assert refusal.value.response["Error"]["Code"] == "ValidationException"

    def test_the_route_refuses_what_a_client_might_send_unchecked(self, server: InspectionServer) -> None:
        path = DETECT.replace("boards", "b%20ards")
        answer = call(server, "POST", path, encode_png(good_part()), PNG)
        assert answer.status == 400
        assert answer.headers["x-amzn-ErrorType"] == "ValidationException"
        assert "ProjectName" in answer.json["Message"]

    def test_says_whether_the_model_is_hosted(self, client: LookoutForVision, server: InspectionServer) -> None:
        names = {"ProjectName": "boards", "ModelVersion": "1"}
        assert client.describe_model(**names)["ModelDescription"]["Status"] == "HOSTED"
        server.model = None
        assert client.start_model(**names) == {"Status": "STARTING_HOSTING"}
        with pytest.raises(client.exceptions.ConflictException):
            client.detect_anomalies(**names, Body=encode_png(good_part()), ContentType="image/png")

    def test_failures_are_told_apart_from_refusals(self, client: LookoutForVision, model: BrightnessModel) -> None:
        model.broken = True
        with pytest.raises(client.exceptions.InternalServerException):
            client.detect_anomalies(
                ProjectName="b", ModelVersion="1", Body=encode_png(good_part()), ContentType="image/png"
            )

    def test_sends_the_token_of_the_environment(
        self, server: InspectionServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        call = {"ProjectName": "b", "ModelVersion": "1", "Body": encode_png(good_part()), "ContentType": "image/png"}
        monkeypatch.delenv("DEFECTORY_SERVE_TOKEN", raising=False)
        without = LookoutForVision(endpoint_url=server.url)
        with pytest.raises(without.exceptions.AccessDeniedException, match="inspect serve' printed"):
            without.detect_anomalies(**call)
        monkeypatch.setenv("DEFECTORY_SERVE_TOKEN", TOKEN)
        assert "DetectAnomalyResult" in LookoutForVision(endpoint_url=server.url).detect_anomalies(**call)

    def test_hands_the_token_to_nobody_else(self) -> None:
        received: list[str | None] = []

        class Elsewhere(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                received.append(self.headers["Authorization"])
                self.send_response(200)
                self.end_headers()

            def do_POST(self) -> None:
                self.send_response(302)
                self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/other")
                self.end_headers()

        with HTTPServer(("127.0.0.1", 0), Elsewhere) as other:
            thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            client = LookoutForVision(endpoint_url=f"http://127.0.0.1:{other.server_port}", token=TOKEN)
            with pytest.raises(LookoutError):
                client.detect_anomalies(ProjectName="b", ModelVersion="1", Body=b"x", ContentType="image/png")
            other.shutdown()
            thread.join()
        assert received == []

    def test_nobody_there_is_an_error_with_the_fix(self, server: InspectionServer) -> None:
        with InspectionServer(port=0, token=TOKEN) as other:
            url = other.url
        with pytest.raises(LookoutError, match="Is the server running"):
            LookoutForVision(endpoint_url=url).describe_model(ProjectName="b", ModelVersion="1")

    def test_needs_one_place_to_call(self) -> None:
        with pytest.raises(InputError, match="endpoint_url, endpoint_name"):
            LookoutForVision()
