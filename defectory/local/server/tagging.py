"""Tags by which resources are found (Resource Groups Tagging API), where MiniStack does not keep or look for any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ministack.services import cloudwatch_logs, dynamodb, s3, tagging

from defectory.local.server.authorization.keys import watch
from defectory.local.server.hooks import require
from defectory.local.server.sagemaker.registry import PACKAGE_GROUP, Registry
from defectory.local.server.services import Scope

Tagged = Iterator[tuple[str, list[dict[str, str]]]]
"""ARNs, each with its tags."""


def find_by_tags(registry: Registry) -> None:
    """Keep what tags templates give buckets and replicas of tables; find log groups and model registries by theirs."""
    bucket_tags, tables = require(s3, "_bucket_tags"), require(dynamodb, "_tables")
    groups = require(cloudwatch_logs, "_log_groups")

    def of_bucket(name: str, properties: Mapping[str, Any]) -> None:
        bucket_tags[name] = _by_key(properties.get("Tags", ()))

    def of_table(name: str, properties: Mapping[str, Any]) -> None:
        tables[name]["tags"] = _by_key(tag for replica in properties["Replicas"] for tag in replica.get("Tags", ()))

    def log_groups() -> Tagged:
        for name, group in groups.items():
            arn = Scope.current().arn("logs", f"log-group:{name}")
            yield arn, [{"Key": key, "Value": value} for key, value in group["tags"].items()]

    def model_registries() -> Tagged:
        for scope, record in registry.everything(PACKAGE_GROUP):
            if scope == Scope.current():
                yield record[PACKAGE_GROUP.arn], record["_Tags"]

    watch("AWS::S3::Bucket", of_bucket)
    watch("AWS::DynamoDB::GlobalTable", of_table)
    collectors = require(tagging, "_COLLECTORS")
    collectors["logs"], collectors["sagemaker"] = log_groups, model_registries


def _by_key(tags: Any) -> dict[str, str]:  # noqa: ANN401
    return {tag["Key"]: tag["Value"] for tag in tags}
