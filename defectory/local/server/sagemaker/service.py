"""The SageMaker service: its API, its runtime's API, and what it keeps."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

import botocore.validate
from botocore.model import Shape
from ministack.core import concurrency

from defectory.local.clients import service_model
from defectory.local.server.authorization.permissions import Permissions
from defectory.local.server.events import Events
from defectory.local.server.hooks import require
from defectory.local.server.objects import Objects
from defectory.local.server.sagemaker.endpoints import Endpoints
from defectory.local.server.sagemaker.jobs import Jobs
from defectory.local.server.sagemaker.registry import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    INVALID,
    KINDS,
    MODEL,
    PACKAGE,
    PACKAGE_GROUP,
    TRAINING_JOB,
    TRANSFORM_JOB,
    Record,
    Registry,
    ResourceKind,
    public,
)
from defectory.local.server.sagemaker.roles import SERVICE
from defectory.local.server.sagemaker.training import TrainingJobs
from defectory.local.server.sagemaker.transform import TransformJobs
from defectory.local.server.services import (
    Extension,
    Response,
    ServiceFault,
    add_service,
    json_operations,
)
from defectory.local.server.settings import Settings

# The runtime's requests are signed for the same service, but say in their path what they want.
INVOCATION = re.compile(r"/endpoints/([^/]+)/invocations")
MEMORY_SIZES = range(1024, 6145, 1024)
CONCURRENCIES = range(1, 201)

Operation = Callable[[dict[str, Any]], dict[str, Any]]


class SageMaker(Extension):
    """Models, endpoints, jobs and model packages of all accounts."""

    def __init__(self, settings: Settings, objects: Objects, events: Events, permissions: Permissions) -> None:
        self._events = events
        self._permissions = permissions
        self._registry = Registry()
        self._lock = threading.Lock()
        self.endpoints = Endpoints(settings, objects, self._registry, events, permissions)
        shared = (settings, objects, self._registry, events, permissions)
        self.training, self.transforms = TrainingJobs(*shared), TransformJobs(*shared)
        self.jobs: Mapping[str, Jobs[Any]] = {jobs.kind.prefix: jobs for jobs in (self.training, self.transforms)}
        self._model = service_model("sagemaker")
        # Each invocation in a thread of its own: what a model does may come back to this server.
        self._run_reentrant = require(concurrency, "run_reentrant", "fn")
        operations: dict[str, Operation] = {
            "CreateModel": self._create_model,
            "CreateEndpointConfig": self._create_endpoint_config,
            "CreateEndpoint": lambda parameters: _arn(ENDPOINT, self.endpoints.create(parameters)),
            "UpdateEndpoint": lambda parameters: _arn(ENDPOINT, self.endpoints.update(parameters)),
            "DescribeEndpoint": self._describe_endpoint,
            "DeleteEndpoint": self._delete_endpoint,
            "CreateTrainingJob": lambda parameters: _arn(TRAINING_JOB, self.training.create(parameters)),
            "CreateTransformJob": lambda parameters: _arn(TRANSFORM_JOB, self.transforms.create(parameters)),
            "CreateModelPackageGroup": self._create_package_group,
            "DeleteModelPackageGroup": self._delete_package_group,
            "CreateModelPackage": self._create_package,
            "UpdateModelPackage": self._update_package,
            "AddTags": self._add_tags,
            "DeleteTags": self._delete_tags,
            "ListTags": self._list_tags,
        }
        for kind in (TRAINING_JOB, TRANSFORM_JOB):
            operations[f"Describe{kind.prefix}"] = self._describe(kind)
            operations[f"Stop{kind.prefix}"] = self._stop_job(kind)
        for kind in (MODEL, ENDPOINT_CONFIG, PACKAGE_GROUP, PACKAGE):
            operations.setdefault(f"Describe{kind.prefix}", self._describe(kind))
            operations.setdefault(f"Delete{kind.prefix}", self._delete(kind))
        for kind in KINDS.values():
            operations[f"List{kind.prefix}s"] = self._list(kind)
        self._operations = {name: self._checked(name, operation) for name, operation in operations.items()}
        add_service("sagemaker", self, target_prefix="SageMaker.")

    # ---- the life of the extension

    def start(self) -> None:
        self.endpoints.start()
        for jobs in self.jobs.values():
            jobs.start()

    def stop(self) -> None:
        for jobs in self.jobs.values():
            jobs.stop()
        self.endpoints.stop()

    # ---- the service

    async def handle_request(
        self, method: str, path: str, headers: dict[str, str], body: bytes, query_params: Mapping[str, Any]
    ) -> Response:
        if invocation := INVOCATION.fullmatch(path):
            name = unquote(invocation.group(1))
            response: Response = await self._run_reentrant(self.endpoints.invoke, name, headers, body)
            return response
        return json_operations(self._operations, headers, body)

    @property
    def registry(self) -> Registry:
        """All records of all accounts."""
        return self._registry

    def get_state(self) -> dict[str, Any]:
        return {"records": self._registry.dump()}

    def load_persisted_state(self, data: dict[str, Any]) -> None:
        self._registry.load(data["records"])

    def reset(self) -> None:
        self._registry.clear()
        for jobs in self.jobs.values():
            jobs.reset()
        self.endpoints.reset()

    # ---- for the rest of the cloud

    def parameters(self, operation: str) -> Shape:
        """The model of an operation's parameters."""
        return self._model.operation_model(operation).input_shape

    def request(self, operation: str, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401
        """Do an operation of the API for the current account; raises ``ServiceFault`` as the API answers."""
        return self._operations[operation](parameters)

    # ---- models and configurations

    def _create_model(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        containers = parameters.get("Containers") or [parameters.get("PrimaryContainer")]
        if len(containers) != 1 or not containers[0]:
            raise ServiceFault(INVALID, "The local cloud serves models of one container: give a PrimaryContainer.")
        container = dict(containers[0])
        if package := container.get("ModelPackageName"):
            specification = self._registry.find(PACKAGE, package).get("InferenceSpecification") or {}
            own = specification.get("Containers", [{}])[0]
            environment = {**own.get("Environment", {}), **container.get("Environment", {})}
            container = {**own, "Environment": environment}
        if not container.get("Image"):
            raise ServiceFault(INVALID, "Neither Image nor ModelPackageName is given for the container.")
        role = parameters.get("ExecutionRoleArn")
        if not role:
            raise ServiceFault(INVALID, "ExecutionRoleArn is required: the role that the container runs as.")
        self._permissions.session(str(role), parameters["ModelName"], SERVICE)
        members = {**parameters, "EnableNetworkIsolation": parameters.get("EnableNetworkIsolation", False)}
        record = self._registry.add(MODEL, parameters["ModelName"], {**members, "_container": container})
        return _arn(MODEL, record)

    def _create_endpoint_config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        names = [variant["VariantName"] for variant in parameters["ProductionVariants"]]
        if len(set(names)) != len(names):
            raise ServiceFault(INVALID, f"Production variants' names have to differ, got {', '.join(names)}.")
        for variant in parameters["ProductionVariants"]:
            self._registry.find(MODEL, variant.get("ModelName", ""))
            serverless = variant.get("ServerlessConfig")
            if serverless is None and not variant.get("InstanceType"):
                raise ServiceFault(
                    INVALID, f"Variant {variant['VariantName']}: InstanceType or ServerlessConfig is required."
                )
            if serverless and serverless["MemorySizeInMB"] not in MEMORY_SIZES:
                raise ServiceFault(INVALID, f"MemorySizeInMB must be one of {', '.join(map(str, MEMORY_SIZES))}.")
            if serverless and serverless["MaxConcurrency"] not in CONCURRENCIES:
                raise ServiceFault(INVALID, "MaxConcurrency must be from 1 to 200.")
        return _arn(ENDPOINT_CONFIG, self._registry.add(ENDPOINT_CONFIG, parameters["EndpointConfigName"], parameters))

    def _describe_endpoint(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return public(self.endpoints.describe(self._registry.find(ENDPOINT, parameters["EndpointName"])))

    def _delete_endpoint(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        self.endpoints.delete(parameters["EndpointName"])
        return {}

    # ---- model packages

    def _create_package_group(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        members = {**parameters, "ModelPackageGroupStatus": "Completed", "CreatedBy": {}}
        return _arn(PACKAGE_GROUP, self._registry.add(PACKAGE_GROUP, parameters["ModelPackageGroupName"], members))

    def _delete_package_group(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        group = self._registry.find(PACKAGE_GROUP, parameters["ModelPackageGroupName"])
        if self._registry.listed(PACKAGE, {"ModelPackageGroupName": group["ModelPackageGroupName"]})[PACKAGE.summaries]:
            raise ServiceFault(
                "ConflictException",
                f"Model Package Group cannot be deleted as it still contains packages: {group[PACKAGE_GROUP.arn]}",
            )
        self._registry.remove(PACKAGE_GROUP, group["ModelPackageGroupName"])
        return {}

    def _create_package(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        group_name, name = parameters.get("ModelPackageGroupName"), parameters.get("ModelPackageName")
        if bool(group_name) == bool(name):
            raise ServiceFault(INVALID, "Give either ModelPackageName or ModelPackageGroupName.")
        status = {"ModelPackageStatus": "Completed", "ModelPackageStatusDetails": {"ValidationStatuses": []}}
        if name:
            record = self._registry.add(PACKAGE, str(name), {**parameters, **status})
        else:
            group = self._registry.find(PACKAGE_GROUP, str(group_name))
            group_name = group["ModelPackageGroupName"]
            with self._lock:
                # A version is never given again, also when it was deleted.
                version = int(group.get("_versions", 0)) + 1
                self._registry.change(PACKAGE_GROUP, group_name, {"_versions": version})
            members = {
                "ModelApprovalStatus": "PendingManualApproval",
                **parameters,
                **status,
                "ModelPackageGroupName": group_name,
                "ModelPackageVersion": version,
            }
            record = self._registry.add(PACKAGE, group_name, members, id_=f"{group_name}/{version}")
        self._emit_package(record)
        return _arn(PACKAGE, record)

    def _update_package(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        arn = parameters["ModelPackageArn"]
        prior = self._registry.find(PACKAGE, arn)
        changes = {name: value for name, value in parameters.items() if name not in ("ModelPackageArn", "ClientToken")}
        record = self._registry.change(PACKAGE, arn, changes)
        if record and record.get("ModelApprovalStatus") != prior.get("ModelApprovalStatus"):
            self._emit_package(record)
        return _arn(PACKAGE, prior)

    def _emit_package(self, record: Record) -> None:
        members = (
            "ModelPackageName",
            "ModelPackageGroupName",
            "ModelPackageVersion",
            "ModelPackageArn",
            "ModelPackageStatus",
            "ModelApprovalStatus",
        )
        detail = {name: record[name] for name in members if name in record}
        detail["CreationTime"] = int(record["CreationTime"] * 1000)
        self._events.emit("aws.sagemaker", "SageMaker Model Package State Change", record["ModelPackageArn"], detail)

    # ---- tags

    def _add_tags(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        kind, record = self._registry.by_arn(parameters["ResourceArn"])
        tags = {tag["Key"]: tag for tag in (*record["_Tags"], *parameters["Tags"])}
        self._registry.change(kind, parameters["ResourceArn"], {"_Tags": list(tags.values())})
        return {"Tags": list(tags.values())}

    def _delete_tags(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        kind, record = self._registry.by_arn(parameters["ResourceArn"])
        tags = [tag for tag in record["_Tags"] if tag["Key"] not in parameters["TagKeys"]]
        self._registry.change(kind, parameters["ResourceArn"], {"_Tags": tags})
        return {}

    def _list_tags(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {"Tags": self._registry.by_arn(parameters["ResourceArn"])[1]["_Tags"]}

    # ---- what all have

    def _describe(self, kind: ResourceKind) -> Operation:
        return lambda parameters: public(self._registry.find(kind, parameters[kind.name]))

    def _stop_job(self, kind: ResourceKind) -> Operation:
        def stop(parameters: Mapping[str, Any]) -> dict[str, Any]:
            self.jobs[kind.prefix].stop_job(parameters[kind.name])
            return {}

        return stop

    def _delete(self, kind: ResourceKind) -> Operation:
        def delete(parameters: Mapping[str, Any]) -> dict[str, Any]:
            self._registry.remove(kind, parameters[kind.name])
            return {}

        return delete

    def _list(self, kind: ResourceKind) -> Operation:
        return lambda parameters: self._registry.listed(kind, parameters)

    def _checked(self, name: str, operation: Operation) -> Operation:
        """The operation, for parameters that the API's model allows only."""
        shape = self._model.operation_model(name).input_shape
        validator = botocore.validate.ParamValidator()

        def checked(parameters: dict[str, Any]) -> dict[str, Any]:
            report = validator.validate(parameters, shape)
            unknown = sorted(set(parameters) - set(shape.members)) if shape else []
            if report.has_errors() or unknown:
                problem = report.generate_report() or f"Unknown parameter: {', '.join(unknown)}"
                raise ServiceFault(INVALID, f"1 validation error detected: {problem}")
            return operation(parameters)

        return checked


def _arn(kind: ResourceKind, record: Record) -> dict[str, Any]:
    return {kind.arn: record[kind.arn]}
