"""The detector in service: behind an endpoint of SageMaker, or in this very process."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Protocol

from pydantic import ValidationError

from defectory.detection.detectors.detector import DetectionReply, Detector
from defectory.errors import shorten
from defectory.inspection.approved_models import ApprovedModels
from defectory.inspection.line.served_model import ModelArchives, ModelInService
from defectory.line.endpoint import EndpointAnswerError, ModelEndpoint
from defectory.line.payload import fit_payload
from defectory.vision.images import load_image


class DetectionService(Protocol):
    """What finds the objects on an image."""

    def detect(self, content: bytes, name: str) -> DetectionReply:
        """The objects on the image file ``content``, which messages call ``name``."""


class DetectionEndpoint:
    """The detector behind an endpoint of SageMaker."""

    def __init__(self, endpoint: ModelEndpoint) -> None:
        self._endpoint = endpoint

    def detect(self, content: bytes, name: str) -> DetectionReply:
        """The objects on an image, in pixels of it, also where it is sent smaller to fit.

        Raises:
            ImageError: ``content`` is no image that can be looked at.
            EndpointAnswerError: the answer is no ``DetectionReply``.
            ServiceError: as `ModelEndpoint.ask`.
        """
        image = load_image(content, name=PurePosixPath(name).name)
        payload = fit_payload(content, image)
        body = self._endpoint.ask(payload.content, payload.content_type)
        try:
            reply = DetectionReply.model_validate_json(body)
        except ValidationError as error:
            reason = shorten(error.errors(include_url=False)[0]["msg"])
            raise EndpointAnswerError(f"The endpoint {self._endpoint.name} answered nonsense: {reason}") from None
        return _resized(reply, width=image.shape[1], height=image.shape[0])


class ServedDetector:
    """The detector that the training bucket says is in service, held in this process as an endpoint would hold it."""

    def __init__(self, approved: ApprovedModels, archives: ModelArchives[Detector]) -> None:
        self._in_service = ModelInService(approved, archives)

    def detect(self, content: bytes, name: str) -> DetectionReply:
        """The objects on an image.

        Raises:
            ImageError: ``content`` is no image that can be looked at.
            EndpointMissingError: no detector is in service; the message says what to do.
            EndpointAnswerError: the detector cannot be loaded, or fails on the image.
            ServiceError: S3 refuses.
        """
        image = load_image(content, name=PurePosixPath(name).name)
        detector = self._in_service.current()
        try:
            return detector.reply(image)
        except Exception as error:  # whatever it is, as an endpoint's container answers 500
            raise EndpointAnswerError(f"The detector failed on the image: {type(error).__name__}: {error}") from error


class CandidateDetector:
    """A detector that is not in service yet, as those who verify it ask it."""

    def __init__(self, archive: str, archives: ModelArchives[Detector]) -> None:
        self._archive, self._archives = archive, archives

    def ask(self, image: bytes, content_type: str) -> bytes:
        """The answer to an image, a ``DetectionReply`` as JSON.

        Raises:
            EndpointAnswerError: the detector cannot be loaded, or fails on the image.
            ServiceError: S3 refuses.
        """
        detector = self._archives.model(self._archive)
        try:
            return detector.reply(load_image(image, name="image")).model_dump_json().encode()
        except Exception as error:
            raise EndpointAnswerError(f"The detector failed on the image: {type(error).__name__}: {error}") from error


def _resized(reply: DetectionReply, *, width: int, height: int) -> DetectionReply:
    """``reply`` in pixels of an image of this size."""
    if (reply.width, reply.height) == (width, height):
        return reply
    across, down = width / reply.width, height / reply.height
    detections = tuple(
        item.model_copy(
            update={"box": (item.box[0] * across, item.box[1] * down, item.box[2] * across, item.box[3] * down)}
        )
        for item in reply.detections
    )
    return reply.model_copy(update={"width": width, "height": height, "detections": detections})
