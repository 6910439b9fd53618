"""What every state machine has besides its states: a role that can deliver logs and traces, and alarms for bad ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Aws, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from defectory.config import Config
from stacks.constructs.acknowledgements import acknowledge
from stacks.constructs.alert_topic import AlertTopic
from stacks.constructs.permissions import allow
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.removal import name_of_its_own
from stacks.constructs.retained_log_group import RetainedLogGroup
from stacks.state_machines import read_definition

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


class WatchedMachine(sfn.StateMachine):
    """The machine of ``stacks/state_machines/<definition>.asl.yaml``, logged, traced, with an alarm for each bad end.

    ``values`` and ``without`` are `read_definition`'s; the partition is put in for every machine.  ``bad_end`` says, in
    the alarms' words, what it means that an execution failed, was aborted or ran out of time.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        alerts: AlertTopic,
        role: MachineRole,
        name: str,
        definition: str,
        values: Mapping[str, Any],
        without: Sequence[str] = (),
        bad_end: str,
        log_data: bool = False,
    ) -> None:
        states = read_definition(definition, {"Partition": Aws.PARTITION, **values}, without=without)
        # Deliveries of every other group take room in the account's one policy of log resources, which has little
        # (https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html).
        group = name_of_its_own(f"/aws/vendedlogs/states/{name}")
        logs = RetainedLogGroup(scope, f"{construct_id}Logs", config, name=group)
        super().__init__(
            scope,
            construct_id,
            # A name that people can type.
            state_machine_name=name,
            definition_body=sfn.DefinitionBody.from_string(Stack.of(scope).to_json_string(states)),
            # The role has all it needs: what the CDK would add reaches more.
            role=role.without_policy_updates(),
            logs=sfn.LogOptions(destination=logs, level=sfn.LogLevel.ALL, include_execution_data=log_data),
            tracing_enabled=True,
        )
        five = Duration.minutes(5)
        for name, metric in (
            ("Failed", self.metric_failed(period=five)),
            ("Aborted", self.metric_aborted(period=five)),
            ("TimedOut", self.metric_timed_out(period=five)),
        ):
            alerts.watch(scope, f"{name}Alarm", metric, bad_end)
