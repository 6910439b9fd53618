"""The state machine of fleets: more machines than one request may have, as many requests as it takes.

What it does is in ``stacks/state_machines/sensor_fleet.asl.yaml``.
"""

from __future__ import annotations

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_s3 as s3
from constructs import Construct

from defectory.config import Config
from stacks.constructs.acknowledgements import acknowledge_wildcards
from stacks.constructs.alert_topic import AlertTopic
from stacks.constructs.distributed_map import grant_distributed_map
from stacks.constructs.permissions import allow
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.state_machines import MachineRole, WatchedMachine

FLEET_MANIFESTS = "*/fleets/*/manifest.jsonl"
FLEET_SUMMARIES = "*/fleets/*/fleet.json"


class FleetMachine(Construct):
    """Plan -> Make requests (a few at a time, each until it is closed) -> Store summary -> Complete?"""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        alerts: AlertTopic,
        trigger: PythonFunction,
        table: dynamodb.ITable,
        data: s3.IBucket,
    ) -> None:
        super().__init__(scope, construct_id)
        name = f"{config.name}-sensor-fleet"
        role = MachineRole(self, "Role", trigger)
        alerts.grant_publish(role)
        grant_distributed_map(role, machine=name, bucket=data, manifests=FLEET_MANIFESTS)
        summaries = data.arn_for_objects(FLEET_SUMMARIES)
        allow(role, ["dynamodb:GetItem"], [table.table_arn])
        allow(role, ["s3:PutObject"], [summaries])
        acknowledge_wildcards(role, [summaries], "Summaries of every user's fleets, by this machine.")
        self.machine = WatchedMachine(
            self,
            "StateMachine",
            config=config,
            alerts=alerts,
            role=role,
            name=name,
            definition="sensor_fleet",
            values={
                "RequestSensorData": trigger.function.function_arn,
                "RequestsTable": table.table_name,
                "DataBucket": data.bucket_name,
                "AlertsTopic": alerts.topic.topic_arn,
                "FleetConcurrency": config.fleet_concurrency,
            },
            bad_end="a fleet of machines did not come to its end; its execution says why.",
        )
