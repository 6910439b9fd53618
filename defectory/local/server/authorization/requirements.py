"""The table: which actions on which resources a request needs.

MiniStack knows this for most services; ``TABLE`` has what it lacks, from AWS's Service Authorization Reference
(https://docs.aws.amazon.com/service-authorization/latest/reference/).  A resource is what follows the account in its
ARN, with members of the request in braces; where a member is an ARN itself, it stands alone.  A request that is in
neither is one that nobody but the operator may make.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

from ministack.core import iam_actions
from ministack.services import kms, s3, sns, sqs

from defectory.local.server.authorization import protocols
from defectory.local.server.authorization.authority import Access
from defectory.local.server.authorization.protocols import INVOCATION, Unclear
from defectory.local.server.hooks import require
from defectory.local.server.services import Scope


@dataclass(frozen=True, slots=True)
class Rule:
    """What an operation works on, the member with the role that it hands over, and the service that is handed it."""

    resources: tuple[str, ...]
    passes: str = ""
    passed_to: str = ""


def _on(*resources: str, passes: str = "", to: str = "") -> Rule:
    return Rule(resources or ("*",), passes, to)


_ANYTHING = _on()
_SAGEMAKER, _STATES, _LAMBDA = (f"{name}.amazonaws.com" for name in ("sagemaker", "states", "lambda"))
_PIPELINE, _BUILD = (f"{name}.amazonaws.com" for name in ("codepipeline", "codebuild"))
_ENDPOINT, _ENDPOINT_CONFIG = "endpoint/{EndpointName}", "endpoint-config/{EndpointConfigName}"
_JOB, _TRANSFORM, _MODEL, _GROUP = (
    "training-job/{TrainingJobName}",
    "transform-job/{TransformJobName}",
    "model/{ModelName}",
    "model-package-group/{ModelPackageGroupName}",
)

TABLE: Mapping[str, Mapping[str, Rule]] = {
    "sagemaker": {
        "CreateTrainingJob": _on(_JOB, passes="RoleArn", to=_SAGEMAKER),
        "DescribeTrainingJob": _on(_JOB),
        "StopTrainingJob": _on(_JOB),
        "ListTrainingJobs": _ANYTHING,
        # Its role is the model's, which was handed over with that.
        "CreateTransformJob": _on(_TRANSFORM),
        "DescribeTransformJob": _on(_TRANSFORM),
        "StopTransformJob": _on(_TRANSFORM),
        "ListTransformJobs": _ANYTHING,
        "CreateModel": _on(_MODEL, passes="ExecutionRoleArn", to=_SAGEMAKER),
        "DescribeModel": _on(_MODEL),
        "DeleteModel": _on(_MODEL),
        "ListModels": _ANYTHING,
        "CreateEndpointConfig": _on(_ENDPOINT_CONFIG, passes="ExecutionRoleArn", to=_SAGEMAKER),
        "DescribeEndpointConfig": _on(_ENDPOINT_CONFIG),
        "DeleteEndpointConfig": _on(_ENDPOINT_CONFIG),
        "ListEndpointConfigs": _ANYTHING,
        "CreateEndpoint": _on(_ENDPOINT, _ENDPOINT_CONFIG),
        "UpdateEndpoint": _on(_ENDPOINT, _ENDPOINT_CONFIG),
        "DescribeEndpoint": _on(_ENDPOINT),
        "DeleteEndpoint": _on(_ENDPOINT),
        "ListEndpoints": _ANYTHING,
        "InvokeEndpoint": _on(_ENDPOINT),
        "CreateModelPackageGroup": _on(_GROUP),
        "DescribeModelPackageGroup": _on(_GROUP),
        "DeleteModelPackageGroup": _on(_GROUP),
        "ListModelPackageGroups": _ANYTHING,
        # The number of a package is not known before it is made.
        "CreateModelPackage": _on(_GROUP, "model-package/{ModelPackageGroupName}/*"),
        "DescribeModelPackage": _on("{ModelPackageName}"),
        "UpdateModelPackage": _on("{ModelPackageArn}"),
        "DeleteModelPackage": _on("{ModelPackageName}"),
        "ListModelPackages": _ANYTHING,
        "AddTags": _on("{ResourceArn}"),
        "DeleteTags": _on("{ResourceArn}"),
        "ListTags": _on("{ResourceArn}"),
    },
    "codepipeline": {
        "ListPipelines": _ANYTHING,
        "GetPipeline": _on("{name}"),
        "GetPipelineState": _on("{name}"),
        "CreatePipeline": _on("{pipeline.name}", passes="pipeline.roleArn", to=_PIPELINE),
        "UpdatePipeline": _on("{pipeline.name}", passes="pipeline.roleArn", to=_PIPELINE),
        "DeletePipeline": _on("{name}"),
        "StartPipelineExecution": _on("{name}"),
        "StopPipelineExecution": _on("{pipelineName}"),
        "GetPipelineExecution": _on("{pipelineName}"),
        "ListPipelineExecutions": _on("{pipelineName}"),
        "ListActionExecutions": _on("{pipelineName}"),
    },
    "codebuild": {
        "CreateProject": _on("project/{name}", passes="serviceRole", to=_BUILD),
        "UpdateProject": _on("project/{name}", passes="serviceRole", to=_BUILD),
        "DeleteProject": _on("project/{name}"),
        "BatchGetProjects": _on("project/{names}"),
        "ListProjects": _ANYTHING,
        "StartBuild": _on("project/{projectName}"),
        # A build is authorized by its project, whose name begins its id.
        "BatchGetBuilds": _on("project/{ids}"),
        "StopBuild": _on("project/{id}"),
        "ListBuildsForProject": _on("project/{projectName}"),
        "ListBuilds": _ANYTHING,
    },
    "logs": {
        # As AWS's denials name them, a group also where no stream is meant.
        "CreateLogGroup": _on("log-group:{logGroupName}:log-stream:"),
        "CreateLogStream": _on("log-group:{logGroupName}:log-stream:{logStreamName}"),
        "PutLogEvents": _on("log-group:{logGroupName}:log-stream:{logStreamName}"),
        "GetLogEvents": _on("log-group:{logGroupName}:log-stream:{logStreamName}"),
        "FilterLogEvents": _on("log-group:{logGroupName}:log-stream:"),
        "DescribeLogStreams": _on("log-group:{logGroupName}:log-stream:"),
        "DescribeLogGroups": _on("log-group::log-stream:"),
    },
    "sqs": {
        "StartMessageMoveTask": _on("{SourceArn}"),
        "ListMessageMoveTasks": _on("{SourceArn}"),
    },
    # Both keys: https://docs.aws.amazon.com/kms/latest/APIReference/API_ReEncrypt.html; nothing here needs it.
    "kms": {"ReEncrypt": _on("{SourceKeyId}", "{DestinationKeyId}")},
}
# What the services do with the key behind a resource: https://docs.aws.amazon.com/kms/latest/developerguide/.
_KEY_USES: Mapping[str, tuple[str, ...]] = {
    "sns:Publish": ("GenerateDataKey", "Decrypt"),
    "sqs:SendMessage": ("GenerateDataKey", "Decrypt"),
    "sqs:ReceiveMessage": ("Decrypt",),
    "s3:PutObject": ("GenerateDataKey",),
    "s3:GetObject": ("Decrypt",),
    "s3:GetObjectVersion": ("Decrypt",),
}
_ROLE = re.compile(r"arn:[\w-]+:iam::\d{12}:role/.+")
# What a service is called whose principal is not called as its permissions are.
_PRINCIPALS = {"cloudwatch": "monitoring.amazonaws.com"}
# They hand over nothing: roles are what they work on.
_ROLES_THEMSELVES = frozenset({"iam", "sts", "kms"})
# Leave that an upload needs for what it brings in its headers.
_HEADERS_OF_OBJECTS: Mapping[tuple[str, ...], str] = {
    ("x-amz-tagging",): "PutObjectTagging",
    ("x-amz-acl", "x-amz-grant-"): "PutObjectAcl",
    ("x-amz-object-lock-mode", "x-amz-object-lock-retain"): "PutObjectRetention",
    ("x-amz-object-lock-legal-hold",): "PutObjectLegalHold",
}
_MEMBER = re.compile(r"\{([\w.]+)\}")
# Stands for an empty part of a key meanwhile.
_EMPTY = "\0"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as MiniStack hands it to a service, and what of it was read."""

    service: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    query: Mapping[str, Any]
    operation: str = ""
    members: Mapping[str, Any] = field(default_factory=dict)


