"""Lambda: notify people in one mail of all inspections that had none of their own; called once an hour."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.aws.metrics import DIGEST_INSPECTIONS, REVIEWS_WAITING
from defectory.inspection.line.alerts import InspectionNotifier, NotifierEnvironment

logger = Logger(service="send-digest")
metrics = DeploymentMetrics.from_environment()


class Environment(NotifierEnvironment):
    """The function's environment variables."""


@cache
def notifier() -> InspectionNotifier:
    return Environment.load().notifier(limit=0)


@logger.inject_lambda_context
def handler(event: object, context: LambdaContext) -> dict[str, int]:
    now = datetime.now(UTC)
    notified = notifier().send_digest(now)
    waiting = notifier().reviews_waiting(now)
    metrics.put({DIGEST_INSPECTIONS: sum(notified.values()), REVIEWS_WAITING: waiting})
    logger.info("Digest", extra={"notified": notified, "waiting": waiting})
    return notified
