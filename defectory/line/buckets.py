"""The buckets of the inspection line in S3: what was uploaded, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from botocore.client import BaseClient
from botocore.exceptions import ClientError

from defectory.aws.clients import aws_client, error_code, service_errors
from defectory.errors import ImageError
from defectory.line.uploads import Upload

GONE = frozenset({"NoSuchKey", "NoSuchVersion"})
"""What S3 says of an object, or of a version of one, that is there no more."""

MAX_BYTES = 100_000_000
"""Larger files are refused before they are read."""


def read_upload(upload: Upload, client: BaseClient | None = None) -> bytes:
    """The content of exactly that version of the object.

    Raises:
        ImageError: it is too large, or was deleted.
        ServiceError: S3 refuses it.
    """
    return read_object(upload.bucket, upload.key, upload.version_id, client)


def read_object(bucket: str, key: str, version_id: str, client: BaseClient | None = None) -> bytes:
    """The content of a version of an image, of the latest one if ``version_id`` is "".

    Raises:
        ImageError: it is too large, or was deleted.
        ServiceError: S3 refuses it.
    """
    s3 = client or aws_client("s3")
    version = {"VersionId": version_id} if version_id else {}
    with service_errors(f"read s3://{bucket}/{key}"):
        try:
            reply = s3.get_object(Bucket=bucket, Key=key, **version)
        except ClientError as error:
            if error_code(error) not in GONE:
                raise
            raise ImageError(key, "there until it is inspected", fix="It was deleted; upload it again.") from None
        if reply["ContentLength"] > MAX_BYTES:
            reply["Body"].close()
            raise ImageError(key, f"at most {MAX_BYTES:,} bytes", reply["ContentLength"])
        content: bytes = reply["Body"].read()
    return content


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file to write: its name, content and content type."""

    name: str
    content: bytes
    content_type: str


class ResultsBucket:
    """Files of results, under ``<day of the upload>/<inspection id>/``.  Every method may raise ``ServiceError``."""

    def __init__(self, name: str, client: BaseClient | None = None) -> None:
        self._name = name
        self._client = client or aws_client("s3")

    @property
    def name(self) -> str:
        """The bucket's name."""
        return self._name

    def write(self, upload: Upload, files: list[StoredFile]) -> Mapping[str, str]:
        """Write the files of an inspection, in their order; return their keys by name.  Again changes nothing."""
        keys = {file.name: f"{upload.day}/{upload.inspection_id}/{file.name}" for file in files}
        for file in files:
            with service_errors(f"write s3://{self._name}/{keys[file.name]}"):
                self._client.put_object(
                    Bucket=self._name, Key=keys[file.name], Body=file.content, ContentType=file.content_type
                )
        return keys
