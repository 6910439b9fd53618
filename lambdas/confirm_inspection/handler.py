"""Lambda: write down a person's word on an inspected part, ``{inspection_id, label, by}``.

Answers the row as it is then.  A bad event answers ``{status: REJECTED, error}`` and writes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.answers import rejected
from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.aws.environment import FunctionEnvironment
from defectory.aws.metrics import CONFIRMATIONS, ESCAPES, OVERKILLS
from defectory.errors import InputError
from defectory.inspection.line.confirming import RULES, parse_confirmation
from defectory.inspection.line.results_table import ResultsTable
from defectory.line.results_table import RecordNotFoundError

logger = Logger(service="confirm-inspection")
metrics = DeploymentMetrics.from_environment()


class Environment(FunctionEnvironment):
    """The function's environment variables."""

    results_table: str


@cache
def table() -> ResultsTable:
    return ResultsTable(Environment.load().results_table)


@logger.inject_lambda_context
def handler(event: object, context: LambdaContext) -> dict[str, Any]:
    try:
        word = parse_confirmation(event)
        try:
            record = table().confirm(**word.model_dump(), now=datetime.now(UTC))
        except RecordNotFoundError as error:
            raise InputError("inspection_id", RULES["inspection_id"], word.inspection_id, str(error)) from None
    except InputError as error:
        logger.warning("Confirmation rejected", extra={"field": error.field, "reason": str(error)})
        return rejected(error)
    escaped = (record.verdict, record.confirmed) == ("PASS", "anomaly")
    overkilled = (record.verdict, record.confirmed) == ("FAIL", "normal")
    metrics.put({CONFIRMATIONS: 1, ESCAPES: escaped, OVERKILLS: overkilled})
    logger.info("Confirmed", extra={"inspection_id": record.inspection_id, "label": record.confirmed})
    return {"status": "CONFIRMED", "inspection": record.model_dump(mode="json", exclude_none=True)}
