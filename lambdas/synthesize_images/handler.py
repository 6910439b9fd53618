"""Lambda: make a few pictures of a defect, ``{user_id, renderer, defect, count, source, dataset}``.

Optional are ``mask``, ``donors``, ``prompt`` and ``seed``.  Answers what became of each picture; a bad event answers
``{status: REJECTED, error}`` and writes nothing.  The state machine calls it with some lines of a run's manifest,
``{Items, BatchInput: {run}}``.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.answers import rejected
from defectory.aws.bucket import Bucket
from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.aws.environment import FunctionEnvironment
from defectory.aws.metrics import IMAGE_MODEL_COST, PICTURES
from defectory.errors import InputError
from defectory.images.batch.models import ImageModels
from defectory.images.batch.requests import parse_pictures_request
from defectory.images.batch.runs import ManifestItem
from defectory.images.batch.synthesize import Synthesizer

logger = Logger(service="synthesize-images")
metrics = DeploymentMetrics.from_environment()


class Environment(FunctionEnvironment):
    """The function's environment variables."""

    images_bucket: str
    image_region: str
    image_model_id: str = ""
    inpaint_model_id: str = ""


@cache
def synthesizer() -> Synthesizer:
    env = Environment.load()
    models = ImageModels(env.image_region, env.image_model_id, env.inpaint_model_id)
    return Synthesizer(Bucket(env.images_bucket), models)


@logger.inject_lambda_context
def handler(event: object, context: LambdaContext) -> dict[str, Any]:
    match event:
        case {"Items": list(lines), "BatchInput": {"run": str(run)}}:
            outcomes = synthesizer().synthesize(run, [ManifestItem.model_validate(line) for line in lines])
            logger.info("Pictures", extra={"outcomes": outcomes})
            return {"outcomes": outcomes}
    try:
        result = synthesizer().synthesize_request(parse_pictures_request(event))
    except InputError as error:
        logger.warning("Request rejected", extra={"field": error.field, "reason": str(error)})
        return rejected(error)
    metrics.put_outcomes(PICTURES, result.outcomes)
    metrics.put({IMAGE_MODEL_COST: result.cost.total})
    logger.info("Pictures", extra={"status": result.status, "outcomes": result.outcomes})
    return result.model_dump(mode="json")
