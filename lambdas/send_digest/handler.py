"""Lambda: notify people in one mail of all inspections that had none of their own; called once an hour."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.inspection.line.alerts import Notifier, NotifierEnvironment

logger = Logger(service="send-digest")


class Environment(NotifierEnvironment):
    """The function's environment variables."""


@cache
def notifier() -> Notifier:
    return Notifier.of(Environment.load(), limit=0)


@logger.inject_lambda_context
def handler(event: object, context: LambdaContext) -> dict[str, int]:
    notified = notifier().send_digest(datetime.now(UTC))
    logger.info("Digest", extra={"notified": notified})
    return {str(channel): count for channel, count in notified.items()}
