"""Writing: the actions Write and Repair.  They may reach a model and the requests table, and run nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from defectory.sensors.authors import AUTHORS_AT_ONCE, Author
from defectory.sensors.pipeline.artifacts import (
    FAILURES_FILE,
    REQUEST_FILE,
    MachineOrder,
    RunLog,
    WorkOrder,
    bounded,
    fresh_folder,
    read_artifact,
    read_script,
    seed_of,
    write_artifact,
    write_script,
)
from defectory.sensors.pipeline.scripting import Writing, write_checked_script
from defectory.sensors.service.requests_table import RequestsTable


def write(table: RequestsTable, author: Author, user_id: str, request_id: str, out: Path) -> None:
    """Write the scripts of all machines of a request into the artifact ``out``.

    Raises:
        ServiceError: the requests table failed, or has no such open request.
    """
    request = table.get(user_id, request_id)
    machines = tuple(
        MachineOrder(name=machine.name, slug=machine.slug, seed=seed_of(request.seed, machine.slug))
        for machine in request.machines
    )
    order = WorkOrder(
        user_id=user_id,
        request_id=request_id,
        industry=request.industry,
        year=request.year,
        created_at=request.created_at,
        machines=machines,
    )
    table.set_status(user_id, request_id, "WRITING")

    def write_one(machine: MachineOrder) -> MachineOrder:
        table.set_machine_status(user_id, request_id, machine.slug, "WRITING")
        return _hand_over(table, order, machine, write_checked_script(author, order.task(machine)), out)

    _work_through(table, order, machines, write_one, out)


def repair(
    table: RequestsTable, author: Author, user_id: str, request_id: str, *, scripts: Path, failures: Path, out: Path
) -> None:
    """Have the scripts that failed in Run corrected, and those that Write did not get written once more.

    ``out`` lists these machines only; it lists none when there is nothing to repair.

    Raises:
        ServiceError: the requests table failed, or has no such open request.
        InputError: an artifact is broken.
    """
    order = read_artifact(scripts, REQUEST_FILE, WorkOrder)
    failed = {record.slug: record for record in read_artifact(failures, FAILURES_FILE, RunLog).machines}
    machines = [
        machine
        for machine in order.machines
        if machine.reasons or (machine.slug in failed and failed[machine.slug].repairable)
    ]
    if machines:
        table.set_status(user_id, request_id, "REPAIRING")

    def repair_one(machine: MachineOrder) -> MachineOrder:
        reasons = machine.reasons or failed[machine.slug].reasons
        script = None if machine.reasons else read_script(scripts, machine.slug)
        table.set_machine_status(user_id, request_id, machine.slug, "REPAIRING", error="; ".join(reasons))
        writing = write_checked_script(author, order.task(machine), script, reasons)
        if writing.script is None:
            writing = Writing(None, bounded(dict.fromkeys((*writing.reasons, *reasons))))
        return _hand_over(table, order, machine, writing, out)

    _work_through(table, order, machines, repair_one, out)


def _work_through(
    table: RequestsTable,
    order: WorkOrder,
    machines: Sequence[MachineOrder],
    work: Callable[[MachineOrder], MachineOrder],
    out: Path,
) -> None:
    fresh_folder(out)
    with ThreadPoolExecutor(AUTHORS_AT_ONCE) as pool:
        worked = tuple(pool.map(work, machines))
    write_artifact(out, REQUEST_FILE, order.model_copy(update={"machines": worked}))
    if worked:
        table.set_status(order.user_id, order.request_id, "RUNNING")
    written = sum(not machine.reasons for machine in worked)
    print(f"{written} of {len(worked)} scripts written.", flush=True)


def _hand_over(
    table: RequestsTable, order: WorkOrder, machine: MachineOrder, writing: Writing, out: Path
) -> MachineOrder:
    key = order.user_id, order.request_id, machine.slug
    if writing.script is None:
        print(f"{machine.slug}: no script: {'; '.join(writing.reasons)}", flush=True)
        # Not FAILED yet: Repair tries once more, and Publish has the last word.
        table.set_machine_status(*key, "WRITING", error="; ".join(writing.reasons))
        return machine.model_copy(update={"reasons": writing.reasons})
    write_script(out, machine.slug, writing.script)
    attempts = machine.attempts + 1
    table.set_machine_status(*key, "RUNNING", attempts=attempts)
    print(f"{machine.slug}: script written, {len(writing.script.source.splitlines())} lines", flush=True)
    return machine.model_copy(update={"attempts": attempts, "reasons": ()})
