"""A dashboard for each stack: what came through, what people have to look at, what costs, and what failed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import get_args

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn

from defectory.aws import metrics
from defectory.aws.metrics import DEPLOYMENT_DIMENSION, NAMESPACE, Metric
from defectory.aws.tokens import ServiceTier
from defectory.config import Config
from defectory.detection.batch.runs import SCENE_OUTCOMES
from defectory.detection.safety.records import SafetyOutcome
from defectory.images.items import ItemOutcome
from defectory.inspection.line.records import InspectionOutcome
from stacks.capability import Capability
from stacks.constructs.training_machine import VARIANT
from stacks.constructs.upload_queue import UploadQueue
from stacks.detection import Detection
from stacks.image_synthesis import ImageSynthesis
from stacks.inspection import Inspection
from stacks.sensor_data import SensorData

FREE_METRICS = 50
"""The first three dashboards of an account are free while each has no more metrics than these."""

Row = Sequence[cloudwatch.IWidget]
_WIDTH, _COLUMNS = 24, 3


def add_dashboard(stack: Capability) -> None:
    """Give ``stack`` a dashboard of its own name: what is particular to it, then what every stack has."""
    match stack:
        case SensorData():
            rows = _sensor_data_rows(stack.config)
        case Inspection():
            rows = _inspection_rows(stack)
        case ImageSynthesis():
            rows = _image_synthesis_rows(stack.config)
        case Detection():
            rows = [
                *_safety_rows(stack.config, stack.safety.queue),
                [_graph("Scenes", _outcomes(stack.config, metrics.SCENES, SCENE_OUTCOMES))],
            ]
        case _:
            rows = []
    cloudwatch.Dashboard(
        stack,
        "Dashboard",
        dashboard_name=stack.stack_name,
        default_interval=Duration.days(7),
        widgets=[list(row) for row in (*rows, *_common_rows(stack))],
    )


def _sensor_data_rows(config: Config) -> list[Row]:
    row = [
        _graph("Requests", _outcomes(config, metrics.REQUESTS, ("ACCEPTED", "REJECTED"))),
        _graph("Machines", _outcomes(config, metrics.MACHINES, ("PUBLISHED", "FAILED"))),
    ]
    if config.author == "bedrock":
        tiers: Iterable[ServiceTier] = ("default",) if config.service_tier == "default" else get_args(ServiceTier)
        tokens = [
            _metric(config, metric, model=config.model_id, tier=tier) for tier in tiers for metric in metrics.TOKENS
        ]
        row.append(_graph(f"Cost driver: tokens of {config.model_id}", tokens))
    return [row]


def _inspection_rows(stack: Inspection) -> list[Row]:
    config = stack.config
    words = (metrics.CONFIRMATIONS, metrics.ESCAPES, metrics.OVERKILLS)
    alerts = (metrics.ALERTS_SENT, metrics.ALERTS_SUPPRESSED, metrics.DIGEST_INSPECTIONS)
    waiting = _metric(config, metrics.REVIEWS_WAITING, "Maximum", period=Duration.hours(1))
    return [
        [
            _graph("Verdicts", _outcomes(config, metrics.INSPECTIONS, get_args(InspectionOutcome))),
            _graph("Score", [_metric(config, metrics.INSPECTION_SCORE, each) for each in ("p10", "p50", "p90")]),
            _graph("Upload to row, ms", [_metric(config, metrics.INSPECTION_TIME, each) for each in ("p50", "p95")]),
        ],
        [
            _graph("Possible escapes waiting for review", [waiting]),
            _graph("People's words", [_metric(config, metric) for metric in words]),
            _graph("Mails about parts", [_metric(config, metric) for metric in alerts]),
        ],
        [
            _graph(
                "Queue of uploads",
                [
                    stack.queue.queue.metric_approximate_number_of_messages_visible(),
                    stack.queue.queue.metric_approximate_age_of_oldest_message(),
                ],
            ),
            _graph("Cost driver: the endpoint", _endpoint(stack.endpoint_name)),
            _training(config, metrics.TRAINING_RUNS),
        ],
    ]


def _image_synthesis_rows(config: Config) -> list[Row]:
    return [
        [
            _graph("Pictures", _outcomes(config, metrics.PICTURES, get_args(ItemOutcome))),
            _graph("Cost driver: image models", [_metric(config, metrics.IMAGE_MODEL_COST)]),
        ]
    ]


def _safety_rows(config: Config, queue: UploadQueue) -> list[Row]:
    return [
        [
            _graph("Cameras' images", _outcomes(config, metrics.SAFETY_IMAGES, get_args(SafetyOutcome))),
            # With the other percentile it would be more metrics than a dashboard has for nothing.
            _graph("Upload to row, ms", [_metric(config, metrics.SAFETY_TIME, "p95")]),
            _graph(
                "Alerts of broken rules, and uploads that wait",
                [
                    _metric(config, metrics.SAFETY_ALERTS),
                    queue.queue.metric_approximate_number_of_messages_visible(),
                    queue.queue.metric_approximate_age_of_oldest_message(),
                ],
            ),
        ],
        [_training(config, metrics.DETECTOR_TRAINING_RUNS)],
    ]


def _training(config: Config, runs: metrics.Metric) -> cloudwatch.GraphWidget:
    return _graph("Training", _outcomes(config, runs, ("ACCEPTED", "REJECTED", "IN_SERVICE")))


def _common_rows(stack: Capability) -> list[Row]:
    """Whatever there is in ``stack`` of what AWS measures by itself."""
    constructs = stack.node.find_all()
    functions = [construct for construct in constructs if isinstance(construct, lambda_.Function)]
    machines = [construct for construct in constructs if isinstance(construct, sfn.StateMachine)]
    builds = [construct for construct in constructs if isinstance(construct, codebuild.Project)]
    queues = [construct for construct in constructs if isinstance(construct, sqs.Queue)]
    dead = [queue for queue in queues if "DeadLetters" in queue.node.path]
    graphs = [
        _graph(
            "Dead letters",
            [queue.metric_approximate_number_of_messages_visible(label=_label(queue.node.path)) for queue in dead],
        ),
        _graph("Functions: errors", [each.metric_errors(label=_label(each.node.path)) for each in functions]),
        _graph(
            "Cost driver: milliseconds of functions",
            [each.metric_duration(statistic="Sum", label=_label(each.node.path)) for each in functions],
        ),
    ]
    if machines:
        executions = [
            metric(label=f"{_label(each.node.path)} {word}")
            for each in machines
            for word, metric in (("started", each.metric_started), ("failed", each.metric_failed))
        ]
        graphs.append(_graph("Executions", executions))
    if builds:
        graphs += [
            _graph("Builds: failed", [each.metric_failed_builds(label=_label(each.node.path)) for each in builds]),
            _graph(
                "Cost driver: seconds of builds",
                [each.metric_duration(statistic="Sum", label=_label(each.node.path)) for each in builds],
            ),
        ]
    return [graphs[start : start + _COLUMNS] for start in range(0, len(graphs), _COLUMNS)]


def _outcomes(config: Config, metric: Metric, outcomes: Iterable[str]) -> list[cloudwatch.IMetric]:
    return [_metric(config, metric, outcome=outcome) for outcome in outcomes]


def _metric(
    config: Config, metric: Metric, statistic: str = "Sum", *, period: Duration | None = None, **dimensions: str
) -> cloudwatch.IMetric:
    """One of our metrics; labelled with its dimensions' values, or with the statistic."""
    assert set(metric.dimensions) == dimensions.keys()
    percentile = [statistic] if statistic.startswith("p") else []
    return cloudwatch.Metric(
        namespace=NAMESPACE,
        metric_name=metric.name,
        dimensions_map={DEPLOYMENT_DIMENSION: config.name, **dimensions},
        statistic=statistic,
        period=period,
        label=dimensions.get("outcome") or " ".join([metric.name, *dimensions.values(), *percentile]),
    )


def _endpoint(name: str) -> list[cloudwatch.IMetric]:
    dimensions = {"EndpointName": name, "VariantName": VARIANT}
    return [
        cloudwatch.Metric(namespace="AWS/SageMaker", metric_name=metric, dimensions_map=dimensions, statistic=statistic)
        for metric, statistic in (("Invocations", "Sum"), ("Invocation5XXErrors", "Sum"), ("ModelLatency", "p95"))
    ]


def _graph(title: str, left: Sequence[cloudwatch.IMetric]) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(
        title=title, left=list(left), left_y_axis=cloudwatch.YAxisProps(min=0), width=_WIDTH // _COLUMNS
    )


def _label(path: str) -> str:
    """What a construct is about, from its path: ``stack/StartInspection/Function`` is StartInspection."""
    return "/".join(part for part in path.split("/")[1:] if part not in ("Function", "Queue", "Project")) or path
