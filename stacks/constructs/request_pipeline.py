"""The pipeline that works on requests: Source, then Write, Run, Repair, Rerun and Publish, each with its own role.

Any number of requests are worked on side by side, one execution each; what the actions hand on is kept for a week.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from aws_cdk import Duration
from aws_cdk import aws_codecommit as codecommit
from aws_cdk import aws_codepipeline as codepipeline
from aws_cdk import aws_codepipeline_actions as actions
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as assets
from constructs import Construct

from defectory.config import Config
from stacks.constructs.acknowledgements import acknowledge, acknowledge_wildcards
from stacks.constructs.build_action import BuildAction
from stacks.constructs.removal import name_of_its_own, removal_policy
from stacks.constructs.secure_bucket import SecureBucket
from stacks.import_closure import LIBRARY, import_closure
from stacks.packaging import ROOT

BUILDSPEC = "buildspec"
# Whole, because the scripts that are run may import any of it, and some of its modules are run by name.
SENSORS = f"{LIBRARY.name}.sensors"
BRANCH = "main"


class RequestPipeline(Construct):
    """Artifacts go

    ```
    Source ─▶ Write ─Scripts─▶ Run ─Failures─▶ Repair ─RepairedScripts─▶ Rerun
                 └──────────────┴─Datasets───────┴──────────┴─RerunDatasets─▶ Publish
    ```
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        access_logs: SecureBucket,
        work_environment: Mapping[str, str],
        publish_environment: Mapping[str, str],
    ) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self.repository_name: str | None = None
        self._artifacts = self._build_artifact_bucket(access_logs)
        source, scripts, datasets, failures, repaired, rerun_datasets = (
            codepipeline.Artifact(name)
            for name in ("Source", "Scripts", "Datasets", "Failures", "RepairedScripts", "RerunDatasets")
        )
        self.write = self._build_action("Write", [source], [scripts], "small", work_environment)
        self.run = self._build_action("Run", [source, scripts], [datasets, failures], config.run_compute)
        self.repair = self._build_action("Repair", [source, scripts, failures], [repaired], "small", work_environment)
        self.rerun = self._build_action("Rerun", [source, repaired], [rerun_datasets], config.run_compute)
        # Five inputs are the most that CodePipeline allows an action.
        self.publish = self._build_action(
            "Publish", [source, scripts, datasets, repaired, rerun_datasets], [], "medium", publish_environment
        )
        self._pipeline = codepipeline.Pipeline(
            self,
            "Pipeline",
            pipeline_type=codepipeline.PipelineType.V2,
            execution_mode=codepipeline.ExecutionMode.PARALLEL,
            artifact_bucket=self._artifacts,
            use_pipeline_role_for_actions=True,
            variables=[
                codepipeline.Variable(variable_name="user_id", description="Whose request it is"),
                codepipeline.Variable(variable_name="request_id", description="The request in the requests table"),
            ],
            stages=[
                codepipeline.StageProps(stage_name="Source", actions=[self._build_source(source)]),
                *(
                    codepipeline.StageProps(stage_name=action.node.id, actions=[action.action])
                    for action in (self.write, self.run, self.repair, self.rerun, self.publish)
                ),
            ],
        )
        self._acknowledge_service_role()

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return self._pipeline.pipeline_name

    @property
    def arn(self) -> str:
        """The pipeline's ARN."""
        return self._pipeline.pipeline_arn

    def _build_artifact_bucket(self, access_logs: SecureBucket) -> SecureBucket:
        return SecureBucket(
            self,
            "Artifacts",
            logs=access_logs,
            removal_policy=removal_policy(self._config),
            lifecycle_rules=[s3.LifecycleRule(expiration=Duration.days(7))],
        )

    def _build_action(
        self,
        name: str,
        inputs: Sequence[codepipeline.Artifact],
        outputs: Sequence[codepipeline.Artifact],
        compute: str,
        environment: Mapping[str, str] | None = None,
    ) -> BuildAction:
        return BuildAction(
            self,
            name,
            inputs=inputs,
            outputs=outputs,
            artifacts=self._artifacts,
            compute=compute,
            timeout=Duration.hours(2),
            config=self._config,
            environment=environment or {},
        )

    def _acknowledge_service_role(self) -> None:
        reason = "The CDK's own grant on the artifact bucket, for a role that only CodePipeline assumes."
        verbs = ("Abort", "DeleteObject", "GetBucket", "GetObject", "List")
        acknowledge(self._pipeline, {f"IAM5[Action::s3:{verb}*]": reason for verb in verbs})
        acknowledge_wildcards(self._pipeline, [self._artifacts.arn_for_objects("*")], reason)

    def _build_source(self, output: codepipeline.Artifact) -> actions.Action:
        """What the builds run: what was deployed, or a repository that starts as that; neither starts the pipeline."""
        with tempfile.TemporaryDirectory() as folder:
            _lay_out_source(Path(folder))
            # The CDK copies it at once.
            asset = assets.Asset(self, "SourceFiles", path=folder)
        if self._config.pipeline_source == "codecommit":
            repository = codecommit.Repository(
                self,
                "Repository",
                repository_name=name_of_its_own(f"{self._config.name}-sensor-data"),
                description="What the sensor-data pipeline runs",
                code=codecommit.Code.from_asset(asset, BRANCH),
            )
            # People's commits are in it.
            repository.apply_removal_policy(removal_policy(self._config))
            self.repository_name = repository.repository_name
            return actions.CodeCommitSourceAction(
                action_name="Source",
                repository=repository,
                branch=BRANCH,
                trigger=actions.CodeCommitTrigger.NONE,
                output=output,
            )
        return actions.S3SourceAction(
            action_name="Source",
            bucket=asset.bucket,
            bucket_key=asset.s3_object_key,
            trigger=actions.S3Trigger.NONE,
            output=output,
        )


def _lay_out_source(folder: Path) -> None:
    """Put what the builds need into ``folder``, and nothing else: the pipeline's source changes when this does."""
    shutil.copytree(ROOT / BUILDSPEC, folder / BUILDSPEC, ignore=shutil.ignore_patterns("__pycache__"))
    for file in import_closure((), packages=[SENSORS]).files:
        target = folder / file.relative_to(LIBRARY.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
