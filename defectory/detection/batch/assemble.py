"""Assembling: what became of all shards is one folder of scenes, and what came of the execution its status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from defectory.aws.bucket import Bucket
from defectory.datasets.batches import NAMED_FAILURES, REASON_LIMIT, failed_inputs
from defectory.detection.batch.outcomes import SceneOutcome, parse_outcomes, read_layouts
from defectory.detection.batch.runs import SceneBatchStatus, SceneFailure, SceneRun, ShardItem
from defectory.detection.scenes.acceptance import JOURNAL_FILE
from defectory.detection.scenes.contact_sheet import shown_on_sheet
from defectory.detection.scenes.exports import publish
from defectory.detection.scenes.folder import CLASSES_FILE, FAILURES_FILE, SCENES_FILE
from defectory.errors import shorten

_NO_WORD = "Nobody knows why: it has no record. Start the same again."


def assemble_run(key: str, bucket: Bucket, now: datetime, *, stopped: bool = False) -> SceneBatchStatus:
    """Write the dataset that a run belongs to, with all that earlier runs made, and the run's status.

    The scenes go through the disk as a stream: memory takes no more than their names.

    Args:
        key: where the run is stored.
        bucket: where everything is.
        now: when.
        stopped: whether the run was stopped because too much failed; what it never came to is then pending.

    Raises:
        InputError: the run, or a record, is none.
        ServiceError: S3 failed.
    """
    run = SceneRun.read(key, bucket)
    with TemporaryDirectory() as name:
        folder = Path(name)
        tally = _Tally(run, {item.shard: item for item in run.shards(bucket)})
        _gather(run, folder, tally, bucket)
        with (folder / FAILURES_FILE).open("ab") as stream:
            for failure in _others(run, tally, bucket, stopped=stopped):
                stream.write(failure.line)
        (folder / CLASSES_FILE).write_bytes(bucket.read(run.classes_key))
        _fetch_shown(run, folder, tally.scenes, bucket)
        publish(folder, run.classes, run.recipe.split)
        _upload(run, folder, bucket)
    status = tally.status(now, stopped=stopped)
    status.store(run, bucket)
    return status


@dataclass(slots=True)
class _Tally:
    """Counts what became of a run's layouts, and of the whole dataset."""

    run: SceneRun
    shards: Mapping[str, ShardItem]
    recorded: Counter[str] = field(default_factory=Counter)
    """Layouts with a record, by their shards."""
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[SceneFailure] = field(default_factory=list)
    scenes: int = 0

    def add(self, failure: SceneFailure) -> None:
        """Count a layout of the run that is no scene."""
        self.outcomes[failure.fate] += 1
        if len(self.failures) < NAMED_FAILURES:
            self.failures.append(failure)

    def status(self, now: datetime, *, stopped: bool) -> SceneBatchStatus:
        """What it comes to."""
        made, planned = self.outcomes["made"], self.run.planned
        self.outcomes["pending"] = planned - self.outcomes.total()
        outcomes = +self.outcomes
        unfinished = outcomes["failed"] + outcomes["pending"]
        return SceneBatchStatus(
            status="FAILED" if not made else "PARTIAL" if unfinished else "COMPLETE",
            reason=self._reason(outcomes, stopped=stopped),
            execution=self.run.execution,
            planned=planned,
            outcomes=dict(sorted(outcomes.items())),
            repeated=self.run.repeated,
            calls=self.run.calls,
            not_made=tuple(self.failures),
            pictures=self.scenes,
            updated_at=now.isoformat(),
        )

    def _reason(self, outcomes: Counter[str], *, stopped: bool) -> str:
        made, planned = outcomes["made"], self.run.planned
        if made == planned:
            return ""
        counted = ", ".join(f"{count} {fate}" for fate, count in sorted(outcomes.items()) if fate != "made")
        reason = f"{made} of {planned} scenes were made; {counted}."
        if stopped:
            reason += " So many shards failed that the run was stopped; mend the cause, and start the same again."
        if self.failures:
            first = self.failures[0]
            reason += f" The first: {first.image_id}: {first.reason}"
        return reason


