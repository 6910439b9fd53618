"""The models that the gate has approved, where a function serves them: records in the training bucket.

approved/<run>.json     each approved model: its archive, version, and the gate's reasons
approved/current.json   a copy of the one in service: written at once or not at all, so that a switch is never half done
"""

from __future__ import annotations

from datetime import datetime

from botocore.client import BaseClient
from pydantic import Field, ValidationError

from defectory.aws.clients import aws_client, code_behind, service_errors
from defectory.errors import InputError, ServiceError, shorten
from defectory.validation import FrozenModel

FOLDER = "approved/"
CURRENT = f"{FOLDER}current.json"


class ApprovedModel(FrozenModel):
    """A model that may serve: ``archive`` is its bundle, ``s3://`` and below the bucket of the record."""

    run: str = Field(pattern=r"^[A-Za-z0-9-]{1,63}$")
    archive: str = Field(pattern=r"^s3://[a-z0-9.-]{3,63}/.{1,1024}$")
    model_version: str = Field(min_length=1, max_length=64)
    reasons: tuple[str, ...] = ()
    approved_at: datetime


class ApprovedModels:
    """The records in ``bucket``.  Every method may raise ``ServiceError``."""

    def __init__(self, bucket: str, client: BaseClient | None = None) -> None:
        self._bucket = bucket
        self._client = client or aws_client("s3")

    def current(self) -> ApprovedModel | None:
        """The model in service; None while there is none.

        Raises:
            InputError: what is there is no such record, or points out of the bucket.
        """
        place = f"s3://{self._bucket}/{CURRENT}"
        try:
            with service_errors(f"read {place}"):
                content = self._client.get_object(Bucket=self._bucket, Key=CURRENT)["Body"].read()
        except ServiceError as error:
            if code_behind(error) == "NoSuchKey":
                return None
            raise
        try:
            model = ApprovedModel.model_validate_json(content)
        except ValidationError as error:
            raise InputError(place, f"the record of an approved model ({shorten(str(error))})") from None
        if not model.archive.startswith(f"s3://{self._bucket}/"):
            raise InputError(place, "a record of a model in the same bucket", model.archive)
        return model

    def put_in_service(self, model: ApprovedModel) -> None:
        """Keep the record of ``model``, and let it serve from now on."""
        content = model.model_dump_json(indent=2).encode()
        for key in (f"{FOLDER}{model.run}.json", CURRENT):
            with service_errors(f"write s3://{self._bucket}/{key}"):
                self._client.put_object(Bucket=self._bucket, Key=key, Body=content, ContentType="application/json")
