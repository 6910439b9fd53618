"""Which permissions the application's roles use: recorded by local clouds in tests, kept in ``used.json``.

A use is a role, an action, a resource and the condition keys of the request.  Names that a deployment makes up stand as
``<LogicalId>`` or ``<LogicalId.Arn>``, what differs from run to run as zeros, so that a record is the same each time
and can be held against a template that nobody deployed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from defectory.local.cloud import LocalCloud
from defectory.local.environment import DEFAULT_ACCOUNT, DEFAULT_REGION

FILE = Path(__file__).parent.parent / "infrastructure" / "permissions" / "used.json"
# Set by ``make permissions``: what is used is written down instead of compared.
RECORD = "DEFECTORY_RECORD_PERMISSIONS"

# Marks the stacks whose models a function serves.
BY_FUNCTION = "-by-function"
SERVING = ("inspection", "detection")

Use = dict[str, Any]
Uses = dict[str, list[Use]]

_PLACE = f"{DEFAULT_REGION}:{DEFAULT_ACCOUNT}:"
# How an ARN is made of what CloudFormation calls a resource by.
_ARNS = {
    "AWS::S3::Bucket": "arn:aws:s3:::{}",
    "AWS::DynamoDB::GlobalTable": f"arn:aws:dynamodb:{_PLACE}table/{{}}",
    "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{_PLACE}table/{{}}",
    "AWS::SQS::Queue": f"arn:aws:sqs:{_PLACE}{{}}",
    "AWS::Lambda::Function": f"arn:aws:lambda:{_PLACE}function:{{}}",
    "AWS::KMS::Key": f"arn:aws:kms:{_PLACE}key/{{}}",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{_PLACE}log-group:{{}}",
    "AWS::CodeBuild::Project": f"arn:aws:codebuild:{_PLACE}project/{{}}",
    "AWS::IAM::Role": f"arn:aws:iam::{DEFAULT_ACCOUNT}:role/{{}}",
    "AWS::CloudWatch::Alarm": f"arn:aws:cloudwatch:{_PLACE}alarm:{{}}",
}
# Numbers and digests, but not those of logical ids.
_CHANGING = re.compile(r"<[^>]*>|[0-9a-f]{8,}|\d+", re.IGNORECASE)
# Of an asset's name nothing stays: it says what is in it and how it was packed.
_ASSET = re.compile(r"(?<=-us-east-1/)[0-9a-f]{64}[.\w]*$")
_ARTIFACT = re.compile(r"(?<=/)\w{7}$")


def keep_or_compare(cloud: LocalCloud, name: str = "defectory") -> None:
    """Compare what the application's roles used in ``cloud`` with what is kept, or keep it; before the cloud ends."""
    used = recorded(cloud, name)
    kept = load()
    if os.environ.get(RECORD):
        save(merged(kept, used))
        return
    known = {role: {_kind(use) for use in uses} for role, uses in kept.items()}
    new = [f"{role}: {use}" for role, uses in used.items() for use in uses if _kind(use) not in known.get(role, ())]
    assert not new, "roles used what tests/infrastructure/permissions/used.json lacks: run 'make permissions'\n" + (
        "\n".join(new)
    )


def recorded(cloud: LocalCloud, name: str) -> Uses:
    """What the roles of the stacks called ``<name>-...`` used, by ``<stack>/<logical id of the role>``."""
    uses: Uses = {}
    lines = cloud.settings.permissions.read_text(encoding="utf-8").splitlines()
    # Other templates' roles: what is compared first are those that the settings' defaults give.
    served = any("InspectWithModel" in logical for logical, _, _ in _resources(cloud, f"{name}-inspection"))
    for stack in ("sensor-data", "inspection", "image-synthesis", "detection"):
        resources = _resources(cloud, f"{name}-{stack}")
        label = f"{stack}{BY_FUNCTION}" if served and stack in SERVING else stack
        roles = {physical: logical for logical, physical, kind in resources if kind == "AWS::IAM::Role"}
        # Names of its own are held against those of a deployment with the default's.
        names = {**_names(resources), f"/{name}-": "/defectory-"}
        for line in map(json.loads, lines):
            if line["role"] in roles:
                context = {key: _plain(value, names) for key, value in line["context"].items()}
                use = {"action": line["action"], "resource": _steady(_plain(line["resource"], names))}
                if context:
                    use["context"] = context
                uses = merged(uses, {f"{label}/{roles[line['role']]}": [use]})
    return uses


