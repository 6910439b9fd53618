"""One execution of a pipeline: stages one after the other, actions of equal run order at the same time."""

from __future__ import annotations

import logging
import re
import secrets
import string
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from defectory.local.server.codepipeline.definition import Action, Pipeline, Stage
from defectory.local.server.services import Scope, in_thread

log = logging.getLogger(__name__)

RUNNING = frozenset({"InProgress", "Stopping"})
_REFERENCE = re.compile(r"#\{([A-Za-z0-9@_-]+)\.([A-Za-z0-9@_-]+)\}")

# Where an artifact is: bucket and key.
Location = tuple[str, str]


class ActionFailed(Exception):
    """An action did not succeed; ``code`` is CodePipeline's own word for why."""

    def __init__(self, message: str, code: str = "JobFailed") -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class ActionRun:
    """What an action of an execution did."""

    stage: str
    action: Action
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "InProgress"
    started: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)
    configuration: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Location] = field(default_factory=dict)
    outputs: Mapping[str, Location] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    external_id: str = ""
    summary: str = ""
    error_code: str = ""


@dataclass(slots=True)
class Execution:
    """An execution; ``status`` is CodePipeline's own word."""

    id: str
    scope: Scope
    pipeline: Pipeline
    variables: Mapping[str, str]
    token: str = ""
    status: str = "InProgress"
    summary: str = ""
    started: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)
    runs: list[ActionRun] = field(default_factory=list)
    artifacts: dict[str, Location] = field(default_factory=dict)
    outputs: dict[str, Mapping[str, str]] = field(default_factory=dict)
    abandoned: bool = False

    def resolve(self, text: str) -> str:
        """``text`` with every ``#{namespace.variable}`` replaced.

        Raises:
            ActionFailed: one is not known.
        """
        namespaces = {
            "variables": self.variables,
            "codepipeline": {"PipelineExecutionId": self.id},
            **self.outputs,
        }

        def value(reference: re.Match[str]) -> str:
            try:
                return namespaces[reference[1]][reference[2]]
            except KeyError:
                raise ActionFailed(f"The variable {reference[0]} is not known here.", "ConfigurationError") from None

        return _REFERENCE.sub(value, text)


class Provider(Protocol):
    """What does the work of an action."""

    def run(self, execution: Execution, run: ActionRun) -> None:
        """Do it: fill in what came of it, and put the artifacts in the locations of ``run.outputs``.

        Raises:
            ActionFailed: it did not succeed.
        """


# Told of each change: what changed (Pipeline, Stage, Action), its state, and more of the event's detail.
Listener = Callable[[Execution, str, str, Mapping[str, object]], None]


class Runner:
    """Runs executions, each in a thread of its own."""

    def __init__(self, providers: Mapping[str, Provider], listener: Listener) -> None:
        self._providers = providers
        self._listener = listener
        self._changed = threading.Condition()
        self._closed = False

    def start(self, execution: Execution, turn: Callable[[], bool]) -> None:
        """Start an execution; it waits while it is not its ``turn``."""
        self._tell(execution, "Pipeline", "STARTED")
        in_thread(self._run, execution, turn, name=f"pipeline {execution.id}")

    def stop(self, execution: Execution, reason: str, *, abandon: bool) -> None:
        """Ask an execution to stop after the actions under way, or to let them be (``abandon``)."""
        with self._changed:
            execution.status, execution.summary = "Stopping", reason
            execution.abandoned = abandon
            self._changed.notify_all()
        self._tell(execution, "Pipeline", "STOPPING")

    def close(self) -> None:
        """Let every execution be as it is."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self, execution: Execution, turn: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: turn() or execution.status == "Stopping" or self._closed)
        status = "Succeeded"
        for stage in execution.pipeline.stages:
            status = self._run_stage(execution, stage)
            if status != "Succeeded":
                break
        with self._changed:
            if self._closed:
                return
            execution.status, execution.updated = status, time.time()
            self._changed.notify_all()
        self._tell(execution, "Pipeline", status.upper())

    def _run_stage(self, execution: Execution, stage: Stage) -> str:
        if execution.status == "Stopping" or self._closed:
            return "Stopped"
        self._tell(execution, "Stage", "STARTED", {"stage": stage.name})
        status = "Succeeded"
        for together in stage.in_order():
            runs = [ActionRun(stage.name, action) for action in together]
            with self._changed:
                execution.runs += runs
            for run in runs:
                in_thread(self._run_action, execution, run, name=f"action {run.action.name}")
            with self._changed:
                self._changed.wait_for(
                    lambda runs=runs: (
                        self._closed  # type: ignore[misc]
                        or execution.abandoned
                        or all(run.status != "InProgress" for run in runs)
                    )
                )
                for run in runs:
                    if run.status == "InProgress" and not self._closed:
                        run.status, run.updated = "Abandoned", time.time()
            if any(run.status == "Failed" for run in runs):
                status = "Failed"
            if execution.status == "Stopping" or self._closed:
                status = "Stopped"
            if status != "Succeeded":
                break
        self._tell(execution, "Stage", status.upper(), {"stage": stage.name})
        return status

    def _run_action(self, execution: Execution, run: ActionRun) -> None:
        kind = run.action.action_type_id
        detail = {
            "stage": run.stage,
            "action": run.action.name,
            "action-execution-id": run.id,
            "region": execution.scope.region,
            "type": kind.model_dump(include={"owner", "provider", "category", "version"}),
        }
        self._tell(execution, "Action", "STARTED", detail)
        status = "Succeeded"
        try:
            run.configuration = {name: execution.resolve(value) for name, value in run.action.configuration.items()}
            run.inputs = {artifact.name: execution.artifacts[artifact.name] for artifact in run.action.input_artifacts}
            run.outputs = {
                artifact.name: _location(execution.pipeline, artifact.name) for artifact in run.action.output_artifacts
            }
            self._providers[kind.provider].run(execution, run)
        except ActionFailed as failure:
            status, run.summary, run.error_code = "Failed", str(failure), failure.code
        except Exception as error:
            # An action that nobody hears of any more would hold up the execution for ever.
            log.exception("Action %s of %s", run.action.name, execution.id)
            status, run.summary, run.error_code = "Failed", f"Internal error: {error}", "InternalError"
        with self._changed:
            if run.status != "InProgress" or self._closed:
                return
            run.status, run.updated = status, time.time()
            if status == "Succeeded":
                execution.artifacts |= run.outputs
                if run.action.namespace:
                    execution.outputs[run.action.namespace] = run.variables
            self._changed.notify_all()
        result = {"external-execution-id": run.external_id, "external-execution-summary": run.summary}
        self._tell(execution, "Action", status.upper(), {**detail, "execution-result": result})

    def _tell(self, execution: Execution, what: str, state: str, detail: Mapping[str, object] | None = None) -> None:
        if not self._closed:
            self._listener(execution, what, state, detail or {})


def _location(pipeline: Pipeline, artifact: str) -> Location:
    """Where CodePipeline puts an artifact."""
    unique = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(7))
    return pipeline.artifact_store.location, f"{pipeline.name[:20]}/{artifact[:10]}/{unique}"
