"""Taking a deployment down: its stacks, all that they hold, and what it made beside them.

CloudFormation deletes no bucket with objects in it, no registry with models, nothing that is to be retained, and
nothing that a state machine made: endpoints, their configurations, models, and the logs that SageMaker keeps.  What was
retained when a setting left it out of its stack, or when its stack was deleted, is found by its tag.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from botocore.client import BaseClient
from botocore.exceptions import ClientError

from defectory.aws.clients import aws_client, service_errors
from defectory.errors import ServiceError

ATTEMPTS = 3
"""Times that a stack's deletion is tried: logs of accesses arrive in a bucket that was just emptied."""

POLL_SECONDS = 2.0
DEPLOYMENT_TAG = "defectory-deployment"
"""On everything that a deployment's stacks make; its value is the deployment's name."""

_DESCRIPTION = "Defectory: "
# By their names: with the ids, which CloudFormation has of them, none is deleted.
_REPOSITORY = "CodeCommit repository"
_TRAINING_LOGS = "/aws/sagemaker/TrainingJobs"
# What services answer of what there is no more.
_GONE = re.compile(r"NoSuch|NotFound|NonExistent|DoesNotExist|does not exist|not find|not exist|404")


@dataclass(slots=True)
class Deployment:
    """What belongs to a deployment, by its names in AWS.

    ``resources`` are what the stacks hold, or have left behind, by CloudFormation's type; ``endpoints`` to
    ``training_jobs`` were made beside them, by the training machine.
    """

    stacks: list[str] = field(default_factory=list)
    resources: dict[str, list[str]] = field(default_factory=dict)
    endpoints: list[str] = field(default_factory=list)
    endpoint_configs: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    training_jobs: list[str] = field(default_factory=list)
    log_groups: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any((self.stacks, self.resources, self.endpoints, self.endpoint_configs, self.models, self.log_groups))

    def of_type(self, kind: str) -> list[str]:
        """Names of the resources of a type, such as ``AWS::S3::Bucket``."""
        return self.resources.get(kind, [])


