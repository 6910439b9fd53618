"""Lambda: start an inspection for every image that the queue's messages tell of.

Messages that cannot be worked on are answered one by one; the queue hands them out again and at last puts them aside.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.environment import FunctionEnvironment
from defectory.aws.state_machine import StateMachine
from defectory.inspection.line.starting import start_inspections

logger = Logger(service="start-inspection")


class Environment(FunctionEnvironment):
    """The function's environment variables."""

    state_machine_arn: str


@cache
def machine() -> StateMachine:
    return StateMachine(Environment.load().state_machine_arn)


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    failed = [message["messageId"] for message in event["Records"] if not _start(message)]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _start(message: dict[str, Any]) -> bool:
    try:
        started = start_inspections(message["body"], machine())
    # Whatever is wrong with one message, the others of its batch are not to suffer for it.
    except Exception:
        logger.exception("Message not worked on", extra={"message_id": message["messageId"]})
        return False
    for upload, new in started:
        logger.info(
            "Inspection started" if new else "Inspection known already",
            extra={"inspection_id": upload.inspection_id, "key": upload.key},
        )
    return True