def merged(first: Uses, second: Uses) -> Uses:
    """Both, each use once, in order."""
    roles = sorted(first.keys() | second.keys())
    return {role: _unique([*first.get(role, []), *second.get(role, [])]) for role in roles}


def load() -> Uses:
    """What is kept."""
    kept: Uses = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    return kept


def save(uses: Uses) -> None:
    """Keep these uses, one a line."""
    lines = []
    for role, used in uses.items():
        entries = ",\n".join(f"    {json.dumps(use, ensure_ascii=False)}" for use in used)
        lines.append(f"  {json.dumps(role)}: [\n{entries}\n  ]")
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _unique(uses: Iterable[Use]) -> list[Use]:
    return [json.loads(text) for text in sorted({json.dumps(use, sort_keys=True, ensure_ascii=False) for use in uses})]


def _kind(use: Use) -> tuple[str, str]:
    """The action, and what kind of thing it was done to: objects are called otherwise each time."""
    resource = use["resource"]
    return use["action"], resource.partition(">")[0] if resource.startswith("<") else resource.partition("/")[0]


def _resources(cloud: LocalCloud, stack: str) -> list[tuple[str, str, str]]:
    pages = cloud.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    return [
        (entry["LogicalResourceId"], entry.get("PhysicalResourceId", ""), entry["ResourceType"])
        for page in pages
        for entry in page["StackResourceSummaries"]
    ]


def _names(resources: Iterable[tuple[str, str, str]]) -> Mapping[str, str]:
    """What stands for the names that a deployment made up: of ARNs, then of names alone, the longest first."""
    arns, names = {}, {}
    for logical, physical, kind in resources:
        if kind in _ARNS:
            plain = physical.rpartition("/")[2] if kind == "AWS::SQS::Queue" else physical
            arns[_ARNS[kind].format(plain)] = f"<{logical}.Arn>"
        elif kind == "AWS::SageMaker::ModelPackageGroup":
            arns[physical] = f"<{logical}.ModelPackageGroupArn>"
        elif physical.startswith("arn:"):
            arns[physical] = f"<{logical}>"
        elif kind == "AWS::CodePipeline::Pipeline":
            names[physical] = f"<{logical}>"
    ordered = [*sorted(arns, key=len, reverse=True), *sorted(names, key=len, reverse=True)]
    return {text: (arns | names)[text] for text in ordered}


def _plain(value: Any, names: Mapping[str, str]) -> Any:
    if not isinstance(value, str):
        return value
    for text, symbol in names.items():
        value = value.replace(text, symbol)
    return value


def _steady(resource: str) -> str:
    """A resource with zeros for all that differs from run to run."""
    resource = nameless(resource)
    if resource.startswith("<"):
        head, mark, tail = resource.partition(">")
    elif resource.startswith("arn:aws:s3:::"):
        head, mark, tail = resource.partition("/")
    else:
        *place, tail = resource.split(":", 5)
        head, mark = ":".join(place), ":" if place else ""
    if head.startswith("<PipelineArtifacts"):
        tail = _ARTIFACT.sub("0000000", tail)
    return f"{head}{mark}{zeros(tail)}"


def zeros(text: str) -> str:
    """``text`` with zeros for what is a number or a digest."""
    return _CHANGING.sub(lambda part: part[0] if part[0].startswith("<") else "0" * len(part[0]), text)


def nameless(resource: str) -> str:
    """A resource; if it is an object of the CDK's bucket of assets, without the asset's name."""
    return _ASSET.sub("asset", resource)
