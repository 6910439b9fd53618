"""Lambda: close requests that nobody works on any more, and tell people.

EventBridge calls it when a pipeline execution ends (failed, stopped, cancelled, or succeeded without closing its
request), and once an hour to sweep up what such an event never told.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.alerts import Alerts
from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.aws.environment import FunctionEnvironment
from defectory.aws.pipelines import Pipeline
from defectory.errors import InputError
from defectory.sensors.service.closing import close_after_execution, sweep
from defectory.sensors.service.requests_table import RequestsTable

logger = Logger(service="close-failed-request")


class Environment(FunctionEnvironment):
    """The function's environment variables."""

    requests_table: str
    pipeline_name: str
    alerts_topic_arn: str


@cache
def services() -> dict[str, Any]:
    env = Environment.load()
    return {
        "table": RequestsTable(env.requests_table),
        "pipeline": Pipeline(env.pipeline_name),
        "alerts": Alerts(env.alerts_topic_arn),
        "metrics": DeploymentMetrics.from_environment(),
    }


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    match event.get("detail-type"):
        case "CodePipeline Pipeline Execution State Change":
            detail = event["detail"]
            closed = [close_after_execution(detail["execution-id"], detail["state"], **services())]
        case "Scheduled Event":
            closed = sweep(datetime.now(UTC), **services())
        case other:
            raise InputError("detail-type", "a pipeline's state change or a scheduled event", other)
    statuses = {request.request_id: request.status for request in closed}
    logger.info("Requests looked after", extra={"requests": statuses})
    return statuses
