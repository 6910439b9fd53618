"""The function that holds the model itself: S3 is moto's, the models are real ones, small."""

from __future__ import annotations

import io
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from defectory.errors import ServiceError
from defectory.inspection.approved_models import CURRENT, ApprovedModel, ApprovedModels
from defectory.inspection.hosting import write_hosted
from defectory.inspection.line.served_model import LARGEST_ARCHIVE, ModelArchives, ServedModel
from defectory.inspection.model import Model, load_model
from defectory.inspection.samples import write_samples
from defectory.inspection.training import TrainingOptions, train
from defectory.inspection.training_run import DeploymentError
from defectory.line.endpoint import EndpointAnswerError, EndpointMissingError
from defectory.vision.images import load_image
from lambdas.inspect_with_model import handler as module


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("parts")
    write_samples(folder, good=6, defective=0, seed=1)
    return sorted((folder / "normal").iterdir())


@pytest.fixture(scope="module")
def models(photos) -> list[Model]:
    return [train(photos[:count], options=TrainingOptions(resolution=64)) for count in (4, 6)]


@pytest.fixture
def bundles(models, tmp_path) -> list[bytes]:
    for number, model in enumerate(models):
        model.save(tmp_path / f"{number}.tar.gz")
    return [(tmp_path / f"{number}.tar.gz").read_bytes() for number in range(len(models))]


@pytest.fixture
def approved(s3) -> ApprovedModels:
    s3.create_bucket(Bucket="parts")
    return ApprovedModels("parts", s3)


@pytest.fixture
def put(s3, approved):
    """Puts an archive into the bucket, and in service."""

    def archive(name: str, content: bytes) -> str:
        s3.put_object(Bucket="parts", Key=f"models/{name}/model.tar.gz", Body=content)
        uri = f"s3://parts/models/{name}/model.tar.gz"
        approved.put_in_service(ApprovedModel(run=name, archive=uri, model_version=name, approved_at=datetime.now(UTC)))
        return uri

    return archive


@pytest.fixture
def served(s3, approved) -> ServedModel:
    return ServedModel(approved, ModelArchives(load_model, s3))


def test_answers_as_the_model_itself_and_switches_with_the_record(served, put, bundles, models, photos):
    content = photos[0].read_bytes()
    for number in (0, 1, 0):
        put(f"run-{number}", bundles[number])
        reply = served.inspect(content, "image/png")
        inspection = models[number].inspect(load_image(photos[0]))
        assert (reply.model_version, reply.score) == (models[number].card.version, inspection.score)


def test_a_model_is_fetched_once_while_it_is_in_service(s3, served, put, bundles, photos, monkeypatch):
    put("run-0", bundles[0])
    fetched = []
    get_object = s3.get_object
    monkeypatch.setattr(s3, "get_object", lambda **request: fetched.append(request["Key"]) or get_object(**request))

    for _ in range(3):
        served.inspect(photos[0].read_bytes(), "image/png")

    assert fetched.count("models/run-0/model.tar.gz") == 1
    assert fetched.count(CURRENT) == 3


def test_what_a_training_job_hands_over_is_served_without_running_any_of_it(served, put, models, photos, tmp_path):
    source = tmp_path / "source"
    (source / "defectory").mkdir(parents=True)
    (source / "inference.py").write_text("raise SystemExit('never run')")
    write_hosted(models[0].files(), source, tmp_path / "hosted")
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        archive.add(tmp_path / "hosted", ".")
    put("run-0", content.getvalue())

    assert served.inspect(photos[0].read_bytes(), "image/png").model_version == models[0].card.version


def test_without_a_model_it_says_what_to_do(served):
    with pytest.raises(EndpointMissingError, match="Train one"):
        served.inspect(b"", "image/png")


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00broken"])
def test_an_archive_that_is_no_bundle_is_named_and_the_next_one_serves(served, put, bundles, photos, content):
    uri = put("run-0", content)
    with pytest.raises(EndpointAnswerError, match=uri):
        served.inspect(photos[0].read_bytes(), "image/png")

    put("run-1", bundles[1])
    assert served.inspect(photos[0].read_bytes(), "image/png").score >= 0


