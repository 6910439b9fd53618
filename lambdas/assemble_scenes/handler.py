"""Lambda: make a dataset of the scenes that were made, ``{run, stopped}``, and the status of the execution.

The state machine calls it with ``{request, execution, problem}`` when an execution failed as a whole; EventBridge when
one was stopped or ran out of time.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.bucket import Bucket
from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.aws.environment import FunctionEnvironment
from defectory.aws.metrics import SCENES
from defectory.datasets.batches import store_failure
from defectory.detection.batch.assemble import assemble_run
from defectory.errors import InputError

logger = Logger(service="assemble-scenes")
metrics = DeploymentMetrics.from_environment()


class Environment(FunctionEnvironment):
    """The function's environment variables."""

    scenes_bucket: str


@cache
def bucket() -> Bucket:
    return Bucket(Environment.load().scenes_bucket)


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    now = datetime.now(UTC)
    answer: dict[str, Any]
    match event:
        case {"run": str(run), "stopped": bool(stopped)}:
            batch = assemble_run(run, bucket(), now, stopped=stopped)
            metrics.put_outcomes(SCENES, batch.outcomes)
            answer = batch.model_dump(mode="json", include=_ANSWERED)
        case {"request": request, "execution": str(execution), "problem": str(problem)}:
            answer = {"stored": store_failure(request, execution, problem, bucket(), now)}
        case {"detail": {"name": str(execution), "status": str(status), "input": str(request)}}:
            problem = f"The execution was stopped: {status}."
            answer = {"stored": store_failure(json.loads(request), execution, problem, bucket(), now)}
        case _:
            raise InputError("event", "{run, stopped}", event)
    logger.info("Assembled", extra={"answer": answer})
    return answer


# What the state machine goes by; the rest is in the stored status.
_ANSWERED = {"status", "reason", "execution", "planned", "outcomes", "pictures"}
