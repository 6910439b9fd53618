"""Lambda: accept a request for sensor data, ``{industry, number, user_id}``, and start the pipeline for it.

Answers ``{request_id, machines, status, pipeline_execution_id}``.  A bad event answers ``{status: REJECTED, error}``
and writes nothing: it would be as bad when tried again, so it is no function error, which Lambda would retry.

The state machine of fleets calls it with ``{fleet, input}`` to have a fleet divided into such requests, and then with
each of them.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from defectory.aws.alerts import Alerts
from defectory.aws.answers import rejected
from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.aws.environment import FunctionEnvironment
from defectory.aws.metrics import REQUESTS
from defectory.aws.pipelines import Pipeline
from defectory.aws.token_metrics import TokenMetrics
from defectory.errors import InputError
from defectory.sensors.authors import create_author
from defectory.sensors.service.datasets_bucket import DatasetsBucket
from defectory.sensors.service.fleets import FleetPlanner
from defectory.sensors.service.requests import parse_event
from defectory.sensors.service.requests_table import RequestsTable
from defectory.sensors.service.submit import Submission

logger = Logger(service="request-sensor-data")
metrics = DeploymentMetrics.from_environment()
tokens = TokenMetrics(metrics)


class Environment(FunctionEnvironment):
    """The function's environment variables."""

    requests_table: str
    pipeline_name: str
    alerts_topic_arn: str
    author: str
    model_id: str = ""
    base_model_id: str = ""
    prompt_style: str = "library"
    retention_days: int
    data_bucket: str
    fleet_machines: int


@cache
def submission() -> Submission:
    env = Environment.load()
    return Submission(
        author=create_author(
            env.author,
            model_id=env.model_id,
            base_model_id=env.base_model_id,
            prompt_style=env.prompt_style,
            on_tokens=tokens.count,
        ),
        table=RequestsTable(env.requests_table),
        pipeline=Pipeline(env.pipeline_name),
        alerts=Alerts(env.alerts_topic_arn),
        retention=timedelta(days=env.retention_days),
        metrics=metrics,
    )


@cache
def planner() -> FleetPlanner:
    env = Environment.load()
    author = create_author(env.author, model_id=env.model_id, prompt_style=env.prompt_style)
    return FleetPlanner(author, DatasetsBucket(env.data_bucket), env.fleet_machines)


@logger.inject_lambda_context
def handler(event: object, context: LambdaContext) -> dict[str, Any]:
    match event:
        case {"fleet": str(fleet_id), "input": fleet}:
            planned = planner().store(fleet, fleet_id)
            logger.info("Fleet planned", extra=planned)
            return planned
    try:
        # Lambda keeps the request id when it tries an asynchronous event again, so that makes no second request.
        request = submission().submit(parse_event(event), token=context.aws_request_id)
    except InputError as error:
        logger.warning("Request rejected", extra={"field": error.field, "reason": str(error)})
        metrics.put({REQUESTS: 1}, outcome="REJECTED")
        return rejected(error)
    finally:
        tokens.flush()
    metrics.put({REQUESTS: 1}, outcome="ACCEPTED")
    logger.info("Request accepted", extra={"user_id": request.user_id, **request.answer()})
    return request.answer()
