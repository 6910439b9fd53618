"""Lambda: the objects on one image in S3, by the detector in service; answer its ``DetectionReply``.

``{"bucket", "key", "version_id"}`` names the image; ``version_id`` may be left out, and further fields of an upload may
be there.  The function holds the detector itself.  Before a new one is put in service, the training machine has it
verified here: ``{"verify": {"archive", "test", "model_version"}}``.

Errors, for a state machine's Retry and Catch: ``ImageError`` (no image, or deleted), ``EndpointMissingError`` (nothing
is in service), ``EndpointAnswerError`` (it cannot be loaded, or fails on the image), as those of inspect_with_model.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, Field, ValidationError

from defectory.aws.environment import FunctionEnvironment
from defectory.detection.detectors.detector import Detector, load_detector
from defectory.detection.served_detector import CandidateDetector, ServedDetector
from defectory.inspection.approved_models import ApprovedModels
from defectory.inspection.line.served_model import ModelArchives
from defectory.inspection.training_bucket import TrainingBucket
from defectory.inspection.training_run import verify
from defectory.line.buckets import read_object
from defectory.validation import explain

logger = Logger(service="detect-objects")


class Environment(FunctionEnvironment):
    """The function's environment variables."""

    training_bucket: str


class ImageReference(BaseModel):
    """An image in S3."""

    bucket: str = Field(min_length=1, max_length=255)
    key: str = Field(min_length=1, max_length=1024)
    version_id: str = Field(default="", max_length=1024)


@cache
def environment() -> Environment:
    return Environment.load()


@cache
def archives() -> ModelArchives[Detector]:
    return ModelArchives(load_detector)


@cache
def served() -> ServedDetector:
    return ServedDetector(ApprovedModels(environment().training_bucket), archives())


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    match event:
        case {"verify": {"archive": archive, "test": test, "model_version": version}}:
            storage = TrainingBucket(environment().training_bucket)
            verify(test, version, storage=storage, hosting=CandidateDetector(archive, archives()))
            logger.info("Verified", extra={"archive": archive, "model_version": version})
            return {"model_version": version}
    try:
        image = ImageReference.model_validate(event)
    except ValidationError as error:
        raise explain(error) from None
    content = read_object(image.bucket, image.key, image.version_id)
    reply = served().detect(content, image.key)
    logger.info("Detected", extra={"key": image.key, "objects": len(reply.detections)})
    return reply.model_dump(mode="json")
