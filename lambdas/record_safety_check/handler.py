"""Lambda: write the row of a camera's image, or of the failure to look at it; called by the line's state machine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.aws.environment import FunctionEnvironment
from defectory.detection.safety.frames import FrameTable
from defectory.detection.safety.recording import SafetyRecorder
from defectory.detection.safety.results_table import DetectionsTable
from defectory.detection.safety.rules_file import RulesFile

logger = Logger(service="record-safety-check")


class Environment(FunctionEnvironment):
    """The function's environment variables."""

    results_table: str
    frames_table: str
    training_bucket: str
    retention_days: int


@cache
def recorder() -> SafetyRecorder:
    env = Environment.load()
    return SafetyRecorder(
        table=DetectionsTable(env.results_table),
        retention=timedelta(days=env.retention_days),
        metrics=DeploymentMetrics.from_environment(),
        frames=FrameTable(env.frames_table),
        rules=RulesFile(env.training_bucket),
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    recorded = recorder().record(event, datetime.now(UTC))
    logger.info("Recorded", extra=recorded)
    return recorded