def _gather(run: SceneRun, folder: Path, tally: _Tally, bucket: Bucket) -> None:
    """Write the scenes of all shards, what was checked of them and what failed, and count what is the run's."""
    seen: set[str] = set()
    with (
        (folder / SCENES_FILE).open("wb") as scenes,
        (folder / FAILURES_FILE).open("wb") as failures,
        (folder / JOURNAL_FILE).open("wb") as checks,
    ):
        for shard, outcome in _outcomes(run, bucket):
            # Two executions at the same time may have given a layout to a shard each.
            if outcome.image_id not in seen and outcome.scene is not None:
                seen.add(outcome.image_id)
                scenes.write(outcome.scene.model_dump_json().encode() + b"\n")
                tally.scenes += 1
            if outcome.check is not None:
                checks.write(outcome.check.model_dump_json().encode() + b"\n")
            failure = _failure(outcome)
            if failure is not None:
                failures.write(failure.line)
            if shard in tally.shards:
                tally.recorded[shard] += 1
                if failure is None:
                    tally.outcomes["made"] += 1
                else:
                    tally.add(failure)
    if not (folder / JOURNAL_FILE).stat().st_size:
        (folder / JOURNAL_FILE).unlink()


def _outcomes(run: SceneRun, bucket: Bucket) -> Iterator[tuple[str, SceneOutcome]]:
    """What became of the dataset's layouts, each with its shard."""
    for key, content in bucket.read_all(bucket.keys(run.records_prefix)):
        shard = key.removeprefix(run.records_prefix).removesuffix(".jsonl")
        for outcome in parse_outcomes(content.splitlines(), key):
            yield shard, outcome


def _failure(outcome: SceneOutcome) -> SceneFailure | None:
    if outcome.fate == "made":
        return None
    reason = shorten(outcome.reason, REASON_LIMIT)
    return SceneFailure(image_id=outcome.image_id, fate=outcome.fate, reason=reason)


def _others(run: SceneRun, tally: _Tally, bucket: Bucket, *, stopped: bool) -> Iterator[SceneFailure]:
    """What has no record: lines that are no layouts, and layouts that no function came to, or whose function failed."""
    for line in bucket.lines(run.refused_key(run.execution)):
        refused = SceneFailure.model_validate_json(line)
        tally.add(refused)
        yield refused
    short = [shard for shard, item in tally.shards.items() if tally.recorded[shard] < item.count]
    if not short:
        return
    failed = failed_inputs(run.results_prefix(run.execution), bucket)
    reasons = {ShardItem.model_validate(item).shard: reason for item, reason in failed}
    for shard in short:
        if stopped and shard not in reasons:
            continue
        recorded = {outcome.image_id for outcome in _outcomes_of(run, shard, bucket)}
        for layout in read_layouts(run, shard, bucket):
            if layout.image_id not in recorded:
                reason = reasons.get(shard, _NO_WORD)
                failure = SceneFailure(image_id=layout.image_id, fate="failed", reason=reason)
                tally.add(failure)
                yield failure


def _outcomes_of(run: SceneRun, shard: str, bucket: Bucket) -> Iterator[SceneOutcome]:
    key = run.records_key(shard)
    return parse_outcomes((bucket.find(key) or b"").splitlines(), key)


def _fetch_shown(run: SceneRun, folder: Path, scenes: int, bucket: Bucket) -> None:
    """Copy the pictures that the contact sheet shows."""
    (folder / "images").mkdir()
    files = [record.file for record in shown_on_sheet(folder, scenes)]
    for key, content in bucket.read_all(run.prefix + file for file in files):
        (folder / key.removeprefix(run.prefix)).write_bytes(content)


def _upload(run: SceneRun, folder: Path, bucket: Bucket) -> None:
    """Write the dataset's own files; where the list of scenes is, everything is."""
    names = sorted(
        file.name for file in folder.iterdir() if file.is_file() and file.name not in (SCENES_FILE, CLASSES_FILE)
    )
    for name in (*names, SCENES_FILE):
        with (folder / name).open("rb") as stream:
            bucket.write_file(run.prefix + name, stream)
