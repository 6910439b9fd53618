"""The state machine that makes a dataset of pictures: plan it, make every picture, assemble what came of them."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from defectory.config import Config
from stacks.constructs.alert_topic import AlertTopic
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.state_machines import MachineRole, WatchedMachine, build_call

# What the input is to blame for, or who may call which model: trying again cannot mend it.
HOPELESS = ["InputError", "ImageError", "ModelRefusedError"]
# What mends itself as soon as fewer pictures are made at a time.
BUSY = ["ModelBusyError", "Lambda.TooManyRequestsException", "Lambda.SnapStartNotReadyException"]
# A state's result has at most 256 KiB: what is said of each of hundreds of pictures has to be short.
# Their records say all of it, unless the function died.
CAUSE_LIMIT = 120
# What failed, and why: a failed function's own words, in the JSON that is the cause of its failure.
_REASON = (
    "($cause := $string($states.errorOutput.Cause); "
    r"""$told := $match($cause, /"errorMessage":\s*"((?:\\.|[^\\"])*)"/); """
    "$states.errorOutput.Error & ': ' & ($exists($told) ? $told[0].groups[0] : $cause))"
)


class SynthesisMachine(Construct):
    """Plan -> Make pictures (a few at a time) -> Assemble -> Complete?

    A picture that cannot be made is reported, and never stops the others.  Whatever else fails is stored as the
    dataset's status, and people are told.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        alerts: AlertTopic,
        plan: PythonFunction,
        synthesize: PythonFunction,
        assemble: PythonFunction,
    ) -> None:
        super().__init__(scope, construct_id)
        self._config, self._alerts = config, alerts
        role = MachineRole(self, "Role", plan, synthesize, assemble)
        alerts.grant_publish(role)
        self.machine = WatchedMachine(
            self,
            "StateMachine",
            config=config,
            alerts=alerts,
            role=role,
            bad_end="a batch of pictures did not come to its end; its execution says why.",
            # A name that people can type.
            state_machine_name=f"{config.name}-image-synthesis",
            comment="Defectory: a dataset of pictures of defects, from its plan to its contact sheet",
            query_language=sfn.QueryLanguage.JSONATA,
            definition_body=sfn.DefinitionBody.from_chainable(self._build_states(plan, synthesize, assemble)),
            timeout=Duration.days(1),
        )

    def _build_states(
        self, plan: PythonFunction, synthesize: PythonFunction, assemble: PythonFunction
    ) -> sfn.IChainable:
        execution = "$states.context.Execution"
        make_plan = self._build_call(
            "Plan",
            plan,
            payload=f'{{% {{"request": {execution}.Input, "execution": {execution}.Name}} %}}',
            outputs="{% $states.result.Payload %}",
            seconds=300,
        )
        make_pictures = self._build_map(synthesize)
        put_together = self._build_call(
            "Assemble",
            assemble,
            payload="{% $states.input %}",
            outputs="{% $states.result.Payload %}",
            seconds=600,
        )
        store_failure = self._build_call(
            "Store failure",
            assemble,
            payload=f'{{% {{"request": {execution}.Input, "execution": {execution}.Name, '
            '"problem": $states.input.problem} %}',
            outputs="{% $states.input %}",
            seconds=600,
        )
        failed = self._build_alert(
            "Tell of failure",
            "Defectory: making pictures of defects failed",
            f"{{% {execution}.Name & ': ' & $states.input.problem %}}",
        ).next(
            sfn.Fail.jsonata(self, "Failed", error="SynthesisFailed", cause="{% $states.input.problem %}"),
        )
        for step in (make_plan, make_pictures, put_together):
            step.add_catch(store_failure, errors=["States.ALL"], outputs=f'{{% {{"problem": {_REASON}}} %}}')
        # People are told even where the bucket takes nothing more.
        store_failure.add_catch(failed, errors=["States.ALL"], outputs="{% $states.input %}")
        store_failure.next(failed)

        complete = sfn.Choice.jsonata(self, "Complete?")
        complete.when(
            sfn.Condition.jsonata("{% $states.input.status = 'COMPLETE' %}"), sfn.Succeed.jsonata(self, "Complete")
        )
        complete.when(
            sfn.Condition.jsonata("{% $states.input.status = 'FAILED' %}"),
            sfn.Pass.jsonata(self, "Nothing was made", outputs='{% {"problem": $states.input.reason} %}').next(failed),
        )
        complete.otherwise(
            self._build_alert(
                "Tell of missing pictures",
                "Defectory: some pictures of defects could not be made",
                f"{{% {execution}.Name & ': ' & $states.input.reason %}}",
            ).next(sfn.Succeed.jsonata(self, "Partial"))
        )
        return make_plan.next(make_pictures).next(put_together).next(complete)

    def _build_map(self, synthesize: PythonFunction) -> sfn.Map:
        """Every picture of the plan; what comes out is the plan and the numbers of those that failed."""
        make_picture = self._build_call(
            "Make picture",
            synthesize,
            payload="{% $states.input %}",
            outputs='{% {"number": $states.input.number, "outcome": $states.result.Payload.outcome} %}',
            seconds=900,
        )
        make_picture.add_catch(
            sfn.Pass.jsonata(self, "Picture not made", outputs="{% $states.input %}"),
            errors=["States.ALL"],
            outputs='{% {"number": $states.input.number, "outcome": "failed", '
            f'"reason": $substring({_REASON}, 0, {CAUSE_LIMIT})}} %}}',
        )
        pictures = sfn.Map.jsonata(
            self,
            "Make pictures",
            items=sfn.ProvideItems.jsonata("{% [0..$states.input.count - 1] %}"),
            max_concurrency=self._config.image_concurrency,
            item_selector={"plan": "{% $states.input.plan %}", "number": "{% $states.context.Map.Item.Value %}"},
            outputs='{% {"plan": $states.input.plan, "failures": [$states.result[outcome = "failed" and reason]]} %}',
        )
        pictures.item_processor(make_picture)
        return pictures

    def _build_call(
        self, name: str, function: PythonFunction, *, payload: str, outputs: str, seconds: int
    ) -> tasks.LambdaInvoke:
        call = build_call(self, name, function, payload=payload, outputs=outputs, seconds=seconds)
        call.add_retry(errors=HOPELESS, max_attempts=0)
        call.add_retry(
            errors=BUSY,
            interval=Duration.seconds(5),
            backoff_rate=1.7,
            max_attempts=10,
            max_delay=Duration.minutes(3),
            jitter_strategy=sfn.JitterType.FULL,
        )
        call.add_retry(
            errors=["States.ALL"],
            interval=Duration.seconds(2),
            backoff_rate=2,
            max_attempts=3,
            max_delay=Duration.minutes(1),
            jitter_strategy=sfn.JitterType.FULL,
        )
        return call

    def _build_alert(self, name: str, subject: str, message: str) -> tasks.SnsPublish:
        alert = tasks.SnsPublish.jsonata(
            self,
            name,
            topic=self._alerts.topic,
            subject=subject,
            message=sfn.TaskInput.from_text(message),
            outputs="{% $states.input %}",
        )
        alert.add_retry(errors=["States.ALL"], interval=Duration.seconds(2), backoff_rate=2, max_attempts=6)
        return alert
