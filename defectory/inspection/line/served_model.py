"""The model in service, in this very process: what stands in for an endpoint of SageMaker in a function."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from botocore.client import BaseClient

from defectory.aws.clients import aws_client, service_errors
from defectory.errors import InputError
from defectory.inspection.approved_models import ApprovedModels
from defectory.inspection.bundle import BundleError
from defectory.inspection.model import Model as InspectionModel
from defectory.inspection.verdicts import InspectionReply
from defectory.line.endpoint import EndpointAnswerError, EndpointMissingError
from defectory.vision.images import load_image

Model = TypeVar("Model")

LARGEST_ARCHIVE = 256 * 1024 * 1024
"""Bytes of a model's archive that are read into memory; one of the embedded backbone has a few MB."""


class ModelArchives(Generic[Model]):
    """Models by the addresses of their archives in S3; the last one asked for stays loaded.

    ``load`` reads a bundle.
    """

    def __init__(self, load: Callable[[bytes], Model], client: BaseClient | None = None) -> None:
        self._load_bundle = load
        self._client = client or aws_client("s3")
        self._archive = ""
        self._model: Model | None = None

    def model(self, archive: str) -> Model:
        """The model whose bundle is at ``archive``.  It takes the last one's place as soon as it is whole.

        Raises:
            EndpointAnswerError: there is no bundle that can be read.
            ServiceError: S3 does not give it.
        """
        if self._model is None or archive != self._archive:
            self._model = self._load(archive)
            self._archive = archive
        return self._model

    def _load(self, archive: str) -> Model:
        place = urlsplit(archive)
        with service_errors(f"read {archive}"):
            reply = self._client.get_object(Bucket=place.netloc, Key=place.path.lstrip("/"))
            if reply["ContentLength"] > LARGEST_ARCHIVE:
                raise EndpointAnswerError(f"The model {archive} is larger than {LARGEST_ARCHIVE:,} bytes.")
            content: bytes = reply["Body"].read()
        try:
            return self._load_bundle(content)
        except BundleError as error:
            raise EndpointAnswerError(f"The model {archive} cannot be loaded: {error}") from error


class ModelInService(Generic[Model]):
    """The model in service of the training bucket.

    Which one that is, is looked up for each image, so that a new one serves from the next image on.
    """

    def __init__(self, approved: ApprovedModels, archives: ModelArchives[Model]) -> None:
        self._approved, self._archives = approved, archives

    def current(self) -> Model:
        """The model that answers now.

        Raises:
            EndpointMissingError: none is in service; the message says what to do.
            EndpointAnswerError: it cannot be loaded.
            ServiceError: S3 refuses.
        """
        try:
            current = self._approved.current()
        except InputError as error:
            raise EndpointAnswerError(str(error)) from error
        if current is None:
            raise EndpointMissingError("No model is in service: it does not exist yet. Train one; then upload again.")
        return self._archives.model(current.archive)


class ServedModel:
    """Answers with the model in service of the training bucket, as an endpoint would."""

    def __init__(self, approved: ApprovedModels, archives: ModelArchives[InspectionModel]) -> None:
        self._in_service = ModelInService(approved, archives)

    def inspect(self, content: bytes, content_type: str) -> InspectionReply:
        """The inspection of an image.

        Raises:
            EndpointMissingError: no model is in service; the message says what to do.
            EndpointAnswerError: the model cannot be loaded, or fails on the image.
            ServiceError: S3 refuses.
        """
        return inspect_with(self._in_service.current(), content)


class CandidateModel:
    """A model that is not in service yet, as those who verify it ask it."""

    def __init__(self, archive: str, archives: ModelArchives[InspectionModel]) -> None:
        self._archive, self._archives = archive, archives

    def ask(self, image: bytes, content_type: str) -> bytes:
        """The answer to an image.

        Raises:
            EndpointAnswerError: the model cannot be loaded, or fails on the image.
            ServiceError: S3 refuses.
        """
        return inspect_with(self._archives.model(self._archive), image).model_dump_json().encode()


def inspect_with(model: InspectionModel, content: bytes) -> InspectionReply:
    """What ``model`` says of the image file ``content``.

    Raises:
        EndpointAnswerError: it fails on the image.
    """
    try:
        reply = InspectionReply.of(model.inspect(load_image(content, name="image")))
    except Exception as error:  # whatever it is, as an endpoint's container answers 500
        raise EndpointAnswerError(f"The model failed on the image: {type(error).__name__}: {error}") from error
    if not math.isfinite(reply.score):
        raise EndpointAnswerError(f"The model answered nonsense: a score of {reply.score}.")
    return reply
