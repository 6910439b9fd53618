"""Transform jobs: a model that is started for a job, asked for all of a prefix or a manifest, and ended.

What a job does with its input is what AWS does (https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform.html):
each object becomes one object ``<name>.out``, whole or not at all, and a job that could not do all of them has failed.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from defectory.local.server.logs import LogStream
from defectory.local.server.sagemaker.instances import Instance, NotServing, Reply, TimedOut, launch
from defectory.local.server.sagemaker.jobs import INTERRUPTED, OVER, Job, JobFailed, Jobs
from defectory.local.server.sagemaker.registry import INVALID, MODEL, TRANSFORM_JOB, Record
from defectory.local.server.sagemaker.roles import SERVICE, require_image, require_key
from defectory.local.server.sagemaker.volume import ContentError, Volume
from defectory.local.server.services import ServiceFault

LOG_GROUP = "/aws/sagemaker/TransformJobs"
MB = 1024 * 1024
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTransformJob.html
PAYLOAD_MB, MOST_TOGETHER_MB = 6, 100
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ModelClientConfig.html
INVOCATION_SECONDS, RETRIES = 600, 3
SEE_LOGS = "See job logs for more information"
# How AWS spells a strategy to the container.
_SPELLED = {"SingleRecord": "SINGLE_RECORD", "MultiRecord": "MULTI_RECORD"}
# The first is what counts where nothing is given.
_KNOWN = {
    "BatchStrategy": ("MultiRecord", "SingleRecord"),
    "AssembleWith": ("None", "Line"),
    "SplitType": ("None", "Line"),
    "CompressionType": ("None",),
    "S3DataType": ("S3Prefix", "ManifestFile"),
    "InputFilter": ("$",),
    "OutputFilter": ("$",),
    "JoinSource": ("None",),
}


@dataclass(slots=True)
class _TransformJob(Job):
    """A transform job under way: its container and role, and what runs."""

    container: Mapping[str, Any] = field(default_factory=dict)
    instance: Instance | None = None

    def kill(self) -> None:
        """End what runs; whoever waits for its answer hears of it."""
        if self.instance:
            self.instance.kill()


@dataclass(slots=True)
class _Object:
    """An object of the input and its output so far, a file; ``failure`` says in AWS's words what went wrong with it."""

    uri: str
    name: PurePosixPath
    output: Path
    failure: str = ""
    is_clients_fault: bool = False

    def fail(self, failure: str, *, is_clients_fault: bool = False) -> None:
        """What went wrong first is what counts."""
        if not self.failure:
            self.failure, self.is_clients_fault = failure, is_clients_fault

    @property
    def place(self) -> str:
        return self.uri.removeprefix("s3://")


@dataclass(frozen=True, slots=True)
class _Plan:
    """How the container is asked, of the request and of what the container itself says."""

    concurrency: int
    payload_bytes: int
    strategy: str
    split_lines: bool
    join_lines: bool
    headers: Mapping[str, str]
    seconds: float
    retries: int

    @classmethod
    def of(cls, request: Mapping[str, Any], own: Mapping[str, Any]) -> _Plan:
        """The request goes before the container's own ``/execution-parameters``, and those before AWS's defaults."""
        source, target = request["TransformInput"], request["TransformOutput"]
        client = request.get("ModelClientConfig") or {}
        headers = {"Content-Type": source.get("ContentType"), "Accept": target.get("Accept")}
        strategies = {spelled: name for name, spelled in _SPELLED.items()}
        return cls(
            concurrency=int(request.get("MaxConcurrentTransforms") or own.get("MaxConcurrentTransforms") or 1),
            payload_bytes=int(request.get("MaxPayloadInMB") or own.get("MaxPayloadInMB") or PAYLOAD_MB) * MB,
            strategy=request.get("BatchStrategy") or strategies.get(str(own.get("BatchStrategy") or ""), "MultiRecord"),
            split_lines=source.get("SplitType") == "Line",
            join_lines=target.get("AssembleWith") == "Line",
            headers={name: str(value) for name, value in headers.items() if value},
            seconds=float(client.get("InvocationsTimeoutInSeconds") or INVOCATION_SECONDS),
            retries=int(client.get("InvocationsMaxRetries", RETRIES)),
        )

    def __str__(self) -> str:
        return (
            f"MaxConcurrentTransforms={self.concurrency}, MaxPayloadInMB={self.payload_bytes // MB}, "
            f"BatchStrategy={_SPELLED[self.strategy]}"
        )

    def payloads(self, file: Path) -> Iterator[bytes]:
        """What is sent for a file, one after the other.

        Raises:
            _TooLarge: the file or one of its lines is more than a payload may be.
        """
        if not self.split_lines:
            if file.stat().st_size > self.payload_bytes:
                raise _TooLarge
            yield file.read_bytes()
            return
        batch: list[bytes] = []
        size = 0
        for line in self._lines(file):
            if batch and (self.strategy == "SingleRecord" or size + 1 + len(line) > self.payload_bytes):
                yield b"\n".join(batch)
                batch, size = [], 0
            size += len(line) + bool(batch)
            batch.append(line)
        if batch:
            yield b"\n".join(batch)

    def _lines(self, file: Path) -> Iterator[bytes]:
        """Lines that are not empty, without their ends."""
        with file.open("rb") as opened:
            while line := opened.readline(self.payload_bytes + 3):
                record = line.removesuffix(b"\n").removesuffix(b"\r")
                if len(record) > self.payload_bytes:
                    raise _TooLarge
                if record:
                    yield record


