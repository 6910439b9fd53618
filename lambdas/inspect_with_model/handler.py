"""Lambda: inspect one upload with the model in service, which this function holds itself; answer its record.

It stands in for inspect_image and the endpoint that that one asks.  Before a new model is put in service, the training
machine has it verified here: ``{"verify": {"archive", "test", "model_version"}}``.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.environment import FunctionEnvironment
from defectory.inspection.approved_models import ApprovedModels
from defectory.inspection.line.inspecting import UploadInspector
from defectory.inspection.line.served_model import CandidateModel, ModelArchives, ServedModel
from defectory.inspection.model import Model, load_model
from defectory.inspection.training_bucket import TrainingBucket
from defectory.inspection.training_run import verify
from defectory.line.buckets import ResultsBucket, read_upload
from defectory.line.uploads import Upload

logger = Logger(service="inspect-with-model")


class Environment(FunctionEnvironment):
    """The function's environment variables."""

    training_bucket: str
    results_bucket: str
    retention_days: int


@cache
def environment() -> Environment:
    return Environment.load()


@cache
def archives() -> ModelArchives[Model]:
    return ModelArchives(load_model)


@cache
def inspector() -> UploadInspector:
    env = environment()
    return UploadInspector(
        endpoint=ServedModel(ApprovedModels(env.training_bucket), archives()),
        results=ResultsBucket(env.results_bucket),
        read=read_upload,
        retention=timedelta(days=env.retention_days),
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    match event:
        case {"verify": {"archive": archive, "test": test, "model_version": version}}:
            storage = TrainingBucket(environment().training_bucket)
            verify(test, version, storage=storage, hosting=CandidateModel(archive, archives()))
            logger.info("Verified", extra={"archive": archive, "model_version": version})
            return {"model_version": version}
        case _:
            record = inspector().inspect(Upload.model_validate(event))
            logger.info("Inspected", extra={"inspection_id": record.inspection_id, "outcome": record.outcome})
            return record.model_dump(mode="json", exclude_none=True)
