"""Lambda: notify people of one inspection, ``{inspection_id}``; called by the inspection's state machine."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.alerts import Alerts
from defectory.aws.environment import FunctionEnvironment
from defectory.inspection.line.alerts import Notifier, Pages
from defectory.inspection.line.results_table import ResultsTable

logger = Logger(service="send-alert")


class Environment(FunctionEnvironment):
    """The function's environment variables."""

    results_table: str
    results_bucket: str
    defect_topic_arn: str
    review_topic_arn: str
    alert_limit_per_hour: int
    aws_region: str


@cache
def notifier() -> Notifier:
    env = Environment.load()
    return Notifier(
        table=ResultsTable(env.results_table),
        topics={"defect": Alerts(env.defect_topic_arn), "review": Alerts(env.review_topic_arn)},
        pages=Pages(env.aws_region, env.results_bucket),
        limit=env.alert_limit_per_hour,
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    notified = notifier().notify(event["inspection_id"], datetime.now(UTC))
    logger.info("Alert", extra={"inspection_id": event["inspection_id"], "notified": notified})
    return {"told": notified}