class _TooLarge(Exception):
    """A record is more than a payload may be."""


class TransformJobs(Jobs[_TransformJob]):
    """Runs transform jobs."""

    kind = TRANSFORM_JOB
    folder = "transform"

    def create(self, parameters: Mapping[str, Any]) -> Record:
        """Raises ``ServiceFault``: there is such a job already, no such model, or it asks for what is not done here."""
        _check(parameters)
        name = str(parameters["TransformJobName"])
        model = self._registry.find(MODEL, str(parameters["ModelName"]))
        session = self._permissions.session(str(model["ExecutionRoleArn"]), name, SERVICE)
        container = model["_container"]
        own = {**(container.get("Environment") or {}), **_batch_variables(parameters)}
        job = _TransformJob(
            name,
            parameters,
            session,
            container={**container, "Environment": {**own, **(parameters.get("Environment") or {})}},
        )
        return self._begin(job, "InProgress", {**parameters, "TransformJobStatus": "InProgress"})

    # ---- a job

    def _work(self, job: _TransformJob) -> None:
        request, session = job.request, job.session
        require_image(str(job.container["Image"]), session, self._permissions)
        if key := request["TransformResources"].get("VolumeKmsKeyId"):
            require_key(str(key), session, self._permissions)
        self._turn(job.name, "InProgress", TransformStartTime=time.time())
        stream = f"{job.name}/i-{secrets.token_hex(8)}"
        logs, data_log = (self._log(job, name) for name in (stream, f"{stream}/data-log"))
        outputs = self._folder / secrets.token_hex(4)
        volume = Volume(self._folder / secrets.token_hex(4), self._objects, self._permissions.permit(session))
        try:
            outputs.mkdir()
            objects = _objects(request["TransformInput"]["DataSource"]["S3DataSource"], volume, outputs)
            environment = self._settings.process_environment(*session.keys)
            try:
                job.instance = launch(job.container, volume, environment, logs)
            except NotServing:
                raise JobFailed(
                    f"AlgorithmError: The container did not pass the ping health check. {SEE_LOGS}"
                ) from None
            plan = _Plan.of(request, job.instance.execution_parameters())
            data_log.put(f"[sagemaker logs]: {plan}")
            _check_together(plan)
            _ask_all(job, plan, objects, volume)
            if not job.stopping.is_set():
                # What a stopped job had done by then is not kept.
                self._deliver(objects, job, volume, data_log)
        finally:
            if job.instance:
                job.instance.close()
            else:
                volume.remove()
                logs.close()
            data_log.close()
            shutil.rmtree(outputs, ignore_errors=True)
        if self._closed:
            raise JobFailed(INTERRUPTED)
        self._turn(job.name, "Stopped" if job.stopping.is_set() else "Completed")

    def _log(self, job: _TransformJob, stream: str) -> LogStream:
        return LogStream(LOG_GROUP, stream, discard=not self._permissions.may_log(job.session, LOG_GROUP, stream))

    def _deliver(self, objects: list[_Object], job: _TransformJob, volume: Volume, data_log: LogStream) -> None:
        """Upload what is whole, and say what is not."""
        target = job.request["TransformOutput"]
        output, key = str(target["S3OutputPath"]).rstrip("/"), str(target.get("KmsKeyId") or "")
        for item in objects:
            if item.failure:
                data_log.put(f"[sagemaker logs]: {item.place}: {item.failure}")
            else:
                content_type = str(target.get("Accept") or "application/octet-stream")
                volume.deliver(item.output, f"{output}/{item.name}.out", content_type, key)
        failed = [item for item in objects if item.failure]
        if failed:
            kind = "ClientError" if all(item.is_clients_fault for item in failed) else "AlgorithmError"
            first = failed[0]
            # AWS says no more than the first sentence; where nobody looks at logs the rest helps.
            counted = f"{len(failed)} of {len(objects)} objects failed"
            raise JobFailed(f"{kind}: {SEE_LOGS}. {counted}, first {first.place}: {first.failure}")

    def _turn(self, name: str, status: str, **changes: object) -> None:
        """Come to a status, which a job that is being stopped leaves only for its end."""
        old = self._registry.get(TRANSFORM_JOB, name)
        if old is None:
            # Forgotten in a reset.
            return
        if old["TransformJobStatus"] == "Stopping" and status not in OVER:
            status = "Stopping"
        if status in OVER:
            changes["TransformEndTime"] = time.time()
        record = self._registry.change(TRANSFORM_JOB, name, {"TransformJobStatus": status, **changes})
        if record is not None:
            self._emit(record)


