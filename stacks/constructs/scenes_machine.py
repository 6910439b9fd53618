"""The state machine that makes a dataset of scenes: plan it, have it painted where asked, make every shard, assemble.

What it does is in ``stacks/state_machines/scenes.asl.yaml``.
"""

from __future__ import annotations

from typing import Any

from aws_cdk import Aws
from aws_cdk import aws_s3 as s3
from constructs import Construct

from defectory.config import Config
from stacks.company_account import training_values
from stacks.constructs.acknowledgements import acknowledge_wildcards
from stacks.constructs.alert_topic import AlertTopic
from stacks.constructs.distributed_map import grant_distributed_map
from stacks.constructs.permissions import allow
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.state_machines import MachineRole, WatchedMachine


class ScenesMachine(Construct):
    """Plan -> (Paint) -> Make scenes (a few shards at a time) -> Assemble -> Complete?, by one function each.

    ``manifests`` and ``results`` are the patterns of the keys in ``scenes`` that the Distributed Map reads and writes.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        alerts: AlertTopic,
        plan: PythonFunction,
        render: PythonFunction,
        assemble: PythonFunction,
        scenes: s3.IBucket,
        manifests: str,
        results: str,
    ) -> None:
        super().__init__(scope, construct_id)
        self._config, self._name = config, f"{config.name}-scenes"
        role = MachineRole(self, "Role", plan, render, assemble)
        alerts.grant_publish(role)
        grant_distributed_map(role, machine=self._name, bucket=scenes, manifests=manifests, results=results)
        if config.scene_model:
            self._allow_transform(role)
        self.machine = WatchedMachine(
            self,
            "StateMachine",
            config=config,
            alerts=alerts,
            role=role,
            name=self._name,
            definition="scenes",
            values={
                "PlanScenes": plan.function.function_arn,
                "RenderScenes": render.function.function_arn,
                "AssembleScenes": assemble.function.function_arn,
                "AlertsTopic": alerts.topic.topic_arn,
                "ScenesBucket": scenes.bucket_name,
                "ImageConcurrency": config.image_concurrency,
                **self._painting(),
            },
            bad_end="a batch of scenes did not come to its end; its execution says why.",
        )

    def _painting(self) -> dict[str, Any]:
        """What the definition is given of the transform; without a model there is none."""
        if not self._config.scene_model:
            return {"Painting": "Make scenes"}
        return {
            "Painting": "Painted by a transform?",
            "JobPrefix": self._name,
            "SceneModel": self._config.scene_model,
            "SceneInstance": self._config.scene_instance,
            "SceneInstances": self._config.scene_instances,
            "Tags": training_values(self._config)["Tags"],
        }

    def _allow_transform(self, role: MachineRole) -> None:
        jobs, rule = (
            f"arn:{Aws.PARTITION}:{service}:{Aws.REGION}:{Aws.ACCOUNT_ID}:{resource}"
            for service, resource in (
                ("sagemaker", f"transform-job/{self._name}-*"),
                # How Step Functions hears of a job's end
                # (https://docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html).
                ("events", "rule/StepFunctionsGetEventsForSageMakerTransformJobsRule"),
            )
        )
        verbs = ("CreateTransformJob", "DescribeTransformJob", "StopTransformJob", "AddTags", "ListTags")
        allow(role, [f"sagemaker:{verb}" for verb in verbs], [jobs])
        acknowledge_wildcards(role, [jobs], "Jobs are named after the executions that made them.")
        allow(role, ["events:PutTargets", "events:PutRule", "events:DescribeRule"], [rule])
