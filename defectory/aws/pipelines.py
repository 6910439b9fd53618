"""The pipeline that works on requests: start an execution, ask how it is doing, and why it failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.client import BaseClient

from defectory.aws.clients import aws_client, code_behind, service_errors
from defectory.errors import ServiceError

RUNNING = frozenset({"InProgress", "Stopping"})


@dataclass(frozen=True, slots=True)
class PipelineExecution:
    """One run of the pipeline; ``status`` is CodePipeline's own word (InProgress, Succeeded, Failed, Stopped...)."""

    execution_id: str
    status: str
    summary: str
    variables: Mapping[str, str]

    @property
    def running(self) -> bool:
        """Whether it has not come to an end."""
        return self.status in RUNNING


class Pipeline:
    """One pipeline in CodePipeline.  Every method may raise ``ServiceError``."""

    def __init__(self, name: str, client: BaseClient | None = None) -> None:
        self._name = name
        self._client = client or aws_client("codepipeline")

    def start(self, variables: Mapping[str, str], *, token: str) -> str:
        """Start an execution and return its id; the same ``token`` starts it only once."""
        with service_errors(f"start pipeline {self._name}"):
            reply = self._client.start_pipeline_execution(
                name=self._name,
                variables=[{"name": name, "value": value} for name, value in variables.items()],
                clientRequestToken=token,
            )
        return str(reply["pipelineExecutionId"])

    def execution(self, execution_id: str) -> PipelineExecution | None:
        """The execution as it is now; None if CodePipeline does not know it (any more)."""
        try:
            with service_errors(f"read execution {execution_id} of pipeline {self._name}"):
                reply = self._client.get_pipeline_execution(pipelineName=self._name, pipelineExecutionId=execution_id)[
                    "pipelineExecution"
                ]
        except ServiceError as error:
            if code_behind(error) == "PipelineExecutionNotFoundException":
                return None
            raise
        return PipelineExecution(
            execution_id=execution_id,
            status=reply["status"],
            summary=reply.get("statusSummary", ""),
            variables={entry["name"]: entry["resolvedValue"] for entry in reply.get("variables", [])},
        )

    def failed_actions(self, execution_id: str) -> list[str]:
        """For each failed action of the execution: its name, what it said, and where to read more."""
        with service_errors(f"list the actions of execution {execution_id} of pipeline {self._name}"):
            pages = self._client.get_paginator("list_action_executions").paginate(
                pipelineName=self._name, filter={"pipelineExecutionId": execution_id}
            )
            details = [detail for page in pages for detail in page["actionExecutionDetails"]]
        return [_describe(detail) for detail in details if detail.get("status") == "Failed"]


def _describe(detail: Mapping[str, Any]) -> str:
    result = detail.get("output", {}).get("executionResult", {})
    message = (
        result.get("errorDetails", {}).get("message") or result.get("externalExecutionSummary") or "no reason given"
    )
    return " ".join(filter(None, (f"{detail['actionName']} failed: {message}", result.get("externalExecutionUrl"))))
