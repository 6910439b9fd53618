"""SageMaker's resources in CloudFormation templates."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from botocore.model import Shape
from ministack.services.cloudformation import provisioners, stacks

from defectory.local.server.hooks import replace, require
from defectory.local.server.sagemaker.registry import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    MODEL,
    PACKAGE_GROUP,
    Record,
    ResourceKind,
)
from defectory.local.server.sagemaker.service import SageMaker
from defectory.local.server.services import ServiceFault

ENDPOINT_TYPE = "AWS::SageMaker::Endpoint"
# Where Ref gives an ARN, which CloudFormation takes for the name.
NAMES = ("ModelName", "EndpointConfigName", "EndpointName", "ModelPackageGroupName")


def add_resources(sagemaker: SageMaker) -> None:
    """Let templates hold models, endpoint configurations, endpoints and model package groups."""
    handlers = require(provisioners, "_RESOURCE_HANDLERS")
    physical_name = require(provisioners, "_physical_name", "stack_name", "logical_id", "max_len")
    for kind in (MODEL, ENDPOINT_CONFIG, ENDPOINT, PACKAGE_GROUP):
        resource = _Resource(kind, sagemaker, physical_name)
        handlers[f"AWS::SageMaker::{kind.prefix}"] = {
            "create": resource.create,
            "update": resource.update,
            "delete": resource.delete,
        }

    @replace(stacks, "_runs_on_worker_thread", "resource_type")
    def runs_on_worker_thread(original: Any, resource_type: str) -> bool:  # noqa: ANN401
        # It waits until the endpoint serves.
        return resource_type == ENDPOINT_TYPE or bool(original(resource_type))


class _Resource:
    """A kind as a resource of a stack: made and deleted by its operations, replaced when it changes."""

    def __init__(self, kind: ResourceKind, sagemaker: SageMaker, physical_name: Callable[..., str]) -> None:
        self._kind = kind
        self._sagemaker = sagemaker
        self._physical_name = physical_name

    def create(self, logical_id: str, properties: Mapping[str, Any], stack: str) -> tuple[str, dict[str, str]]:
        name = properties.get(self._kind.name) or self._physical_name(stack, logical_id, max_len=63)
        return self._make(str(name), properties)

    def _make(self, name: str, properties: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
        reply = self._request("Create", {**properties, self._kind.name: name})
        self._await(name)
        arn = str(reply[self._kind.arn])
        # Of what Ref gives, most of SageMaker's resources answer with their ARN.
        return arn, {self._kind.arn: arn, self._kind.name: name}

    def update(
        self, arn: str, old: Mapping[str, Any], new: Mapping[str, Any], stack: str
    ) -> tuple[str, dict[str, str]]:
        name = arn.rpartition("/")[2]
        if self._kind is ENDPOINT:
            if new["EndpointConfigName"] != old.get("EndpointConfigName"):
                self._request("Update", {**new, "EndpointName": name})
                record = self._await(name)
                if record and "FailureReason" in record:
                    raise ValueError(record["FailureReason"])
            return arn, {self._kind.arn: arn, self._kind.name: name}
        if self._kind is PACKAGE_GROUP:
            return arn, {self._kind.arn: arn, self._kind.name: name}
        # The others cannot be changed: another takes their place, under another name unless the template insists.
        custom_name = new.get(self._kind.name)
        if custom_name == name:
            raise ValueError(
                f"CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename {name} "
                "and update the stack again."
            )
        return self._make(str(custom_name or f"{name[:50]}-{int(time.time() * 1000) % 10**9}"), new)

    def delete(self, arn: str, _: Mapping[str, Any]) -> None:
        name = arn.rpartition("/")[2]
        try:
            self._request("Delete", {self._kind.name: name})
        except ServiceFault as fault:
            if "Could not find" not in str(fault):
                raise

    def _request(self, verb: str, properties: Mapping[str, Any]) -> dict[str, Any]:
        operation = f"{verb}{self._kind.prefix}"
        parameters = _parameter("", properties, self._sagemaker.parameters(operation))
        return self._sagemaker.request(operation, **parameters)

    def _await(self, name: str) -> Record | None:
        if self._kind is not ENDPOINT:
            return None
        record = self._sagemaker.endpoints.wait(name)
        if record["EndpointStatus"] == "Failed":
            raise ValueError(record["FailureReason"])
        return record


def _parameter(name: str, value: Any, shape: Shape) -> Any:  # noqa: ANN401
    """A property as a parameter of the API: templates may hold numbers and truth values as text."""
    if shape.type_name == "structure" and isinstance(value, Mapping):
        return {key: _parameter(key, item, shape.members[key]) for key, item in value.items() if key in shape.members}
    if shape.type_name == "list" and isinstance(value, list):
        return [_parameter(name, item, shape.member) for item in value]
    if shape.type_name == "map" and isinstance(value, Mapping):
        return {key: _parameter(key, item, shape.value) for key, item in value.items()}
    if not isinstance(value, str):
        return str(value) if shape.type_name == "string" else value
    if name in NAMES:
        return value.rpartition("/")[2]
    if shape.type_name == "boolean":
        return value.lower() == "true"
    if shape.type_name in ("integer", "long"):
        return int(value)
    return float(value) if shape.type_name in ("float", "double") else value