def needed(request: Request) -> list[Access]:
    """What the caller has to be allowed, in the order in which AWS names it; nothing, if the request is unknown.

    Raises:
        Unclear: it could be authorized for one thing and do another.
    """
    wish = protocols.read(request.service, request.method, request.path, request.headers, request.body, request.query)
    request = replace(request, body=wish.body, query=wish.query, operation=wish.operation, members=wish.members)
    if request.service == "s3":
        request = _of_s3(request)
    action = action_of(request)
    if action is None:
        return []
    service, _, operation = action.partition(":")
    rule = TABLE.get(service, {}).get(operation)
    if rule is None and request.service not in _namespaces:
        return []
    accesses = [*(_of_rule(action, rule, request) if rule else _of_ministack(action, request))]
    handed = {access.resource for access in accesses if access.action == "iam:PassRole"}
    principal = _PRINCIPALS.get(service, f"{service}.amazonaws.com")
    if service not in _ROLES_THEMSELVES:
        accesses += [
            passing(role, principal) for role in dict.fromkeys(_roles_in(_members(request))) if role not in handed
        ]
    if request.service == "s3":
        accesses = [replace(access, resource=access.resource.replace(_EMPTY, "")) for access in accesses]
    return [access for first in accesses for access in with_keys(first)]


def _of_s3(request: Request) -> Request:
    """A request as S3 takes it: what a link has in its query counts as headers, and empty parts of a key are parts."""
    bucket, _, key = request.path.removeprefix("/").partition("/")
    if not request.path.startswith("/") or _EMPTY in request.path or (key and not bucket):
        raise Unclear("its path is none of S3's: a bucket's name, and a key without a NUL")
    if key:
        # MiniStack's reading of the path leaves out what is empty, so it would be another object.
        key = "/".join(part or _EMPTY for part in key.split("/"))
    headers = _with_hoisted(dict(request.headers), dict(request.query))
    return replace(request, path=f"/{bucket}/{key}" if key else request.path, headers=headers)


