"""Findings of cdk-nag that are meant to be, each with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aws_cdk import Acknowledgment, Stack, Validations
from constructs import IConstruct


def acknowledge(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """Accept findings, by id without the pack's name (``IAM5[Resource::*]``), on ``construct`` and below."""
    Validations.of(construct).acknowledge(
        *(Acknowledgment(id=f"AwsSolutions-{finding}", reason=reason) for finding, reason in reasons.items())
    )


def acknowledge_wildcards(construct: IConstruct, resources: Iterable[str], reason: str) -> None:
    """Accept that policies on ``construct`` and below name these resources, which have a wildcard in them."""
    stack = Stack.of(construct)
    acknowledge(construct, {f"IAM5[Resource::{_flat(stack.resolve(resource))}]": reason for resource in resources})


def _flat(value: Any) -> str:  # noqa: ANN401
    """A resource as cdk-nag writes it in the ids of its findings."""
    match value:
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(_flat(part) for part in parts)
        case _:
            return str(value)
