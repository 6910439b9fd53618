"""Running: the action Run, which is Rerun as well.  It needs no service: scripts in, datasets and failures out."""

from __future__ import annotations

import shutil
from pathlib import Path

from defectory.errors import InputError
from defectory.sensors.pipeline.artifacts import (
    FAILURES_FILE,
    REQUEST_FILE,
    RUN_FILE,
    RunLog,
    RunRecord,
    WorkOrder,
    bounded,
    fresh_folder,
    read_artifact,
    read_script,
    write_artifact,
)
from defectory.sensors.pipeline.simulation import CHECK_SECONDS, Simulated, Simulation, simulate
from defectory.sensors.pipeline.workers import run_isolated
from defectory.sensors.sandbox import Limits


def run(scripts: Path, *, datasets: Path, failures: Path, work: Path, limits: Limits | None = None) -> None:
    """Run every script of the artifact ``scripts``: what is in order goes to ``datasets``, why not to ``failures``.

    Raises:
        InputError: ``request.json`` of the artifact is broken.
    """
    limits = limits or Limits()
    order = read_artifact(scripts, REQUEST_FILE, WorkOrder)
    for folder in (datasets, failures, work):
        fresh_folder(folder)
    jobs: list[Simulation] = []
    records: list[RunRecord] = []
    for machine in order.machines:
        if machine.reasons:
            continue
        try:
            source = read_script(scripts, machine.slug).source
        except InputError as error:
            records.append(RunRecord(slug=machine.slug, reasons=bounded([str(error)])))
            continue
        jobs.append(Simulation(machine.slug, order.task(machine), source, work / machine.slug, limits))
    for job, outcome in run_isolated(simulate, jobs, seconds=limits.wall_seconds + CHECK_SECONDS):
        result = Simulated.of(outcome)
        if result.ok:
            job.folder.rename(datasets / job.slug)
        records.append(
            RunRecord(
                slug=job.slug,
                reasons=result.reasons,
                repairable=result.repairable,
                layers=result.layers,
                seconds=result.seconds,
            )
        )
        verdict = "; ".join(result.reasons) or "in order"
        print(f"{job.slug}: {verdict} ({result.seconds:.1f} s)", *result.warnings, sep="\n", flush=True)
    failed = tuple(record for record in records if record.reasons)
    shutil.rmtree(work)
    write_artifact(datasets, RUN_FILE, RunLog(machines=tuple(records)))
    write_artifact(failures, FAILURES_FILE, RunLog(machines=failed))
    print(f"{len(records) - len(failed)} of {len(records)} scripts gave a dataset in order.", flush=True)
