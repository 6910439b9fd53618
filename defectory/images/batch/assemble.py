"""Assembling: what came of all pictures becomes one dataset, and what came of the execution its status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from defectory.datasets.records import Dataset
from defectory.datasets.versions import DATASET_FILE, StoredDataset
from defectory.errors import InputError, shorten
from defectory.images.assembly import assemble, classes_of, read_record
from defectory.images.batch.images_bucket import ImagesBucket
from defectory.images.batch.requests import Folder, parse_folder
from defectory.images.batch.runs import NAMED_FAILURES, ItemFailure, Run, RunStatus
from defectory.images.batch.synthesize import failed_record, record_content
from defectory.images.costs import actual_cost, used_by
from defectory.images.items import ItemRecord, item_id, record_file

_NO_WORD = "Nobody knows why: the picture has no record. Start the same execution again under another name."


def assemble_run(key: str, reasons: Mapping[int, str], bucket: ImagesBucket, now: datetime) -> RunStatus:
    """Write the dataset that a run belongs to, with all that earlier runs made, and the run's status.

    Args:
        key: where the run is stored.
        reasons: why pictures were not made, by their numbers, as far as the state machine knows.
        bucket: where everything is.
        now: when.

    Raises:
        InputError: the run, or a record, is none.
        ServiceError: S3 failed.
    """
    run = Run.read(bucket.read(key), key)
    records = _records(run, bucket)
    for number, item in enumerate(run.items):
        if item_id(item) not in records:
            record = failed_record(item, reasons.get(number, _NO_WORD))
            # A picture that is late, and has a record by now, wins.
            bucket.write_new(run.prefix + record_file(record.id), record_content(record))
            records[record.id] = record
    records = _assemble(run, records, run.classes, bucket, now)
    return _store(run, _status(run, records, now), bucket)


def assemble_folder(folder: Folder, bucket: ImagesBucket, now: datetime) -> dict[str, int]:
    """Write the dataset of all pictures in a folder; return how often each outcome came of them.

    Raises:
        InputError: there are no pictures, or a record is none.
        ServiceError: S3 failed.
    """
    records = _records(folder, bucket)
    if not records:
        fix = "Make some; the answer of the function that makes them says where they are."
        raise InputError("dataset", f"one with pictures in {folder.prefix}", folder.dataset, fix)
    records = _assemble(folder, records, {}, bucket, now)
    return dict(sorted(Counter(record.outcome for record in records.values()).items()))


def store_failure(request: object, execution: str, problem: str, bucket: ImagesBucket, now: datetime) -> bool:
    """Store that an execution failed as a whole; return False where the request does not say for which dataset.

    Raises:
        ServiceError: S3 failed.
    """
    try:
        folder = parse_folder(request)
    except InputError:
        return False
    status = RunStatus(status="FAILED", reason=problem, execution=execution, updated_at=now.isoformat())
    _store(folder, status, bucket)
    return True


def _records(folder: Folder, bucket: ImagesBucket) -> dict[str, ItemRecord]:
    keys = [key for key in bucket.keys(f"{folder.prefix}records/") if key.endswith(".json")]
    records = (read_record(content, key) for key, content in bucket.read_all(keys).items())
    return {record.id: record for record in records}


def _assemble(
    folder: Folder, records: Mapping[str, ItemRecord], classes: Mapping[str, str], bucket: ImagesBucket, now: datetime
) -> dict[str, ItemRecord]:
    """Write the dataset; return the records as they are then."""
    files = assemble(
        list(records.values()),
        lambda name: bucket.read(folder.prefix + name),
        title=folder.dataset,
        classes=_known_classes(folder, bucket) | dict(classes),
        prefix=f"s3://{bucket.name}/{folder.prefix}",
        created=now,
    )
    # Where the description of the whole is, everything is.
    description = files.pop(DATASET_FILE)
    bucket.write_all({folder.prefix + name: content for name, content in files.items()})
    changed = [read_record(content, name) for name, content in files.items() if name == record_file(Path(name).stem)]
    for record in changed:
        _forget_pictures(folder, records[record.id], bucket)
    bucket.write({folder.prefix + DATASET_FILE: description})
    return {**records, **{record.id: record for record in changed}}


def _known_classes(folder: Folder, bucket: ImagesBucket) -> dict[str, str]:
    """What earlier runs called their kinds of defect."""
    content = bucket.find(folder.prefix + DATASET_FILE)
    if content is None:
        return {}
    try:
        stored = StoredDataset.model_validate_json(content)
    except ValidationError as error:
        raise InputError(
            DATASET_FILE, f"a dataset as it was stored ({error})", fix="Delete it, and assemble anew."
        ) from None
    return classes_of(Dataset((), Path(), notes=stored.notes))


def _forget_pictures(folder: Folder, record: ItemRecord, bucket: ImagesBucket) -> None:
    """Whoever reads the folder alone takes every picture in it for one of the dataset."""
    names = (record.image, record.mask, f"labels/{record.id}.txt")
    bucket.remove([folder.prefix + name for name in names if name])


def _status(run: Run, records: Mapping[str, ItemRecord], now: datetime) -> RunStatus:
    own = [records[item_id(item)] for item in run.items]
    outcomes = Counter[str](record.outcome for record in own)
    not_made = [record for record in own if record.outcome != "made"]
    verdict: dict[str, Any] = {"status": "COMPLETE"}
    if not_made:
        counted = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()) if outcome != "made")
        verdict = {
            "status": "PARTIAL" if outcomes["made"] else "FAILED",
            "reason": f"{outcomes['made']} of {len(own)} pictures were made; {counted}. "
            f"The first: {not_made[0].id}: {shorten(not_made[0].reason, 600)}",
        }
    return RunStatus(
        **verdict,
        execution=run.execution,
        planned=len(own),
        outcomes=dict(sorted(outcomes.items())),
        not_made=tuple(
            ItemFailure(id=record.id, outcome=record.outcome, reason=shorten(record.reason, 600))
            for record in not_made[:NAMED_FAILURES]
        ),
        pictures=sum(record.outcome == "made" for record in records.values()),
        estimate=run.estimate,
        cost=actual_cost(used_by(own, run.models)),
        updated_at=now.isoformat(),
    )


def _store(folder: Folder, status: RunStatus, bucket: ImagesBucket) -> RunStatus:
    bucket.write({folder.status_key: status.content})
    return status