def _check(parameters: Mapping[str, Any]) -> None:
    """Raises ``ServiceFault``: the request breaks a rule of AWS's, or asks for what the local cloud does not do."""
    payload, concurrency = parameters.get("MaxPayloadInMB"), parameters.get("MaxConcurrentTransforms") or 1
    if payload == 0:
        raise ServiceFault(INVALID, "MaxPayloadInMB: the local cloud streams no payload: give 1 to 100, or none.")
    if (payload or 1) * concurrency > MOST_TOGETHER_MB:
        rule = f"MaxConcurrentTransforms * MaxPayloadInMB must not exceed {MOST_TOGETHER_MB} MB"
        raise ServiceFault(INVALID, f"{rule}, got {concurrency} * {payload}.")
    source = parameters["TransformInput"]
    parts = (source, source["DataSource"].get("S3DataSource"), parameters["TransformOutput"])
    given = dict(parameters)
    for part in (*parts, parameters.get("DataProcessing")):
        given |= part or {}
    for name, known in _KNOWN.items():
        if given.get(name, known[0]) not in known:
            raise ServiceFault(INVALID, f"{name}: the local cloud knows {' and '.join(known)}, got {given[name]}.")
    if parameters.get("DataCaptureConfig"):
        raise ServiceFault(INVALID, "DataCaptureConfig: the local cloud captures no data; leave it out.")


def _check_together(plan: _Plan) -> None:
    if plan.concurrency * plan.payload_bytes > MOST_TOGETHER_MB * MB:
        raise JobFailed(
            f"ClientError: MaxConcurrentTransforms * MaxPayloadInMB must not exceed {MOST_TOGETHER_MB} MB ({plan})"
        )


def _batch_variables(parameters: Mapping[str, Any]) -> dict[str, str]:
    """What AWS tells the container of the job."""
    told = {
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": parameters.get("MaxPayloadInMB"),
        "SAGEMAKER_BATCH_STRATEGY": _SPELLED.get(str(parameters.get("BatchStrategy"))),
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": parameters.get("MaxConcurrentTransforms"),
    }
    return {name: str(value) for name, value in told.items() if value is not None}


def _objects(source: Mapping[str, Any], volume: Volume, outputs: Path) -> list[_Object]:
    """The objects of the input, in order."""
    uri = str(source["S3Uri"])
    if source["S3DataType"] == "S3Prefix":
        places = volume.below(uri)
    else:
        prefix, names = volume.manifest(uri)
        places = [(prefix + name, PurePosixPath(name)) for name in names]
    return [_Object(place, name, outputs / str(number)) for number, (place, name) in enumerate(places)]


def _ask_all(job: _TransformJob, plan: _Plan, objects: list[_Object], volume: Volume) -> None:
    """Let the model answer all payloads of all objects, as many at a time as planned, each output in its order."""
    assert job.instance
    waiting: deque[tuple[_Object, Future[Reply | str]]] = deque()
    with ThreadPoolExecutor(plan.concurrency) as pool:
        for item in objects:
            item.output.touch()
            try:
                for payload in plan.payloads(volume.file(item.uri)):
                    if item.failure or job.stopping.is_set():
                        break
                    waiting.append((item, pool.submit(_ask, job, plan, payload)))
                    if len(waiting) >= plan.concurrency:
                        _take(plan, *waiting.popleft())
            except _TooLarge:
                item.fail("Too much data for max payload size", is_clients_fault=True)
            except ContentError as error:
                item.fail(f"ClientError: {error}", is_clients_fault=True)
        while waiting:
            _take(plan, *waiting.popleft())


def _ask(job: _TransformJob, plan: _Plan, payload: bytes) -> Reply | str:
    """What the model answers to a payload, or why it does not."""
    assert job.instance
    for _ in range(plan.retries + 1):
        try:
            reply = job.instance.invoke(payload, plan.headers, plan.seconds)
        except TimedOut:
            return f"Model server did not respond to /invocations request within {plan.seconds:.0f} seconds"
        except NotServing:
            return "Unable to get response from algorithm"
        if reply.status < 500:
            break
    return reply


def _take(plan: _Plan, item: _Object, answer: Future[Reply | str]) -> None:
    """Put an answer behind those that the object has."""
    reply = answer.result()
    if isinstance(reply, str):
        item.fail(reply)
    elif not 200 <= reply.status < 400:
        said = reply.body.decode("utf-8", "replace")[:512]
        of_status = "ClientError" if reply.status < 500 else "Bad HTTP status received from algorithm"
        item.fail(f"{of_status}: {reply.status}: {said}")
    elif not item.failure:
        with item.output.open("ab") as output:
            output.write(reply.body)
            # A line that has its end already stays one.
            if plan.join_lines and not reply.body.endswith(b"\n"):
                output.write(b"\n")
