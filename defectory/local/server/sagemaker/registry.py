"""What there is in SageMaker by name: models, endpoint configurations, endpoints, jobs, model packages.

A record is what the API describes, plus members that begin with an underscore, which are nobody else's business; all
of it is JSON.  A record is never changed, only replaced: an answer may be in the middle of reading it.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from defectory.local.server.services import Scope, ServiceFault

# SageMaker's rule for every name.
NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
PAGE = 100
INVALID = "ValidationException"

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ResourceKind:
    """A kind of resource: its name in ARNs and in messages, its members' common prefix, and what lists show of it."""

    resource: str
    noun: str
    prefix: str
    summaries: str
    shown: tuple[str, ...]
    status: str = ""

    @property
    def name(self) -> str:
        return f"{self.prefix}Name"

    @property
    def arn(self) -> str:
        return f"{self.prefix}Arn"


_TIMES = ("CreationTime", "LastModifiedTime")
MODEL = ResourceKind("model", "model", "Model", "Models", ("ModelName", "ModelArn", "CreationTime"))
ENDPOINT_CONFIG = ResourceKind(
    "endpoint-config",
    "endpoint configuration",
    "EndpointConfig",
    "EndpointConfigs",
    ("EndpointConfigName", "EndpointConfigArn", "CreationTime"),
)
ENDPOINT = ResourceKind(
    "endpoint",
    "endpoint",
    "Endpoint",
    "Endpoints",
    ("EndpointName", "EndpointArn", "EndpointStatus", *_TIMES),
    "EndpointStatus",
)
TRAINING_JOB = ResourceKind(
    "training-job",
    "training job",
    "TrainingJob",
    "TrainingJobSummaries",
    ("TrainingJobName", "TrainingJobArn", "TrainingJobStatus", "SecondaryStatus", "TrainingEndTime", *_TIMES),
    "TrainingJobStatus",
)
TRANSFORM_JOB = ResourceKind(
    "transform-job",
    "transform job",
    "TransformJob",
    "TransformJobSummaries",
    ("TransformJobName", "TransformJobArn", "TransformJobStatus", "FailureReason", "TransformEndTime", *_TIMES),
    "TransformJobStatus",
)
PACKAGE_GROUP = ResourceKind(
    "model-package-group",
    "model package group",
    "ModelPackageGroup",
    "ModelPackageGroupSummaryList",
    (
        "ModelPackageGroupName",
        "ModelPackageGroupArn",
        "ModelPackageGroupDescription",
        "ModelPackageGroupStatus",
        "CreationTime",
    ),
)
PACKAGE = ResourceKind(
    "model-package",
    "model package",
    "ModelPackage",
    "ModelPackageSummaryList",
    (
        "ModelPackageName",
        "ModelPackageGroupName",
        "ModelPackageVersion",
        "ModelPackageArn",
        "ModelPackageDescription",
        "ModelPackageStatus",
        "ModelApprovalStatus",
        "CreationTime",
    ),
    "ModelApprovalStatus",
)
_JOBS = (TRAINING_JOB, TRANSFORM_JOB)
KINDS = {kind.resource: kind for kind in (MODEL, ENDPOINT_CONFIG, ENDPOINT, *_JOBS, PACKAGE_GROUP, PACKAGE)}
_NO_JOB = {
    "training-job": "Requested resource not found.",
    "transform-job": "Could not find requested job with name: {name}",
}


