"""The detector in service, in a process or behind an endpoint; S3 is moto's, detectors always answer the same."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import boto3
import numpy as np
import pytest

from defectory.detection.detectors.detector import load_detector
from defectory.detection.served_detector import DetectionEndpoint, ServedDetector
from defectory.errors import ImageError
from defectory.inspection.approved_models import ApprovedModel, ApprovedModels
from defectory.inspection.line.served_model import ModelArchives
from defectory.inspection.training_run import DeploymentError
from defectory.line.endpoint import EndpointAnswerError, EndpointMissingError, ModelEndpoint
from defectory.vision.images import encode_png, load_image
from lambdas.check_safety import handler as module
from tests.support.constant_detector import constant_detector

CONTEXT = SimpleNamespace(
    function_name="check-safety", memory_limit_in_mb=512, invoked_function_arn="arn", aws_request_id="1"
)
PHOTO = encode_png(np.full((40, 60, 3), 90, np.uint8))
KEY = "models/run-1/model.tar.gz"


@pytest.fixture
def s3(aws):
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="parts")
    client.put_object(Bucket="parts", Key=KEY, Body=constant_detector().to_bytes())
    return client


@pytest.fixture
def served(s3) -> ServedDetector:
    return ServedDetector(ApprovedModels("parts", s3), ModelArchives(load_detector, s3))


def serve(s3) -> None:
    model = ApprovedModel(
        run="run-1", archive=f"s3://parts/{KEY}", model_version="v", approved_at=datetime.now(UTC)
    )  # fmt: skip
    ApprovedModels("parts", s3).put_in_service(model)


def test_an_image_is_answered_with_its_objects_and_the_detectors_version(s3, served):
    serve(s3)
    reply = served.detect(PHOTO, "gate 3/a.png")
    [cone] = reply.detections
    assert (reply.width, reply.height, reply.model_version) == (60, 40, constant_detector().card.version)
    assert cone.label == "cone"
    assert cone.box == pytest.approx([15, 10, 30, 20], abs=0.01)


def test_what_cannot_be_answered_says_why(s3, served):
    with pytest.raises(EndpointMissingError, match="Train one"):
        served.detect(PHOTO, "a.png")
    serve(s3)
    with pytest.raises(ImageError, match=r"a\.png"):
        served.detect(b"none", "gate 3/a.png")
    s3.put_object(Bucket="parts", Key=KEY, Body=b"none")
    with pytest.raises(EndpointAnswerError, match=KEY):
        served.detect(PHOTO, "a.png")


def test_a_new_detector_is_verified_by_an_image_of_the_test_set(s3, monkeypatch):
    for name, value in {"TRAINING_BUCKET": "parts", "RESULTS_BUCKET": "results", "RETENTION_DAYS": "30"}.items():
        monkeypatch.setenv(name, value)
    module.environment.cache_clear()
    module.archives.cache_clear()
    s3.put_object(Bucket="parts", Key="test/images/1.png", Body=PHOTO)
    version = constant_detector().card.version
    event = {"archive": f"s3://parts/{KEY}", "test": "s3://parts/test/"}
    assert module.handler({"verify": {**event, "model_version": version}}, CONTEXT) == {"model_version": version}
    with pytest.raises(DeploymentError):
        module.handler({"verify": {**event, "model_version": "another"}}, CONTEXT)
    module.environment.cache_clear()
    module.archives.cache_clear()


class Runtime:
    """SageMaker's runtime with a detector behind it, or with an answer."""

    def __init__(self, answer: bytes | None = None) -> None:
        self.answer, self.widths = answer, []

    def invoke_endpoint(self, *, Body: bytes, **request: str) -> dict[str, Any]:
        image = load_image(Body)
        assert len(Body) <= 20_000
        self.widths.append(image.shape[1])
        return {"Body": io.BytesIO(self.answer or constant_detector().reply(image).model_dump_json().encode())}


def test_an_endpoint_answers_in_pixels_of_the_image_also_where_it_was_sent_smaller(monkeypatch):
    monkeypatch.setattr("defectory.line.payload.PAYLOAD_LIMIT", 20_000)
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    runtime = Runtime()
    reply = DetectionEndpoint(ModelEndpoint("detection", runtime)).detect(encode_png(noise), "a.png")
    assert runtime.widths[0] < 320
    assert (reply.width, reply.height) == (320, 240)
    assert reply.detections[0].box == pytest.approx((80, 60, 160, 120), abs=0.01)


def test_an_endpoint_that_answers_nonsense_is_named():
    with pytest.raises(EndpointAnswerError, match="detection answered nonsense"):
        DetectionEndpoint(ModelEndpoint("detection", Runtime(b'{"verdict": "PASS"}'))).detect(PHOTO, "a.png")
