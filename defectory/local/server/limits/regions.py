"""Services that a region does not have, as far as ``regions.toml`` knows.

In AWS the name of such a service does not resolve.  Here one address answers for all, so it is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from defectory.aws.regions import region, table
from defectory.local.server.limits.fault import LimitExceeded
from defectory.local.server.services import Scope

NOT_IN_REGION = "ServiceNotInRegion"
_SERVICES = {"bedrock-runtime": "bedrock", "bedrock-agent": "bedrock", "bedrock-agent-runtime": "bedrock"}


def check_region(service: str, action: str, members: Mapping[str, Any]) -> None:
    """Check that the current region has a service of MiniStack's, and what this action asks of it.

    Raises:
        LimitExceeded: it has not.
    """
    known, needed = region(Scope.current().region), _SERVICES.get(service, service)
    if needed in known.missing:
        raise LimitExceeded(NOT_IN_REGION, f"AWS has no {needed} in {known.name}, {_source()}: choose another region.")
    if action == "sagemaker:CreateEndpointConfig" and not known.serverless:
        variants = members.get("ProductionVariants") or []
        if any(isinstance(variant, Mapping) and variant.get("ServerlessConfig") for variant in variants):
            raise LimitExceeded(
                "ValidationException",
                f"There are no serverless endpoints in {known.name}, {_source()}: use instances or another region.",
            )


def _source() -> str:
    return f"as of {table()['as_of']} (defectory/aws/regions.toml)"
