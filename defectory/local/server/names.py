"""Names that CloudFormation gives: each creation of a stack has others, as in AWS.

MiniStack makes the same of the same stack and resource again.  What a deleted stack has retained would then be taken
for the next one's: emptied when that is created, deleted when its creation fails.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from ministack.services.cloudformation import provisioners

from defectory.local.server.hooks import require

_LOG_GROUP, _NAME = "AWS::Logs::LogGroup", "LogGroupName"
_NAMED = {"AWS::DynamoDB::GlobalTable": "TableName", "AWS::SQS::Queue": "QueueName"}
"""What may be retained and is named without a seed; buckets have one, registries have a name in their template."""


def name_anew() -> None:
    """Let tables, queues and log groups without a name in their template have one of their own."""
    handlers = require(provisioners, "_RESOURCE_HANDLERS")
    for kind, member in _NAMED.items():
        handlers[kind] = {**handlers[kind], "create": _seeded(handlers[kind]["create"], member)}
    handlers[_LOG_GROUP] = _named_like_others(handlers[_LOG_GROUP])


def _seeded(create: Callable[..., Any], member: str) -> Callable[..., Any]:
    seed = require(provisioners, "_NAME_SEED")

    def create_seeded(logical_id: str, properties: Mapping[str, Any], stack: str) -> Any:  # noqa: ANN401
        if not properties.get(member) and not seed.get():
            # It is kept with the resource, for its updates.
            seed.set(uuid.uuid4().hex[:8])
        return create(logical_id, properties, stack)

    return create_seeded


def _named_like_others(handler: Mapping[str, Any]) -> dict[str, Any]:
    """A log group as ``<stack>-<logical id>-<suffix>``; MiniStack's own name for it has no suffix."""
    physical_name = require(provisioners, "_physical_name", "stack_name", "logical_id", "max_len")

    def create(logical_id: str, properties: Mapping[str, Any], stack: str) -> Any:  # noqa: ANN401
        name = properties.get(_NAME) or physical_name(stack, logical_id, max_len=512)
        return handler["create"](logical_id, {**properties, _NAME: name}, stack)

    def update(before: str, old: Mapping[str, Any], new: Mapping[str, Any], *rest: Any, **named: Any) -> Any:  # noqa: ANN401
        given = {_NAME: before}
        return handler["update"](before, {**given, **old}, {**given, **new}, *rest, **named)

    return {**handler, "create": _seeded(create, _NAME), "update": update}
