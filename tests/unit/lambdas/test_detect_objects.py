"""The function that detects: S3 is moto's, the detectors are real ones that always answer the same."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import boto3
import numpy as np
import pytest

from defectory.errors import ImageError, InputError
from defectory.inspection.approved_models import ApprovedModel, ApprovedModels
from defectory.inspection.training_run import DeploymentError
from defectory.line.endpoint import EndpointAnswerError, EndpointMissingError
from defectory.vision.images import encode_png
from lambdas.detect_objects import handler as module
from tests.support.constant_detector import constant_detector

CONTEXT = SimpleNamespace(
    function_name="detect-objects", memory_limit_in_mb=512, invoked_function_arn="arn", aws_request_id="1"
)
PHOTO = encode_png(np.full((40, 60, 3), 90, np.uint8))
ARCHIVE = "s3://parts/models/run-1/model.tar.gz"


@pytest.fixture
def s3(aws, monkeypatch):
    monkeypatch.setenv("TRAINING_BUCKET", "parts")
    caches = (module.environment, module.archives, module.served)
    for cache in caches:
        cache.cache_clear()
    client = boto3.client("s3", region_name="us-east-1")
    for bucket in ("parts", "uploads"):
        client.create_bucket(Bucket=bucket)
    client.put_object(Bucket="uploads", Key="gate 3/a.png", Body=PHOTO)
    client.put_object(Bucket="parts", Key="models/run-1/model.tar.gz", Body=constant_detector().to_bytes())
    yield client
    for cache in caches:
        cache.cache_clear()


def serve() -> None:
    model = ApprovedModel(run="run-1", archive=ARCHIVE, model_version="v", approved_at=datetime.now(UTC))
    ApprovedModels("parts").put_in_service(model)


def ask(**changes: object) -> dict:
    return module.handler({"bucket": "uploads", "key": "gate 3/a.png", "size": 7, **changes}, CONTEXT)


def test_an_image_is_answered_with_its_objects_and_the_detectors_version(s3):
    serve()
    [cone] = (answer := ask())["detections"]
    assert (answer["width"], answer["height"]) == (60, 40)
    assert answer["model_version"] == constant_detector().card.version
    assert cone["label"] == "cone"
    assert cone["box"] == pytest.approx([15, 10, 30, 20], abs=0.01)


def test_without_a_detector_it_says_what_to_do(s3):
    with pytest.raises(EndpointMissingError, match="Train one"):
        ask()


def test_what_is_no_image_is_told_as_such_and_what_is_no_reference_too(s3):
    serve()
    s3.put_object(Bucket="uploads", Key="b.png", Body=b"none")
    for key, error in (("b.png", ImageError), ("absent.png", ImageError), ("", InputError)):
        with pytest.raises(error):
            ask(key=key)


def test_a_candidate_is_verified_by_an_image_of_the_test_set(s3):
    s3.put_object(Bucket="parts", Key="test/images/1.png", Body=PHOTO)
    version = constant_detector().card.version
    event = {"archive": ARCHIVE, "test": "s3://parts/test/"}
    assert module.handler({"verify": {**event, "model_version": version}}, CONTEXT) == {"model_version": version}
    with pytest.raises(DeploymentError):
        module.handler({"verify": {**event, "model_version": "another"}}, CONTEXT)


def test_a_detector_that_is_none_is_named(s3):
    serve()
    s3.put_object(Bucket="parts", Key="models/run-1/model.tar.gz", Body=b"none")
    with pytest.raises(EndpointAnswerError, match=ARCHIVE):
        ask()
