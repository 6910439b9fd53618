"""The Service Quotas service: what AWS gives an account by default, and what was asked for instead.

An increase is granted at once.  Nothing here holds these limits: the machine's own are lower.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from defectory.local.server.services import (
    Extension,
    Response,
    Scope,
    ServiceFault,
    add_service,
    json_operations,
)

# Code, name, default: as the console of Service Quotas shows them.  Those without a public code have one of our own.
QUOTAS: Mapping[str, tuple[tuple[str, str, float], ...]] = {
    "codebuild": tuple(
        (f"L-LOCAL{number:03d}", f"Concurrently running builds for Linux/{size} environment", 60.0)
        for number, size in enumerate(("Small", "Medium", "Large"), 1)
    ),
    "lambda": (("L-B99A9384", "Concurrent executions", 1000.0),),
    "sagemaker": (
        ("L-LOCAL101", "ml.m5.xlarge for training job usage", 15.0),
        ("L-LOCAL102", "ml.c6i.large for endpoint usage", 4.0),
        ("L-LOCAL103", "Maximum total concurrency that can be allocated across all serverless endpoints", 10.0),
    ),
}


class Quotas(Extension):
    """Lists quotas and takes requests for more."""

    def __init__(self) -> None:
        # By account, region and code: what was granted.
        self._granted: dict[str, float] = {}
        add_service("servicequotas", self, target_prefix="ServiceQuotas")

    async def handle_request(
        self, method: str, path: str, headers: dict[str, str], body: bytes, query_params: Mapping[str, Any]
    ) -> Response:
        """Answer one request."""
        operations = {
            "ListServiceQuotas": self._list,
            "ListAWSDefaultServiceQuotas": self._list_defaults,
            "GetServiceQuota": self._get,
            "RequestServiceQuotaIncrease": self._request,
        }
        return json_operations(operations, headers, body)

    def get_state(self) -> dict[str, Any]:
        """What was granted."""
        return {"granted": dict(self._granted)}

    def load_persisted_state(self, data: dict[str, Any]) -> None:
        """Take up what was granted."""
        self._granted = dict(data.get("granted", {}))

    def reset(self) -> None:
        """Back to the defaults."""
        self._granted.clear()

    def _list(self, parameters: dict[str, Any]) -> dict[str, Any]:
        return {"Quotas": [self._describe(parameters["ServiceCode"], *quota) for quota in _quotas_of(parameters)]}

    def _list_defaults(self, parameters: dict[str, Any]) -> dict[str, Any]:
        service = parameters["ServiceCode"]
        return {"Quotas": [{**self._describe(service, *quota), "Value": quota[2]} for quota in _quotas_of(parameters)]}

    def _get(self, parameters: dict[str, Any]) -> dict[str, Any]:
        return {"Quota": self._describe(parameters["ServiceCode"], *_quota_of(parameters))}

    def _request(self, parameters: dict[str, Any]) -> dict[str, Any]:
        service, quota, value = parameters["ServiceCode"], _quota_of(parameters), float(parameters["DesiredValue"])
        if value <= self._describe(service, *quota)["Value"]:
            raise ServiceFault("IllegalArgumentException", "The desired value must be greater than the present one.")
        self._granted[_key(quota[0])] = value
        described = {name: content for name, content in self._describe(service, *quota).items() if name != "Value"}
        request = {**described, "Id": uuid.uuid4().hex, "DesiredValue": value, "Status": "APPROVED"}
        return {"RequestedQuota": {name: request[name] for name in _REQUEST if name in request}}

    def _describe(self, service: str, code: str, name: str, default: float) -> dict[str, Any]:
        return {
            "ServiceCode": service,
            "ServiceName": service,
            "QuotaArn": Scope.current().arn("servicequotas", f"{service}/{code}"),
            "QuotaCode": code,
            "QuotaName": name,
            "Value": self._granted.get(_key(code), default),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }


_REQUEST = ("Id", "ServiceCode", "ServiceName", "QuotaCode", "QuotaName", "DesiredValue", "Status", "QuotaArn", "Unit")


def _key(code: str) -> str:
    scope = Scope.current()
    return f"{scope.account}/{scope.region}/{code}"


def _quotas_of(parameters: Mapping[str, Any]) -> tuple[tuple[str, str, float], ...]:
    service = str(parameters.get("ServiceCode"))
    if service not in QUOTAS:
        raise ServiceFault("NoSuchResourceException", f"The local cloud has no quotas of {service}.")
    return QUOTAS[service]


def _quota_of(parameters: Mapping[str, Any]) -> tuple[str, str, float]:
    for quota in _quotas_of(parameters):
        if quota[0] == parameters.get("QuotaCode"):
            return quota
    raise ServiceFault("NoSuchResourceException", f"There is no quota {parameters.get('QuotaCode')}.")
