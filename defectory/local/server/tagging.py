"""Tags by which resources are found (Resource Groups Tagging API), where MiniStack does not look for any."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ministack.services import cloudwatch_logs, tagging
from ministack.services.cloudformation import provisioners

from defectory.local.server.hooks import require
from defectory.local.server.sagemaker.registry import PACKAGE_GROUP, Registry
from defectory.local.server.services import Scope

_TABLE = "AWS::DynamoDB::GlobalTable"
Tagged = Iterator[tuple[str, list[dict[str, str]]]]
"""ARNs, each with its tags."""


def find_by_tags(registry: Registry) -> None:
    """Find log groups and model registries by their tags; and tables, whose tags a template has for each replica."""
    groups = require(cloudwatch_logs, "_log_groups")

    def log_groups() -> Tagged:
        for name, group in groups.items():
            arn = Scope.current().arn("logs", f"log-group:{name}")
            yield arn, [{"Key": key, "Value": value} for key, value in group["tags"].items()]

    def model_registries() -> Tagged:
        for scope, record in registry.everything(PACKAGE_GROUP):
            if scope == Scope.current():
                yield record[PACKAGE_GROUP.arn], record["_Tags"]

    collectors = require(tagging, "_COLLECTORS")
    collectors["logs"], collectors["sagemaker"] = log_groups, model_registries
    handlers = require(provisioners, "_RESOURCE_HANDLERS")
    handlers[_TABLE] = _with_replica_tags(handlers[_TABLE])


def _with_replica_tags(handler: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    def create(logical_id: str, properties: Mapping[str, Any], stack: str) -> Any:  # noqa: ANN401
        return handler["create"](logical_id, _tagged(properties), stack)

    def update(name: str, old: Mapping[str, Any], new: Mapping[str, Any], stack: str) -> Any:  # noqa: ANN401
        return handler["update"](name, _tagged(old), _tagged(new), stack)

    return {**handler, "create": create, "update": update}


def _tagged(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **properties,
        "Tags": [tag for replica in properties.get("Replicas", ()) for tag in replica.get("Tags", ())],
    }
