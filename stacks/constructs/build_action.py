"""One action of a pipeline: a CodeBuild project whose role may do nothing but what it is granted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aws_cdk import Duration
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_codepipeline as codepipeline
from aws_cdk import aws_codepipeline_actions as actions
from aws_cdk import aws_iam as iam
from constructs import Construct

from defectory.config import Config
from stacks.constructs.acknowledgements import acknowledge, acknowledge_wildcards
from stacks.constructs.retained_log_group import RetainedLogGroup
from stacks.constructs.secure_bucket import SecureBucket

# CodePipeline names an artifact's folder by the first letters of the artifact's name.
_FOLDER_LETTERS = 10

SIZES = {
    "small": codebuild.ComputeType.SMALL,
    "medium": codebuild.ComputeType.MEDIUM,
    "large": codebuild.ComputeType.LARGE,
}


class BuildAction(Construct):
    """Runs ``buildspec/<name>.yml`` of its first input; named ``Write``, say, with its own project, role and logs.

    The role reads its input artifacts, writes its output artifacts, of whichever request, and writes its logs.  That it
    cannot write another action's artifacts matters where a role runs code written by a model: the source among them is
    what the other actions run.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        inputs: Sequence[codepipeline.Artifact],
        outputs: Sequence[codepipeline.Artifact],
        artifacts: SecureBucket,
        compute: str,
        timeout: Duration,
        config: Config,
        environment: Mapping[str, str],
    ) -> None:
        super().__init__(scope, name)
        logs = RetainedLogGroup(self, "Logs", config)
        self.role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("codebuild.amazonaws.com"))
        logs.grant_write(self.role)
        self._allow_artifacts(artifacts, inputs, outputs)
        project = codebuild.PipelineProject(
            self,
            "Project",
            description=f"Defectory: {name}",
            build_spec=codebuild.BuildSpec.from_source_filename(f"buildspec/{name.lower()}.yml"),
            environment=codebuild.BuildEnvironment(
                build_image=codebuild.LinuxBuildImage.STANDARD_7_0, compute_type=SIZES[compute], privileged=False
            ),
            environment_variables={
                key: codebuild.BuildEnvironmentVariable(value=value) for key, value in environment.items()
            },
            # The CDK would add leave for the whole artifact bucket, for reports and more.
            role=self.role.without_policy_updates(),
            grant_report_group_permissions=False,
            logging=codebuild.LoggingOptions(cloud_watch=codebuild.CloudWatchLoggingOptions(log_group=logs)),
            timeout=timeout,
            queued_timeout=Duration.hours(8),
        )
        acknowledge(
            project, {"CB4": "Artifacts are encrypted with the account's own managed key for S3 (alias/aws/s3)."}
        )
        self.action = actions.CodeBuildAction(
            action_name=name,
            project=project,
            input=inputs[0],
            extra_inputs=list(inputs[1:]),
            outputs=list(outputs),
            environment_variables={
                "REQUEST_USER_ID": codebuild.BuildEnvironmentVariable(value="#{variables.user_id}"),
                "REQUEST_ID": codebuild.BuildEnvironmentVariable(value="#{variables.request_id}"),
            },
        )

    def _allow_artifacts(
        self,
        bucket: SecureBucket,
        inputs: Sequence[codepipeline.Artifact],
        outputs: Sequence[codepipeline.Artifact],
    ) -> None:
        read, write = ([_objects(bucket, artifact) for artifact in artifacts] for artifacts in (inputs, outputs))
        self._allow(["s3:GetBucketAcl", "s3:GetBucketLocation"], [bucket.bucket_arn])
        self._allow(["s3:GetObject", "s3:GetObjectVersion"], read)
        if write:
            self._allow(["s3:PutObject", "s3:AbortMultipartUpload"], write)
        reason = "CodePipeline chooses the names within an artifact's folder; the role serves every execution."
        acknowledge_wildcards(self.role, [*read, *write], reason)

    def _allow(self, verbs: list[str], resources: list[str]) -> None:
        self.role.add_to_policy(iam.PolicyStatement(actions=verbs, resources=resources))


def _objects(bucket: SecureBucket, artifact: codepipeline.Artifact) -> str:
    """The objects of an artifact, ``<pipeline>/<first letters of the artifact>/<random>``, of all executions."""
    return bucket.arn_for_objects(f"*/{str(artifact.artifact_name)[:_FOLDER_LETTERS]}*/*")