def _roles_in(value: Any, name: str = "") -> Iterator[str]:  # noqa: ANN401
    """The roles that a request hands over to a service: members called so whose value is the ARN of one."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _roles_in(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _roles_in(inner, name)
    elif name.lower().endswith(("role", "rolearn")) and _ROLE.fullmatch(str(value)):
        yield str(value)


def with_keys(access: Access, key: str = "") -> list[Access]:
    """An access, and those that it needs as well to the KMS key of what it is about, or to ``key`` in its place."""
    return [access, *_keys_needed(access, key)]


def for_volume(key: str) -> list[Access]:
    """What puts a KMS key behind the disks of instances: leave that AWS hands on to them."""
    arn = _key_arn(key)
    return [Access("kms:DescribeKey", arn), Access("kms:CreateGrant", arn, {"kms:GrantIsForAWSResource": "true"})]


def _keys_needed(access: Access, key: str) -> Iterator[Access]:
    """The KMS key of a topic, a queue or a bucket, which the service uses in the caller's name."""
    if access.action not in _KEY_USES:
        return
    key = key or _key_of(access)
    if not key or "alias/aws/" in key:
        # A key of AWS's own serves everybody who may use the service.
        return
    scope = Scope.current()
    via = {"kms:ViaService": f"{access.service}.{scope.region}.amazonaws.com", "kms:CallerAccount": scope.account}
    for verb in _KEY_USES[access.action]:
        yield Access(f"kms:{verb}", _key_arn(key), via)