class Registry:
    """All records of all accounts."""

    def __init__(self) -> None:
        self._records: dict[tuple[Scope, str, str], Record] = {}
        self._lock = threading.RLock()

    def add(self, kind: ResourceKind, name: str, members: Mapping[str, Any], *, id_: str = "") -> Record:
        """Keep a new record, with its ARN and the time.

        Args:
            id_: what stands for it in ARNs, and finds it; its name if not given.

        Raises:
            ServiceFault: the name is none, or taken.
        """
        if not NAME.fullmatch(name):
            raise ServiceFault(
                INVALID,
                f"1 validation error detected: Value '{name}' at '{kind.name[0].lower()}{kind.name[1:]}' failed to "
                f"satisfy constraint: Member must satisfy regular expression pattern: ^{NAME.pattern}",
            )
        id_ = id_ or name
        scope, now = Scope.current(), time.time()
        arn = scope.arn("sagemaker", f"{kind.resource}/{id_}")
        record = {
            kind.name: name,
            kind.arn: arn,
            "CreationTime": now,
            "LastModifiedTime": now,
            **{member: value for member, value in members.items() if member not in (kind.name, "Tags")},
            "_Tags": members.get("Tags", []),
        }
        with self._lock:
            if (scope, kind.resource, id_) in self._records:
                if kind in _JOBS:
                    raise ServiceFault(
                        "ResourceInUse",
                        f"{kind.noun.capitalize()} names must be unique within an AWS account and region, and a "
                        f"{kind.noun} with this name already exists ({arn})",
                    )
                raise ServiceFault(INVALID, f'Cannot create already existing {kind.noun} "{arn}".')
            self._records[scope, kind.resource, id_] = record
        return record

    def get(self, kind: ResourceKind, name: str) -> Record | None:
        """The record of this name or ARN, if there is one."""
        return self._records.get((Scope.current(), kind.resource, _id(name)))

    def find(self, kind: ResourceKind, name: str) -> Record:
        """The same; raises ``ServiceFault`` if there is none."""
        record = self.get(kind, name)
        if record is None:
            if kind in _JOBS:
                raise ServiceFault(INVALID, _NO_JOB[kind.resource].format(name=name))
            arn = Scope.current().arn("sagemaker", f"{kind.resource}/{_id(name)}")
            raise ServiceFault(INVALID, f'Could not find {kind.noun} "{arn}".')
        return record

    def change(self, kind: ResourceKind, name: str, changes: Mapping[str, Any]) -> Record | None:
        """Replace members, drop those that become None, and return the new record; None if there is no such one."""
        key = (Scope.current(), kind.resource, _id(name))
        with self._lock:
            old = self._records.get(key)
            if old is None:
                return None
            merged = {**old, "LastModifiedTime": time.time(), **changes}
            self._records[key] = {member: value for member, value in merged.items() if value is not None}
            return self._records[key]

    def remove(self, kind: ResourceKind, name: str) -> Record:
        """Forget a record and return it; raises ``ServiceFault`` if there is none."""
        with self._lock:
            record = self.find(kind, name)
            del self._records[Scope.current(), kind.resource, _id(name)]
        return record

    def listed(self, kind: ResourceKind, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """A page of summaries, as every List operation of SageMaker answers."""
        scope = Scope.current()
        records = [
            record for (of, resource, _), record in self._records.items() if (of, resource) == (scope, kind.resource)
        ]
        filters = {
            kind.status: parameters.get("StatusEquals") or parameters.get("ModelApprovalStatus"),
            "ModelPackageGroupName": parameters.get("ModelPackageGroupName")
            and _id(parameters["ModelPackageGroupName"]),
        }
        part = parameters.get("NameContains", "").lower()
        records = [
            record
            for record in records
            if part in str(record.get(kind.name, "")).lower()
            and all(record.get(member) == value for member, value in filters.items() if member and value)
        ]
        by = kind.name if parameters.get("SortBy") == "Name" else "CreationTime"
        records.sort(key=lambda record: record[by], reverse=parameters.get("SortOrder", "Descending") == "Descending")
        start = int(parameters.get("NextToken") or 0)
        end = start + int(parameters.get("MaxResults") or PAGE)
        page = [{member: record[member] for member in kind.shown if member in record} for record in records[start:end]]
        return {kind.summaries: page, **({"NextToken": str(end)} if end < len(records) else {})}

    def by_arn(self, arn: str) -> tuple[ResourceKind, Record]:
        """The resource of this ARN; raises ``ServiceFault`` if there is none."""
        kind = KINDS.get(arn.rpartition(":")[2].partition("/")[0])
        if kind is None:
            raise ServiceFault(INVALID, f"The local cloud knows no resource as of {arn}.")
        return kind, self.find(kind, arn)

    def everything(self, kind: ResourceKind) -> list[tuple[Scope, Record]]:
        """The records of all accounts."""
        return [(scope, record) for (scope, resource, _), record in self._records.items() if resource == kind.resource]

    def dump(self) -> list[dict[str, Any]]:
        return [
            {"scope": asdict(scope), "resource": resource, "id": id_, "record": record}
            for (scope, resource, id_), record in self._records.items()
        ]

    def load(self, saved: list[dict[str, Any]]) -> None:
        for entry in saved:
            self._records[Scope(**entry["scope"]), entry["resource"], entry["id"]] = entry["record"]

    def clear(self) -> None:
        self._records.clear()


def public(record: Mapping[str, Any]) -> Record:
    """What the API describes of a record."""
    return {member: value for member, value in record.items() if not member.startswith("_")}


def _id(name: str) -> str:
    """What stands for a resource in its ARN, given either; versions of packages have a slash of their own."""
    return name.rpartition(":")[2].partition("/")[2] if name.startswith("arn:") else name
