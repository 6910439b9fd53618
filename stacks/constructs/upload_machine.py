"""The state machine that works on one upload: inspect it, record it whatever came of it, notify people where due.

What it does is in ``stacks/state_machines/inspection.asl.yaml``.
"""

from __future__ import annotations

from aws_cdk import aws_sqs as sqs
from constructs import Construct

from defectory.config import Config
from stacks.constructs.alert_topic import AlertTopic
from stacks.constructs.permissions import allow
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.state_machines import MachineRole, WatchedMachine


class UploadMachine(Construct):
    """Inspect image -> Record inspection -> Tell people? -> Send alert, by one function each.

    An upload that cannot be recorded goes to ``dead_letters``, from where it can be taken up again.  ``name`` is the
    machine's, without the deployment's.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        alerts: AlertTopic,
        name: str,
        inspect: PythonFunction,
        record: PythonFunction,
        notify: PythonFunction,
        dead_letters: sqs.IQueue,
    ) -> None:
        super().__init__(scope, construct_id)
        role = MachineRole(self, "Role", inspect, record, notify)
        allow(role, ["sqs:SendMessage"], [dead_letters.queue_arn])
        self.machine = WatchedMachine(
            self,
            "StateMachine",
            config=config,
            alerts=alerts,
            role=role,
            name=f"{config.name}-{name}",
            definition="inspection",
            values={
                "InspectImage": inspect.function.function_arn,
                "RecordInspection": record.function.function_arn,
                "SendAlert": notify.function.function_arn,
                "DeadLetters": dead_letters.queue_url,
            },
            bad_end="an inspection was not recorded, or nobody was told. The executions of the state machine say why; "
            "the dead letters hold what was not recorded.",
        )
