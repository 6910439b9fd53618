"""Objects in S3 that are too large to be held in memory."""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.client import BaseClient

from defectory.local.cloud import LocalCloud

pytestmark = pytest.mark.xdist_group("local-cloud")

SIZE = 20_000_001


@pytest.fixture(scope="module")
def s3(cloud: LocalCloud) -> BaseClient:
    return cloud.client("s3")


@pytest.fixture(scope="module")
def content() -> bytes:
    return random.Random(7).randbytes(SIZE)


@pytest.fixture(scope="module")
def bucket(s3: BaseClient) -> Iterator[str]:
    s3.create_bucket(Bucket="large-things")
    s3.put_bucket_versioning(Bucket="large-things", VersioningConfiguration={"Status": "Enabled"})
    yield "large-things"


@pytest.fixture(scope="module")
def versions(s3: BaseClient, bucket: str, content: bytes) -> tuple[str, str]:
    """Two versions of one object: the content, and the content reversed."""
    old = s3.put_object(Bucket=bucket, Key="year/data.csv", Body=content)["VersionId"]
    new = s3.put_object(Bucket=bucket, Key="year/data.csv", Body=content[::-1])["VersionId"]
    return old, new


def test_object_comes_back_as_it_went(s3: BaseClient, bucket: str, versions: tuple[str, str], content: bytes) -> None:
    reply = s3.get_object(Bucket=bucket, Key="year/data.csv")
    assert reply["ContentLength"] == SIZE
    assert reply["VersionId"] == versions[1]
    body = reply["Body"].read()
    assert body == content[::-1]
    assert reply["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert s3.head_object(Bucket=bucket, Key="year/data.csv")["ContentLength"] == SIZE


def test_every_version_comes_back(s3: BaseClient, bucket: str, versions: tuple[str, str], content: bytes) -> None:
    for version, expected in zip(versions, (content, content[::-1]), strict=True):
        reply = s3.get_object(Bucket=bucket, Key="year/data.csv", VersionId=version)
        assert reply["Body"].read() == expected


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=5000000-15000000", slice(5_000_000, 15_000_001)),
        ("bytes=-7", slice(-7, None)),
        (f"bytes={SIZE - 1}-", slice(-1, None)),
    ],
)
def test_part_of_an_object_is_that_part(
    s3: BaseClient, bucket: str, versions: tuple[str, str], content: bytes, asked: str, part: slice
) -> None:
    reply = s3.get_object(Bucket=bucket, Key="year/data.csv", Range=asked)
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert reply["Body"].read() == content[::-1][part]


def test_upload_and_download_in_parts(s3: BaseClient, bucket: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(content)
    parts = TransferConfig(multipart_threshold=5_000_000, multipart_chunksize=6_000_000)
    s3.upload_file(str(tmp_path / "up"), bucket, "parts", Config=parts)
    s3.download_file(bucket, "parts", str(tmp_path / "down"), Config=parts)
    assert (tmp_path / "down").read_bytes() == content


def test_copy_and_deletion_leave_the_other_alone(
    s3: BaseClient, bucket: str, versions: tuple[str, str], content: bytes
) -> None:
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "year/data.csv"})
    s3.delete_object(Bucket=bucket, Key="copy")
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=bucket, Key="copy")
    assert s3.get_object(Bucket=bucket, Key="year/data.csv")["Body"].read() == content[::-1]
