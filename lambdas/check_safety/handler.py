"""Lambda: inspect one image of a camera, and answer its record; called by the safety line's state machine.

The function asks the detector's endpoint, or holds the detector itself; then the training machine has a new one
verified here before it is put in service: ``{"verify": {"archive", "test", "model_version"}}``.  A file that is no
image has a record as well.  A service that fails is an error, which the state machine tries again.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.environment import FunctionEnvironment
from defectory.detection.detectors.detector import Detector, load_detector
from defectory.detection.safety.inspecting import SafetyInspector
from defectory.detection.safety.rules_file import RulesFile
from defectory.detection.served_detector import (
    CandidateDetector,
    DetectionEndpoint,
    DetectionService,
    ServedDetector,
)
from defectory.inspection.approved_models import ApprovedModels
from defectory.inspection.line.served_model import ModelArchives
from defectory.inspection.training_bucket import TrainingBucket
from defectory.inspection.training_run import verify
from defectory.line.buckets import ResultsBucket, read_upload
from defectory.line.endpoint import ModelEndpoint
from defectory.line.uploads import Upload

logger = Logger(service="check-safety")


class Environment(FunctionEnvironment):
    """The function's environment variables; ``endpoint_name`` is "" where it holds the detector itself."""

    training_bucket: str
    endpoint_name: str = ""
    results_bucket: str
    retention_days: int
    blurred_class: str = ""


@cache
def environment() -> Environment:
    return Environment.load()


@cache
def archives() -> ModelArchives[Detector]:
    return ModelArchives(load_detector)


@cache
def inspector() -> SafetyInspector:
    env = environment()
    detector: DetectionService = (
        DetectionEndpoint(ModelEndpoint(env.endpoint_name))
        if env.endpoint_name
        else ServedDetector(ApprovedModels(env.training_bucket), archives())
    )
    return SafetyInspector(
        detector=detector,
        rules=RulesFile(env.training_bucket),
        results=ResultsBucket(env.results_bucket),
        read=read_upload,
        retention=timedelta(days=env.retention_days),
        blurred=env.blurred_class,
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    match event:
        case {"verify": {"archive": archive, "test": test, "model_version": version}}:
            storage = TrainingBucket(environment().training_bucket)
            verify(test, version, storage=storage, hosting=CandidateDetector(archive, archives()))
            logger.info("Verified", extra={"archive": archive, "model_version": version})
            return {"model_version": version}
        case _:
            record = inspector().inspect(Upload.model_validate(event))
            logger.info("Checked", extra={"inspection_id": record.inspection_id, "outcome": record.outcome})
            return record.model_dump(mode="json", exclude_none=True)
