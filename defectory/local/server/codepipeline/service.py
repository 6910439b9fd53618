"""The CodePipeline service: its API, its CloudFormation resource, its events, and what it keeps."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from ministack.services.cloudformation import provisioners

from defectory.local.server.authorization.permissions import Permissions
from defectory.local.server.codebuild.service import Builds
from defectory.local.server.codepipeline.definition import InvalidPipeline, Pipeline
from defectory.local.server.codepipeline.execution import RUNNING, ActionRun, Execution, Runner
from defectory.local.server.codepipeline.providers import providers
from defectory.local.server.events import Events
from defectory.local.server.hooks import require
from defectory.local.server.objects import Objects
from defectory.local.server.services import (
    Extension,
    Response,
    Scope,
    ServiceFault,
    add_service,
    json_operations,
)

TARGET_PREFIX = "CodePipeline_20150709"
RESOURCE_TYPE = "AWS::CodePipeline::Pipeline"
INTERRUPTED = "The local cloud was stopped while the execution was under way."
PAGE = 100


@dataclass(slots=True)
class _PipelineState:
    """A pipeline and what was done with it."""

    pipeline: Pipeline
    created: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)
    executions: dict[str, Execution] = field(default_factory=dict)


class Pipelines(Extension):
    """All pipelines of all accounts."""

    def __init__(self, objects: Objects, builds: Builds, events: Events, permissions: Permissions) -> None:
        self._events = events
        self._records: dict[tuple[Scope, str], _PipelineState] = {}
        self._interrupted: list[Execution] = []
        self._runner = Runner(providers(objects, builds, permissions), self._emit)
        self._operations: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "ListPipelines": self._list_pipelines,
            "GetPipeline": self._get_pipeline,
            "GetPipelineState": self._get_pipeline_state,
            "CreatePipeline": self._create_pipeline,
            "UpdatePipeline": self._update_pipeline,
            "DeletePipeline": self._delete_pipeline,
            "StartPipelineExecution": self._start_execution,
            "StopPipelineExecution": self._stop_execution,
            "GetPipelineExecution": self._get_execution,
            "ListPipelineExecutions": self._list_executions,
            "ListActionExecutions": self._list_action_executions,
        }
        add_service("codepipeline", self, target_prefix=TARGET_PREFIX)
        handlers = require(provisioners, "_RESOURCE_HANDLERS")
        self._physical_name = require(provisioners, "_physical_name", "stack_name", "logical_id", "max_len")
        handlers[RESOURCE_TYPE] = {
            "create": self._create_resource,
            "update": self._update_resource,
            "delete": self._delete_resource,
        }

    # ---- the life of the extension

    def start(self) -> None:
        for execution in self._interrupted:
            with execution.scope.entered():
                self._emit(execution, "Pipeline", "FAILED", {})
        self._interrupted.clear()

    def stop(self) -> None:
        self._runner.close()

    # ---- the service

    async def handle_request(
        self, method: str, path: str, headers: dict[str, str], body: bytes, query_params: Mapping[str, Any]
    ) -> Response:
        return json_operations(self._operations, headers, body)

    def get_state(self) -> dict[str, Any]:
        return {
            "pipelines": [
                {
                    "scope": asdict(scope),
                    "pipeline": record.pipeline.api(),
                    "created": record.created,
                    "updated": record.updated,
                    "executions": [_dump(execution) for execution in record.executions.values()],
                }
                for (scope, _), record in self._records.items()
            ]
        }

    def load_persisted_state(self, data: dict[str, Any]) -> None:
        for entry in data["pipelines"]:
            scope = Scope(**entry["scope"])
            record = _PipelineState(Pipeline.parse(entry["pipeline"]), entry["created"], entry["updated"])
            for saved in entry["executions"]:
                execution = _load(saved, scope)
                if execution.status in RUNNING:
                    execution.status, execution.summary = "Failed", INTERRUPTED
                    for run in execution.runs:
                        if run.status == "InProgress":
                            run.status, run.summary = "Failed", INTERRUPTED
                    self._interrupted.append(execution)
                record.executions[execution.id] = execution
            self._records[scope, record.pipeline.name] = record

    def reset(self) -> None:
        for record in self._records.values():
            for execution in record.executions.values():
                if execution.status in RUNNING:
                    self._runner.stop(execution, "reset", abandon=True)
        self._records.clear()

    # ---- CloudFormation

    def _create_resource(
        self, logical_id: str, properties: Mapping[str, Any], stack: str
    ) -> tuple[str, dict[str, str]]:
        pipeline = Pipeline.from_template(properties, self._physical_name(stack, logical_id, max_len=100))
        if (Scope.current(), pipeline.name) in self._records:
            raise InvalidPipeline(f"A pipeline named {pipeline.name} exists already")
        self._records[Scope.current(), pipeline.name] = _PipelineState(pipeline)
        return pipeline.name, {"Version": "1"}

    def _update_resource(
        self, name: str, _: Mapping[str, Any], properties: Mapping[str, Any], stack: str
    ) -> tuple[str, dict[str, str]]:
        pipeline = Pipeline.from_template(properties, name)
        if pipeline.name != name:
            raise InvalidPipeline(f"A pipeline cannot be renamed in place, from {name} to {pipeline.name}")
        version = self._replace(pipeline)
        return name, {"Version": str(version)}

    def _delete_resource(self, name: str, _: Mapping[str, Any]) -> None:
        self._records.pop((Scope.current(), name), None)

    # ---- operations on pipelines

    def _list_pipelines(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        summaries = [
            {
                "name": record.pipeline.name,
                "version": record.pipeline.version,
                "pipelineType": record.pipeline.pipeline_type,
                "executionMode": record.pipeline.execution_mode,
                "created": record.created,
                "updated": record.updated,
            }
            for (scope, _), record in self._records.items()
            if scope == Scope.current()
        ]
        return _page("pipelines", sorted(summaries, key=lambda summary: str(summary["name"])), parameters)

    def _get_pipeline(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        record = self._find(parameters["name"])
        return {
            "pipeline": record.pipeline.api(),
            "metadata": {"pipelineArn": _arn(record.pipeline), "created": record.created, "updated": record.updated},
        }

    def _create_pipeline(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        pipeline = self._parse(parameters)
        if (Scope.current(), pipeline.name) in self._records:
            raise ServiceFault("PipelineNameInUseException", f"A pipeline named {pipeline.name} exists already")
        self._records[Scope.current(), pipeline.name] = _PipelineState(pipeline)
        return {"pipeline": pipeline.api()}

    def _update_pipeline(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        pipeline = self._parse(parameters)
        self._find(pipeline.name)
        self._replace(pipeline)
        return {"pipeline": self._find(pipeline.name).pipeline.api()}

    def _delete_pipeline(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        self._records.pop((Scope.current(), parameters["name"]), None)
        return {}

    def _get_pipeline_state(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        record = self._find(parameters["name"])
        latest: dict[tuple[str, str], tuple[Execution, ActionRun]] = {}
        for execution in record.executions.values():
            for run in execution.runs:
                latest[run.stage, run.action.name] = (execution, run)
        stages = []
        for stage in record.pipeline.stages:
            latest_runs = [latest.get((stage.name, action.name)) for action in stage.actions]
            state: dict[str, Any] = {
                "stageName": stage.name,
                "inboundTransitionState": {"enabled": True},
                "actionStates": [
                    {"actionName": action.name, **({"latestExecution": _latest(pair[1])} if pair else {})}
                    for action, pair in zip(stage.actions, latest_runs, strict=True)
                ],
            }
            if runs := [pair for pair in latest_runs if pair]:
                execution = runs[-1][0]
                statuses = {run.status for other, run in runs if other is execution}
                worst = next((s for s in ("InProgress", "Failed", "Abandoned") if s in statuses), "Succeeded")
                state["latestExecution"] = {
                    "pipelineExecutionId": execution.id,
                    "status": "Stopped" if worst == "Abandoned" else worst,
                }
            stages.append(state)
        return {
            "pipelineName": record.pipeline.name,
            "pipelineVersion": record.pipeline.version,
            "stageStates": stages,
            "created": record.created,
            "updated": record.updated,
        }

    # ---- operations on executions

    def _start_execution(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        record = self._find(parameters["name"])
        token = parameters.get("clientRequestToken") or ""
        for execution in record.executions.values():
            if token and execution.token == token:
                return {"pipelineExecutionId": execution.id}
        execution = Execution(
            id=str(uuid.uuid4()),
            scope=Scope.current(),
            pipeline=record.pipeline,
            variables=_variables(record.pipeline, parameters.get("variables") or []),
            token=token,
        )
        earlier = [other for other in record.executions.values() if other.status in RUNNING]
        if record.pipeline.execution_mode == "PARALLEL":
            earlier = []
        record.executions[execution.id] = execution
        self._runner.start(execution, lambda: all(other.status not in RUNNING for other in earlier))
        return {"pipelineExecutionId": execution.id}

    def _stop_execution(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        execution = self._find_execution(parameters)
        abandon = bool(parameters.get("abandon"))
        if execution.status not in RUNNING:
            raise ServiceFault(
                "PipelineExecutionNotStoppableException",
                f"The execution {execution.id} is not under way: {execution.status}.",
            )
        if execution.status == "Stopping" and (execution.abandoned or not abandon):
            raise ServiceFault(
                "DuplicatedStopRequestException", f"The execution {execution.id} is being stopped already."
            )
        self._runner.stop(execution, str(parameters.get("reason") or ""), abandon=abandon)
        return {"pipelineExecutionId": execution.id}

    def _get_execution(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        execution = self._find_execution(parameters)
        return {
            "pipelineExecution": {
                "pipelineName": execution.pipeline.name,
                "pipelineVersion": execution.pipeline.version,
                "pipelineExecutionId": execution.id,
                "status": execution.status,
                "statusSummary": execution.summary,
                "artifactRevisions": _revisions(execution),
                "variables": [{"name": name, "resolvedValue": value} for name, value in execution.variables.items()],
                "trigger": _trigger(execution),
                "executionMode": execution.pipeline.execution_mode,
                "executionType": "STANDARD",
            }
        }

    def _list_executions(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        summaries = [
            {
                "pipelineExecutionId": execution.id,
                "status": execution.status,
                "statusSummary": execution.summary,
                "startTime": execution.started,
                "lastUpdateTime": execution.updated,
                "trigger": _trigger(execution),
                "executionMode": execution.pipeline.execution_mode,
                "executionType": "STANDARD",
                **(
                    {"stopTrigger": {"reason": execution.summary}}
                    if execution.status in ("Stopping", "Stopped")
                    else {}
                ),
            }
            for execution in reversed(self._find(parameters["pipelineName"]).executions.values())
        ]
        return _page("pipelineExecutionSummaries", summaries, parameters)

    def _list_action_executions(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        record = self._find(parameters["pipelineName"])
        execution_id = (parameters.get("filter") or {}).get("pipelineExecutionId")
        details = [
            _detail(execution, run)
            for execution in reversed(record.executions.values())
            if execution_id in (None, execution.id)
            for run in reversed(execution.runs)
        ]
        return _page("actionExecutionDetails", details, parameters)

    # ---- the rest

    def _parse(self, parameters: Mapping[str, Any]) -> Pipeline:
        try:
            return Pipeline.parse({**parameters["pipeline"], "version": 1})
        except InvalidPipeline as error:
            raise ServiceFault("InvalidStructureException", str(error)) from None

    def _replace(self, pipeline: Pipeline) -> int:
        record = self._find(pipeline.name)
        record.pipeline = pipeline.model_copy(update={"version": record.pipeline.version + 1})
        record.updated = time.time()
        return record.pipeline.version

    def _find(self, name: str) -> _PipelineState:
        try:
            return self._records[Scope.current(), name]
        except KeyError:
            scope = Scope.current()
            raise ServiceFault(
                "PipelineNotFoundException",
                f"Account '{scope.account}' does not have a pipeline with name '{name}'",
            ) from None

    def _find_execution(self, parameters: Mapping[str, Any]) -> Execution:
        record = self._find(parameters["pipelineName"])
        try:
            return record.executions[parameters["pipelineExecutionId"]]
        except KeyError:
            raise ServiceFault(
                "PipelineExecutionNotFoundException",
                f"The pipeline {record.pipeline.name} has no execution {parameters['pipelineExecutionId']}",
            ) from None

    def _emit(self, execution: Execution, what: str, state: str, detail: Mapping[str, object]) -> None:
        """Put the event on the bus that CodePipeline puts there."""
        common: dict[str, object] = {
            "pipeline": execution.pipeline.name,
            "execution-id": execution.id,
            "start-time": datetime.fromtimestamp(execution.started, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "state": state,
            "version": float(execution.pipeline.version),
            "pipeline-execution-attempt": 1.0,
        }
        if what == "Pipeline":
            trigger = _trigger(execution)
            common["execution-trigger"] = {
                "trigger-type": trigger["triggerType"],
                "trigger-detail": trigger["triggerDetail"],
            }
            if state in ("STOPPING", "STOPPED") and execution.summary:
                common["stop-execution-comments"] = execution.summary
        self._events.emit(
            "aws.codepipeline",
            f"CodePipeline {what} Execution State Change",
            _arn(execution.pipeline),
            {**common, **detail},
        )


def _arn(pipeline: Pipeline) -> str:
    return Scope.current().arn("codepipeline", pipeline.name)


def _trigger(execution: Execution) -> dict[str, str]:
    return {
        "triggerType": "StartPipelineExecution",
        "triggerDetail": f"arn:aws:iam::{execution.scope.account}:root",
    }


def _variables(pipeline: Pipeline, overrides: list[Mapping[str, str]]) -> dict[str, str]:
    values = {variable.name: variable.default_value for variable in pipeline.variables}
    for entry in overrides:
        if entry["name"] not in values:
            declared = ", ".join(values) or "none"
            raise ServiceFault(
                "ValidationException", f"The pipeline declares no variable {entry['name']}, only {declared}"
            )
        values[entry["name"]] = entry["value"]
    missing = [name for name, value in values.items() if not value]
    if missing:
        raise ServiceFault("ValidationException", f"A value is missing for the variable {', '.join(missing)}")
    return {name: value for name, value in values.items() if value}


def _revisions(execution: Execution) -> list[dict[str, str]]:
    return [
        {"name": name, "revisionId": run.external_id, "revisionSummary": run.summary}
        for run in execution.runs
        if run.action.action_type_id.category == "Source" and run.status == "Succeeded"
        for name in run.outputs
    ]


def _latest(run: ActionRun) -> dict[str, Any]:
    return {
        "actionExecutionId": run.id,
        "status": run.status,
        "summary": run.summary,
        "lastStatusChange": run.updated,
        "externalExecutionId": run.external_id,
        **({"errorDetails": {"code": run.error_code, "message": run.summary}} if run.error_code else {}),
    }


def _detail(execution: Execution, run: ActionRun) -> dict[str, Any]:
    result: dict[str, Any] = {
        "externalExecutionId": run.external_id,
        "externalExecutionSummary": run.summary,
    }
    if run.error_code:
        result["errorDetails"] = {"code": run.error_code, "message": run.summary}
    return {
        "pipelineExecutionId": execution.id,
        "actionExecutionId": run.id,
        "pipelineVersion": execution.pipeline.version,
        "stageName": run.stage,
        "actionName": run.action.name,
        "startTime": run.started,
        "lastUpdateTime": run.updated,
        "status": run.status,
        "input": {
            "actionTypeId": run.action.action_type_id.model_dump(),
            "configuration": run.action.configuration,
            "resolvedConfiguration": dict(run.configuration),
            "region": execution.scope.region,
            "inputArtifacts": _located(run.inputs),
            **({"namespace": run.action.namespace} if run.action.namespace else {}),
        },
        "output": {
            "outputArtifacts": _located(run.outputs) if run.status == "Succeeded" else [],
            "executionResult": result,
            "outputVariables": dict(run.variables),
        },
    }


def _located(artifacts: Mapping[str, tuple[str, str]]) -> list[dict[str, Any]]:
    return [{"name": name, "s3location": {"bucket": bucket, "key": key}} for name, (bucket, key) in artifacts.items()]


def _page(name: str, items: list[dict[str, Any]], parameters: Mapping[str, Any]) -> dict[str, Any]:
    start = int(parameters.get("nextToken") or 0)
    end = start + int(parameters.get("maxResults") or PAGE)
    return {name: items[start:end], **({"nextToken": str(end)} if end < len(items) else {})}


def _dump(execution: Execution) -> dict[str, Any]:
    # Not by asdict(): pipeline and actions are models of their own.
    own = ("id", "token", "status", "summary", "started", "updated", "artifacts", "outputs")
    runs = [
        {
            **{name: getattr(run, name) for name in ActionRun.__slots__ if name != "action"},
            "action": run.action.model_dump(by_alias=True),
        }
        for run in execution.runs
    ]
    return {
        **{name: getattr(execution, name) for name in own},
        "variables": dict(execution.variables),
        "pipeline": execution.pipeline.api(),
        "runs": runs,
    }


def _load(saved: Mapping[str, Any], scope: Scope) -> Execution:
    pipeline = Pipeline.parse(saved["pipeline"])
    actions = {(stage.name, action.name): action for stage, action in pipeline.actions()}
    runs = [ActionRun(**{**run, "action": actions[run["stage"], run["action"]["name"]]}) for run in saved["runs"]]
    artifacts = {name: (bucket, key) for name, (bucket, key) in saved["artifacts"].items()}
    return Execution(**{**saved, "scope": scope, "pipeline": pipeline, "runs": runs, "artifacts": artifacts})
