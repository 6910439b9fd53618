"""Lambda: notify people of one inspection, ``{inspection_id}``; called by the inspection's state machine."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.aws.metrics import ALERTS_SENT, ALERTS_SUPPRESSED
from defectory.inspection.line.alerts import InspectionNotifier, NotifierEnvironment

logger = Logger(service="send-alert")
metrics = DeploymentMetrics.from_environment()


class Environment(NotifierEnvironment):
    """The function's environment variables."""

    alert_limit_per_hour: int


@cache
def notifier() -> InspectionNotifier:
    env = Environment.load()
    return env.notifier(limit=env.alert_limit_per_hour)


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    notified = notifier().notify(event["inspection_id"], datetime.now(UTC))
    if metric := {"SENT": ALERTS_SENT, "LEFT FOR THE DIGEST": ALERTS_SUPPRESSED}.get(notified):
        metrics.put({metric: 1})
    logger.info("Alert", extra={"inspection_id": event["inspection_id"], "notified": notified})
    return {"told": notified}
