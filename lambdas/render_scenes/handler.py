"""Lambda: make scenes of some shards of a run, ``{Items, BatchInput: {run}}``; called by the state machine of scenes.

With ``{run}`` it writes what a transform is to paint first, and answers how many pictures that is.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.bucket import Bucket
from defectory.aws.environment import FunctionEnvironment
from defectory.aws.image_models import ImageModel, create_image_model
from defectory.detection.batch.makers import SceneMakers
from defectory.detection.batch.render import ShardRenderer
from defectory.detection.batch.runs import SceneRun, ShardItem
from defectory.detection.batch.transform import write_requests
from defectory.errors import InputError

logger = Logger(service="render-scenes")
# Seconds after which a busy model is not asked again: the state machine waits longer, and at no cost.
PATIENCE = 60.0
# What runs read of the bucket is copied there once, for as long as this process lives.
_copies = TemporaryDirectory(prefix="scenes-")


class Environment(FunctionEnvironment):
    """The function's environment variables."""

    scenes_bucket: str
    image_region: str


@cache
def bucket() -> Bucket:
    return Bucket(Environment.load().scenes_bucket)


@cache
def renderer() -> ShardRenderer:
    def image_model(model_id: str) -> ImageModel:
        return create_image_model(model_id, Environment.load().image_region, patience=PATIENCE)

    return ShardRenderer(bucket(), SceneMakers(bucket(), Path(_copies.name), image_model))


@logger.inject_lambda_context
def handler(event: object, context: LambdaContext) -> dict[str, Any]:
    answer: dict[str, Any]
    match event:
        case {"Items": list(lines), "BatchInput": {"run": str(run)}}:
            items = [ShardItem.model_validate(line) for line in lines]
            fates = renderer().render(run, items, lambda: context.get_remaining_time_in_millis() / 1000)
            answer = {"outcomes": fates}
        case {"run": str(run)}:
            answer = {"requests": write_requests(SceneRun.read(run, bucket()), bucket())}
        case _:
            raise InputError("event", "{Items, BatchInput: {run}} or {run}", event)
    logger.info("Scenes", extra=answer)
    return answer
