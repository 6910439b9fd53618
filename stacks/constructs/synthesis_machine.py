"""The state machine that makes a dataset of pictures: plan it, make every picture, assemble what came of them.

What it does is in ``stacks/state_machines/image_synthesis.asl.yaml``.
"""

from __future__ import annotations

from aws_cdk import aws_s3 as s3
from constructs import Construct

from defectory.config import Config
from stacks.constructs.alert_topic import AlertTopic
from stacks.constructs.distributed_map import grant_distributed_map
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.state_machines import MachineRole, WatchedMachine


class SynthesisMachine(Construct):
    """Plan -> Make pictures (a few at a time) -> Assemble -> Complete?, by one function each.

    ``manifests`` and ``results`` are the patterns of the keys in ``images`` that the Distributed Map reads and writes.
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
        images: s3.IBucket,
        manifests: str,
        results: str,
    ) -> None:
        super().__init__(scope, construct_id)
        name = f"{config.name}-image-synthesis"
        role = MachineRole(self, "Role", plan, synthesize, assemble)
        alerts.grant_publish(role)
        grant_distributed_map(role, machine=name, bucket=images, manifests=manifests, results=results)
        self.machine = WatchedMachine(
            self,
            "StateMachine",
            config=config,
            alerts=alerts,
            role=role,
            name=name,
            definition="image_synthesis",
            values={
                "PlanSynthesis": plan.function.function_arn,
                "SynthesizeImages": synthesize.function.function_arn,
                "AssembleDataset": assemble.function.function_arn,
                "AlertsTopic": alerts.topic.topic_arn,
                "ImagesBucket": images.bucket_name,
                "ImageConcurrency": config.image_concurrency,
            },
            bad_end="a batch of pictures did not come to its end; its execution says why.",
        )
