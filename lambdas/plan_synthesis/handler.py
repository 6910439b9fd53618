"""Lambda: plan a batch of pictures, ``{request, execution}``; called by the state machine of image synthesis."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.bucket import Bucket
from defectory.aws.environment import FunctionEnvironment
from defectory.images.batch.models import ImageModels
from defectory.images.batch.plan import Planner
from defectory.images.batch.requests import parse_batch_request

logger = Logger(service="plan-synthesis")


class Environment(FunctionEnvironment):
    """The function's environment variables."""

    images_bucket: str
    image_region: str
    image_model_id: str = ""
    inpaint_model_id: str = ""
    image_concurrency: int


@cache
def planner() -> Planner:
    env = Environment.load()
    models = ImageModels(env.image_region, env.image_model_id, env.inpaint_model_id)
    return Planner(Bucket(env.images_bucket), models, env.image_concurrency)


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    request = parse_batch_request(event["request"])
    planned = planner().store(request, str(event["execution"]), datetime.now(UTC))
    logger.info("Planned", extra=planned)
    return planned
