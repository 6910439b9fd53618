"""Image synthesis: the bucket of photos and datasets, and the functions and the state machine that fill it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aws_cdk import Duration, Size
from aws_cdk import aws_iam as iam
from constructs import Construct

from defectory.config import Config
from stacks.capability import Capability
from stacks.constructs.acknowledgements import acknowledge_wildcards
from stacks.constructs.model_access import grant_image_models
from stacks.constructs.permissions import allow
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.stopped_rule import StoppedRule
from stacks.constructs.synthesis_machine import SynthesisMachine

# One package for all three functions: OpenCV and numpy, which two of them need, outweigh everything else.
FUNCTIONS = ("synthesize_images", "plan_synthesis", "assemble_dataset")
# What is written below <user_id>/<dataset>/.  Items are called <defect>-<16 digits>, which keeps the wildcards off what
# users upload, whatever they call their folders.
_ITEM = f"*-{'?' * 16}"
IMAGES, MASKS, LABELS = f"*/images/{_ITEM}.png", f"*/masks/{_ITEM}.png", f"*/labels/{_ITEM}.txt"
THUMBNAILS = (f"*/thumbnails/{_ITEM}.jpg", f"*/thumbnails/{_ITEM}-closeup.jpg")
RECORDS = f"*/records/{_ITEM}.json"
RUNS, MANIFESTS, RESULTS = "*/runs/*/run.json", "*/runs/*/manifest.jsonl", "*/runs/*/results/*"
CLASSES = "*/classes.json"
DATASET = (
    "*/dataset.json",
    "*/dataset.manifest",
    "*/coco.json",
    "*/data.yaml",
    "*/contact-sheet.html",
    CLASSES,
    LABELS,
)
STATUS = "*/status.json"


class ImageSynthesis(Capability):
    """From photos of good parts in the bucket to pictures of defective ones, with masks, beside them."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, **stack: Any) -> None:  # noqa: ANN401
        super().__init__(scope, construct_id, config=config, description="pictures of defects, with masks", **stack)
        self.images = self.build_bucket("Images")
        self.plan = self._build_plan()
        self.synthesize = self._build_synthesize()
        self.assemble = self._build_assemble()
        self.line = SynthesisMachine(
            self,
            "Synthesis",
            config=config,
            alerts=self.alerts,
            plan=self.plan,
            synthesize=self.synthesize,
            assemble=self.assemble,
            images=self.images,
            manifests=MANIFESTS,
            results=RESULTS,
        )
        StoppedRule(
            self,
            "Stopped",
            machine=self.line.machine,
            function=self.assemble,
            description="Defectory: store that a batch of pictures was stopped",
        )
        self.build_outputs(
            {
                "ImagesBucketName": self.images.bucket_name,
                "SynthesizeFunctionName": self.synthesize.function.function_name,
                "SynthesisMachineArn": self.line.machine.state_machine_arn,
                "AssembleFunctionName": self.assemble.function.function_name,
                "SynthesisAlertsTopicArn": self.alerts.topic.topic_arn,
            }
        )

    def _build_plan(self) -> PythonFunction:
        plan = self.build_function(
            "plan_synthesis",
            "Plans a batch of pictures: which defect on which photo",
            {**self._model_environment(), "IMAGE_CONCURRENCY": str(self.config.image_concurrency)},
            timeout=Duration.minutes(5),
            memory_size=1024,
            caller_retries=True,
            package=FUNCTIONS,
        )
        self._allow_bucket(plan.role, read=["*"], write=[RUNS, MANIFESTS, STATUS])
        return plan

    def _build_synthesize(self) -> PythonFunction:
        synthesize = self.build_function(
            "synthesize_images",
            "Makes pictures of defects with masks: {user_id, renderer, defect, count, source, dataset}",
            self._model_environment(),
            # Ten pictures of a slow model, each throttled now and then.
            timeout=Duration.minutes(15),
            # The largest photo in memory, several times over; and processors come with memory.
            memory_size=3008,
            # A busy model is an error to the state machine, which tries again and tells of what fails in the end.
            error_alarm=False,
            package=FUNCTIONS,
        )
        self._allow_bucket(synthesize.role, read=["*"], write=[IMAGES, MASKS, *THUMBNAILS, RECORDS])
        grant_image_models(synthesize.role, self.config)
        return synthesize

    def _build_assemble(self) -> PythonFunction:
        assemble = self.build_function(
            "assemble_dataset",
            "Writes a dataset's manifests and contact sheet, and the status of the batch",
            {"IMAGES_BUCKET": self.images.bucket_name},
            # 75,000 pictures take about ten (docs/scaling.md); twice a processor, and the records on the disk.
            timeout=Duration.minutes(15),
            memory_size=3008,
            storage=Size.gibibytes(6),
            error_alarm=False,
            package=FUNCTIONS,
        )
        self._allow_bucket(
            assemble.role,
            read=[RUNS, MANIFESTS, RESULTS, RECORDS, *THUMBNAILS, CLASSES],
            write=[RECORDS, STATUS, *DATASET],
        )
        # Pictures that turn out to be there already go.
        removable = [self.images.arn_for_objects(key) for key in (IMAGES, MASKS, LABELS)]
        allow(assemble.role, ["s3:DeleteObject"], removable)
        acknowledge_wildcards(assemble.role, removable, "Duplicates in datasets of every user, by this one function.")
        return assemble

    def _model_environment(self) -> dict[str, str]:
        return {
            "IMAGES_BUCKET": self.images.bucket_name,
            "IMAGE_REGION": self.config.image_region,
            "IMAGE_MODEL_ID": self.config.image_model_id,
            "INPAINT_MODEL_ID": self.config.inpaint_model_id,
        }

    def _allow_bucket(self, role: iam.Role, *, read: Sequence[str], write: Sequence[str]) -> None:
        readable, writable = ([self.images.arn_for_objects(key) for key in keys] for keys in (read, write))
        allow(role, ["s3:GetObject"], readable)
        allow(role, ["s3:PutObject"], writable)
        # Without it a missing object looks like a forbidden one.
        allow(role, ["s3:ListBucket"], [self.images.bucket_arn])
        acknowledge_wildcards(role, {*readable, *writable}, "Photos and datasets of every user, by this one function.")
