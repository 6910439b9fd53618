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
from defectory.line.starting import start_batch

logger = Logger(service="start-inspection")


class Environment(FunctionEnvironment):
    """The function's environment variables."""

    state_machine_arn: str


@cache
def machine() -> StateMachine:
    return StateMachine(Environment.load().state_machine_arn)


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return start_batch(event, machine(), logger)
