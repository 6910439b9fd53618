"""The file of cameras and rules in S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.client import BaseClient

from defectory.aws.clients import aws_client, code_behind, read_bounded, service_errors
from defectory.errors import ServiceError

if TYPE_CHECKING:
    from defectory.detection.safety.camera_rules import MonitoredCameras

KEY = "safety/cameras.json"
LIMIT = 1_000_000
"""Bytes of the file."""


class RulesFile:
    """``safety/cameras.json`` of ``bucket``.  Every method may raise ``ServiceError``."""

    def __init__(self, bucket: str, client: BaseClient | None = None) -> None:
        self._bucket = bucket
        self._client = client or aws_client("s3")

    @property
    def address(self) -> str:
        """Where it is."""
        return f"s3://{self._bucket}/{KEY}"

    def read(self) -> bytes | None:
        """Its content, one byte beyond the limit at most; None while no rules are set."""
        try:
            with service_errors(f"read {self.address}"):
                return read_bounded(self._client.get_object(Bucket=self._bucket, Key=KEY)["Body"], LIMIT)
        except ServiceError as error:
            if code_behind(error) == "NoSuchKey":
                return None
            raise

    def write(self, cameras: MonitoredCameras) -> None:
        """Put ``cameras`` in force, from the next image on."""
        with service_errors(f"write {self.address}"):
            self._client.put_object(
                Bucket=self._bucket,
                Key=KEY,
                Body=cameras.model_dump_json(indent=1).encode(),
                ContentType="application/json",
            )
