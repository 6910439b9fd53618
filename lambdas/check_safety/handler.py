"""Lambda: inspect one image of a camera, and answer its record; called by the safety line's state machine.

The function holds the detector in service.  A file that is no image has a record as well.  A service that fails is an
error, which the state machine tries again.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.environment import FunctionEnvironment
from defectory.detection.detectors.detector import load_detector
from defectory.detection.safety.inspecting import SafetyInspector
from defectory.detection.safety.rules_file import RulesFile
from defectory.detection.served_detector import ServedDetector
from defectory.inspection.approved_models import ApprovedModels
from defectory.inspection.line.served_model import ModelArchives
from defectory.line.buckets import ResultsBucket, read_upload
from defectory.line.uploads import Upload

logger = Logger(service="check-safety")


class Environment(FunctionEnvironment):
    """The function's environment variables; nothing is blurred where ``blurred_class`` is ""."""

    training_bucket: str
    results_bucket: str
    retention_days: int
    blurred_class: str = ""


@cache
def inspector() -> SafetyInspector:
    env = Environment.load()
    return SafetyInspector(
        detector=ServedDetector(ApprovedModels(env.training_bucket), ModelArchives(load_detector)),
        rules=RulesFile(env.training_bucket),
        results=ResultsBucket(env.results_bucket),
        read=read_upload,
        retention=timedelta(days=env.retention_days),
        blurred=env.blurred_class,
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    record = inspector().inspect(Upload.model_validate(event))
    logger.info("Checked", extra={"inspection_id": record.inspection_id, "outcome": record.outcome})
    return record.model_dump(mode="json", exclude_none=True)
