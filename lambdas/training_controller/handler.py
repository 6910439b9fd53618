"""Lambda: the decisions of the training machine - prepare a run, judge its model, verify the endpoint.

Where a function serves, what it is to serve is put in service here as well.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any, Literal

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.aws.environment import FunctionEnvironment
from defectory.aws.hosted_model import HostedModel
from defectory.aws.metrics import DETECTOR_TRAINING_RUNS, TRAINING_RUNS
from defectory.detection.training_run import DETECTOR
from defectory.errors import InputError
from defectory.inspection.approved_models import ApprovedModel, ApprovedModels
from defectory.inspection.gate import EVALUATION_FILE
from defectory.inspection.training_bucket import TrainingBucket
from defectory.inspection.training_run import INSPECTION, EndpointKind, FunctionHosting, prepare, verify

KINDS = {"inspection": (INSPECTION, TRAINING_RUNS), "detector": (DETECTOR, DETECTOR_TRAINING_RUNS)}

logger = Logger(service="training-controller")
metrics = DeploymentMetrics.from_environment()


class Environment(FunctionEnvironment):
    """The function's environment variables; ``datasets_bucket`` is "" where the training bucket has the datasets."""

    training_bucket: str
    endpoint_name: str
    endpoint_kind: EndpointKind
    model_kind: Literal["inspection", "detector"] = "inspection"
    datasets_bucket: str = ""


@cache
def environment() -> Environment:
    return Environment.load()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    env = environment()
    storage, approved = TrainingBucket(env.training_bucket), ApprovedModels(env.training_bucket)
    datasets = TrainingBucket(env.datasets_bucket) if env.datasets_bucket else storage
    (kind, runs), endpoint = KINDS[env.model_kind], HostedModel(env.endpoint_name)
    hosting = FunctionHosting(approved) if env.endpoint_kind == "lambda" else endpoint
    answer: dict[str, Any]
    match event:
        case {"task": "prepare", "request": request, "started": started}:
            when = datetime.fromisoformat(started)
            names = {"prefix": env.endpoint_name, "kind": env.endpoint_kind}
            run = prepare(request, when, **names, trained=kind, datasets=datasets, storage=storage, hosting=hosting)
            answer = run.model_dump(mode="json")
        case {"task": "judge", "evaluation": evaluation, "gate": gate}:
            outcome = kind.decide(storage.read_from_archive(evaluation, EVALUATION_FILE), gate)
            answer = outcome.model_dump(mode="json")
            metrics.put_outcomes(runs, {"ACCEPTED" if outcome.accepted else "REJECTED": 1})
        case {"task": "verify", "test": test, "model_version": version}:
            verify(test, version, storage=storage, hosting=endpoint)
            answer = {"model_version": version}
            metrics.put_outcomes(runs, {"IN_SERVICE": 1})
        case {"task": "put_in_service", "model": model}:
            approved.put_in_service(ApprovedModel.model_validate(model))
            answer = {"model_version": model["model_version"]}
            metrics.put_outcomes(runs, {"IN_SERVICE": 1})
        case _:
            raise InputError("task", "prepare, judge, verify or put_in_service, with what it needs", event)
    logger.info("Training decision", extra={"task": event["task"], "answer": answer})
    return answer
