"""What is in a running local cloud: its stacks, what its pipelines do, the e-mails it sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict

from defectory.errors import LocalCloudError
from defectory.local import outbox
from defectory.local.instance import Instance

EXECUTIONS = 20


class StackStatus(BaseModel):
    """A stack and its outputs."""

    model_config = ConfigDict(frozen=True)

    name: str
    status: str
    outputs: dict[str, str]


class ExecutionStatus(BaseModel):
    """An execution of a pipeline, with the action that it has come to."""

    model_config = ConfigDict(frozen=True)

    id: str
    status: str
    action: str
    variables: dict[str, str]
    started_at: str
    summary: str


class PipelineStatus(BaseModel):
    """A pipeline and its latest executions, newest first."""

    model_config = ConfigDict(frozen=True)

    name: str
    executions: list[ExecutionStatus]


class MailStatus(BaseModel):
    """An e-mail in the outbox."""

    model_config = ConfigDict(frozen=True)

    sent_at: str
    to: str
    subject: str
    file: str


class CloudStatus(BaseModel):
    """All of it."""

    model_config = ConfigDict(frozen=True)

    instance: Instance
    stacks: list[StackStatus]
    pipelines: list[PipelineStatus]
    mails: list[MailStatus]


def look(instance: Instance, client: Callable[[str], BaseClient]) -> CloudStatus:
    """Ask the cloud what is in it.

    Args:
        client: makes a boto3 client of a service of that cloud.

    Raises:
        LocalCloudError: it does not answer.
    """
    try:
        return CloudStatus(
            instance=instance,
            stacks=[_stack(found) for found in client("cloudformation").describe_stacks()["Stacks"]],
            pipelines=_pipelines(client("codepipeline")),
            mails=[
                MailStatus(sent_at=mail.sent_at, to=mail.to, subject=mail.subject, file=str(mail.path))
                for mail in outbox.mails(instance.outbox)
            ],
        )
    except (ClientError, BotoCoreError) as error:
        raise LocalCloudError(f"The local cloud at {instance.endpoint} does not answer: {error}") from error


def _stack(found: dict[str, Any]) -> StackStatus:
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}
    return StackStatus(name=found["StackName"], status=found["StackStatus"], outputs=outputs)


def _pipelines(client: BaseClient) -> list[PipelineStatus]:
    statuses = []
    for pipeline in client.list_pipelines()["pipelines"]:
        name = pipeline["name"]
        listed = client.list_pipeline_executions(pipelineName=name, maxResults=EXECUTIONS)
        executions = [_execution(client, name, summary) for summary in listed["pipelineExecutionSummaries"]]
        statuses.append(PipelineStatus(name=name, executions=executions))
    return statuses


def _execution(client: BaseClient, pipeline: str, summary: dict[str, Any]) -> ExecutionStatus:
    execution_id = summary["pipelineExecutionId"]
    found = client.get_pipeline_execution(pipelineName=pipeline, pipelineExecutionId=execution_id)["pipelineExecution"]
    latest = client.list_action_executions(
        pipelineName=pipeline, filter={"pipelineExecutionId": execution_id}, maxResults=1
    )["actionExecutionDetails"]
    action = latest[0] if latest else {}
    return ExecutionStatus(
        id=execution_id,
        status=found["status"],
        action=action.get("actionName", ""),
        variables={variable["name"]: variable["resolvedValue"] for variable in found.get("variables", [])},
        started_at=summary["startTime"].isoformat(timespec="seconds"),
        summary=found.get("statusSummary")
        or action.get("output", {}).get("executionResult", {}).get("errorDetails", {}).get("message", ""),
    )