def test_an_archive_that_is_gone_is_an_error_of_the_service(s3, served, put, bundles, photos):
    uri = put("run-0", bundles[0])
    s3.delete_object(Bucket="parts", Key="models/run-0/model.tar.gz")

    with pytest.raises(ServiceError, match=uri):
        served.inspect(photos[0].read_bytes(), "image/png")


def test_an_archive_larger_than_memory_is_not_read(s3, served, put, bundles, photos, monkeypatch):
    put("run-0", bundles[0])
    monkeypatch.setattr("defectory.inspection.line.served_model.LARGEST_ARCHIVE", len(bundles[0]) - 1)
    assert len(bundles[0]) < LARGEST_ARCHIVE

    with pytest.raises(EndpointAnswerError, match="larger than"):
        served.inspect(photos[0].read_bytes(), "image/png")


@pytest.mark.parametrize(
    "record",
    [
        b"{}",
        b"nonsense",
        b'{"run": "r", "archive": "s3://elsewhere/model.tar.gz", "model_version": "v", "approved_at": "2026-11-21"}',
    ],
)
def test_a_record_that_is_none_is_an_answer_nobody_can_use(s3, served, record):
    s3.put_object(Bucket="parts", Key=CURRENT, Body=record)

    with pytest.raises(EndpointAnswerError, match=CURRENT):
        served.inspect(b"", "image/png")


def test_an_image_the_model_fails_on_is_told_as_such(served, put, bundles):
    put("run-0", bundles[0])

    with pytest.raises(EndpointAnswerError, match="failed on the image"):
        served.inspect(b"no image", "image/png")


class TestHandler:
    """Uploads, and models to be verified."""

    @pytest.fixture(autouse=True)
    def _environment(self, monkeypatch, s3, approved):
        for name, value in {"TRAINING_BUCKET": "parts", "RESULTS_BUCKET": "results", "RETENTION_DAYS": "30"}.items():
            monkeypatch.setenv(name, value)
        caches = (module.environment, module.archives, module.inspector)
        for cache in caches:
            cache.cache_clear()
        yield
        for cache in caches:
            cache.cache_clear()

    def test_an_upload_ends_as_a_record_with_its_files(self, s3, upload, put, bundles, models, photos, context):
        put("run-0", bundles[0])
        record = module.handler(upload(photos[0].read_bytes()).model_dump(mode="json"), context)

        assert (record["status"], record["model_version"]) == ("INSPECTED", models[0].card.version)
        assert s3.head_object(Bucket="results", Key=record["heatmap_key"])["ContentLength"]

    def test_a_file_that_is_no_image_ends_as_a_record_without_any_model(self, upload, context):
        assert module.handler(upload(b"no image").model_dump(mode="json"), context)["status"] == "UNREADABLE"

    def test_a_model_is_verified_by_an_image_of_the_test_set_and_not_put_in_service(
        self, s3, approved, bundles, models, photos, context
    ):
        s3.put_object(Bucket="parts", Key="models/new/model.tar.gz", Body=bundles[0])
        s3.put_object(Bucket="parts", Key="test/normal/1.png", Body=photos[0].read_bytes())
        event = {"archive": "s3://parts/models/new/model.tar.gz", "test": "s3://parts/test/"}

        answer = module.handler({"verify": {**event, "model_version": models[0].card.version}}, context)

        assert answer == {"model_version": models[0].card.version}
        assert approved.current() is None
        with pytest.raises(DeploymentError):
            module.handler({"verify": {**event, "model_version": "another"}}, context)


def test_scores_that_are_no_numbers_are_nonsense(served, put, bundles, photos, monkeypatch):
    put("run-0", bundles[0])
    inspect = Model.inspect

    def endless(self, image):
        inspection = inspect(self, image)
        object.__setattr__(inspection, "score", float("inf"))
        return inspection

    monkeypatch.setattr(Model, "inspect", endless)
    with pytest.raises(EndpointAnswerError, match="nonsense"):
        served.inspect(photos[0].read_bytes(), "image/png")