class Teardown:
    """Finds the deployment ``name`` in the account and region of the credentials, and deletes it.

    ``stacks`` are what follows the name in those of its stacks.  Every method may raise ``ServiceError``.
    """

    def __init__(self, name: str, stacks: Sequence[str], client: Callable[[str], BaseClient] = aws_client) -> None:
        self._name = name
        self._stacks = [f"{name}-{stack}" for stack in stacks]
        # Training names everything that it makes after the endpoint, also where a function serves.
        self._endpoints = (f"{name}-inspection", f"{name}-detection")
        self._run = re.compile(rf"{re.escape(name)}-(inspection|detection)-\d{{8}}T\d{{9}}(-train|-evaluate)?")
        self._client = client

    def find(self) -> Deployment:
        """What there is; nothing of another deployment, whatever its name."""
        with service_errors("look for the deployment"):
            return Deployment(
                stacks=[stack for stack in self._stacks if self._is_ours(stack)],
                resources=self._resources(),
                endpoints=[
                    endpoint
                    for endpoint in self._endpoints
                    if endpoint in self._listed("list_endpoints", "Endpoints", "EndpointName", endpoint)
                ],
                endpoint_configs=self._named("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"),
                models=self._named("list_models", "Models", "ModelName"),
                training_jobs=self._named(
                    "list_training_jobs", "TrainingJobSummaries", "TrainingJobName", StatusEquals="InProgress"
                ),
                log_groups=self._endpoint_logs(),
            )

    def destroy(self, deployment: Deployment, on_step: Callable[[str], None] = lambda step: None) -> list[str]:
        """Delete ``deployment``, and return what is still there, with the reason: nothing, if all went well.

        Args:
            on_step: is told what comes next.
        """
        on_step("Stopping what runs")
        self._stop(deployment)
        on_step("Deleting endpoints and models")
        self._delete_hosting(deployment)
        for stack in reversed(deployment.stacks):
            on_step(f"Deleting the stack {stack}")
            self._delete_stack(stack, deployment)
        on_step("Deleting what the stacks retained")
        return list(self._delete_retained(deployment))

    def _is_ours(self, stack: str) -> bool:
        try:
            [found] = self._client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        except ClientError as error:
            if _is_gone(error):
                return False
            raise
        ours = str(found.get("Description", "")).startswith(_DESCRIPTION)
        return ours and found["StackStatus"] != "DELETE_COMPLETE"

    def _resources(self) -> dict[str, list[str]]:
        resources: dict[str, list[str]] = {}
        for stack in filter(self._is_ours, self._stacks):
            for page in self._client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack):
                for entry in page["StackResourceSummaries"]:
                    if entry.get("PhysicalResourceId") and entry["ResourceStatus"] != "DELETE_COMPLETE":
                        resources.setdefault(entry["ResourceType"], []).append(entry["PhysicalResourceId"])
        for kind, name in self._tagged():
            if name not in resources.setdefault(kind, []):
                resources[kind].append(name)
        return resources

    def _tagged(self) -> Iterator[tuple[str, str]]:
        """Type and name of what may be retained and has the deployment's tag, be it in a stack or not."""
        pages = self._client("resourcegroupstaggingapi").get_paginator("get_resources")
        for page in pages.paginate(TagFilters=[{"Key": DEPLOYMENT_TAG, "Values": [self._name]}]):
            for entry in page["ResourceTagMappingList"]:
                # arn:<partition>:<service>:<region>:<account>:<resource>
                _, _, service, _, _, resource = str(entry["ResourceARN"]).split(":", 5)
                match service, resource.partition("/")[0]:
                    case "s3", _:
                        yield "AWS::S3::Bucket", resource
                    case "dynamodb", "table":
                        yield "AWS::DynamoDB::GlobalTable", resource.partition("/")[2]
                    case "sqs", _:
                        with _unless_gone(f"look for the queue {resource}"):
                            yield "AWS::SQS::Queue", self._client("sqs").get_queue_url(QueueName=resource)["QueueUrl"]
                    case "logs", _ if resource.startswith("log-group:"):
                        yield "AWS::Logs::LogGroup", resource.split(":")[1]
                    case "sagemaker", "model-package-group":
                        yield "AWS::SageMaker::ModelPackageGroup", entry["ResourceARN"]
                    case "codecommit", _:
                        yield _REPOSITORY, resource

    def _named(self, operation: str, listing: str, member: str, **filters: str) -> list[str]:
        """SageMaker's resources that runs of this deployment made."""
        return [
            name
            for endpoint in self._endpoints
            for name in self._listed(operation, listing, member, endpoint, **filters)
            if self._run.fullmatch(name)
        ]

    def _listed(self, operation: str, listing: str, member: str, part: str, **filters: str) -> list[str]:
        """Names of SageMaker's resources that have ``part`` in them."""
        pages = self._client("sagemaker").get_paginator(operation).paginate(NameContains=part, **filters)
        return [str(entry[member]) for page in pages for entry in page[listing]]

    def _endpoint_logs(self) -> list[str]:
        wanted = [f"/aws/sagemaker/Endpoints/{endpoint}" for endpoint in self._endpoints]
        logs = self._client("logs")
        found = [entry for group in wanted for entry in logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]]
        return [entry["logGroupName"] for entry in found if entry["logGroupName"] in wanted]

    def _stop(self, deployment: Deployment) -> None:
        states, sagemaker = self._client("stepfunctions"), self._client("sagemaker")
        for machine in deployment.of_type("AWS::StepFunctions::StateMachine"):
            with _unless_gone(f"stop executions of {machine}"):
                pages = states.get_paginator("list_executions").paginate(
                    stateMachineArn=machine, statusFilter="RUNNING"
                )
                for execution in [entry["executionArn"] for page in pages for entry in page["executions"]]:
                    states.stop_execution(executionArn=execution, cause="The deployment is deleted.")
        for job in deployment.training_jobs:
            with _unless_gone(f"stop the training job {job}"):
                sagemaker.stop_training_job(TrainingJobName=job)

    def _delete_hosting(self, deployment: Deployment) -> None:
        sagemaker = self._client("sagemaker")
        for endpoint in deployment.endpoints:
            with _unless_gone(f"delete the endpoint {endpoint}"):
                sagemaker.delete_endpoint(EndpointName=endpoint)
                while True:
                    # Until it is gone: then this raises.
                    sagemaker.describe_endpoint(EndpointName=endpoint)
                    time.sleep(POLL_SECONDS)
        for config in deployment.endpoint_configs:
            with _unless_gone(f"delete the endpoint configuration {config}"):
                sagemaker.delete_endpoint_config(EndpointConfigName=config)
        for model in deployment.models:
            with _unless_gone(f"delete the model {model}"):
                sagemaker.delete_model(ModelName=model)
        self._delete_training_logs()
        for group in deployment.log_groups:
            with _unless_gone(f"delete the log group {group}"):
                self._client("logs").delete_log_group(logGroupName=group)

    def _delete_training_logs(self) -> None:
        """The group belongs to the account; the streams of this deployment's jobs go."""
        logs = self._client("logs")
        with _unless_gone(f"delete log streams of {_TRAINING_LOGS}"):
            pages = [
                page
                for endpoint in self._endpoints
                for page in logs.get_paginator("describe_log_streams").paginate(
                    logGroupName=_TRAINING_LOGS, logStreamNamePrefix=f"{endpoint}-"
                )
            ]
            for stream in [entry["logStreamName"] for page in pages for entry in page["logStreams"]]:
                if self._run.fullmatch(stream.partition("/")[0]):
                    logs.delete_log_stream(logGroupName=_TRAINING_LOGS, logStreamName=stream)

    def _delete_stack(self, stack: str, deployment: Deployment) -> None:
        cloudformation = self._client("cloudformation")
        for attempt in range(ATTEMPTS):
            for bucket in deployment.of_type("AWS::S3::Bucket"):
                self._empty(bucket)
            for group in deployment.of_type("AWS::SageMaker::ModelPackageGroup"):
                self._empty_registry(group.rpartition("/")[2])
            with service_errors(f"delete the stack {stack}"):
                cloudformation.delete_stack(StackName=stack)
            if (status := self._settled(stack)) is None:
                return
            if attempt == ATTEMPTS - 1:
                raise ServiceError(f"The stack {stack} is {status}; its events in CloudFormation say why.")

    def _settled(self, stack: str) -> str | None:
        """The status that a deletion comes to; None once the stack is gone."""
        while True:
            try:
                [found] = self._client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
            except ClientError as error:
                if _is_gone(error):
                    return None
                raise ServiceError(f"Cannot look at the stack {stack}: {error}") from error
            status = str(found["StackStatus"])
            if status == "DELETE_COMPLETE":
                return None
            if not status.endswith("IN_PROGRESS"):
                return status
            time.sleep(POLL_SECONDS)

    def _empty(self, bucket: str) -> None:
        """Delete every version of every object, and what was begun and never finished uploading."""
        s3 = self._client("s3")
        with _unless_gone(f"empty the bucket {bucket}"):
            for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
                for upload in page.get("Uploads", ()):
                    s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
                versions = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
                objects = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in versions]
                if objects:
                    reply = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
                    for error in reply.get("Errors", ()):
                        raise ServiceError(f"Cannot delete s3://{bucket}/{error['Key']}: {error.get('Message')}")

    def _empty_registry(self, group: str) -> None:
        sagemaker = self._client("sagemaker")
        with _unless_gone(f"empty the model package group {group}"):
            pages = sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
            for package in [entry["ModelPackageArn"] for page in pages for entry in page["ModelPackageSummaryList"]]:
                sagemaker.delete_model_package(ModelPackageName=package)

    def _delete_retained(self, deployment: Deployment) -> Iterator[str]:
        deletions: dict[str, Callable[[str], object]] = {
            "AWS::S3::Bucket": self._delete_bucket,
            "AWS::DynamoDB::GlobalTable": lambda name: self._client("dynamodb").delete_table(TableName=name),
            "AWS::SQS::Queue": lambda url: self._client("sqs").delete_queue(QueueUrl=url),
            "AWS::Logs::LogGroup": lambda name: self._client("logs").delete_log_group(logGroupName=name),
            "AWS::SageMaker::ModelPackageGroup": self._delete_registry,
            _REPOSITORY: lambda name: self._client("codecommit").delete_repository(repositoryName=name),
        }
        for kind, delete in deletions.items():
            for name in deployment.of_type(kind):
                try:
                    with _unless_gone(f"delete {name}"):
                        delete(name)
                except ServiceError as error:
                    yield str(error)

    def _delete_bucket(self, bucket: str) -> None:
        self._empty(bucket)
        self._client("s3").delete_bucket(Bucket=bucket)

    def _delete_registry(self, group: str) -> None:
        self._client("sagemaker").delete_model_package_group(ModelPackageGroupName=group.rpartition("/")[2])


@contextmanager
def _unless_gone(doing: str) -> Iterator[None]:
    """What is gone by itself, or by the stack's deletion, is as it should be; what else is refused is an error."""
    try:
        with service_errors(doing):
            yield
    except ServiceError as error:
        if not _is_gone(error.__cause__):
            raise


def _is_gone(error: BaseException | None) -> bool:
    return isinstance(error, ClientError) and bool(_GONE.search(f"{error.response['Error']}"))
