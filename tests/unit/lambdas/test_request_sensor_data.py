"""The trigger: what it answers, what it writes, and that the same request is made once."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from defectory.aws.tokens import TokenUsage
from defectory.errors import AuthorError, InputError, ServiceError
from defectory.sensors.service.requests_table import RequestsTable
from defectory.sensors.service.submit import Submission
from lambdas.request_sensor_data import handler as module

EVENT = {"industry": "Semiconductor", "number": 2, "user_id": "ann"}


@pytest.fixture
def trigger(monkeypatch, table, author, pipeline, alerts, context):
    submission = Submission(author, table, pipeline, alerts, timedelta(days=30), module.metrics)
    monkeypatch.setattr(module, "submission", lambda: submission)
    return lambda event, request_id=context.aws_request_id: module.handler(
        event, SimpleNamespace(**{**vars(context), "aws_request_id": request_id})
    )


def items(dynamodb):
    return dynamodb.scan(TableName="requests")["Items"]


def test_a_request_is_accepted_written_down_and_started(trigger, table, pipeline):
    answer = trigger(EVENT)

    request = table.get("ann", answer["request_id"])
    assert answer == {
        "request_id": request.request_id,
        "machines": ["Etcher", "Stepper"],
        "status": "REQUESTED",
        "pipeline_execution_id": "execution-0",
    }
    assert pipeline.started == {request.request_id: {"user_id": "ann", "request_id": request.request_id}}
    assert request.active
    assert request.pipeline_execution_id == "execution-0"
    assert (request.industry, request.number) == ("Semiconductor", 2)


@pytest.mark.parametrize(("event", "outcome"), [(EVENT, "ACCEPTED"), ({}, "REJECTED")])
def test_a_request_and_what_the_author_spent_are_printed_as_metrics(trigger, measured, event, outcome):
    module.tokens.count("some-model", "default", TokenUsage(input=3))

    trigger(event)

    assert measured("InputTokens") == {("some-model", "default"): [3.0]}
    assert measured("Requests") == {(outcome,): [1.0]}


def test_fewer_machines_than_asked_is_told(trigger, author):
    author.note = "Only 3 machines are known."

    answer = trigger({**EVENT, "number": 50})

    assert answer["machines"] == ["Etcher", "Stepper", "Furnace"]
    assert answer["note"] == author.note


def test_machines_that_the_user_names_are_not_asked_of_the_author(trigger, author):
    answer = trigger({**EVENT, "machines": ["Saw", "Lathe"]})

    assert answer["machines"] == ["Saw", "Lathe"]
    assert not author.asked


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    field=st.sampled_from(list(EVENT)),
    value=st.none() | st.booleans() | st.lists(st.integers(), max_size=2) | st.floats() | st.just("\u0000$(id)"),
)
def test_a_bad_event_is_answered_not_raised_and_writes_nothing(trigger, dynamodb, pipeline, author, field, value):
    answer = trigger({**EVENT, field: value})

    assert answer["status"] == "REJECTED"
    assert answer["error"]["field"] == field
    assert answer["error"]["rule"] in answer["error"]["message"]
    assert not items(dynamodb)
    assert not pipeline.started
    assert not author.asked


def test_an_industry_that_the_author_does_not_know_is_rejected(trigger, author, dynamodb):
    author.error = InputError("industry", "one of steel, paper", "Semiconductor")

    assert trigger(EVENT)["error"]["field"] == "industry"
    assert not items(dynamodb)


def test_an_author_that_fails_is_an_error_and_writes_nothing(trigger, author, dynamodb):
    author.error = AuthorError("throttled")

    with pytest.raises(AuthorError):
        trigger(EVENT)
    assert not items(dynamodb)


def test_an_author_that_knows_no_machine_is_an_error(trigger, author):
    author.names = ()

    with pytest.raises(AuthorError, match="no machine"):
        trigger(EVENT)


def test_the_same_token_makes_one_request(trigger, pipeline, author):
    event = {**EVENT, "idempotency_token": "nightly"}

    first, second = trigger(event, "invocation-1"), trigger(event, "invocation-2")

    assert first == second
    assert len(pipeline.started) == 1
    assert len(author.asked) == 1


def test_an_invocation_that_lambda_repeats_makes_one_request(trigger, pipeline):
    assert trigger(EVENT) == trigger(EVENT)
    assert len(pipeline.started) == 1


def test_another_invocation_makes_another_request(trigger, table):
    first, second = trigger(EVENT, "invocation-1"), trigger(EVENT, "invocation-2")

    assert first["request_id"] != second["request_id"]
    assert table.get("ann", first["request_id"]).active
    assert table.get("ann", second["request_id"]).active


def test_the_same_token_for_something_else_is_rejected(trigger, pipeline):
    trigger({**EVENT, "idempotency_token": "nightly"})

    answer = trigger({**EVENT, "number": 3, "idempotency_token": "nightly"})

    assert (answer["status"], answer["error"]["field"]) == ("REJECTED", "idempotency_token")
    assert len(pipeline.started) == 1


def test_a_request_cut_short_before_its_start_is_started_by_the_repetition(trigger, table, pipeline, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RequestsTable, "set_execution", killed)
        trigger(EVENT)

    answer = trigger(EVENT)

    assert table.get("ann", answer["request_id"]).pipeline_execution_id == "execution-0"
    assert len(pipeline.started) == 1


def test_a_pipeline_that_cannot_be_started_closes_the_request_and_tells(trigger, table, pipeline, alerts, dynamodb):
    pipeline.refusal = "no such pipeline"

    with pytest.raises(ServiceError):
        trigger(EVENT)

    [request_id] = [item["made"]["S"] for item in items(dynamodb) if "made" in item]
    request = table.get("ann", request_id)
    assert (request.status, request.active) == ("FAILED", False)
    assert "no such pipeline" in request.reason
    assert all(machine.status == "FAILED" for machine in request.machines)
    assert request_id in alerts.sent[0][0]


def test_repeating_a_request_that_failed_tells_so_and_starts_nothing(trigger, pipeline):
    pipeline.refusal = "no such pipeline"
    with pytest.raises(ServiceError):
        trigger(EVENT)
    pipeline.refusal = ""

    answer = trigger(EVENT)

    assert answer["status"] == "FAILED"
    assert "no such pipeline" in answer["reason"]
    assert not pipeline.started


def test_the_environment_names_the_services(aws, monkeypatch):
    topic = boto3.client("sns").create_topic(Name="alerts")["TopicArn"]
    environment = {
        "REQUESTS_TABLE": "requests",
        "PIPELINE_NAME": "sensors",
        "ALERTS_TOPIC_ARN": topic,
        "AUTHOR": "catalogue",
        "MODEL_ID": "",
        "PROMPT_STYLE": "library",
        "RETENTION_DAYS": "7",
        "DATA_BUCKET": "data",
        "FLEET_MACHINES": "1000",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    module.submission.cache_clear()

    submission = module.submission()

    assert (submission.author.name, submission.retention) == ("catalogue", timedelta(days=7))
    module.submission.cache_clear()