def _key_arn(key: str) -> str:
    """The ARN of a KMS key that is named by it, by its id, or by an alias."""
    named = str((_key(key) or {}).get("Arn") or key)
    return named if named.startswith("arn:") else Scope.current().arn("kms", f"key/{named}")


def _key_of(access: Access) -> str:
    if access.service == "s3":
        bucket = access.resource.removeprefix("arn:aws:s3:::").partition("/")[0]
        named = re.search(r"<KMSMasterKeyID>([^<]+)</KMSMasterKeyID>", str(_encryption.get(bucket) or ""))
        return named[1] if named else ""
    holder = _topics.get(access.resource) if access.service == "sns" else _queue(access.resource)
    return str(((holder or {}).get("attributes") or {}).get("KmsMasterKeyId") or "")


def passing(role_arn: str, service: str) -> Access:
    """Handing a role over to a service."""
    return Access("iam:PassRole", role_arn, {"iam:PassedToService": service})


def action_of(request: Request) -> str | None:
    """The action of a request that has been read, such as ``s3:GetObject``; None if it is unknown."""
    if request.service == "sagemaker" and INVOCATION.fullmatch(request.path):
        return "sagemaker:InvokeEndpoint"
    if request.operation:
        return f"{_namespaces.get(request.service, request.service)}:{request.operation}"
    action: str | None = _extract_action(
        request.service, request.method, request.path, request.headers, request.body, request.query
    )
    return action


def _of_rule(action: str, rule: Rule, request: Request) -> Iterator[Access]:
    service, _, operation = action.partition(":")
    members = _members(request)
    context = _tag_context(action, request)
    for resource in rule.resources:
        for arn in _arns(service, resource, members):
            yield Access(action, arn, context)
    if members.get("Tags") and service == "sagemaker" and operation.startswith("Create"):
        # Tagging while creating.
        yield Access("sagemaker:AddTags", _arns(service, rule.resources[0], members)[0], context)
    if members.get("KmsKeyId") and operation == "CreateEndpointConfig":
        yield from for_volume(str(members["KmsKeyId"]))
    for alarm in _value(members, "DeploymentConfig.AutoRollbackConfiguration.Alarms") or []:
        yield Access("cloudwatch:DescribeAlarms", Scope.current().arn("cloudwatch", f"alarm:{alarm.get('AlarmName')}"))
    role = _value(members, rule.passes) if rule.passes else None
    if role:
        yield passing(str(role), rule.passed_to)


def _of_ministack(action: str, request: Request) -> Iterator[Access]:
    scope = Scope.current()
    where = (scope.region, scope.account)
    plain = (request.service, request.method, request.path, request.headers, request.body, request.query)
    context = _tag_context(action, request)
    if request.service == "dynamodb":
        if items := _transaction(action, request.body, *where):
            context["dynamodb:EnclosingOperation"] = [action.partition(":")[2]]
            yield from (Access(item, arn, context) for item, arn in items)
            return
        context |= _dynamodb_context(request.body)
        for arn in _tables(request.body, *where) or ["*"]:
            yield Access(action, arn, context)
        return
    if request.service == "s3":
        context |= _s3_context(action, request.query, request.path.replace(_EMPTY, ""), request.headers)
    resource = _extract_resource(*plain, *where)
    if request.service == "sns" and "SubscriptionArn" in request.members:
        # A subscription belongs to the topic that its ARN begins with.
        resource = request.members["SubscriptionArn"][0].rpartition(":")[0]
    if request.service == "kms" and ":alias/" in resource:
        resource = _key_arn(resource)
    if request.service == "monitoring" and "Namespace" in request.members and action.endswith(":PutMetricData"):
        context["cloudwatch:namespace"] = _only(request.members["Namespace"])
    yield Access(action, resource, context)
    if request.service == "s3":
        yield from _of_object(action, resource, request)
    if request.service == "events":
        yield from (Access(action, arn) for arn in _buses(request.body, *where)[1:])


