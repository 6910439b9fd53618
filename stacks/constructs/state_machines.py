"""What every state machine has besides its states: a role that can deliver logs and traces, and alarms for bad ends."""

from __future__ import annotations

from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from defectory.config import Config
from stacks.constructs.acknowledgements import acknowledge
from stacks.constructs.alert_topic import AlertTopic
from stacks.constructs.kept_logs import KeptLogs
from stacks.constructs.permissions import allow
from stacks.constructs.python_function import PythonFunction

_WATCHING = (
    *(f"logs:{verb}LogDelivery" for verb in ("Create", "Get", "Update", "Delete")),
    *("logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:DescribeResourcePolicies"),
    *("logs:DescribeLogGroups", "xray:PutTraceSegments", "xray:PutTelemetryRecords"),
    *("xray:GetSamplingRules", "xray:GetSamplingTargets"),
)


class MachineRole(iam.Role):
    """What a state machine runs as: it may call ``functions`` and deliver its logs and traces."""

    def __init__(self, scope: Construct, construct_id: str, *functions: PythonFunction) -> None:
        super().__init__(scope, construct_id, assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
        allow(self, ["lambda:InvokeFunction"], [function.function.function_arn for function in functions])
        allow(self, _WATCHING, ["*"])
        acknowledge(self, {"IAM5[Resource::*]": "Delivery of logs and traces knows no resources."})


def build_call(
    scope: Construct, name: str, function: PythonFunction, *, payload: str, outputs: str, seconds: int
) -> tasks.LambdaInvoke:
    """A state that calls ``function``, for so many ``seconds`` at most; what is tried again is up to the machine."""
    return tasks.LambdaInvoke.jsonata(
        scope,
        name,
        lambda_function=function.function,
        payload=sfn.TaskInput.from_text(payload),
        outputs=outputs,
        retry_on_service_exceptions=False,
        task_timeout=sfn.Timeout.duration(Duration.seconds(seconds)),
    )


class WatchedMachine(sfn.StateMachine):
    """A state machine that logs and traces every execution, and has an alarm for each way not to succeed.

    ``bad_end`` says, in the alarms' words, what it means that an execution failed, was aborted or ran out of time.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        alerts: AlertTopic,
        role: MachineRole,
        bad_end: str,
        log_data: bool = False,
        **machine: Any,  # noqa: ANN401
    ) -> None:
        logs = KeptLogs(scope, f"{construct_id}Logs", config)
        super().__init__(
            scope,
            construct_id,
            # The role has all it needs: what the CDK would add reaches more.
            role=role.without_policy_updates(),
            logs=sfn.LogOptions(destination=logs, level=sfn.LogLevel.ALL, include_execution_data=log_data),
            tracing_enabled=True,
            **machine,
        )
        five = Duration.minutes(5)
        for name, metric in (
            ("Failed", self.metric_failed(period=five)),
            ("Aborted", self.metric_aborted(period=five)),
            ("TimedOut", self.metric_timed_out(period=five)),
        ):
            alarm = metric.create_alarm(
                scope,
                f"{name}Alarm",
                alarm_description=f"Defectory: {bad_end}",
                threshold=1,
                evaluation_periods=1,
                treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            )
            alerts.on(alarm)
