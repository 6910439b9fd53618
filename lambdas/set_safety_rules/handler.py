"""Lambda: put cameras and their rules in force, ``{cameras: [{camera, prefix, zones, rules}]}``.

Answers the cameras.  A bad event answers ``{status: REJECTED, error}`` and changes nothing.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.answers import rejected
from defectory.aws.environment import FunctionEnvironment
from defectory.detection.safety.camera_rules import parse_cameras
from defectory.detection.safety.rules_file import RulesFile
from defectory.errors import InputError

logger = Logger(service="set-safety-rules")


class Environment(FunctionEnvironment):
    """The function's environment variables."""

    training_bucket: str


@cache
def file() -> RulesFile:
    return RulesFile(Environment.load().training_bucket)


@logger.inject_lambda_context
def handler(event: object, context: LambdaContext) -> dict[str, Any]:
    try:
        cameras = parse_cameras(event)
    except InputError as error:
        logger.warning("Rules rejected", extra={"field": error.field, "reason": str(error)})
        return rejected(error)
    file().write(cameras)
    logger.info("Rules set", extra={"cameras": len(cameras.cameras)})
    return {"status": "SET", "file": file().address, "cameras": [camera.camera for camera in cameras.cameras]}
