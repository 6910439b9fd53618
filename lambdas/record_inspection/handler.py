"""Lambda: write the row of an inspection, or of its failure; called by the inspection's state machine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.aws.environment import FunctionEnvironment
from defectory.inspection.line.recording import InspectionRecorder
from defectory.inspection.line.results_table import ResultsTable

logger = Logger(service="record-inspection")


class Environment(FunctionEnvironment):
    """The function's environment variables."""

    results_table: str
    retention_days: int


@cache
def recorder() -> InspectionRecorder:
    env = Environment.load()
    return InspectionRecorder(
        table=ResultsTable(env.results_table),
        retention=timedelta(days=env.retention_days),
        metrics=DeploymentMetrics.from_environment(),
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    recorded = recorder().record(event, datetime.now(UTC))
    logger.info("Recorded", extra=recorded)
    return recorded
