"""A rule for executions that were stopped, or ran out of time: they cannot store that themselves."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks.constructs.python_function import PythonFunction


class StoppedRule(events.Rule):
    """Tells ``function`` of executions of ``machine`` that were aborted or timed out; it keeps what it gives up."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        machine: sfn.IStateMachine,
        function: PythonFunction,
        description: str,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            description=description,
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={"stateMachineArn": [machine.state_machine_arn], "status": ["ABORTED", "TIMED_OUT"]},
            ),
        )
        self.add_target(
            targets.LambdaFunction(
                function.function,
                dead_letter_queue=function.dead_letters.queue,
                retry_attempts=8,
                max_event_age=Duration.hours(2),
            )
        )
