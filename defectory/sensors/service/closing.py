"""Closing requests whose pipeline failed, was stopped, or never ran: nothing stays owed for ever."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from defectory.aws.alerts import Alerts
from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.aws.metrics import MACHINES
from defectory.aws.pipelines import Pipeline
from defectory.errors import DefectoryError, ServiceError
from defectory.sensors.service.requests import SensorRequest, outcome
from defectory.sensors.service.requests_table import RequestClosedError, RequestsTable

# The trigger and its retries are long over by then.
SWEEP_AFTER = timedelta(hours=2)
# A request that moved on without its execution being known may still be worked on; a pipeline cannot take this long.
UNTRACED_AFTER = timedelta(hours=24)


def close_unfinished(
    request: SensorRequest,
    reason: str,
    *,
    table: RequestsTable,
    alerts: Alerts,
    metrics: DeploymentMetrics,
) -> SensorRequest:
    """Close ``request`` as the table has it now: machines not published are FAILED with ``reason``; people are told.

    The request ends as PARTIAL if a machine of it was published, else as FAILED; one closed already stays as it is.
    The alert goes out before the request is closed: cut short and done again, it tells twice rather than never.
    """
    key = request.user_id, request.request_id
    try:
        for machine in table.get(*key).machines:
            if machine.status not in ("PUBLISHED", "FAILED"):
                table.set_machine_status(*key, machine.slug, "FAILED", error=reason)
    except RequestClosedError:
        return table.get(*key)
    request = table.get(*key)
    if request.active:
        status = outcome(request.machines)
        if status != "PUBLISHED":
            alerts.send(f"Defectory: request {request.request_id} is {status}", _tell(request, status, reason))
        # Were all machines published, only the closing was missing: no reason, no alert.
        if table.close(*key, status, "" if status == "PUBLISHED" else reason):
            metrics.put_outcomes(MACHINES, Counter(machine.status for machine in request.machines))
    return table.get(*key)


def close_after_execution(
    execution_id: str,
    state: str,
    *,
    table: RequestsTable,
    pipeline: Pipeline,
    alerts: Alerts,
    metrics: DeploymentMetrics,
) -> SensorRequest:
    """Close the request that a pipeline execution worked on, now that it has ended in ``state``.

    Raises:
        ServiceError: the execution or its request is unknown, or a service failed.
    """
    execution = pipeline.execution(execution_id)
    if execution is None:
        raise ServiceError(f"The pipeline has no execution {execution_id}.")
    variables = execution.variables
    if not {"user_id", "request_id"} <= variables.keys():
        raise ServiceError(f"Execution {execution_id} has no variables user_id and request_id: it serves no request.")
    request = table.get(variables["user_id"], variables["request_id"])
    if not request.active:
        return request
    reason = _why_ended(execution_id, state, execution.summary, pipeline)
    return close_unfinished(request, reason, table=table, alerts=alerts, metrics=metrics)


def sweep(
    now: datetime, *, table: RequestsTable, pipeline: Pipeline, alerts: Alerts, metrics: DeploymentMetrics
) -> list[SensorRequest]:
    """Close every request that is owed for two hours or more and that no pipeline execution works on any more.

    Raises:
        ServiceError: some could not be closed; they are named, and the others are closed.
    """
    closed, failures = [], []
    for user_id, request_id in table.active_before(now - SWEEP_AFTER):
        try:
            request = table.get(user_id, request_id)
            if reason := _why_abandoned(request, now, pipeline):
                closed.append(close_unfinished(request, reason, table=table, alerts=alerts, metrics=metrics))
        except DefectoryError as error:
            failures.append(f"{request_id} of {user_id}: {error}")
    if failures:
        raise ServiceError(f"{len(failures)} abandoned requests could not be closed: {'; '.join(failures)}")
    return closed


def _why_abandoned(request: SensorRequest, now: datetime, pipeline: Pipeline) -> str:
    """Why nobody works on the request any more; empty while somebody does."""
    if not request.active:
        return ""
    execution_id = request.pipeline_execution_id
    if execution_id is None:
        if request.status == "REQUESTED":
            return "The pipeline was never started. Send the request again."
        untraced = now - datetime.fromisoformat(request.created_at) > UNTRACED_AFTER
        return "The pipeline stopped without a trace. Send the request again." if untraced else ""
    execution = pipeline.execution(execution_id)
    if execution is None:
        return f"Pipeline execution {execution_id} no longer exists. Send the request again."
    return "" if execution.running else _why_ended(execution_id, execution.status, execution.summary, pipeline)


def _why_ended(execution_id: str, state: str, summary: str, pipeline: Pipeline) -> str:
    ended = f"Pipeline execution {execution_id} {state.lower()}"
    if state.lower() == "succeeded":
        return f"{ended} without closing the request."
    return f"{ended}: " + ("; ".join(pipeline.failed_actions(execution_id)) or summary or "no reason given")


def _tell(request: SensorRequest, status: str, reason: str) -> str:
    machines = (f"{machine.status:9} {machine.name} {machine.error}".rstrip() for machine in request.machines)
    headline = f"Request {request.request_id} of user {request.user_id} ({request.industry}) is {status}."
    return "\n".join((headline, "", reason, "", *machines))
