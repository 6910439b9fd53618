"""Training jobs: an entry point run as AWS's framework containers run it, from S3 to S3.

The contract is that of https://github.com/aws/sagemaker-training-toolkit: channels, model and output are folders named
by ``SM_*`` variables, hyperparameters are arguments as well, and a program that fails says why on standard error or in
``/opt/ml/output/failure``.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from defectory.local.server.logs import LogStream
from defectory.local.server.sagemaker.jobs import INTERRUPTED, OVER, REASON_LIMIT, Job, JobFailed, Jobs
from defectory.local.server.sagemaker.registry import TRAINING_JOB, Record
from defectory.local.server.sagemaker.roles import SERVICE, require_image, require_key
from defectory.local.server.sagemaker.volume import MOUNT, PROGRAM, SUBMIT_DIRECTORY, ContentError, Volume, python
from defectory.local.server.services import ServiceFault, in_thread

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
DEFAULT_SECONDS = 86_400
# AWS lets a program save its work for two minutes after it has asked it to stop.
GRACE_SECONDS = 10.0
MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
}


@dataclass(slots=True)
class _TrainingJob(Job):
    """A training job under way, and its program."""

    timed_out: bool = False
    process: subprocess.Popen[bytes] | None = None

    def end(self) -> None:
        """Ask the program to stop, and see to it that it does."""
        self.stopping.set()
        process = self.process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        killing = threading.Timer(GRACE_SECONDS, self.kill)
        killing.daemon = True
        killing.start()

    def kill(self) -> None:
        """End the program and all that it started."""
        if self.process and not self.done.is_set():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)


class TrainingJobs(Jobs[_TrainingJob]):
    """Runs training jobs."""

    kind = TRAINING_JOB
    folder = "training"

    # ---- operations

    def create(self, parameters: Mapping[str, Any]) -> Record:
        """Raises ``ServiceFault``: there is such a job already, or what it needs to know is missing."""
        if not parameters.get("AlgorithmSpecification", {}).get("TrainingInputMode"):
            raise ServiceFault("ValidationException", "AlgorithmSpecification with a TrainingInputMode is required.")
        name = str(parameters["TrainingJobName"])
        session = self._permissions.session(str(parameters["RoleArn"]), name, SERVICE)
        output = str(parameters["OutputDataConfig"]["S3OutputPath"]).rstrip("/")
        members = {
            **parameters,
            "TrainingJobStatus": "InProgress",
            "SecondaryStatus": "Starting",
            "SecondaryStatusTransitions": [],
            "ModelArtifacts": {"S3ModelArtifacts": f"{output}/{name}/output/model.tar.gz"},
        }
        return self._begin(_TrainingJob(name, parameters, session), "Starting", members)

    # ---- a job

    def _work(self, job: _TrainingJob) -> None:
        stream = f"{job.name}/algo-1-{int(time.time())}"
        require_image(
            str(job.request["AlgorithmSpecification"].get("TrainingImage", "")), job.session, self._permissions
        )
        if key := (job.request.get("ResourceConfig") or {}).get("VolumeKmsKeyId"):
            require_key(str(key), job.session, self._permissions)
        logs = LogStream(LOG_GROUP, stream, discard=not self._permissions.may_log(job.session, LOG_GROUP, stream))
        volume = Volume(self._folder / secrets.token_hex(4), self._objects, self._permissions.permit(job.session))
        try:
            if not job.stopping.is_set():
                self._turn(job.name, "Downloading")
                program = self._prepare(job, volume)
            if not job.stopping.is_set():
                self._turn(job.name, "Training", TrainingStartTime=time.time())
                self._train(job, volume, program, logs)
            if self._closed:
                raise JobFailed(INTERRUPTED)
            self._turn(job.name, "Uploading")
            uri = str(self._registry.find(TRAINING_JOB, job.name)["ModelArtifacts"]["S3ModelArtifacts"])
            key = str(job.request["OutputDataConfig"].get("KmsKeyId") or "")
            if any(volume.model.iterdir()) or not job.stopping.is_set():
                volume.upload(volume.model, uri, key)
            if any((volume.output / "data").iterdir()):
                volume.upload(volume.output / "data", f"{uri.rpartition('/')[0]}/output.tar.gz", key)
        finally:
            logs.close()
            volume.remove()
        end = "MaxRuntimeExceeded" if job.timed_out else "Stopped" if job.stopping.is_set() else "Completed"
        self._turn(job.name, end)

    def _prepare(self, job: _TrainingJob, volume: Volume) -> Path:
        for channel in job.request.get("InputDataConfig", []):
            _bring(channel, volume)
        hyperparameters = _hyperparameters(job.request)
        environment = job.request.get("Environment") or {}
        directory = hyperparameters.get("sagemaker_submit_directory") or environment.get(SUBMIT_DIRECTORY)
        if not directory:
            raise ContentError(
                f"there is no entry point: name it in {PROGRAM} and {SUBMIT_DIRECTORY}, as environment or as "
                "hyperparameters sagemaker_program and sagemaker_submit_directory"
            )
        volume.unpack(str(directory), volume.code)
        for name, content in (
            ("hyperparameters", job.request.get("HyperParameters") or {}),
            (
                "inputdataconfig",
                {channel["ChannelName"]: channel for channel in job.request.get("InputDataConfig", [])},
            ),
            ("resourceconfig", {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo"}),
        ):
            (volume.root / "input" / "config" / f"{name}.json").write_text(json.dumps(content))
        return volume.program(str(hyperparameters.get("sagemaker_program") or environment.get(PROGRAM) or "train.py"))

    def _train(self, job: _TrainingJob, volume: Volume, program: Path, logs: LogStream) -> None:
        command = python(program, *_arguments(_hyperparameters(job.request), volume))
        process = job.process = subprocess.Popen(
            command,
            cwd=volume.code,
            env=volume.environment(
                self._settings.process_environment(*job.session.keys), self._variables(job, volume, program)
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        if job.stopping.is_set():
            job.end()
        seconds = (job.request.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds") or DEFAULT_SECONDS
        timer = threading.Timer(float(seconds), self._time_out, (job,))
        timer.daemon = True
        timer.start()
        last: deque[str] = deque(maxlen=30)
        assert process.stdout
        assert process.stderr
        followers = [
            in_thread(logs.follow, process.stdout, name="training log"),
            in_thread(_follow, process.stderr, logs, last, name="training errors"),
        ]
        status = process.wait()
        timer.cancel()
        # What the program started and left would keep the pipes open.
        job.kill()
        for follower in followers:
            follower.join()
        if status and not job.stopping.is_set():
            raise JobFailed(_reason(volume, status, last, command))

    def _time_out(self, job: _TrainingJob) -> None:
        job.timed_out = True
        job.end()

    def _variables(self, job: _TrainingJob, volume: Volume, program: Path) -> dict[str, str]:
        hyperparameters = {
            name: value for name, value in _hyperparameters(job.request).items() if not name.startswith("sagemaker_")
        }
        channels = [str(channel["ChannelName"]) for channel in job.request.get("InputDataConfig", [])]
        record = self._registry.find(TRAINING_JOB, job.name)
        return {
            "TRAINING_JOB_NAME": job.name,
            "TRAINING_JOB_ARN": str(record["TrainingJobArn"]),
            "SAGEMAKER_REGION": self._settings.region,
            "SM_USER_ENTRY_POINT": program.name,
            "SM_MODULE_NAME": program.stem,
            "SM_MODULE_DIR": str(volume.code),
            "SM_INPUT_DIR": str(volume.root / "input"),
            "SM_INPUT_CONFIG_DIR": str(volume.root / "input" / "config"),
            "SM_OUTPUT_DIR": str(volume.output),
            "SM_OUTPUT_DATA_DIR": str(volume.output / "data"),
            "SM_CHANNELS": json.dumps(sorted(channels)),
            **{f"SM_CHANNEL_{name.upper()}": str(_channel(name, volume)) for name in channels},
            "SM_HPS": json.dumps(hyperparameters),
            **{f"SM_HP_{name.upper()}": _text(value) for name, value in hyperparameters.items()},
            "SM_HOSTS": json.dumps(["algo-1"]),
            "SM_CURRENT_HOST": "algo-1",
            "SM_NUM_CPUS": str(os.cpu_count() or 1),
            "SM_NUM_GPUS": "0",
            "SM_LOG_LEVEL": "20",
            **{str(name): str(value) for name, value in (job.request.get("Environment") or {}).items()},
            PROGRAM: program.name,
            SUBMIT_DIRECTORY: str(volume.code),
        }

    def _turn(self, name: str, status: str, **changes: object) -> None:
        """Come to a secondary status, which tells the first."""
        now = time.time()
        old = self._registry.get(TRAINING_JOB, name)
        if old is None:
            # Forgotten in a reset.
            return
        transitions = [dict(transition) for transition in old["SecondaryStatusTransitions"]]
        if transitions:
            transitions[-1].setdefault("EndTime", now)
        transition: Record = {"Status": status, "StartTime": now, "StatusMessage": MESSAGES[status]}
        first = {"MaxRuntimeExceeded": "Stopped"}.get(status, status)
        first = first if first in (*OVER, "Stopping") else "InProgress"
        if old["TrainingJobStatus"] == "Stopping" and first == "InProgress":
            first = "Stopping"
        if first in OVER:
            transition["EndTime"] = now
            changes["TrainingEndTime"] = now
            began = old.get("TrainingStartTime")
            changes |= (
                {"TrainingTimeInSeconds": int(now - began), "BillableTimeInSeconds": int(now - began)} if began else {}
            )
        record = self._registry.change(
            TRAINING_JOB,
            name,
            {
                "TrainingJobStatus": first,
                "SecondaryStatus": status,
                "SecondaryStatusTransitions": [*transitions, transition],
                **changes,
            },
        )
        if record is not None:
            self._emit(record)


def _channel(name: str, volume: Volume) -> Path:
    return volume.root / "input" / "data" / name


def _bring(channel: Mapping[str, Any], volume: Volume) -> None:
    source = channel["DataSource"].get("S3DataSource")
    if source is None:
        raise ContentError(f"the channel {channel['ChannelName']} is not in S3, and the local cloud has nothing else")
    uri, target = str(source["S3Uri"]), _channel(channel["ChannelName"], volume)
    kind = source["S3DataType"]
    if kind == "S3Prefix":
        volume.download(uri, target)
        return
    if kind != "ManifestFile":
        raise ContentError(f"the channel {channel['ChannelName']} is of the type {kind}; use S3Prefix or ManifestFile")
    prefix, names = volume.manifest(uri)
    for name in names:
        volume.download(f"{prefix}{name}", (target / name).parent)


def _hyperparameters(request: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters as the toolkit reads them: each may be JSON, and is text if it is not."""
    hyperparameters = {}
    for name, value in (request.get("HyperParameters") or {}).items():
        try:
            hyperparameters[name] = json.loads(value)
        except ValueError:
            hyperparameters[name] = value
    return hyperparameters


