"""Closing what failed: right status, reason stored, people told; nothing that is closed or worked on is touched."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.errors import InputError, ServiceError
from defectory.sensors.service.closing import sweep
from defectory.sensors.service.requests import SensorRequest, parse_event
from defectory.sensors.service.requests_table import RequestNotFoundError
from lambdas.close_failed_request import handler as module

NOW = datetime.now(UTC)
METRICS = DeploymentMetrics("plant")
HOURLY = {"detail-type": "Scheduled Event", "source": "aws.events"}


@pytest.fixture
def closer(monkeypatch, table, pipeline, alerts, context):
    monkeypatch.setattr(
        module, "services", lambda: {"table": table, "pipeline": pipeline, "alerts": alerts, "metrics": METRICS}
    )
    return lambda event: module.handler(event, context)


@pytest.fixture
def request_made(table, pipeline):
    """Makes a request, ``age`` old, that the pipeline works on, unless ``started`` is false."""

    def make(token="t", age=timedelta(), started=True) -> SensorRequest:
        event = parse_event({"industry": "Steel", "number": 2, "user_id": "ann"})
        request = SensorRequest.new(
            event,
            machines=["Etcher", "Stepper"],
            author="catalogue",
            retention=timedelta(days=1),
            now=NOW - age,
        )
        table.create(request, token=token, fingerprint="f")
        if started:
            execution = pipeline.start({"user_id": "ann", "request_id": request.request_id}, token=request.request_id)
            table.set_execution("ann", request.request_id, execution)
        return table.get("ann", request.request_id)

    return make


def ended(request: SensorRequest, state: str) -> dict:
    detail = {"pipeline": "sensors", "execution-id": request.pipeline_execution_id, "state": state}
    return {"detail-type": "CodePipeline Pipeline Execution State Change", "detail": detail}


@pytest.mark.parametrize("state", ["FAILED", "STOPPED", "CANCELED"])
def test_a_pipeline_that_ended_badly_closes_its_request_as_failed(closer, table, pipeline, alerts, request_made, state):
    request = request_made()
    pipeline.failures = ["Run failed: exit 137 https://logs"]

    assert closer(ended(request, state)) == {request.request_id: "FAILED"}

    closed = table.get("ann", request.request_id)
    assert (closed.status, closed.active) == ("FAILED", False)
    assert "exit 137 https://logs" in closed.reason
    assert state.lower() in closed.reason
    assert {(machine.status, machine.error) for machine in closed.machines} == {("FAILED", closed.reason)}
    [(subject, message)] = alerts.sent
    assert request.request_id in subject
    assert "exit 137" in message
    assert "Stepper" in message


def test_what_was_published_stays_and_makes_it_partial(closer, table, request_made, measured):
    request = request_made()
    table.set_machine_status("ann", request.request_id, "etcher", "PUBLISHED")

    closer(ended(request, "FAILED"))

    closed = table.get("ann", request.request_id)
    assert closed.status == "PARTIAL"
    assert [machine.status for machine in closed.machines] == ["PUBLISHED", "FAILED"]
    closer(ended(request, "FAILED"))
    assert measured("Machines") == {("PUBLISHED",): [1.0], ("FAILED",): [1.0]}, "once, however often it is told"


def test_a_machines_own_error_is_kept(closer, table, request_made):
    request = request_made()
    table.set_machine_status("ann", request.request_id, "etcher", "FAILED", error="half a year")

    closer(ended(request, "FAILED"))

    assert table.get("ann", request.request_id).machines[0].error == "half a year"


def test_publish_killed_before_closing_closes_as_published_without_an_alert(closer, table, alerts, request_made):
    request = request_made()
    for slug in ("etcher", "stepper"):
        table.set_machine_status("ann", request.request_id, slug, "PUBLISHED")

    closer(ended(request, "FAILED"))

    closed = table.get("ann", request.request_id)
    assert (closed.status, closed.active, closed.reason) == ("PUBLISHED", False, "")
    assert not alerts.sent


def test_a_pipeline_that_succeeded_without_closing_its_request_is_a_failure(closer, table, request_made):
    request = request_made()

    closer(ended(request, "SUCCEEDED"))

    assert "without closing" in table.get("ann", request.request_id).reason


def test_a_request_that_is_closed_stays_as_it_is_and_nobody_is_told(closer, table, alerts, request_made):
    request = request_made()
    table.close("ann", request.request_id, "PUBLISHED")
    before = table.get("ann", request.request_id)

    closer(ended(request, "SUCCEEDED"))

    assert table.get("ann", request.request_id) == before
    assert not alerts.sent


def test_the_same_event_twice_tells_once(closer, alerts, request_made):
    request = request_made()

    assert closer(ended(request, "FAILED")) == closer(ended(request, "FAILED"))
    assert len(alerts.sent) == 1


def test_an_alert_that_cannot_be_sent_leaves_the_request_owed(closer, table, alerts, request_made):
    request = request_made()
    alerts.error = ServiceError("SNS is down")

    with pytest.raises(ServiceError):
        closer(ended(request, "FAILED"))
    assert table.get("ann", request.request_id).active

    alerts.error = None
    closer(ended(request, "FAILED"))
    assert not table.get("ann", request.request_id).active
    assert alerts.sent


def test_an_execution_that_serves_no_request_is_an_error(closer, pipeline, request_made):
    request = request_made()
    execution = pipeline.start({}, token="by hand")

    with pytest.raises(ServiceError, match="serves no request"):
        closer(ended(request.model_copy(update={"pipeline_execution_id": execution}), "FAILED"))
    with pytest.raises(ServiceError, match="no execution"):
        closer(ended(request.model_copy(update={"pipeline_execution_id": "gone"}), "FAILED"))


def test_an_execution_for_a_request_that_does_not_exist_is_an_error(closer, pipeline, request_made):
    execution = pipeline.start({"user_id": "ann", "request_id": "nothing"}, token="by hand")

    with pytest.raises(RequestNotFoundError):
        closer(ended(request_made().model_copy(update={"pipeline_execution_id": execution}), "FAILED"))


def test_the_sweep_closes_old_requests_that_nobody_works_on(closer, table, pipeline, alerts, request_made):
    hours = timedelta(hours=3)
    working, dead = request_made("working", hours), request_made("dead", hours)
    never, young = request_made("never", hours, started=False), request_made("young")
    pipeline.end(dead.pipeline_execution_id, "Failed", "exit 1")
    pipeline.end(young.pipeline_execution_id, "Failed")

    assert closer(HOURLY) == {dead.request_id: "FAILED", never.request_id: "FAILED"}

    assert "exit 1" in table.get("ann", dead.request_id).reason
    assert "never started" in table.get("ann", never.request_id).reason
    assert table.get("ann", working.request_id).active
    assert table.get("ann", young.request_id).active, "its own event is still to come"
    assert len(alerts.sent) == 2


def test_the_sweep_closes_a_request_whose_execution_is_forgotten(closer, table, pipeline, request_made):
    request = request_made(age=timedelta(hours=3))
    pipeline.executions.clear()

    closer(HOURLY)

    assert "no longer exists" in table.get("ann", request.request_id).reason


@pytest.mark.parametrize(("hours", "active"), [(3, True), (25, False)])
def test_a_request_that_moved_on_without_a_known_execution_gets_a_day(closer, table, request_made, hours, active):
    request = request_made(age=timedelta(hours=hours), started=False)
    table.set_status("ann", request.request_id, "RUNNING")

    closer(HOURLY)

    assert table.get("ann", request.request_id).active is active


SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(("age", "closed"), [(timedelta(hours=2) - SECOND, 0), (timedelta(hours=2) + SECOND, 1)])
def test_the_sweep_leaves_two_hours_to_the_trigger(table, pipeline, alerts, request_made, age, closed):
    request_made(age=age, started=False)

    assert len(sweep(NOW, table=table, pipeline=pipeline, alerts=alerts, metrics=METRICS)) == closed


@pytest.mark.parametrize(("age", "closed"), [(timedelta(hours=24) - SECOND, 0), (timedelta(hours=24) + SECOND, 1)])
def test_the_sweep_leaves_a_day_to_a_pipeline_that_nobody_can_trace(table, pipeline, alerts, request_made, age, closed):
    request = request_made(age=age, started=False)
    table.set_status("ann", request.request_id, "RUNNING")

    assert len(sweep(NOW, table=table, pipeline=pipeline, alerts=alerts, metrics=METRICS)) == closed


def test_one_request_that_cannot_be_closed_does_not_keep_the_others(closer, table, pipeline, alerts, request_made):
    bad, good = (request_made(name, timedelta(hours=3)) for name in ("bad", "good"))
    for request in (bad, good):
        pipeline.end(request.pipeline_execution_id, "Failed")
    ask = pipeline.execution

    def refuse_bad(execution_id):
        if execution_id == bad.pipeline_execution_id:
            raise ServiceError("access denied")
        return ask(execution_id)

    pipeline.execution = refuse_bad

    with pytest.raises(ServiceError, match=f"1 abandoned.*{bad.request_id}.*access denied"):
        closer(HOURLY)
    assert not table.get("ann", good.request_id).active
    assert table.get("ann", bad.request_id).active


def test_an_unknown_event_is_refused(closer):
    with pytest.raises(InputError, match="detail-type"):
        closer({"detail-type": "Something Else"})
