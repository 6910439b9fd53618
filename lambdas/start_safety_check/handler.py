"""Lambda: start a check for every camera's image that the queue's messages tell of, and register it with its camera.

Messages that cannot be worked on are answered one by one; the queue hands them out again and at last puts them aside.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.environment import FunctionEnvironment
from defectory.aws.state_machine import StateMachine
from defectory.detection.safety.frames import FrameTable
from defectory.detection.safety.rules_file import RulesFile
from defectory.detection.safety.starting import FrameRegistrar
from defectory.line.starting import start_batch

logger = Logger(service="start-safety-check")


class Environment(FunctionEnvironment):
    """The function's environment variables."""

    state_machine_arn: str
    frames_table: str
    training_bucket: str


@cache
def machine() -> StateMachine:
    return StateMachine(Environment.load().state_machine_arn)


def registrar() -> FrameRegistrar:
    """A new one for each batch: rules may have been set since the last."""
    env = Environment.load()
    return FrameRegistrar(FrameTable(env.frames_table), RulesFile(env.training_bucket))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return start_batch(event, machine(), logger, registrar().register)
