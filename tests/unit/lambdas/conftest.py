"""Stand-ins for the author and the pipeline; the table is moto's."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from defectory.aws import metrics
from defectory.aws.pipelines import PipelineExecution
from defectory.errors import ServiceError
from defectory.sensors.authors import MachineListing


@dataclass
class FakeAuthor:
    names: tuple[str, ...] = ("Etcher", "Stepper", "Furnace")
    note: str = ""
    error: Exception | None = None
    name: str = "catalogue"
    asked: list[tuple[str, int]] = field(default_factory=list)

    def list_machines(self, industry, number):
        self.asked.append((industry, number))
        if self.error:
            raise self.error
        return MachineListing(self.names[:number], self.note)


@dataclass
class FakePipeline:
    """As CodePipeline does, starts one execution for one token."""

    refusal: str = ""
    executions: dict[str, PipelineExecution] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    started: dict[str, dict[str, str]] = field(default_factory=dict)

    def start(self, variables, *, token):
        if self.refusal:
            raise ServiceError(self.refusal)
        self.started.setdefault(token, dict(variables))
        execution_id = f"execution-{list(self.started).index(token)}"
        self.executions[execution_id] = PipelineExecution(execution_id, "InProgress", "", self.started[token])
        return execution_id

    def execution(self, execution_id):
        return self.executions.get(execution_id)

    def end(self, execution_id, status, summary=""):
        self.executions[execution_id] = PipelineExecution(
            execution_id, status, summary, self.executions[execution_id].variables
        )

    def failed_actions(self, execution_id):
        return self.failures


@dataclass
class FakeAlerts:
    error: Exception | None = None
    sent: list[tuple[str, str]] = field(default_factory=list)

    def send(self, subject, message):
        if self.error:
            raise self.error
        self.sent.append((subject, message))


@pytest.fixture
def author():
    return FakeAuthor()


@pytest.fixture
def pipeline():
    return FakePipeline()


@pytest.fixture
def alerts():
    return FakeAlerts()


@pytest.fixture
def measured(capsys):
    """The values of a metric that were printed so far, by its own dimensions; every one printed has to be known."""
    printed = []

    def read(name: str) -> dict[tuple[str, ...], list[float]]:
        printed.extend(json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line)
        known = {metric.name: metric for metric in metrics.ALL}
        values: dict[tuple[str, ...], list[float]] = {}
        for line in printed:
            [directive] = line["_aws"]["CloudWatchMetrics"]
            assert directive["Namespace"] == metrics.NAMESPACE
            for entry in directive["Metrics"]:
                metric = known[entry["Name"]]
                assert entry["Unit"] == metric.unit
                assert set(directive["Dimensions"][0]) == {metrics.DEPLOYMENT_DIMENSION, *metric.dimensions}
                if metric.name == name:
                    values.setdefault(tuple(line[key] for key in metric.dimensions), []).extend(line[name])
        return values

    return read


@pytest.fixture
def context():
    return SimpleNamespace(
        function_name="f",
        memory_limit_in_mb=512,
        invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:f",
        aws_request_id="5f0d7c1e-0000-4000-8000-000000000001",
    )
