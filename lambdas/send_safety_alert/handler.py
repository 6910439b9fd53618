"""Lambda: notify people of one camera's image, ``{inspection_id}``; called by the safety line's state machine."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.detection.safety.alerts import SafetyNotifierEnvironment
from defectory.detection.safety.records import SafetyRecord
from defectory.line.alerts import Notifier

logger = Logger(service="send-safety-alert")


class Environment(SafetyNotifierEnvironment):
    """The function's environment variables."""

    alert_limit_per_hour: int


@cache
def notifier() -> Notifier[SafetyRecord]:
    env = Environment.load()
    return env.notifier(limit=env.alert_limit_per_hour)


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    notified = notifier().notify(event["inspection_id"], datetime.now(UTC))
    logger.info("Alert", extra={"inspection_id": event["inspection_id"], "notified": notified})
    return {"told": notified}
