"""The KMS keys that templates put behind topics and buckets, which MiniStack drops: who uses those needs the key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ministack.services import s3, sns
from ministack.services.cloudformation import provisioners

from defectory.local.server.hooks import require


def keep_keys() -> None:
    """Keep the keys of topics and buckets that stacks make and change."""
    topics, encryption = require(sns, "_topics"), require(s3, "_bucket_encryption")

    def of_topic(arn: str, properties: Mapping[str, Any]) -> None:
        topics[arn]["attributes"]["KmsMasterKeyId"] = str(properties.get("KmsMasterKeyId") or "")

    def of_bucket(name: str, properties: Mapping[str, Any]) -> None:
        rules = (properties.get("BucketEncryption") or {}).get("ServerSideEncryptionConfiguration") or []
        for rule in rules:
            default = rule.get("ServerSideEncryptionByDefault") or {}
            if key := default.get("KMSMasterKeyID"):
                encryption[name] = (
                    "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>"
                    f"<SSEAlgorithm>{default.get('SSEAlgorithm')}</SSEAlgorithm><KMSMasterKeyID>{key}</KMSMasterKeyID>"
                    "</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"
                )

    watch("AWS::SNS::Topic", of_topic)
    watch("AWS::S3::Bucket", of_bucket)


def watch(kind: str, keep: Callable[[str, Mapping[str, Any]], None]) -> None:
    """Let ``keep`` have the name and the properties of each resource of a type that stacks make and change."""
    handlers = require(provisioners, "_RESOURCE_HANDLERS")
    original = handlers[kind]

    def create(logical_id: str, properties: dict[str, Any], *rest: Any, **named: Any) -> Any:  # noqa: ANN401
        physical_id, attributes = original["create"](logical_id, properties, *rest, **named)
        keep(physical_id, properties)
        return physical_id, attributes

    def update(before: str, old: dict[str, Any], new: dict[str, Any], *rest: Any, **named: Any) -> Any:  # noqa: ANN401
        physical_id, attributes = original["update"](before, old, new, *rest, **named)
        keep(physical_id, new)
        return physical_id, attributes

    handlers[kind] = {**original, "create": create, "update": update}
