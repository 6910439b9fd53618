"""The detector in service, in this very process: what stands in for an endpoint of SageMaker."""

from __future__ import annotations

from pathlib import PurePosixPath

from defectory.detection.detectors.detector import DetectionReply, Detector
from defectory.inspection.approved_models import ApprovedModels
from defectory.inspection.line.served_model import ModelArchives, ModelInService
from defectory.line.endpoint import EndpointAnswerError
from defectory.vision.images import load_image


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
