"""Lambda: notify people in one mail of all cameras' images that had none of their own; called once an hour."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.detection.safety.alerts import SafetyNotifierEnvironment
from defectory.detection.safety.records import SafetyRecord
from defectory.line.alerts import Notifier

logger = Logger(service="send-safety-digest")


class Environment(SafetyNotifierEnvironment):
    """The function's environment variables."""


@cache
def notifier() -> Notifier[SafetyRecord]:
    return Environment.load().notifier(limit=0)


@logger.inject_lambda_context
def handler(event: object, context: LambdaContext) -> dict[str, int]:
    notified = notifier().send_digest(datetime.now(UTC))
    logger.info("Digest", extra={"notified": notified})
    return notified
