"""What does the work of actions: sources in S3, builds in CodeBuild."""

from __future__ import annotations

import json
from collections.abc import Mapping

from defectory.local.server.authorization.permissions import Access, NotAuthorized, Permissions
from defectory.local.server.authorization.requirements import with_keys
from defectory.local.server.codebuild.jobs import Order, Target
from defectory.local.server.codebuild.service import Builds
from defectory.local.server.codepipeline.execution import ActionFailed, ActionRun, Execution, Provider
from defectory.local.server.objects import Objects
from defectory.local.server.services import ServiceFault

SERVICE = "codepipeline.amazonaws.com"
# https://docs.aws.amazon.com/codepipeline/latest/userguide/limits.html: a source in S3, the variables of an action.
SOURCE_BYTES = 7 * 1024**3
VARIABLES_BYTES = 122_880


class S3Source:
    """Copies an object into the artifact store."""

    def __init__(self, objects: Objects, permissions: Permissions) -> None:
        self._objects = objects
        self._permissions = permissions

    def run(self, execution: Execution, run: ActionRun) -> None:
        bucket, key = run.configuration["S3Bucket"], run.configuration["S3ObjectKey"]
        (target,) = run.outputs.values()
        # https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-S3.html
        verbs = {"GetBucketVersioning": bucket, "GetObject": f"{bucket}/{key}", "GetObjectVersion": f"{bucket}/{key}"}
        reading = [
            access
            for verb, place in verbs.items()
            for access in with_keys(Access(f"s3:{verb}", f"arn:aws:s3:::{place}"))
        ]
        putting = Access("s3:PutObject", f"arn:aws:s3:::{'/'.join(target)}")
        encryption = execution.pipeline.artifact_store.key
        _require(self._permissions, execution, run, *reading, *with_keys(putting, encryption))
        try:
            size = self._objects.path(bucket, key).stat().st_size
            if size > SOURCE_BYTES:
                raise ActionFailed(f"The artifact {key} has {size} bytes; at most {SOURCE_BYTES} are allowed.")
            copied = self._objects.copy((bucket, key), target)
        except ServiceFault as fault:
            raise ActionFailed(str(fault), "ConfigurationError") from None
        run.external_id = str(copied.get("version_id") or copied["etag"])
        run.summary = f"Amazon S3 version id: {run.external_id}"
        run.variables = {
            "BucketName": bucket,
            "ObjectKey": key,
            "ETag": str(copied["etag"]),
            "VersionId": str(copied.get("version_id") or "null"),
        }


class CodeBuildProject:
    """Makes a build of a project and waits for it."""

    def __init__(self, objects: Objects, builds: Builds, permissions: Permissions) -> None:
        self._objects = objects
        self._builds = builds
        self._permissions = permissions

    def run(self, execution: Execution, run: ActionRun) -> None:
        primary = run.configuration.get("PrimarySource") or next(iter(run.inputs))
        secondary = [name for name in run.inputs if name != primary]
        project = execution.scope.arn("codebuild", f"project/{run.configuration['ProjectName']}")
        starting = (Access(f"codebuild:{verb}", project) for verb in ("StartBuild", "BatchGetBuilds"))
        _require(self._permissions, execution, run, *starting)
        order = Order(
            project=run.configuration["ProjectName"],
            sources=[
                (name if name != primary else "", self._objects.path(*run.inputs[name]))
                for name in (primary, *secondary)
            ],
            reads=[f"arn:aws:s3:::{'/'.join(run.inputs[name])}" for name in run.inputs],
            targets=[Target(name, *location) for name, location in run.outputs.items()],
            variables=_variables(execution, run.action.configuration),
            source_version="arn:aws:s3:::" + "/".join(run.inputs[primary]),
            initiator=f"codepipeline/{execution.pipeline.name}",
        )
        try:
            build = self._builds.start_build(order)
        except ServiceFault as fault:
            raise ActionFailed(str(fault), "ConfigurationError") from None
        run.external_id = build.id
        build.done.wait()
        run.variables = dict(build.exported)
        run.summary = build.summary
        check_variables(run.variables)
        if build.status != "SUCCEEDED":
            raise ActionFailed(build.summary)


def check_variables(variables: Mapping[str, str]) -> None:
    """Raise ``ActionFailed`` if an action puts out more than others may be given."""
    size = sum(len(f"{name}{value}".encode()) for name, value in variables.items())
    if size > VARIABLES_BYTES:
        message = f"The output variables have {size} bytes; at most {VARIABLES_BYTES} are allowed."
        raise ActionFailed(message, "ConfigurationError")


def _require(permissions: Permissions, execution: Execution, run: ActionRun, *accesses: Access) -> None:
    """Let pass what the action's role may do, the pipeline's if it has none of its own.

    Raises:
        ActionFailed: it may not; in CodePipeline's words.
    """
    try:
        session = permissions.session(execution.pipeline.role_arn, execution.pipeline.name, SERVICE)
        if own := run.action.role_arn:
            permissions.require(session, Access("sts:AssumeRole", own))
            session = permissions.sessions.assumed_by(session, own)
        permissions.require(session, *accesses)
    except (NotAuthorized, ServiceFault) as denial:
        raise ActionFailed(
            f"The provided role does not have sufficient permissions: {denial}", "PermissionError"
        ) from None


def _variables(execution: Execution, configuration: Mapping[str, str]) -> list[dict[str, str]]:
    """The action's environment variables; each value is resolved by itself, so that no quote in it leads astray."""
    try:
        variables = json.loads(configuration.get("EnvironmentVariables") or "[]")
        return [{**variable, "value": execution.resolve(str(variable["value"]))} for variable in variables]
    except (ValueError, KeyError, TypeError) as error:
        raise ActionFailed(f"EnvironmentVariables is not a list of variables: {error}", "ConfigurationError") from None


def providers(objects: Objects, builds: Builds, permissions: Permissions) -> dict[str, Provider]:
    """Every provider that there is, by the name that actions call it."""
    return {"S3": S3Source(objects, permissions), "CodeBuild": CodeBuildProject(objects, builds, permissions)}
