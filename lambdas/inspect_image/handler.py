"""Lambda: inspect one upload, and answer its record; called by the inspection's state machine.

A file that is no image has a record as well.  A service that fails is an error, which the state machine tries again.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.environment import FunctionEnvironment
from defectory.inspection.line.endpoint import InspectionEndpoint
from defectory.inspection.line.inspecting import UploadInspector
from defectory.line.buckets import ResultsBucket, read_upload
from defectory.line.uploads import Upload

logger = Logger(service="inspect-image")


class Environment(FunctionEnvironment):
    """The function's environment variables."""

    endpoint_name: str
    results_bucket: str
    retention_days: int


@cache
def inspector() -> UploadInspector:
    env = Environment.load()
    return UploadInspector(
        endpoint=InspectionEndpoint(env.endpoint_name),
        results=ResultsBucket(env.results_bucket),
        read=read_upload,
        retention=timedelta(days=env.retention_days),
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    record = inspector().inspect(Upload.model_validate(event))
    logger.info("Inspected", extra={"inspection_id": record.inspection_id, "outcome": record.outcome})
    return record.model_dump(mode="json", exclude_none=True)
