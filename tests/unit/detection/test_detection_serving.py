"""A detector served by HTTP: what is answered to an image; the door itself is tested with ``InspectionServer``."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from defectory.detection.detectors.detector import Detection, DetectionReply
from defectory.detection.serving import DetectionServer
from defectory.errors import InputError
from defectory.vision.images import encode_png

TOKEN = "a-token-of-these-tests"
PHOTO = encode_png(np.full((40, 60, 3), 90, np.uint8))
CONE = Detection(label="cone", score=0.9, box=(3.0, 4.5, 10.0, 20.0))
DOUBTFUL = Detection(label="pallet", score=0.3, box=(30.0, 5.0, 12.0, 8.0))


class TwoObjects:
    """Finds a cone, and something that may be a pallet."""

    broken = False

    def reply(self, image: NDArray[np.uint8], *, min_score: float | None = None) -> DetectionReply:
        if self.broken:
            raise InputError("model", "one that takes its input (a tensor's secret)")
        least = 0.5 if min_score is None else min_score
        return DetectionReply.of(
            image, [item for item in (CONE, DOUBTFUL) if item.score >= least], "3f9a1c2b", ["cone"]
        )


@pytest.fixture(scope="module")
def running() -> Iterator[DetectionServer]:
    with DetectionServer(port=0, token=TOKEN) as server:
        server.start()
        yield server


@pytest.fixture
def server(running: DetectionServer) -> DetectionServer:
    running.model = TwoObjects()
    return running


def call(server: DetectionServer, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
    """Status and content of the answer to somebody who has the token, unless ``headers`` say otherwise."""
    sent = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "image/png", **headers}
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    try:
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_an_image_is_answered_with_its_size_and_objects(server: DetectionServer) -> None:
    expected = {"label": "cone", "score": 0.9, "box": [3.0, 4.5, 10.0, 20.0]}
    answer = {"width": 60, "height": 40, "detections": [expected], "model_version": "3f9a1c2b", "classes": ["cone"]}
    assert call(server, "POST", "/invocations", PHOTO) == (200, answer)


def test_the_caller_may_choose_the_score(server: DetectionServer) -> None:
    for score, labels in (("0.2", ["cone", "pallet"]), ("0.95", [])):
        status, answer = call(server, "POST", f"/invocations?min_score={score}", PHOTO)
        assert (status, [item["label"] for item in answer["detections"]]) == (200, labels)


def test_health_is_told_without_a_token_once_the_detector_is_there(server: DetectionServer) -> None:
    assert call(server, "GET", "/ping", Authorization="") == (200, {})
    server.model = None
    assert call(server, "GET", "/ping", Authorization="")[0] == 503
    assert call(server, "POST", "/invocations", PHOTO)[0] == 503


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code"),
    [
        ("/invocations", b"none", {}, 400, "BadImage"),
        ("/invocations", b"a,b", {"Content-Type": "text/csv"}, 415, "UnsupportedMediaType"),
        ("/invocations", PHOTO, {"Authorization": ""}, 401, "Unauthorized"),
        ("/invocations", PHOTO, {"Origin": "http://evil.example"}, 403, "Forbidden"),
        ("/invocations?min_score=2", PHOTO, {}, 400, "BadScore"),
        ("/invocations?min_score=nan", PHOTO, {}, 400, "BadScore"),
        ("/invocations?min_score=", PHOTO, {}, 400, "BadScore"),
        ("/2020-11-20/projects/p/models/1/detect", PHOTO, {}, 404, "NotFound"),
    ],
    ids=["no-image", "table", "no-token", "foreign-page", "above-1", "no-number", "empty", "lookout"],
)
def test_refusals_say_what_was_wrong(
    server: DetectionServer, path: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answered, answer = call(server, "POST", path, body, **headers)
    assert (answered, answer["error"]["code"]) == (status, code)
    assert answer["error"]["message"]
    if status == 401:
        assert "'defectory detect serve' printed" in answer["error"]["message"]


def test_lines_of_images_are_answered_by_lines(server: DetectionServer) -> None:
    image = base64.b64encode(PHOTO).decode()
    lines = [{"image_id": "a", "image": image}, {"image_id": "b", "image": "bm9uZQ=="}]
    body = "\n".join(map(json.dumps, lines)).encode()
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    sent = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/jsonlines"}
    connection.request("POST", "/invocations?min_score=0.2", body, sent)
    answer = connection.getresponse()
    first, second = map(json.loads, answer.read().splitlines())
    connection.close()
    assert (answer.status, answer.getheader("Content-Type")) == (200, "application/jsonlines")
    assert (first["image_id"], [item["label"] for item in first["detections"]]) == ("a", ["cone", "pallet"])
    assert (second["image_id"], second["error"]["code"]) == ("b", "BadImage")


def test_a_transform_job_is_told_how_to_ask(server: DetectionServer) -> None:
    status, parameters = call(server, "GET", "/execution-parameters")
    assert (status, parameters["BatchStrategy"]) == (200, "SINGLE_RECORD")
    # SageMaker refuses more in all.
    assert 1 <= parameters["MaxConcurrentTransforms"] * parameters["MaxPayloadInMB"] <= 100


def test_why_the_model_failed_stays_in_the_log(server: DetectionServer) -> None:
    server.model = TwoObjects()
    server.model.broken = True
    status, answer = call(server, "POST", "/invocations", PHOTO)
    assert (status, answer["error"]["code"]) == (500, "ModelFailed")
    assert "secret" not in answer["error"]["message"]
