"""Detection: the bucket of scenes and detectors, and what fills and uses it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aws_cdk import Duration, Size
from aws_cdk import aws_iam as iam
from constructs import Construct

from defectory.config import Config
from stacks.capability import Capability
from stacks.constructs.acknowledgements import acknowledge_wildcards
from stacks.constructs.model_access import grant_inpaint_model
from stacks.constructs.permissions import allow
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.safety_line import JUDGING, SafetyLine
from stacks.constructs.scenes_machine import ScenesMachine
from stacks.constructs.stopped_rule import StoppedRule
from stacks.constructs.training_machine import ModelKind, TrainingMachine

# One package for both functions: OpenCV and onnxruntime outweigh everything else.  Planning has what samples layouts
# instead, and all together is more than Lambda takes.
# What is written below <user_id>/<dataset>/.  Nothing of it is called like what users upload (a bundle, a YAML file,
# cut-outs), but for pictures and layouts, which are in folders of their own names.
PICTURES = ("*/images/*.jpg", "*/images/*.png")
LABELS = "*/labels/*.txt"
SHARDS, RECORDS, ANSWERS = "*/work/shards/*.jsonl", "*/work/records/*.jsonl", "*/work/answers/*.jsonl.out"
RUNS, MANIFESTS, REFUSED = "*/runs/*/run.json", "*/runs/*/manifest.jsonl", "*/runs/*/refused.jsonl"
REQUESTS, RESULTS = "*/runs/*/requests/*.jsonl", "*/runs/*/results/*"
RECIPE, CLASSES, STATUS = "*/recipe.json", "*/classes.json", "*/status.json"
DATASET = (
    *("*/scenes.jsonl", "*/failures.jsonl", "*/acceptance.jsonl", "*/acceptance.json"),
    *("*/coco.json", "*/data.yaml", "*/contact-sheet.html"),
)


class Detection(Capability):
    """From layouts to scenes with true boxes, and from pictures of a place to what its rules say, in one bucket."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, **stack: Any) -> None:  # noqa: ANN401
        super().__init__(scope, construct_id, config=config, description="scenes, and detectors of objects", **stack)
        self.scenes = self.build_bucket("Scenes")
        # Detectors, and the rules of safety.
        self.models = self.build_lasting_bucket("Models")
        self.endpoint_name = f"{config.name}-detection"
        self.safety = SafetyLine(self, "Safety", models=self.models, endpoint_name=self.endpoint_name)
        self.training = TrainingMachine(
            self,
            "Training",
            config=config,
            alerts=self.alerts,
            kind=ModelKind.detector(),
            bucket=self.models,
            datasets=self.scenes,
            endpoint_name=self.endpoint_name,
            serving=self.safety.check if config.inspection_endpoint == "lambda" else None,
        )
        self.plan = self._build_plan()
        self.render = self._build_render()
        self.assemble = self._build_assemble()
        self.generation = ScenesMachine(
            self,
            "Generation",
            config=config,
            alerts=self.alerts,
            plan=self.plan,
            render=self.render,
            assemble=self.assemble,
            scenes=self.scenes,
            manifests=MANIFESTS,
            results=RESULTS,
        )
        StoppedRule(
            self,
            "Stopped",
            machine=self.generation.machine,
            function=self.assemble,
            description="Defectory: store that a batch of scenes was stopped",
        )
        self.build_outputs(
            {
                **self.safety.outputs(),
                "DetectorBucketName": self.models.bucket_name,
                "ScenesBucketName": self.scenes.bucket_name,
                "ScenesMachineArn": self.generation.machine.state_machine_arn,
                "DetectorTrainingMachineArn": self.training.machine.state_machine_arn,
                "DetectionAlertsTopicArn": self.alerts.topic.topic_arn,
            }
        )

    def _build_plan(self) -> PythonFunction:
        plan = self.build_function(
            "plan_scenes",
            "Plans a batch of scenes: their layouts, in shards",
            {
                "SCENES_BUCKET": self.scenes.bucket_name,
                "INPAINT_MODEL_ID": self.config.inpaint_model_id,
                "SCENE_MODEL": self.config.scene_model,
            },
            # 75,000 layouts take a minute and a half (docs/scaling.md).
            timeout=Duration.minutes(15),
            memory_size=2048,
            caller_retries=True,
        )
        self._allow_bucket(plan.role, read=["*"], write=[RECIPE, CLASSES, SHARDS, RUNS, MANIFESTS, REFUSED, STATUS])
        return plan

    def _build_render(self) -> PythonFunction:
        render = self.build_function(
            "render_scenes",
            "Makes scenes of the layouts of a shard",
            {
                "SCENES_BUCKET": self.scenes.bucket_name,
                "IMAGE_REGION": self.config.image_region,
            },
            timeout=Duration.minutes(15),
            # The largest canvas in memory, several times over; and processors come with memory.
            memory_size=3008,
            # Cut-outs and photos of the user's own, those of two runs.
            storage=Size.gibibytes(4),
            caller_retries=True,
            package=JUDGING,
        )
        self._allow_bucket(render.role, read=["*"], write=[*PICTURES, LABELS, RECORDS, REQUESTS])
        grant_inpaint_model(render.role, self.config)
        return render

    def _build_assemble(self) -> PythonFunction:
        assemble = self.build_function(
            "assemble_scenes",
            "Writes a dataset of scenes, and the status of the batch",
            {"SCENES_BUCKET": self.scenes.bucket_name},
            # 75,000 scenes take about three (docs/scaling.md), and their records a gigabyte of the disk.
            timeout=Duration.minutes(15),
            memory_size=3008,
            storage=Size.gibibytes(6),
            error_alarm=False,
            package=JUDGING,
        )
        read = [RUNS, MANIFESTS, REFUSED, RESULTS, SHARDS, RECORDS, CLASSES, *PICTURES]
        self._allow_bucket(assemble.role, read=read, write=[STATUS, *DATASET])
        return assemble

    def _allow_bucket(self, role: iam.Role, *, read: Sequence[str], write: Sequence[str]) -> None:
        readable, writable = ([self.scenes.arn_for_objects(key) for key in keys] for keys in (read, write))
        allow(role, ["s3:GetObject"], readable)
        allow(role, ["s3:PutObject"], writable)
        # Without it a missing object looks like a forbidden one.
        allow(role, ["s3:ListBucket"], [self.scenes.bucket_arn])
        acknowledge_wildcards(role, {*readable, *writable}, "Layouts and scenes of every user, by this one function.")
