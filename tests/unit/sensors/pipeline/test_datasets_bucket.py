"""The data bucket: complete datasets only, each file with its type, refusals in our own words."""

import boto3
import pytest

from defectory.errors import ServiceError
from defectory.sensors.pipeline.finishing import DELIVERED_FILES
from defectory.sensors.service.datasets_bucket import DatasetsBucket


@pytest.fixture
def folder(tmp_path):
    for name in DELIVERED_FILES:
        (tmp_path / name).write_text(name)
    return tmp_path


def test_a_dataset_is_complete_once_its_manifest_is_there(bucket, folder):
    bucket.upload_dataset("ann", "r1", "etcher", folder)
    (folder / "dataset.json").unlink()
    bucket.upload_dataset("ann", "r1", "half-way", folder)
    bucket.upload_index("ann", "r1", folder / "report.html")

    assert bucket.complete_datasets("ann", "r1") == {"etcher"}


def test_requests_and_users_are_kept_apart(bucket, folder):
    bucket.upload_dataset("ann", "r1", "etcher", folder)
    bucket.upload_dataset("ann", "r10", "mill", folder)
    bucket.upload_dataset("anna", "r1", "oven", folder)

    assert bucket.complete_datasets("ann", "r1") == {"etcher"}
    assert bucket.complete_datasets("bob", "r1") == frozenset()


def test_files_are_served_as_what_they_are(bucket, folder):
    bucket.upload_dataset("ann", "r1", "etcher", folder)
    bucket.upload_index("ann", "r1", folder / "report.html")

    def content_type(name):
        return boto3.client("s3").head_object(Bucket="datasets", Key=f"ann/r1/{name}")["ContentType"]

    assert content_type("etcher/data.csv").startswith("text/csv")
    assert content_type("etcher/report.html").startswith("text/html")
    assert content_type("etcher/dataset.json") == "application/json"
    assert content_type("index.html").startswith("text/html")


def test_a_refused_upload_says_where(aws, folder):
    with pytest.raises(ServiceError, match=r"no-such-bucket/ann/r1/etcher/data\.csv"):
        DatasetsBucket("no-such-bucket").upload_dataset("ann", "r1", "etcher", folder)


def test_a_refused_listing_says_where(aws):
    with pytest.raises(ServiceError, match="s3://no-such-bucket/ann/r1/"):
        DatasetsBucket("no-such-bucket").complete_datasets("ann", "r1")
