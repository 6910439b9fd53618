"""The training bucket in S3: datasets, the frozen test set, and what training jobs leave."""

from __future__ import annotations

import io
from urllib.parse import urlsplit

from botocore.client import BaseClient

from defectory.archives import ArchiveError, Limits, read_member, tar_members
from defectory.aws.clients import aws_client, service_errors
from defectory.errors import InputError

# An evaluation has a few KB; what is larger is something else.
LARGEST_ARCHIVE = 16 * 1024 * 1024


class TrainingBucket:
    """The bucket that jobs read from and write to.  Every method may raise ``ServiceError``."""

    def __init__(self, name: str, client: BaseClient | None = None) -> None:
        self.name = name
        self._client = client or aws_client("s3")

    def images(self, prefix: str) -> list[str]:
        """Keys of the files under ``prefix``, sorted; the empty objects that stand for folders left out."""
        with service_errors(f"list s3://{self.name}/{prefix}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
            keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return sorted(key for key in keys if not key.endswith("/"))

    def read(self, key: str) -> bytes:
        """An object's content."""
        with service_errors(f"read s3://{self.name}/{key}"):
            content: bytes = self._client.get_object(Bucket=self.name, Key=key)["Body"].read()
            return content

    def read_from_archive(self, uri: str, name: str) -> bytes:
        """The file ``name`` in the ``tar.gz`` at ``uri``.

        Raises:
            InputError: the archive cannot be read or has no such file.
        """
        place = urlsplit(uri)
        if place.scheme != "s3" or place.netloc != self.name:
            raise InputError("archive", f"in s3://{self.name}/", uri)
        with service_errors(f"read {uri}"):
            reply = self._client.get_object(Bucket=self.name, Key=place.path.lstrip("/"))
            packed = reply["Body"].read(LARGEST_ARCHIVE + 1)
        if len(packed) > LARGEST_ARCHIVE:
            raise InputError(uri, f"an archive of at most {LARGEST_ARCHIVE} bytes")
        try:
            content = read_member(tar_members(io.BytesIO(packed), Limits(LARGEST_ARCHIVE)), name, LARGEST_ARCHIVE)
        except ArchiveError as error:
            raise InputError(uri, error.rule, error.got, error.fix) from error
        if content is None:
            raise InputError(uri, f"an archive with {name} in it")
        return content
