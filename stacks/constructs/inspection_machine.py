"""The state machine that works on one upload: inspect it, record it whatever came of it, tell people where owed."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from defectory.config import Config
from stacks.constructs.acknowledgements import acknowledge
from stacks.constructs.alert_topic import AlertTopic
from stacks.constructs.kept_logs import KeptLogs
from stacks.constructs.python_function import PythonFunction

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
        logs = KeptLogs(self, "Logs", config)
        self.machine = sfn.StateMachine(
            self,
            "StateMachine",
            state_machine_name=f"{config.name}-inspection",
            comment="Defectory: one uploaded image, from its inspection to its row and its alert",
            query_language=sfn.QueryLanguage.JSONATA,
            definition_body=sfn.DefinitionBody.from_chainable(self._build_states(inspect, record, tell)),
            role=self._build_role(inspect, record, tell).without_policy_updates(),
            logs=sfn.LogOptions(destination=logs, level=sfn.LogLevel.ALL, include_execution_data=False),
            tracing_enabled=True,
        )
        self._build_alarms(alerts)

    def _build_states(self, inspect: PythonFunction, record: PythonFunction, tell: PythonFunction) -> sfn.IChainable:
        inspect_image = self._build_call(
            "Inspect image",
            inspect,
            payload="{% $states.input.upload %}",
            outputs='{% {"upload": $states.input.upload, "record": $states.result.Payload} %}',
            seconds=180,
        )
        record_inspection = self._build_call(
            "Record inspection",
            record,
            payload="{% $states.input %}",
            outputs="{% $states.result.Payload %}",
            seconds=60,
        )
        send_alert = self._build_call(
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

    def _build_call(
        self, name: str, function: PythonFunction, *, payload: str, outputs: str, seconds: int
    ) -> tasks.LambdaInvoke:
        return tasks.LambdaInvoke.jsonata(
            self,
            name,
            lambda_function=function.function,
            payload=sfn.TaskInput.from_text(payload),
            outputs=outputs,
            retry_on_service_exceptions=False,
            task_timeout=sfn.Timeout.duration(Duration.seconds(seconds)),
        )

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

    def _build_role(self, *functions: PythonFunction) -> iam.Role:
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
        arns = [function.function.function_arn for function in functions]
        role.add_to_policy(iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=arns))
        role.add_to_policy(iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[self._put_aside.queue_arn]))
        watching = [
            *(f"logs:{verb}LogDelivery" for verb in ("Create", "Get", "Update", "Delete")),
            *("logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:DescribeResourcePolicies"),
            *("logs:DescribeLogGroups", "xray:PutTraceSegments", "xray:PutTelemetryRecords"),
            *("xray:GetSamplingRules", "xray:GetSamplingTargets"),
        ]
        role.add_to_policy(iam.PolicyStatement(actions=watching, resources=["*"]))
        acknowledge(role, {"IAM5[Resource::*]": "Delivery of logs and traces knows no resources."})
        return role

    def _build_alarms(self, alerts: AlertTopic) -> None:
        five = Duration.minutes(5)
        for name, metric in (
            ("Failed", self.machine.metric_failed(period=five)),
            ("Aborted", self.machine.metric_aborted(period=five)),
        ):
            alarm = metric.create_alarm(
                self,
                name,
                alarm_description=f"Defectory: inspections were {name.lower()}: not recorded, or nobody was told. The "
                "executions of the state machine say why; the dead letters hold what was not recorded.",
                threshold=1,
                evaluation_periods=1,
                treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            )
            alerts.on(alarm)
