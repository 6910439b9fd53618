"""Assembling: what came of all pictures becomes one dataset, and what came of the execution its status."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby

from pydantic import TypeAdapter, ValidationError

from defectory.aws.bucket import Bucket
from defectory.datasets.batches import NAMED_FAILURES, REASON_LIMIT, Folder, failed_inputs
from defectory.datasets.versions import DATASET_FILE
from defectory.errors import InputError, shorten
from defectory.images.assembly import assemble, read_record
from defectory.images.batch.record_file import RecordFile
from defectory.images.batch.runs import ItemFailure, ManifestItem, Run, RunStatus
from defectory.images.batch.synthesize import failed_record, record_content
from defectory.images.costs import actual_cost, used_by
from defectory.images.items import Item, ItemOutcome, ItemRecord, item_id, record_file

_CLASSES = TypeAdapter(dict[str, str])
_NO_WORD = "Nobody knows why: the picture has no record. Start the same execution again under another name."


def assemble_run(key: str, bucket: Bucket, now: datetime, *, stopped: bool = False) -> RunStatus:
    """Write the dataset that a run belongs to, with all that earlier runs made, and the run's status.

    Args:
        key: where the run is stored.
        bucket: where everything is.
        now: when.
        stopped: whether the run was stopped because too much failed; what it never came to is then pending.

    Raises:
        InputError: the run, or a record, is none.
        ServiceError: S3 failed.
    """
    run = Run.read(bucket.read(key), key)
    with RecordFile() as records:
        _gather(run, records, bucket)
        _record_failures(run, records, bucket, stopped=stopped)
        duplicates = _write_dataset(run, records, run.classes, bucket, now)
        status = _status(run, records, duplicates, bucket, now, stopped=stopped)
    status.store(run, bucket)
    return status


def assemble_folder(folder: Folder, bucket: Bucket, now: datetime) -> dict[str, int]:
    """Write the dataset of all pictures in a folder; return how often each outcome came of them.

    Raises:
        InputError: there are no pictures, or a record is none.
        ServiceError: S3 failed.
    """
    with RecordFile() as records:
        _gather(folder, records, bucket)
        if not records:
            fix = "Make some; the answer of the function that makes them says where they are."
            raise InputError("dataset", f"one with pictures in {folder.prefix}", folder.dataset, fix)
        duplicates = _write_dataset(folder, records, {}, bucket, now)
        outcomes = Counter(_outcome(record, duplicates) for record in records)
    return dict(sorted(outcomes.items()))


def _gather(folder: Folder, records: RecordFile, bucket: Bucket) -> None:
    keys = (key for key in bucket.keys(f"{folder.prefix}records/") if key.endswith(".json"))
    for key, content in bucket.read_all(keys):
        records.append(read_record(content, key))


def _record_failures(run: Run, records: RecordFile, bucket: Bucket, *, stopped: bool) -> None:
    """Write records of the run's pictures without one: of those whose making failed, or of all in a run that ended."""
    failures = failed_inputs(run.results_prefix(run.execution), bucket)
    reasons = {item_id(run.item(ManifestItem.model_validate(entry))): reason for entry, reason in failures}

    def missing() -> Iterator[tuple[str, bytes]]:
        for item in _items(run, bucket):
            identity = item_id(item)
            if identity in records.places or (stopped and identity not in reasons):
                continue
            record = failed_record(item, reasons.get(identity, _NO_WORD))
            records.append(record)
            yield run.prefix + record_file(record.id), record_content(record)

    # A picture that is late, and has a record by now, wins.
    bucket.write_all(missing(), only_new=True)


def _items(run: Run, bucket: Bucket) -> Iterator[Item]:
    """What the run is to make, from its manifest, line by line."""
    key = run.manifest_key(run.execution)
    for line in bucket.lines(key):
        try:
            yield run.item(ManifestItem.model_validate_json(line))
        except ValidationError as error:
            raise InputError(key, "the items of a run, one a line, as its plan step stored them", str(error)) from None


