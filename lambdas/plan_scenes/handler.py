"""Lambda: plan a batch of scenes, ``{request, execution}``; called by the state machine of scenes."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.bucket import Bucket
from defectory.aws.environment import FunctionEnvironment
from defectory.detection.batch.plan import PaintingModels, ScenePlanner
from defectory.detection.batch.requests import parse_scenes_request

logger = Logger(service="plan-scenes")


class Environment(FunctionEnvironment):
    """The function's environment variables."""

    scenes_bucket: str
    inpaint_model_id: str = ""
    scene_model: str = ""


@cache
def planner() -> ScenePlanner:
    env = Environment.load()
    return ScenePlanner(Bucket(env.scenes_bucket), PaintingModels(env.inpaint_model_id, env.scene_model))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    request = parse_scenes_request(event["request"])
    planned = planner().store(request, str(event["execution"]), datetime.now(UTC))
    logger.info("Planned", extra=planned)
    return planned