def _of_object(action: str, resource: str, request: Request) -> Iterator[Access]:
    """What a request to S3 needs beside its action: the source of a copy, tags and grants in headers."""
    more = _s3_more(request.method, request.path, request.headers, request.body, request.query)
    yield from (Access(extra, arn) for extra, arn in more)
    if action == "s3:PutObject":
        named = {header for header in request.headers if header.startswith("x-amz-")}
        for prefixes, verb in _HEADERS_OF_OBJECTS.items():
            if any(header.startswith(prefixes) for header in named):
                yield Access(f"s3:{verb}", resource)


def _only(value: Any) -> str:  # noqa: ANN401
    """A parameter, which the query protocol has in a list."""
    return str(value[0] if isinstance(value, list) else value)


def _tag_context(action: str, request: Request) -> dict[str, Any]:
    """The condition keys of a request's tags; most have none, and to know, MiniStack reads the service's model."""
    tagged = any(name in request.body for name in (b"Tags", b"tags", b"TagKeys"))
    if tagged or any("Tag" in name for name in request.query):
        return dict(_tags(request.service, action, request.body, request.query))
    return {}


def _members(request: Request) -> Mapping[str, Any]:
    if request.service == "sagemaker" and (invocation := INVOCATION.fullmatch(request.path)):
        return {"EndpointName": unquote(invocation[1])}
    if request.operation:
        return request.members
    try:
        members = json.loads(request.body or b"{}")
    except ValueError:
        return {}
    return members if isinstance(members, dict) else {}


def _arns(service: str, resource: str, members: Mapping[str, Any]) -> list[str]:
    """The ARNs of a resource of the table: one, or one for each value of a member that is a list."""
    if resource == "*":
        return ["*"]
    name = _MEMBER.search(resource)
    values = _value(members, name[1]) if name else None
    arns = []
    for value in values if isinstance(values, list) else [values]:
        if str(value).startswith("arn:") and service != "codebuild":
            arns.append(str(value))
            continue
        filled = resource.replace(name[0], _plain(service, str(value or ""))) if name else resource
        filled = _MEMBER.sub(lambda other: str(_value(members, other[1]) or ""), filled)
        arns.append(Scope.current().arn(service, filled))
    return arns


def _plain(service: str, value: str) -> str:
    """A name out of what may be an ARN or, of a build, an id."""
    return value.rpartition("/")[2].partition(":")[0] if service == "codebuild" else value


def _value(members: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401
    value: Any = members
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


_namespaces = require(iam_actions, "SERVICE_TO_IAM_NAMESPACE")
_extract_action = require(
    iam_actions, "extract_iam_action", "service", "method", "path", "headers", "body", "query_params"
)
_extract_resource = require(
    iam_actions,
    "extract_resource_arn",
    "service",
    "method",
    "path",
    "headers",
    "body",
    "query_params",
    "region",
    "account_id",
)
_tags = require(iam_actions, "request_tag_context", "service", "iam_action", "body", "params")
_transaction = require(iam_actions, "dynamodb_transaction_checks", "iam_action", "body", "region", "account_id")
_tables = require(iam_actions, "dynamodb_resource_arns", "body", "region", "account_id")
_dynamodb_context = require(iam_actions, "dynamodb_service_context", "body")
_s3_context = require(iam_actions, "s3_service_context", "iam_action", "query_params", "path", "headers")
_s3_more = require(iam_actions, "s3_additional_checks", "method", "path", "headers", "body", "query_params")
_buses = require(iam_actions, "eventbridge_resource_arns", "body", "region", "account_id")
_topics = require(sns, "_topics")
_queue = require(sqs, "_queue_by_arn")
_encryption = require(s3, "_bucket_encryption")
_key = require(kms, "_resolve_key", "key_id_or_arn")
_with_hoisted = require(s3, "_merge_hoisted_amz_headers", "headers", "query_params")
