"""The data bucket in S3: datasets under ``<user id>/<request id>/<machine slug>/``, each complete or not to be seen."""

from __future__ import annotations

from pathlib import Path

from boto3.exceptions import S3UploadFailedError
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from defectory.aws.clients import aws_client, error_code, service_errors
from defectory.errors import InputError, ServiceError
from defectory.sensors.dataset import MANIFEST

CONTENT_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
    ".json": "application/json",
    ".py": "text/x-python; charset=utf-8",
    ".html": "text/html; charset=utf-8",
}
INDEX = "index.html"
LIST_LIMIT = 10_000_000
"""Bytes of a list of machines: ten thousand names of any length that a name may have, and more."""


class DatasetsBucket:
    """The bucket that users read.  Every method may raise ``ServiceError``."""

    def __init__(self, name: str, client: BaseClient | None = None) -> None:
        self._name = name
        self._client = client or aws_client("s3")

    def complete_datasets(self, user_id: str, request_id: str) -> frozenset[str]:
        """Slugs of the machines whose dataset is complete, that is, whose manifest is there."""
        prefix = f"{user_id}/{request_id}/"
        with service_errors(f"list s3://{self._name}/{prefix}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=prefix)
            keys = [entry["Key"].removeprefix(prefix) for page in pages for entry in page.get("Contents", ())]
        return frozenset(key.removesuffix(f"/{MANIFEST}") for key in keys if key.endswith(f"/{MANIFEST}"))

    def upload_dataset(self, user_id: str, request_id: str, slug: str, folder: Path) -> None:
        """Upload the files of a finished dataset folder, the manifest last: where it is, everything is."""
        paths = sorted(folder.iterdir(), key=lambda path: (path.name == MANIFEST, path.name))
        for path in paths:
            self._upload(path, f"{user_id}/{request_id}/{slug}/{path.name}")

    def upload_index(self, user_id: str, request_id: str, page: Path) -> None:
        """Upload the request's own page."""
        self._upload(page, f"{user_id}/{request_id}/{INDEX}")

    def read(self, key: str) -> bytes:
        """An object's content, of up to `LIST_LIMIT` bytes.

        Raises:
            InputError: there is none, or it is larger.
        """
        with service_errors(f"read s3://{self._name}/{key}"):
            try:
                reply = self._client.get_object(Bucket=self._name, Key=key)
            except ClientError as error:
                if error_code(error) in ("NoSuchKey", "404"):
                    fix = "It is gone, or was never there; upload it."
                    raise InputError(key, f"an object in s3://{self._name}", fix=fix) from None
                raise
            if reply["ContentLength"] > LIST_LIMIT:
                reply["Body"].close()
                raise InputError(key, f"at most {LIST_LIMIT:,} bytes", reply["ContentLength"])
            content: bytes = reply["Body"].read()
        return content

    def write(self, key: str, content: bytes) -> None:
        """Write an object that is no dataset: the manifest of a fleet."""
        with service_errors(f"write s3://{self._name}/{key}"):
            self._client.put_object(Bucket=self._name, Key=key, Body=content, ContentType="application/jsonlines")

    def _upload(self, path: Path, key: str) -> None:
        with service_errors(f"upload s3://{self._name}/{key}"):
            try:
                self._client.upload_file(
                    str(path), self._name, key, ExtraArgs={"ContentType": CONTENT_TYPES[path.suffix]}
                )
            except S3UploadFailedError as error:
                raise ServiceError(str(error)) from error
