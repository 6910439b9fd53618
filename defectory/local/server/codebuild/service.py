"""The CodeBuild service: builds that really run, one at a time in a folder of their own.

MiniStack keeps the projects and answers about builds; starting and stopping them, and what becomes of them, is here.  A
build runs under a keeper, so that nothing it started outlives it.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ministack.services import codebuild

import defectory
from defectory.archives import ArchiveError
from defectory.errors import InputError
from defectory.local import keeper
from defectory.local.server.authorization.permissions import Access, NotAuthorized, Permissions, Session
from defectory.local.server.authorization.requirements import with_keys
from defectory.local.server.codebuild import jobs
from defectory.local.server.codebuild.jobs import Order, Target
from defectory.local.server.codebuild.logs import log_place
from defectory.local.server.codebuild.projects import keep_properties
from defectory.local.server.hooks import replace, require
from defectory.local.server.logs import LogStream
from defectory.local.server.objects import Objects
from defectory.local.server.services import Extension, Scope, ServiceFault, in_thread
from defectory.local.server.settings import Settings

log = logging.getLogger(__name__)

SERVICE = "codebuild.amazonaws.com"

# A build uses the processors that there are; more at once only make each other slow.
BUILDS = max(2, os.cpu_count() or 1)

Status = Literal["IN_PROGRESS", "SUCCEEDED", "FAILED", "FAULT", "STOPPED", "TIMED_OUT"]


@dataclass(slots=True)
class Build:
    """A build under way or done."""

    id: str
    arn: str
    scope: Scope
    order: Order
    project: Mapping[str, Any]
    record: dict[str, Any]
    session: Session
    status: Status = "IN_PROGRESS"
    exported: dict[str, str] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)
    stopping: threading.Event = field(default_factory=threading.Event)
    process: subprocess.Popen[bytes] | None = None

    @property
    def summary(self) -> str:
        """Why it ended as it did, in CodePipeline's words; empty for a build that succeeded."""
        if self.status in ("IN_PROGRESS", "SUCCEEDED"):
            return ""
        failed: Mapping[str, Any] = next(
            (phase for phase in self.record["phases"] if phase.get("phaseStatus") not in (None, "SUCCEEDED")), {}
        )
        context = (failed.get("contexts") or [{}])[0]
        return (
            f"Build terminated with state: {self.status}. Phase: {failed.get('phaseType', 'UNKNOWN')}, "
            f"Code: {context.get('statusCode', '')}, Message: {context.get('message', '')}"
        )


