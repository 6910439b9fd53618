"""What is in a running local cloud: stacks, what pipelines and state machines do, endpoints, the e-mails it sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict

from defectory.errors import LocalCloudError, shorten
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


class RunStatus(BaseModel):
    """An execution of a state machine; the error is of one that failed."""

    model_config = ConfigDict(frozen=True)

    name: str
    status: str
    started_at: str
    error: str


class StateMachineStatus(BaseModel):
    """A state machine and its latest executions, newest first; those of an express one are in its log alone."""

    model_config = ConfigDict(frozen=True)

    name: str
    type: str
    executions: list[RunStatus]


class EndpointStatus(BaseModel):
    """A model in service, and why it is not if it is not."""

    model_config = ConfigDict(frozen=True)

    name: str
    status: str
    config: str
    kind: str
    reason: str


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
    state_machines: list[StateMachineStatus]
    endpoints: list[EndpointStatus]
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
            stacks=[_stack(stack) for stack in client("cloudformation").describe_stacks()["Stacks"]],
            pipelines=_pipelines(client("codepipeline")),
            state_machines=_state_machines(client("stepfunctions")),
            endpoints=_endpoints(client("sagemaker")),
            mails=[
                MailStatus(sent_at=mail.sent_at, to=mail.to, subject=mail.subject, file=str(mail.path))
                for mail in outbox.mails(instance.outbox)
            ],
        )
    except (ClientError, BotoCoreError) as error:
        raise LocalCloudError(f"The local cloud at {instance.endpoint} does not answer: {error}") from error


def _stack(stack: dict[str, Any]) -> StackStatus:
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    return StackStatus(name=stack["StackName"], status=stack["StackStatus"], outputs=outputs)


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
    execution = client.get_pipeline_execution(pipelineName=pipeline, pipelineExecutionId=execution_id)[
        "pipelineExecution"
    ]
    latest = client.list_action_executions(
        pipelineName=pipeline, filter={"pipelineExecutionId": execution_id}, maxResults=1
    )["actionExecutionDetails"]
    action = latest[0] if latest else {}
    return ExecutionStatus(
        id=execution_id,
        status=execution["status"],
        action=action.get("actionName", ""),
        variables={variable["name"]: variable["resolvedValue"] for variable in execution.get("variables", [])},
        started_at=summary["startTime"].isoformat(timespec="seconds"),
        summary=execution.get("statusSummary")
        or action.get("output", {}).get("executionResult", {}).get("errorDetails", {}).get("message", ""),
    )


def _state_machines(client: BaseClient) -> list[StateMachineStatus]:
    statuses = []
    for machine in client.list_state_machines()["stateMachines"]:
        executions: list[RunStatus] = []
        if machine["type"] == "STANDARD":
            listed = client.list_executions(stateMachineArn=machine["stateMachineArn"], maxResults=EXECUTIONS)
            executions = [_run(client, execution) for execution in listed["executions"]]
        statuses.append(StateMachineStatus(name=machine["name"], type=machine["type"], executions=executions))
    return statuses


def _run(client: BaseClient, execution: dict[str, Any]) -> RunStatus:
    error = ""
    if execution["status"] not in ("RUNNING", "SUCCEEDED"):
        description = client.describe_execution(executionArn=execution["executionArn"])
        error = ": ".join(filter(None, (description.get("error"), description.get("cause"))))
    return RunStatus(
        name=execution["name"],
        status=execution["status"],
        started_at=execution["startDate"].isoformat(timespec="seconds"),
        error=shorten(error),
    )


def _endpoints(client: BaseClient) -> list[EndpointStatus]:
    statuses = []
    for summary in client.list_endpoints(SortBy="Name", SortOrder="Ascending")["Endpoints"]:
        description = client.describe_endpoint(EndpointName=summary["EndpointName"])
        variants = description.get("ProductionVariants", [])
        serverless = any("CurrentServerlessConfig" in variant for variant in variants)
        statuses.append(
            EndpointStatus(
                name=description["EndpointName"],
                status=description["EndpointStatus"],
                config=description["EndpointConfigName"],
                kind="serverless" if serverless else "real-time" if variants else "",
                reason=description.get("FailureReason", ""),
            )
        )
    return statuses
