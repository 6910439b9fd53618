"""The training machine's function, with S3 as moto plays it."""

from __future__ import annotations

import io
import tarfile
from types import SimpleNamespace

import boto3
import numpy as np
import pytest

from defectory.aws.hosted_model import HostedModel
from defectory.errors import InputError
from defectory.inspection.gate import Figures, ModelComparison
from defectory.vision.images import encode_png
from lambdas.training_controller import handler as module

CONTEXT = SimpleNamespace(
    function_name="training-controller", memory_limit_in_mb=512, invoked_function_arn="arn", aws_request_id="1"
)


@pytest.fixture
def bucket(aws, monkeypatch):
    monkeypatch.setenv("TRAINING_BUCKET", "parts")
    monkeypatch.setenv("ENDPOINT_NAME", "factory-inspection")
    monkeypatch.setenv("ENDPOINT_KIND", "serverless")
    monkeypatch.setattr(HostedModel, "current", lambda self: None)
    module.environment.cache_clear()
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="parts")
    for key in ("datasets/boards/", "datasets/boards/normal/1.png", "test/normal/2.png"):
        client.put_object(Bucket="parts", Key=key, Body=b"png")
    yield client
    module.environment.cache_clear()


def archive(**files: bytes) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as packed:
        for name, data in files.items():
            member = tarfile.TarInfo(f"./{name.replace('_', '.')}")
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
    return content.getvalue()


def test_prepares_a_run(bucket):
    event = {"task": "prepare", "request": {"dataset": "datasets/boards/"}, "started": "2026-11-21T15:04:05.678Z"}
    run = module.handler(event, CONTEXT)
    assert run["name"] == "factory-inspection-20261121T150405678"
    assert run["dataset"] == "s3://parts/datasets/boards/"
    assert run["endpoint_exists"] is False


def test_a_folder_without_files_is_no_dataset(bucket):
    bucket.put_object(Bucket="parts", Key="datasets/empty/", Body=b"")
    event = {"task": "prepare", "request": {"dataset": "datasets/empty/"}, "started": "2026-11-21T15:04:05.678Z"}
    with pytest.raises(InputError, match="Upload normal/ and anomaly/"):
        module.handler(event, CONTEXT)


def test_judges_by_what_the_evaluation_left_in_the_bucket(bucket, measured):
    figures = Figures(model_version="v", normal=9, anomalous=9, auroc=0.5, escapes=4, overkill=4, review=0)
    content = ModelComparison(candidate=figures, test_digest="t").model_dump_json().encode()
    bucket.put_object(Bucket="parts", Key="models/e/model.tar.gz", Body=archive(evaluation_json=content))
    event = {"task": "judge", "evaluation": "s3://parts/models/e/model.tar.gz", "gate": {}}
    outcome = module.handler(event, CONTEXT)
    assert outcome["accepted"] is False
    assert "AUROC 0.5000" in outcome["reasons"][0]
    assert measured("TrainingRuns") == {("REJECTED",): [1.0]}


@pytest.mark.parametrize(
    ("uri", "content", "said"),
    [
        ("s3://parts/e.tar.gz", archive(other_json=b"{}"), "evaluation.json"),
        ("s3://parts/e.tar.gz", b"no archive", "can be read"),
        ("s3://elsewhere/e.tar.gz", b"", "s3://parts/"),
    ],
)
def test_what_is_no_evaluation_is_refused(bucket, uri, content, said):
    bucket.put_object(Bucket="parts", Key="e.tar.gz", Body=content)
    with pytest.raises(InputError, match=said):
        module.handler({"task": "judge", "evaluation": uri, "gate": {}}, CONTEXT)


def test_verifies_with_an_image_of_the_test_set(bucket, monkeypatch, measured):
    asked = []

    def ask(self, image, content_type):
        asked.append((image, content_type))
        return b'{"model_version": "v"}'

    monkeypatch.setattr(HostedModel, "ask", ask)
    photo = encode_png(np.full((8, 8, 3), 90, np.uint8))
    bucket.put_object(Bucket="parts", Key="test/normal/2.png", Body=photo)
    event = {"task": "verify", "test": "s3://parts/test/", "model_version": "v"}
    assert module.handler(event, CONTEXT) == {"model_version": "v"}
    assert asked == [(photo, "image/png")]
    assert measured("TrainingRuns") == {("IN_SERVICE",): [1.0]}


def test_where_a_function_serves_the_model_in_service_is_the_one_last_put_there(bucket, monkeypatch):
    monkeypatch.setenv("ENDPOINT_KIND", "lambda")
    prepare = {"task": "prepare", "request": {"dataset": "datasets/boards/"}, "started": "2026-11-21T15:04:05.678Z"}
    assert module.handler(prepare, CONTEXT)["current"] == ""
    for run in ("run-1", "run-2"):
        model = {
            "run": run,
            "archive": f"s3://parts/models/{run}/output/model.tar.gz",
            "model_version": f"version of {run}",
            "reasons": ["AUROC rises."],
            "approved_at": "2026-11-21T16:04:05.678Z",
        }
        module.handler({"task": "put_in_service", "model": model}, CONTEXT)
        assert module.handler(prepare, CONTEXT)["current"] == model["archive"]
    keys = [entry["Key"] for entry in bucket.list_objects_v2(Bucket="parts", Prefix="approved/")["Contents"]]
    assert keys == ["approved/current.json", "approved/run-1.json", "approved/run-2.json"]


def test_an_unknown_task_is_refused(bucket):
    with pytest.raises(InputError, match="task"):
        module.handler({"task": "dance"}, CONTEXT)