class Builds(Extension):
    """Starts, follows and stops builds."""

    def __init__(self, settings: Settings, objects: Objects, permissions: Permissions) -> None:
        self._settings = settings
        self._permissions = permissions
        self._objects = objects
        self._folder = settings.work / "builds"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._room = threading.Condition()
        self._running = 0
        self._builds: dict[str, Build] = {}
        self._tokens: dict[tuple[Scope, str], str] = {}
        self._closed = False
        self._projects = require(codebuild, "_projects")
        self._records = require(codebuild, "_builds")
        self._new_id = require(codebuild, "_build_id", "project_name")
        self._new_record = require(codebuild, "_make_build_record", "project", "build_id", "source_version")
        self._answer = require(codebuild, "json_response")
        self._refuse = require(codebuild, "error_response_json")
        keep_properties()

        @replace(codebuild, "_start_build", "data")
        def start_build(_: Any, data: dict[str, Any]) -> Any:  # noqa: ANN401
            try:
                build = self._start_as_told(data)
            except ServiceFault as fault:
                return self._refuse(fault.code, str(fault), 400)
            return self._answer({"build": build.record})

        @replace(codebuild, "_stop_build", "data")
        def stop_build(original: Any, data: dict[str, Any]) -> Any:  # noqa: ANN401
            build = self._builds.get(str(data.get("id", "")).rpartition("build/")[2])
            if build is None:
                return original(data)
            self.stop_build(build)
            build.done.wait(10)
            return self._answer({"build": self._records[build.id]})

    def stop(self) -> None:
        with self._room:
            self._closed = True
            self._room.notify_all()
        for build in self._builds.values():
            self.stop_build(build)
        for build in self._builds.values():
            build.done.wait(5)

    def start_build(self, order: Order) -> Build:
        """Start a build, as soon as there is room for it, for the current account.

        Raises:
            ServiceFault: there is no such project, or its role cannot be assumed.
        """
        project = self._projects.get(order.project)
        if project is None:
            raise ServiceFault("ResourceNotFoundException", f"Project cannot be found: {order.project}")
        build_id = self._new_id(order.project)
        session = self._permissions.session(str(project.get("serviceRole")), _session_name(build_id), SERVICE)
        record = self._new_record(project, build_id, order.source_version)
        record |= {
            "buildStatus": "IN_PROGRESS",
            "buildComplete": False,
            "currentPhase": "SUBMITTED",
            "startTime": time.time(),
            "phases": [],
            "initiator": order.initiator,
            "logs": log_place(project, build_id),
        }
        del record["endTime"]
        build = Build(build_id, record["arn"], Scope.current(), order, project, record, session)
        self._builds[build_id] = build
        self._phase(build, "SUBMITTED", "SUCCEEDED")
        in_thread(self._run, build, name=f"build {build_id}")
        return build

    def stop_build(self, build: Build) -> None:
        """Stop a build; what it started ends with it."""
        build.stopping.set()
        with self._room:
            self._room.notify_all()
        if build.process and build.process.poll() is None:
            build.process.terminate()

    def _start_as_told(self, data: Mapping[str, Any]) -> Build:
        name = str(data.get("projectName", "")).rpartition("project/")[2]
        token = (Scope.current(), str(data.get("idempotencyToken", "")))
        if token[1] and token in self._tokens:
            return self._builds[self._tokens[token]]
        project = self._projects.get(name)
        if project is None:
            raise ServiceFault("ResourceNotFoundException", f"Project cannot be found: {name}")
        source = dict(project["source"])
        source |= {"type": data["sourceTypeOverride"]} if "sourceTypeOverride" in data else {}
        source |= {"location": data["sourceLocationOverride"]} if "sourceLocationOverride" in data else {}
        secondary = data.get("secondarySourcesOverride", project.get("secondarySources") or [])
        artifacts = [data.get("artifactsOverride", project["artifacts"])]
        artifacts += data.get("secondaryArtifactsOverride", project.get("secondaryArtifacts") or [])
        order = Order(
            project=name,
            sources=[("", self._archive(source)), *((str(s["sourceIdentifier"]), self._archive(s)) for s in secondary)],
            reads=[f"arn:aws:s3:::{_location(s)}" for s in (source, *secondary) if s.get("type") == "S3"],
            targets=[target for artifact in artifacts if (target := _target(artifact, name))],
            variables=data.get("environmentVariablesOverride") or (),
            buildspec=data.get("buildspecOverride"),
            source_version=data.get("sourceVersion"),
            initiator=f"{Scope.current().account}/user",
            timeout_minutes=data.get("timeoutInMinutesOverride"),
        )
        build = self.start_build(order)
        if token[1]:
            self._tokens[token] = build.id
        return build

    def _archive(self, source: Mapping[str, Any]) -> Path | None:
        kind = source.get("type")
        if kind == "NO_SOURCE":
            return None
        if kind != "S3":
            raise ServiceFault(
                "InvalidInputException",
                f"The local cloud has no source of type {kind}: use S3 or NO_SOURCE, or have a pipeline start it.",
            )
        bucket, _, key = _location(source).partition("/")
        return self._objects.path(bucket, key)

    def _run(self, build: Build) -> None:
        # Short: a socket's path, and what multiprocessing puts below TMPDIR is one, may have about 100 bytes.
        folder = self._folder / build.id.rpartition(":")[2][:8]
        try:
            self._phase(build, "QUEUED")
            if not self._wait_for_room(build):
                self._phase(build, "QUEUED", "STOPPED")
                build.status = "STOPPED"
                return
            try:
                self._phase(build, "QUEUED", "SUCCEEDED")
                self._execute(build, folder)
            finally:
                with self._room:
                    self._running -= 1
                    self._room.notify_all()
        except Exception:
            # A build that nobody hears of any more would hold up whoever waits for it.
            log.exception("Build %s", build.id)
            build.status = "FAULT"
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            self._permissions.sessions.end(build.session)
            self._finish(build)

    def _wait_for_room(self, build: Build) -> bool:
        with self._room:
            self._room.wait_for(lambda: self._running < BUILDS or build.stopping.is_set() or self._closed)
            if build.stopping.is_set() or self._closed:
                return False
            self._running += 1
            return True

    def _execute(self, build: Build, folder: Path) -> None:
        folder.mkdir()
        place = build.record["logs"]
        if not self._permissions.may_log(build.session, place["groupName"], place["streamName"]):
            self._phase(build, "PROVISIONING", "FAILED", "ACCESS_DENIED", self._mute(build))
            build.status = "FAILED"
            return
        self._phase(build, "PROVISIONING", "SUCCEEDED")
        permit = self._permissions.permit(build.session)
        logs = LogStream(place["groupName"], place["streamName"])
        try:
            for arn in build.order.reads:
                for access in with_keys(Access("s3:GetObject", arn)):
                    permit(access)
            job = jobs.job(build.order, build.project, folder, self._environment(build), permit)
            (folder / "job.json").write_text(job.dump())
            if self._run_agent(build, folder / "job.json", logs):
                self._adopt(build, folder)
        except (InputError, ServiceFault, NotAuthorized) as error:
            phase = "UPLOAD_ARTIFACTS" if build.process else "DOWNLOAD_SOURCE"
            is_spec = isinstance(error, InputError) and not isinstance(error, ArchiveError)
            code = "YAML_FILE_ERROR" if is_spec else "CLIENT_ERROR"
            if isinstance(error, NotAuthorized):
                code = "ACCESS_DENIED"
            logs.put(f"[Container] Phase context status code: {code} Message: {error}")
            self._phase(build, phase, "FAILED", code, str(error))
            build.status = "FAILED"
        finally:
            logs.close()

    def _run_agent(self, build: Build, job: Path, logs: LogStream) -> bool:
        """Whether the agent came to the end of its job, be it good or bad."""
        minutes: float = build.order.timeout_minutes or int(build.project.get("timeoutInMinutes") or 60)
        keeping = [sys.executable, "-I", "-S", str(keeper.__file__), "--grace", "0.5", "--"]
        building = [sys.executable, "-m", "defectory.local.server.codebuild.agent", str(job)]
        process = build.process = subprocess.Popen(
            [*keeping, *building],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._settings.process_environment(*build.session.keys)
            | {"PYTHONPATH": str(Path(str(defectory.__file__)).parents[1])},
        )
        if build.stopping.is_set():
            process.terminate()
        timed_out = threading.Event()

        def end() -> None:
            timed_out.set()
            process.terminate()

        timer = threading.Timer(minutes * 60, end)
        timer.daemon = True
        timer.start()
        succeeded: bool | None = None
        with process:
            assert process.stdout
            assert process.stderr
            follower = in_thread(logs.follow, process.stderr, name=f"log of {build.id}")
            for line in process.stdout:
                event = json.loads(line)
                if "result" in event:
                    succeeded, build.exported = event["result"], event["exported"]
                else:
                    context = event.get("context") or {}
                    code, message = context.get("statusCode"), context.get("message")
                    self._phase(build, event["phase"], event["status"], code, message)
            process.wait()
            follower.join()
        timer.cancel()
        if succeeded is None:
            self._end_early(build, timed_out.is_set(), minutes)
            return False
        build.status = "SUCCEEDED" if succeeded else "FAILED"
        return True

    def _end_early(self, build: Build, timed_out: bool, minutes: float) -> None:
        if timed_out:
            build.status, context = "TIMED_OUT", ("BUILD_TIMED_OUT", f"Build has timed out after {minutes} minutes.")
        elif build.stopping.is_set():
            build.status, context = "STOPPED", ("", "")
        else:
            build.status, context = "FAULT", ("INTERNAL_SERVICE_ERROR", "The process of the build ended unexpectedly.")
        current = build.record["phases"][-1]
        if "phaseStatus" not in current:
            self._phase(build, current["phaseType"], build.status, *context)

    def _mute(self, build: Build) -> str:
        return (
            f"Service role {build.project.get('serviceRole')} does not allow AWS CodeBuild to create Amazon CloudWatch "
            f"Logs log streams for build {build.arn}."
        )

    def _adopt(self, build: Build, folder: Path) -> None:
        for target in build.order.targets:
            putting = Access("s3:PutObject", f"arn:aws:s3:::{target.bucket}/{target.key}")
            for access in with_keys(putting, str(build.project.get("encryptionKey") or "")):
                self._permissions.require(build.session, access)
        for target in build.order.targets:
            artifact = jobs.artifact_path(target, folder)
            if artifact.is_dir():
                for path in sorted(artifact.rglob("*")):
                    if path.is_file():
                        key = f"{target.key}/{path.relative_to(artifact).as_posix()}"
                        self._objects.adopt(path, target.bucket, key, "binary/octet-stream")
            elif artifact.exists():
                self._objects.adopt(artifact, target.bucket, target.key)

    def _environment(self, build: Build) -> dict[str, str]:
        record = build.record
        return {
            **self._settings.process_environment(*build.session.keys),
            "CI": "true",
            "CODEBUILD_CI": "true",
            "CODEBUILD_BUILD_ID": build.id,
            "CODEBUILD_BUILD_ARN": build.arn,
            "CODEBUILD_BUILD_NUMBER": str(record["buildNumber"]),
            "CODEBUILD_BUILD_IMAGE": str(build.project.get("environment", {}).get("image", "")),
            "CODEBUILD_BUILD_SUCCEEDING": "1",
            "CODEBUILD_INITIATOR": build.order.initiator,
            "CODEBUILD_LOG_PATH": str(record["logs"]["streamName"]),
            "CODEBUILD_PROJECT_ARN": str(build.project["arn"]),
            "CODEBUILD_RESOLVED_SOURCE_VERSION": build.order.source_version or "",
            "CODEBUILD_SOURCE_VERSION": build.order.source_version or "",
            "CODEBUILD_START_TIME": str(int(record["startTime"] * 1000)),
        }

    def _phase(
        self, build: Build, name: str, status: str = "IN_PROGRESS", code: str | None = None, message: str | None = None
    ) -> None:
        now = time.time()
        phases = build.record["phases"]
        phase = next((phase for phase in phases if phase["phaseType"] == name), None)
        if phase is None:
            phase = {"phaseType": name, "startTime": now}
        phase = dict(phase)
        if status != "IN_PROGRESS":
            phase |= {"phaseStatus": status, "endTime": now, "durationInSeconds": round(now - phase["startTime"])}
            phase["contexts"] = [{"statusCode": code or "", "message": message or ""}]
        phases = [*(other for other in phases if other["phaseType"] != name), phase]
        self._publish(build, {"phases": phases, "currentPhase": name})

    def _finish(self, build: Build) -> None:
        now = time.time()
        self._phase(build, "FINALIZING", "SUCCEEDED")
        completed = {"phaseType": "COMPLETED", "startTime": now}
        self._publish(
            build,
            {
                "phases": [*build.record["phases"], completed],
                "currentPhase": "COMPLETED",
                "buildStatus": build.status,
                "buildComplete": True,
                "endTime": now,
                "exportedEnvironmentVariables": [{"name": k, "value": v} for k, v in build.exported.items()],
            },
        )
        build.done.set()

    def _publish(self, build: Build, changes: Mapping[str, Any]) -> None:
        # A new record each time: an answer may be in the middle of reading the old one.
        build.record = {**build.record, **changes}
        self._records[build.id] = build.record


def _session_name(build_id: str) -> str:
    return f"AWSCodeBuild-{build_id.rpartition(':')[2]}"


def _location(source: Mapping[str, Any]) -> str:
    """Bucket and key of a source in S3."""
    return str(source["location"]).removeprefix("arn:aws:s3:::")


def _target(artifact: Mapping[str, Any], project: str) -> Target | None:
    if artifact.get("type") in (None, "NO_ARTIFACTS", "CODEPIPELINE"):
        return None
    if artifact["type"] != "S3":
        raise ServiceFault("InvalidInputException", f"Artifacts of type {artifact['type']} are unknown.")
    path = [str(artifact.get("path") or "").strip("/"), str(artifact.get("name") or project).strip("/.")]
    return Target(
        identifier=str(artifact.get("artifactIdentifier") or ""),
        bucket=str(artifact["location"]).removeprefix("arn:aws:s3:::"),
        key="/".join(filter(None, path)),
        packed=artifact.get("packaging") == "ZIP",
    )