def _arguments(hyperparameters: Mapping[str, Any], volume: Volume) -> list[str]:
    """``--name value`` for each, in the order of their names, as the toolkit does."""
    named = sorted((name, value) for name, value in hyperparameters.items() if not name.startswith("sagemaker_"))
    return [
        text
        for name, value in named
        for text in ("-" * (1 if len(name) == 1 else 2) + name, volume.inside(_text(value)))
    ]


def _text(value: Any) -> str:  # noqa: ANN401
    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def _follow(stream: IO[bytes], logs: LogStream, last: deque[str]) -> None:
    for line in stream:
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        last.append(text)
        logs.put(text)


def _reason(volume: Volume, status: int, last: deque[str], command: list[str]) -> str:
    code = status if status > 0 else 128 - status
    failure = volume.output / "failure"
    if failure.is_file():
        text = failure.read_text(errors="replace")[: REASON_LIMIT - 64]
        return f"AlgorithmError: {text}, exit code: {code}"
    # The end of what it said is what tells: the exception, after its trace.
    tail = "\n".join(last)[-(REASON_LIMIT // 2) :].replace(str(volume.root), MOUNT)
    run = shlex.join(command).replace(str(volume.root), MOUNT)[: REASON_LIMIT // 4]
    return (
        f'AlgorithmError: ExecuteUserScriptError:\nExitCode {code}\nErrorMessage "{tail}"\nCommand "{run}", '
        f"exit code: {code}"
    )
