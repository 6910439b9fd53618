"""The state machine that works on one upload: inspect it, record it whatever came of it, tell people where owed."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from defectory.config import Config
from stacks.constructs.alert_topic import AlertTopic
from stacks.constructs.permissions import allow
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.state_machines import MachineRole, WatchedMachine, build_call

# What a call again cannot mend: there is no endpoint, or the model cannot cope with the image.
HOPELESS = ["EndpointMissingError", "EndpointAnswerError"]
# What mends itself as soon as a burst of uploads is over, or the endpoint is warm.
BUSY = ["EndpointBusyError", "Lambda.TooManyRequestsException", "Lambda.SnapStartNotReadyException"]


class InspectionMachine(Construct):
    """Inspect image -> Record inspection -> Tell people? -> Send alert.

    An upload whose inspection fails is recorded with the reason.  One that cannot be recorded goes to ``put_aside``,
    from where it can be taken up again.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        alerts: AlertTopic,
        inspect: PythonFunction,
        record: PythonFunction,
        tell: PythonFunction,
        put_aside: sqs.IQueue,
    ) -> None:
        super().__init__(scope, construct_id)
        self._put_aside = put_aside
        role = MachineRole(self, "Role", inspect, record, tell)
        allow(role, ["sqs:SendMessage"], [put_aside.queue_arn])
        self.machine = WatchedMachine(
            self,
            "StateMachine",
            config=config,
            alerts=alerts,
            role=role,
            bad_end="an inspection was not recorded, or nobody was told. The executions of the state machine say why; "
            "the dead letters hold what was not recorded.",
            state_machine_name=f"{config.name}-inspection",
            comment="Defectory: one uploaded image, from its inspection to its row and its alert",
            query_language=sfn.QueryLanguage.JSONATA,
            definition_body=sfn.DefinitionBody.from_chainable(self._build_states(inspect, record, tell)),
        )

    def _build_states(self, inspect: PythonFunction, record: PythonFunction, tell: PythonFunction) -> sfn.IChainable:
        inspect_image = build_call(
            self,
            "Inspect image",
            inspect,
            payload="{% $states.input.upload %}",
            outputs='{% {"upload": $states.input.upload, "record": $states.result.Payload} %}',
            seconds=180,
        )
        record_inspection = build_call(
            self,
            "Record inspection",
            record,
            payload="{% $states.input %}",
            outputs="{% $states.result.Payload %}",
            seconds=60,
        )
        send_alert = build_call(
            self,
            "Send alert",
            tell,
            payload='{% {"inspection_id": $states.input.inspection_id} %}',
            outputs="{% $states.result.Payload %}",
            seconds=60,
        )
        inspect_image.add_retry(errors=HOPELESS, max_attempts=0)
        inspect_image.add_retry(
            errors=BUSY,
            interval=Duration.seconds(2),
            backoff_rate=1.6,
            max_attempts=25,
            max_delay=Duration.minutes(3),
            jitter_strategy=sfn.JitterType.FULL,
        )
        for call in (inspect_image, record_inspection, send_alert):
            call.add_retry(
                errors=["States.ALL"],
                interval=Duration.seconds(2),
                backoff_rate=2,
                max_attempts=5,
                max_delay=Duration.minutes(1),
                jitter_strategy=sfn.JitterType.FULL,
            )
        inspect_image.add_catch(
            record_inspection,
            errors=["States.ALL"],
            outputs='{% {"upload": $states.input.upload, "problem": '
            '{"error": $states.errorOutput.Error, "cause": $string($states.errorOutput.Cause)}} %}',
        )
        record_inspection.add_catch(self._build_putting_aside(), errors=["States.ALL"])
        people = sfn.Choice.jsonata(self, "Tell people?")
        people.when(sfn.Condition.jsonata("{% $states.input.tell %}"), send_alert)
        people.otherwise(sfn.Succeed.jsonata(self, "Nobody has to know now"))
        return inspect_image.next(record_inspection).next(people)

    def _build_putting_aside(self) -> sfn.IChainable:
        """What was put aside is a new attempt when it is taken up again: it needs a name that has not run."""
        upload = "$states.context.Execution.Input.upload"
        put_aside = tasks.SqsSendMessage.jsonata(
            self,
            "Put upload aside",
            queue=self._put_aside,
            message_body=sfn.TaskInput.from_text(
                f'{{% $string({{"upload": $merge([{upload}, {{"attempt": {upload}.attempt + 1}}])}}) %}}'
            ),
        )
        put_aside.add_retry(errors=["States.ALL"], interval=Duration.seconds(2), backoff_rate=2, max_attempts=6)
        not_recorded = sfn.Fail.jsonata(
            self, "Not recorded", error="NotRecorded", cause="The table refused the row; the upload was put aside."
        )
        return put_aside.next(not_recorded)
