"""Publishing: the action Publish.  It believes nothing that Run says, uploads what holds, and closes the request."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from defectory.aws.alerts import Alerts
from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.errors import DefectoryError, ServiceError, shorten
from defectory.sensors.authors import ScriptTask
from defectory.sensors.pipeline.artifacts import (
    REQUEST_FILE,
    RUN_FILE,
    RunLog,
    WorkOrder,
    accept_dataset,
    bounded,
    fresh_folder,
    read_artifact,
    read_script,
)
from defectory.sensors.pipeline.finishing import Origin, finish_dataset
from defectory.sensors.pipeline.simulation import CHECK_SECONDS, check_against_task
from defectory.sensors.pipeline.workers import Lost, run_isolated
from defectory.sensors.report import write_index
from defectory.sensors.service.closing import close_unfinished
from defectory.sensors.service.datasets_bucket import DatasetsBucket
from defectory.sensors.service.requests import SensorRequest
from defectory.sensors.service.requests_table import RequestsTable

REASON_IN_SUMMARY = 200


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of writing and running handed over: the artifacts of Write and Run, or of Repair and Rerun."""

    scripts: Path
    datasets: Path


@dataclass(frozen=True, slots=True)
class Delivery:
    """A dataset to check and to complete: from ``source`` in an artifact to ``folder``."""

    source: Path
    folder: Path
    task: ScriptTask
    origin: Origin


def publish(
    table: RequestsTable,
    bucket: DatasetsBucket,
    alerts: Alerts,
    user_id: str,
    request_id: str,
    *,
    rounds: tuple[Round, ...],
    work: Path,
    metrics: DeploymentMetrics,
) -> SensorRequest:
    """Publish what the rounds (the last one counts) made of a request, tell people of what is missing, and close it.

    Cut short and done again, it completes what is missing; done again after that, it changes nothing.

    Raises:
        ServiceError: the requests table or the alerts failed; the request is still open.
        InputError: an artifact is broken.
    """
    request = table.get(user_id, request_id)
    if not request.active:
        print(f"The request is closed already, as {request.status}; there is nothing to do.", flush=True)
        return request
    fresh_folder(work)
    deliveries, reasons = _sort_machines(request, rounds, work)
    complete = bucket.complete_datasets(user_id, request_id)
    for delivery, outcome in run_isolated(prepare, deliveries, seconds=CHECK_SECONDS):
        slug = delivery.origin.slug
        problems = bounded([outcome.reason]) if isinstance(outcome, Lost) else outcome
        if slug in complete:  # by an earlier, interrupted Publish
            problems = ()
        elif not problems:
            try:
                bucket.upload_dataset(user_id, request_id, slug, delivery.folder)
            except ServiceError as error:
                problems = bounded([str(error)])
        if problems:
            reasons[slug] = problems
            shutil.rmtree(delivery.folder, ignore_errors=True)  # the index shows what is left
        else:
            table.set_machine_status(user_id, request_id, slug, "PUBLISHED")
            print(f"{slug}: published", flush=True)
    for slug, problems in reasons.items():
        table.set_machine_status(user_id, request_id, slug, "FAILED", error="; ".join(problems))
        print(f"{slug}: failed: {'; '.join(problems)}", flush=True)
    if len(reasons) < len(request.machines):
        names = {machine.slug: machine.name for machine in request.machines}
        failures = {names[slug]: "; ".join(problems) for slug, problems in reasons.items()}
        bucket.upload_index(user_id, request_id, write_index(work, failures))
    closed = close_unfinished(request, summarise(request, reasons), table=table, alerts=alerts, metrics=metrics)
    print(f"Request {request_id} is {closed.status}. {closed.reason}", flush=True)
    return closed


def prepare(delivery: Delivery) -> tuple[str, ...]:
    """Take over one dataset, check it, and finish it; the reasons why it is not fit to publish, if any."""
    try:
        accept_dataset(delivery.source, delivery.folder)
        contract, reasons = check_against_task(delivery.folder, delivery.task)
        if not reasons:
            finish_dataset(delivery.folder, delivery.origin, contract)
    except DefectoryError as error:
        reasons = (str(error),)
    return bounded(reasons)


def summarise(request: SensorRequest, reasons: Mapping[str, tuple[str, ...]]) -> str:
    """Which machines of ``request`` failed, and why, in a few lines; empty when none did."""
    if not reasons:
        return ""
    failed = [
        f"{machine.name}: {shorten('; '.join(reasons[machine.slug]), REASON_IN_SUMMARY)}"
        for machine in request.machines
        if machine.slug in reasons
    ]
    return "\n".join((f"{len(failed)} of {len(request.machines)} machines failed.", *failed))


def _sort_machines(
    request: SensorRequest, rounds: tuple[Round, ...], work: Path
) -> tuple[list[Delivery], dict[str, tuple[str, ...]]]:
    """What can be published, and why the other machines cannot."""
    deliveries: dict[str, Delivery] = {}
    reasons: dict[str, tuple[str, ...]] = {m.slug: ("No script was handed over.",) for m in request.machines}
    for work_round in rounds:
        order = read_artifact(work_round.scripts, REQUEST_FILE, WorkOrder)
        runs = {record.slug: record for record in read_artifact(work_round.datasets, RUN_FILE, RunLog).machines}
        for machine in order.machines:
            source, run = work_round.datasets / machine.slug, runs.get(machine.slug)
            if source.is_dir():
                origin = Origin(
                    machine=machine.name,
                    slug=machine.slug,
                    industry=request.industry,
                    user_id=request.user_id,
                    request_id=request.request_id,
                    created_at=request.created_at,
                    script=read_script(work_round.scripts, machine.slug),
                    attempts=machine.attempts,
                    layers=run.layers if run else (),
                )
                deliveries[machine.slug] = Delivery(source, work / machine.slug, order.task(machine), origin)
            reasons[machine.slug] = machine.reasons or (run.reasons if run else ()) or ("Run handed over no dataset.",)
    requested_slugs = {machine.slug for machine in request.machines}
    return (
        [delivery for slug, delivery in deliveries.items() if slug in requested_slugs],
        {slug: problems for slug, problems in reasons.items() if slug in requested_slugs and slug not in deliveries},
    )