def _write_dataset(
    folder: Folder, records: RecordFile, classes: Mapping[str, str], bucket: Bucket, now: datetime
) -> dict[str, str]:
    """Write the files of the dataset; return why pictures turned out to be duplicates, by their ids."""
    classes = _known_classes(folder, bucket) | dict(classes)
    files = assemble(
        records,
        lambda name: bucket.read(folder.prefix + name),
        title=folder.dataset,
        classes=classes,
        prefix=f"s3://{bucket.name}/{folder.prefix}",
        created=now,
    )
    duplicates: dict[str, str] = {}

    def whole(name: str, pieces: Iterator[bytes]) -> tuple[str, bytes]:
        content = b"".join(pieces)
        if name.startswith("records/"):
            record = read_record(content, name)
            duplicates[record.id] = record.reason
        return folder.prefix + name, content

    bucket.write({folder.classes_key: json.dumps(classes, ensure_ascii=False).encode()})
    for small, together in groupby(files, key=lambda file: file[0].startswith(("records/", "labels/"))):
        if small:
            bucket.write_all(whole(name, pieces) for name, pieces in together)
            continue
        for name, pieces in together:
            # Where the description of the whole is, everything is.
            if name == DATASET_FILE:
                bucket.remove(_names_of_pictures(folder, duplicates, records))
            bucket.write_stream(folder.prefix + name, pieces)
    return duplicates


def _names_of_pictures(folder: Folder, ids: Iterable[str], records: RecordFile) -> Iterator[str]:
    """Whoever reads the folder alone takes every picture in it for one of the dataset."""
    for identity in ids:
        record = records[records.places[identity]]
        names = (record.image, record.mask, f"labels/{identity}.txt")
        yield from (folder.prefix + name for name in names if name)


def _known_classes(folder: Folder, bucket: Bucket) -> dict[str, str]:
    """What earlier runs called their kinds of defect."""
    content = bucket.find(folder.classes_key)
    try:
        return _CLASSES.validate_json(content) if content else {}
    except ValidationError as error:
        rule = f"names of classes by kinds of defect ({shorten(str(error.errors()[0]['msg']))})"
        raise InputError(folder.classes_key, rule, fix="Delete it; plans name their classes anew.") from None


def _outcome(record: ItemRecord, duplicates: Container[str]) -> ItemOutcome:
    return "duplicate" if record.id in duplicates else record.outcome


def _status(
    run: Run, records: RecordFile, duplicates: Mapping[str, str], bucket: Bucket, now: datetime, *, stopped: bool
) -> RunStatus:
    own = {item_id(item) for item in _items(run, bucket)}
    outcomes: Counter[str] = Counter()
    failures: list[ItemFailure] = []
    pictures = 0
    for record in records:
        outcome = _outcome(record, duplicates)
        pictures += outcome == "made"
        if record.id not in own:
            continue
        outcomes[outcome] += 1
        if outcome != "made" and len(failures) < NAMED_FAILURES:
            reason = duplicates.get(record.id, record.reason)
            failures.append(ItemFailure(id=record.id, outcome=outcome, reason=shorten(reason, REASON_LIMIT)))
    outcomes["pending"] = len(own) - sum(outcomes.values())
    outcomes = +outcomes
    used = used_by((record for record in records if record.id in own), run.models)
    return RunStatus(
        status="COMPLETE" if outcomes["made"] == len(own) else "PARTIAL" if outcomes["made"] else "FAILED",
        reason=_reason(outcomes, len(own), failures, stopped=stopped),
        execution=run.execution,
        planned=len(own),
        outcomes=dict(sorted(outcomes.items())),
        not_made=tuple(failures),
        pictures=pictures,
        estimate=run.estimate,
        cost=actual_cost(used),
        updated_at=now.isoformat(),
    )


def _reason(outcomes: Counter[str], planned: int, failures: Sequence[ItemFailure], *, stopped: bool) -> str:
    if outcomes["made"] == planned:
        return ""
    counted = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()) if outcome != "made")
    reason = f"{outcomes['made']} of {planned} pictures were made; {counted}."
    if stopped:
        reason += " So many failed that the run was stopped; mend the cause, and start the same again."
    return reason + (f" The first: {failures[0].id}: {failures[0].reason}" if failures else "")
