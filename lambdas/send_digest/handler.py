"""Lambda: notify people in one mail of all inspections that had none of their own; called once an hour."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.alerts import Alerts
from defectory.aws.environment import FunctionEnvironment
from defectory.inspection.line.alerts import Notifier, Pages
from defectory.inspection.line.results_table import ResultsTable

logger = Logger(service="send-digest")


class Environment(FunctionEnvironment):
    """The function's environment variables."""

    results_table: str
    results_bucket: str
    defect_topic_arn: str
    review_topic_arn: str
    aws_region: str


@cache
def notifier() -> Notifier:
    env = Environment.load()
    return Notifier(
        table=ResultsTable(env.results_table),
        topics={"defect": Alerts(env.defect_topic_arn), "review": Alerts(env.review_topic_arn)},
        pages=Pages(env.aws_region, env.results_bucket),
        limit=0,
    )


@logger.inject_lambda_context
def handler(event: object, context: LambdaContext) -> dict[str, int]:
    notified = notifier().send_digest(datetime.now(UTC))
    logger.info("Digest", extra={"notified": notified})
    return {str(channel): count for channel, count in notified.items()}
