"""Distributed Maps of Step Functions, where MiniStack's knows no JSONata, no batches and no results in S3.

Each batch of items runs as a child execution of a Map Run, as many at a time as the state says.  Items are read and
results are written as a stream, so a manifest of any length takes the memory of the children that run.
Every field is as in https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html.
"""

from __future__ import annotations

import contextvars
import csv
import json
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import islice
from tempfile import TemporaryFile
from typing import IO, Any

from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, ClientError
from ministack.services import stepfunctions

from defectory.local.server.deadlines import EXPRESS_SECONDS, done_within
from defectory.local.server.executions import MOST_BYTES, size_of
from defectory.local.server.hooks import replace, require

MOST_WORKERS = 64
"""More children at a time than this a laptop does not run, whatever MaxConcurrency says."""

REMEMBERED = 1000
"""So many ended children of a Map Run are listed and described; earlier ones are counted alone."""

_DELIMITERS = {"COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "SPACE": " ", "TAB": "\t"}
_COUNTS = (
    *("pending", "running", "succeeded", "failed", "timedOut", "aborted", "total", "resultsWritten"),
    *("failuresNotRedrivable", "pendingRedrive"),
)
_COUNTED = {"SUCCEEDED": "succeeded", "FAILED": "failed", "TIMED_OUT": "timedOut", "ABORTED": "aborted"}
_EVENTS = {"SUCCEEDED": "ExecutionSucceeded", "FAILED": "ExecutionFailed", "TIMED_OUT": "ExecutionTimedOut"}


class DistributedMaps:
    """Runs the Distributed Maps of all state machines.

    ``client`` gives an execution's client of a service; it refuses an execution whose role may not run a Map.
    ``express_seconds`` is how long express children may take.
    """

    def __init__(
        self, client: Callable[[Mapping[str, Any], str], BaseClient], express_seconds: float = EXPRESS_SECONDS
    ) -> None:
        self._client = client
        self.express_seconds = express_seconds
        self._language = _Language()
        self.failed = require(stepfunctions, "_ExecutionError")
        self.run_states = require(
            stepfunctions, "_run_sub_machine", "states", "start_at", "input_data", "execution", "ctx"
        )
        self.executions = require(stepfunctions, "_executions")
        self.map_runs = require(stepfunctions, "_map_runs")
        self.now = require(stepfunctions, "now_iso")
        self.write = require(stepfunctions, "_add_event", "execution", "event_type", "details")

        @replace(
            stepfunctions,
            "_run_distributed_map",
            *("state_def", "raw_input", "effective", "iterator", "execution", "ctx"),
        )
        def run(_: Any, state: Any, raw: Any, effective: Any, processor: Any, execution: Any, ctx: Any) -> Any:  # noqa: ANN401
            scope = _Scope(state, raw, effective, ctx, self._language)
            return _MapRun(self, scope, processor, execution, self._client(execution, "s3")).run()


class _Language:
    """MiniStack's readers of the two query languages."""

    def __init__(self) -> None:
        self.name = require(stepfunctions, "_state_query_language", "state_def", "ctx")
        self.jsonata = require(stepfunctions, "_apply_jsonata_template", "value", "raw_input", "ctx")
        self.template = require(stepfunctions, "_resolve_params_obj", "template", "data", "ctx")
        self.path = require(stepfunctions, "_resolve_path_or_ctx", "path", "data", "ctx")
        self.output = require(stepfunctions, "_apply_jsonata_output", "state_def", "raw_input", "ctx", "result")
        self.assign = require(stepfunctions, "_apply_state_assign", "state_def", "raw_input", "ctx", "result")
        self.select = require(stepfunctions, "_apply_result_selector", "state_def", "data")
        self.place = require(stepfunctions, "_apply_result_path", "state_def", "original", "result")
        self.output_path = require(stepfunctions, "_apply_output_path", "state_def", "data", "ctx")
        self.next = require(stepfunctions, "_next_or_end", "state_def")


@dataclass(frozen=True, slots=True)
class _Scope:
    """What the state's fields are evaluated with."""

    state: Mapping[str, Any]
    raw: Any
    effective: Any
    ctx: Mapping[str, Any]
    language: _Language

    @property
    def is_jsonata(self) -> bool:
        return bool(self.language.name(self.state, self.ctx) == "JSONata")

    def value(self, name: str, default: Any = None, *, of: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401
        """A field of the state, or of a part of it, whether it is there itself, as an expression or by its path."""
        fields = self.state if of is None else of
        if f"{name}Path" in fields:
            return self.language.path(fields[f"{name}Path"], self.effective, self.ctx)
        return self.evaluate(fields[name]) if name in fields else default

    def evaluate(self, template: Any, item: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401
        ctx = self.ctx if item is None else {**self.ctx, "Map": {"Item": item}}
        if self.is_jsonata:
            return self.language.jsonata(template, self.raw, ctx)
        return self.language.template(template, self.effective, ctx)

    def arguments(self, part: Mapping[str, Any]) -> Any:  # noqa: ANN401
        return self.evaluate(part.get("Arguments") or part.get("Parameters") or {})

    def end(self, result: Any) -> Any:  # noqa: ANN401
        """The state's output for its result, and the state that comes next."""
        if self.is_jsonata:
            output = self.language.output(self.state, self.raw, self.ctx, result=result, default=result)
            self.language.assign(self.state, self.raw, self.ctx, result=result)
            return output, self.language.next(self.state)
        placed = self.language.place(self.state, self.raw, self.language.select(self.state, result))
        return self.language.output_path(self.state, placed, self.ctx), self.language.next(self.state)


@dataclass(slots=True)
class _Batch:
    """What one child execution is given: its number, its input, and how many items are in it."""

    number: int
    input: Any
    items: int


class _MapRun:
    """One run of a Distributed Map."""

    def __init__(
        self,
        maps: DistributedMaps,
        scope: _Scope,
        processor: Mapping[str, Any],
        execution: Mapping[str, Any],
        s3: BaseClient,
    ) -> None:
        self._maps, self._scope, self._processor, self._execution, self._s3 = maps, scope, processor, execution, s3
        *place, _, machine = execution["stateMachineArn"].split(":")
        self._label = scope.state.get("Label") or str(uuid.uuid4())
        self._id = str(uuid.uuid4())
        self._arn = ":".join((*place, "mapRun", f"{machine}/{self._label}", self._id))
        self._machine_arn = ":".join((*place, "stateMachine", f"{machine}/{self._label}"))
        self._child_prefix = ":".join((*place, "execution", f"{machine}/{self._label}"))
        self._lock, self._over = threading.Lock(), threading.Event()
        self._running: dict[str, dict[str, Any]] = {}
        self._ended: deque[str] = deque()
        self._problem: Exception | None = None
        self._limit = int(scope.value("ToleratedFailureCount", 0))
        self._share = scope.value("ToleratedFailurePercentage")
        self._record: dict[str, Any] = {
            "mapRunArn": self._arn,
            "executionArn": execution["executionArn"],
            "status": "RUNNING",
            "startDate": maps.now(),
            "maxConcurrency": int(scope.value("MaxConcurrency", 0)),
            "toleratedFailurePercentage": float(self._share or 0),
            "toleratedFailureCount": self._limit,
            "itemCounts": dict.fromkeys(_COUNTS, 0),
            "executionCounts": dict.fromkeys(_COUNTS, 0),
            "redriveCount": 0,
            "_stateMachineArn": self._machine_arn,
        }

    def run(self) -> Any:  # noqa: ANN401
        """Run all children; return the state's output, and the state that comes next."""
        self._maps.map_runs[self._arn] = self._record
        started = {"mapRunStartedEventDetails": {"mapRunArn": self._arn}}
        self._maps.write(self._execution, "MapRunStarted", started)
        if self._share is not None:
            # A share is of all items, so they are counted first.
            self._set_limit_by_share(sum(1 for _ in self._items()))
        with ExitStack() as stack:
            results = stack.enter_context(closing(_Results(self._scope)))
            self._run_children(self._batches(), results)
            self._record["stopDate"] = self._maps.now()
            if self._problem is not None:
                self._end("FAILED")
                raise self._problem
            details = results.write(self._s3, self._id, self._arn, self._maps.failed)
        if self._execution["status"] != "RUNNING":
            self._end("ABORTED")
            return self._scope.raw, None
        if self._exceeded():
            self._end("FAILED")
            cause = "The specified tolerated failure threshold was exceeded"
            raise self._maps.failed("States.ExceedToleratedFailureThreshold", cause)
        self._end("SUCCEEDED")
        return self._scope.end(details)

    def _end(self, status: str) -> None:
        self._record["status"] = status
        self._maps.write(self._execution, f"MapRun{status.capitalize()}")

    def _set_limit_by_share(self, total: int) -> None:
        by_share = int(float(self._share) * total / 100)
        self._limit = min(self._limit, by_share) if "ToleratedFailureCount" in self._scope.state else by_share

    def _exceeded(self) -> bool:
        counts = self._record["itemCounts"]
        return bool(counts["failed"] + counts["timedOut"] > self._limit)

    def _items(self) -> Iterator[Any]:
        scope = self._scope
        reader = scope.state.get("ItemReader")
        if reader is None:
            items = scope.value("Items") if "Items" in scope.state else scope.value("Items", scope.effective)
            yield from items if isinstance(items, list) else [items]
            return
        config = reader.get("ReaderConfig") or {}
        most = scope.value("MaxItems", of=config)
        try:
            yield from islice(_read_items(reader, config, scope.arguments(reader), self._s3), most and int(most))
        except (ClientError, BotoCoreError, ValueError, LookupError, csv.Error) as error:
            raise self._maps.failed("States.ItemReaderFailed", str(error)) from None

    def _selected(self) -> Iterator[Any]:
        selector = self._scope.state.get("ItemSelector") or self._scope.state.get("Parameters")
        for index, item in enumerate(self._items()):
            yield self._scope.evaluate(selector, {"Index": index, "Value": item}) if selector else item

    def _batches(self) -> Iterator[_Batch]:
        batcher = self._scope.state.get("ItemBatcher")
        if batcher is None:
            for number, item in enumerate(self._selected()):
                yield self._checked(_Batch(number, item, 1))
            return
        most_items = self._scope.value("MaxItemsPerBatch", of=batcher)
        most_bytes = min(int(self._scope.value("MaxInputBytesPerBatch", MOST_BYTES, of=batcher)), MOST_BYTES)
        shared = {"BatchInput": self._scope.evaluate(batcher["BatchInput"])} if "BatchInput" in batcher else {}
        empty = size_of({"Items": [], **shared})
        number, items, size = 0, list[Any](), empty
        for item in self._selected():
            more = size_of(item) + 1
            if items and (len(items) == most_items or size + more > most_bytes):
                yield self._checked(_Batch(number, {"Items": items, **shared}, len(items)))
                number, items, size = number + 1, [], empty
            items.append(item)
            size += more
        if items:
            yield self._checked(_Batch(number, {"Items": items, **shared}, len(items)))

    def _checked(self, batch: _Batch) -> _Batch:
        if size_of(batch.input) > MOST_BYTES:
            cause = f"The input of a child execution has more than {MOST_BYTES} bytes: {json.dumps(batch.input)[:200]}"
            raise self._maps.failed("States.DataLimitExceeded", cause)
        return batch

    def _run_children(self, batches: Iterator[_Batch], results: _Results) -> None:
        reading = threading.Lock()

        def work() -> None:
            while not self._over.is_set():
                try:
                    with reading:
                        batch = next(batches, None)
                    if batch is None:
                        return
                    self._run_child(batch, results)
                except Exception as error:
                    self._problem = self._problem or error
                    self._over.set()

        workers = min(self._record["maxConcurrency"] or MOST_WORKERS, MOST_WORKERS)
        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True) for _ in range(workers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.1)
                if self._execution["status"] != "RUNNING" or self._exceeded():
                    self._abort()

    def _abort(self) -> None:
        """Begin nothing more; what runs is over as soon as it asks."""
        self._over.set()
        with self._lock:
            for child in self._running.values():
                child["status"] = "ABORTED"

    def _run_child(self, batch: _Batch, results: _Results) -> None:
        child = self._begin(batch)
        ctx = {
            "QueryLanguage": self._scope.ctx.get("QueryLanguage", "JSONPath"),
            "Execution": {
                "Id": child["executionArn"],
                "Input": batch.input,
                "Name": child["name"],
                "StartTime": child["startDate"],
            },
            "StateMachine": {"Id": self._machine_arn, "Name": self._scope.ctx["StateMachine"]["Name"]},
            "variables": {},
        }
        ends: list[dict[str, str]] = []

        def work() -> None:
            ends.append(self._end_of(child, batch.input, ctx))

        if child["type"] == "EXPRESS":
            done_within(self._maps.express_seconds, work)
        else:
            work()
        self._finish(child, ends[0] if ends else {"status": "TIMED_OUT"}, batch, results)

    def _end_of(self, child: dict[str, Any], given: Any, ctx: dict[str, Any]) -> dict[str, str]:  # noqa: ANN401
        try:
            output = self._maps.run_states(self._processor["States"], self._processor["StartAt"], given, child, ctx)
        except Exception as error:
            name = getattr(error, "error", "States.Runtime")
            return {"status": "FAILED", "error": name, "cause": getattr(error, "cause", str(error))}
        return {"status": "SUCCEEDED", "output": json.dumps(output)}

    def _begin(self, batch: _Batch) -> dict[str, Any]:
        name = str(uuid.uuid4())
        child = {
            "executionArn": f"{self._child_prefix}:{name}",
            "stateMachineArn": self._machine_arn,
            "name": name,
            "status": "RUNNING",
            "startDate": self._maps.now(),
            "stopDate": None,
            "input": json.dumps(batch.input),
            "inputDetails": {"included": True},
            "output": None,
            "outputDetails": {"included": True},
            "mapRunArn": self._arn,
            "events": [],
            "type": (self._processor.get("ProcessorConfig") or {}).get("ExecutionType", "STANDARD"),
            "testCase": self._execution.get("testCase"),
            "mockAttempts": {},
        }
        self._maps.executions[child["executionArn"]] = child
        self._maps.write(child, "ExecutionStarted")
        with self._lock:
            self._running[child["executionArn"]] = child
            self._count(batch, total=1, running=1)
        return child

    def _finish(self, child: dict[str, Any], ended: dict[str, str], batch: _Batch, results: _Results) -> None:
        with self._lock:
            if child["status"] == "RUNNING":
                child.update(ended)
                self._maps.write(child, _EVENTS[ended["status"]])
            child["stopDate"] = self._maps.now()
            del self._running[child["executionArn"]]
            self._count(batch, running=-1, **{_COUNTED[child["status"]]: 1})
            results.add(batch.number, child)
            self._ended.append(child["executionArn"])
            if len(self._ended) > REMEMBERED:
                self._maps.executions.pop(self._ended.popleft(), None)

    def _count(self, batch: _Batch, **changes: int) -> None:
        for name, change in changes.items():
            self._record["executionCounts"][name] += change
            self._record["itemCounts"][name] += change * batch.items


def _read_items(
    reader: Mapping[str, Any], config: Mapping[str, Any], arguments: Mapping[str, Any], s3: BaseClient
) -> Iterator[Any]:
    if reader["Resource"].endswith(":s3:listObjectsV2"):
        for page in s3.get_paginator("list_objects_v2").paginate(**arguments):
            for entry in page.get("Contents", ()):
                yield {
                    "Etag": entry["ETag"],
                    "Key": entry["Key"],
                    "LastModified": int(entry["LastModified"].timestamp()),
                    "Size": entry["Size"],
                    "StorageClass": entry.get("StorageClass", "STANDARD"),
                }
        return
    body = s3.get_object(**arguments)["Body"]
    match config.get("InputType", "JSON"):
        case "JSONL":
            yield from (json.loads(line) for line in body.iter_lines() if line.strip())
        case "CSV":
            yield from _rows(body, config)
        case "JSON":
            yield from _pointed_at(json.loads(body.read()), config.get("ItemsPointer", ""))
        case other:
            raise ValueError(f"The local cloud reads no items of the type {other}: use JSONL, JSON or CSV.")


def _rows(body: Any, config: Mapping[str, Any]) -> Iterator[dict[str, str]]:  # noqa: ANN401
    lines = (line.decode() for line in body.iter_lines(keepends=True))
    rows = csv.reader(lines, delimiter=_DELIMITERS[config.get("CSVDelimiter", "COMMA")])
    headers = list(config.get("CSVHeaders") or next(rows, []))
    for row in rows:
        # Fields that are missing are empty, and those that are too many are dropped.
        yield dict(zip(headers, row + [""] * (len(headers) - len(row)), strict=False))


def _pointed_at(document: Any, pointer: str) -> list[Any]:  # noqa: ANN401
    for part in filter(None, pointer.split("/")):
        document = document[int(part)] if isinstance(document, list) else document[part]
    if not isinstance(document, list):
        raise ValueError("The items are no JSON array.")
    return document


@dataclass(slots=True)
class _Written:
    """Results of one kind that go to S3: a file, and how many are in it."""

    stream: IO[bytes] = field(default_factory=TemporaryFile)
    count: int = 0


class _Results:
    """What came of the children: for the state's output, or on the way to S3."""

    def __init__(self, scope: _Scope) -> None:
        self._writer = scope.state.get("ResultWriter") or {}
        self._place = scope.arguments(self._writer) if "Resource" in self._writer else None
        config = self._writer.get("WriterConfig") or {}
        self._form = config.get("Transformation", "NONE" if self._place else "COMPACT")
        self._is_lines = config.get("OutputType", "JSON") == "JSONL"
        self._files = {"SUCCEEDED": _Written(), "FAILED": _Written()} if self._place else {}
        self._outputs: dict[int, Any] = {}

    def add(self, number: int, child: Mapping[str, Any]) -> None:
        """Take the end of a child; those that were aborted have none."""
        if child["status"] == "ABORTED":
            return
        succeeded = child["status"] == "SUCCEEDED"
        results = self._flat(child) if succeeded and self._form != "NONE" else [_described(child)]
        if self._place is None:
            if succeeded:
                self._outputs[number] = results
            return
        # Those that ran out of time lie with the failed ones.
        file = self._files["SUCCEEDED" if succeeded else "FAILED"]
        for result in results:
            start = b"" if self._is_lines else b",\n" if file.count else b"[\n"
            file.stream.write(start + json.dumps(result).encode() + (b"\n" if self._is_lines else b""))
            file.count += 1

    def _flat(self, child: Mapping[str, Any]) -> list[Any]:
        output = json.loads(child["output"])
        return output if self._form == "FLATTEN" and isinstance(output, list) else [output]

    def write(self, s3: BaseClient, run_id: str, run_arn: str, failed: type[Exception]) -> Any:  # noqa: ANN401
        """The state's result: the outputs, in the order of the items, or where they were written."""
        if self._place is None:
            return [result for number in sorted(self._outputs) for result in self._outputs[number]]
        bucket = self._place["Bucket"]
        folder = "/".join(filter(None, (str(self._place.get("Prefix", "")).strip("/"), run_id)))
        named: dict[str, list[dict[str, Any]]] = {"FAILED": [], "PENDING": [], "SUCCEEDED": []}
        try:
            for kind, file in self._files.items():
                if file.count:
                    if not self._is_lines:
                        file.stream.write(b"\n]")
                    key, size = f"{folder}/{kind}_0.json{'l' * self._is_lines}", file.stream.tell()
                    file.stream.seek(0)
                    s3.upload_fileobj(file.stream, bucket, key)
                    named[kind].append({"Key": key, "Size": size})
            manifest = {"DestinationBucket": bucket, "MapRunArn": run_arn, "ResultFiles": named}
            s3.put_object(Bucket=bucket, Key=f"{folder}/manifest.json", Body=json.dumps(manifest).encode())
        except (ClientError, BotoCoreError) as error:
            raise failed("States.ResultWriterFailed", str(error)) from None
        return {"MapRunArn": run_arn, "ResultWriterDetails": {"Bucket": bucket, "Key": f"{folder}/manifest.json"}}

    def close(self) -> None:
        """Remove the files."""
        for file in self._files.values():
            file.stream.close()


def _described(child: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        "ExecutionArn": "executionArn",
        "Input": "input",
        "Name": "name",
        "Output": "output",
        "Error": "error",
        "Cause": "cause",
        "StartDate": "startDate",
        "StateMachineArn": "stateMachineArn",
        "Status": "status",
        "StopDate": "stopDate",
    }
    described = {name: child[ours] for name, ours in names.items() if child.get(ours) is not None}
    return {**described, "InputDetails": {"Included": True}, "OutputDetails": {"Included": True}, "RedriveCount": 0}
