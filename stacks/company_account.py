"""A deployment as the company whose account it is in wants it: its boundary, its key, its network, its tags.

All of it is put on the finished stacks in one place, so that nothing escapes it, whoever made it; where nothing is
configured, nothing changes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Set
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import aws_cdk as cdk
from aws_cdk import Aws, Stack
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_codepipeline as codepipeline
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import IConstruct

from defectory.aws.teardown import DEPLOYMENT_TAG
from defectory.config import Config
from stacks.constructs.acknowledgements import acknowledge_wildcards
from stacks.constructs.permissions import allow

PROJECT_TAG = ("project", "defectory")
Kind = TypeVar("Kind", bound=IConstruct)

_USE = ("kms:Decrypt", "kms:GenerateDataKey")
# What using the key takes, by what is done with data that it encrypts
# (https://docs.aws.amazon.com/kms/latest/developerguide/service-integration.html).
KEY_USES = (
    ("s3:GetObject", "s3", ("kms:Decrypt",)),
    # The parts of what is uploaded in parts are read again.
    ("s3:PutObject", "s3", _USE),
    ("sqs:SendMessage", "sqs", _USE),
    ("sqs:ReceiveMessage", "sqs", ("kms:Decrypt",)),
    *((f"dynamodb:{verb}", "dynamodb", ("kms:Decrypt", "kms:DescribeKey")) for verb in ("GetItem", "Query")),
    *(
        (f"dynamodb:{verb}", "dynamodb", (*_USE, "kms:DescribeKey", "kms:Encrypt"))
        for verb in ("PutItem", "UpdateItem")
    ),
)
# SageMaker encrypts an instance's volume with a key of ours where it is a volume, and no disk of the machine itself
# (https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html, KmsKeyId).
_VOLUMES_ONLY = re.compile(r"ml\.[cmrt][0-9]+[a-ce-z]*\.")

_DESCRIBE = [
    f"ec2:Describe{things}" for things in ("DhcpOptions", "NetworkInterfaces", "SecurityGroups", "Subnets", "Vpcs")
]


def apply_company_rules(app: cdk.App, config: Config) -> None:
    """Put the company's settings on everything in ``app``, whose stacks are finished."""
    for key, value in (dict([PROJECT_TAG]) | dict(config.tags) | {DEPLOYMENT_TAG: config.name}).items():
        cdk.Tags.of(app).add(key, value)
    for stack in app.node.children:
        assert isinstance(stack, Stack)
        if config.permissions_boundary:
            boundary = _boundary(stack, config.permissions_boundary)
            iam.PermissionsBoundary.of(stack).apply(boundary)
        if config.log_level != "INFO":
            for function in _of_type(stack, lambda_.Function):
                function.add_environment("POWERTOOLS_LOG_LEVEL", config.log_level)
        if config.in_vpc:
            _Network(stack, config).apply()
        if config.kms_key_arn:
            _encrypt(stack, config.kms_key_arn)


def training_values(config: Config) -> dict[str, Any]:
    """What the training machine's document has of the company's; None for what it has not."""
    network = {"SecurityGroupIds": list(config.security_group_ids), "Subnets": list(config.subnet_ids)}
    tags = [{"Key": key, "Value": value} for key, value in (dict([PROJECT_TAG]) | dict(config.tags)).items()]
    return {
        "VpcConfig": network if config.in_vpc else None,
        "Tags": tags if config.tags else None,
        "CompanyKey": config.kms_key_arn,
    }


def endpoint_key(config: Config) -> str | None:
    """What the volume of an endpoint's instance is encrypted with; None where that is none of the company's keys."""
    volumes = config.inspection_endpoint == "realtime" and _VOLUMES_ONLY.match(config.inspection_instance)
    return config.kms_key_arn if volumes else None


def _of_type(stack: Stack, kind: type[Kind]) -> Iterator[Kind]:
    return (construct for construct in stack.node.find_all() if isinstance(construct, kind))


def _boundary(stack: Stack, name: str) -> iam.IManagedPolicy:
    if name.startswith("arn:"):
        return iam.ManagedPolicy.from_managed_policy_arn(stack, "PermissionsBoundary", name)
    return iam.ManagedPolicy.from_managed_policy_name(stack, "PermissionsBoundary", name)


class _Network:
    """Functions, builds and jobs of ``stack`` in the company's subnets, and leave for what that takes."""

    def __init__(self, stack: Stack, config: Config) -> None:
        self._stack, self._config = stack, config
        self._subnets = [self._ec2(f"subnet/{subnet}") for subnet in config.subnet_ids]
        self._groups = [self._ec2(f"security-group/{group}") for group in config.security_group_ids]
        self._interfaces = self._ec2("network-interface/*")
        self._roles = {json.dumps(stack.resolve(role.role_arn)): role for role in _of_type(stack, iam.Role)}

    def apply(self) -> None:
        for function in _of_type(self._stack, lambda_.CfnFunction):
            function.vpc_config = lambda_.CfnFunction.VpcConfigProperty(
                subnet_ids=list(self._config.subnet_ids), security_group_ids=list(self._config.security_group_ids)
            )
            self._allow_function(function)
        for project in _of_type(self._stack, codebuild.CfnProject):
            project.vpc_config = codebuild.CfnProject.VpcConfigProperty(
                vpc_id=self._config.vpc_id,
                subnets=list(self._config.subnet_ids),
                security_group_ids=list(self._config.security_group_ids),
            )
            role = self._role(project.service_role)
            self._allow_attaching(role, {"ec2:AuthorizedService": "codebuild.amazonaws.com"})
            # CodeBuild asks whether it may before it makes the project.
            project.node.add_dependency(role)
        for role in self._roles.values():
            if "sagemaker.amazonaws.com" in json.dumps(self._stack.resolve(role.assume_role_policy)):
                self._allow_attaching(role, {})

    def _allow_function(self, function: lambda_.CfnFunction) -> None:
        """Leave for Lambda, in the function's name; what runs in the function has none of it."""
        role = self._role(function.role)
        verbs = ["CreateNetworkInterface", "DeleteNetworkInterface"]
        verbs += [f"{verb}PrivateIpAddresses" for verb in ("Assign", "Unassign")]
        managing = [f"ec2:{verb}" for verb in verbs]
        describing = [f"ec2:Describe{things}" for things in ("NetworkInterfaces", "Subnets")]
        # Lambda asks for leave on all interfaces (https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html).
        anything = self._ec2("*/*")
        allow(role, managing, [anything])
        allow(role, describing, ["*"])
        arn = f"arn:{Aws.PARTITION}:lambda:{Aws.REGION}:{Aws.ACCOUNT_ID}:function:{function.function_name}"
        role.add_to_policy(
            iam.PolicyStatement(
                effect=iam.Effect.DENY,
                actions=[*managing, *describing],
                resources=["*"],
                conditions={"ArnEquals": {"lambda:SourceFunctionArn": arn}},
            )
        )
        reason = "Lambda makes and finds interfaces under names of its own; the function's code may not."
        acknowledge_wildcards(role, [anything, "*"], reason)

    def _allow_attaching(self, role: iam.Role, service: Mapping[str, str]) -> None:
        """Leave for a service that puts machines of its own into the subnets; ``service`` are conditions that name it.

        CodeBuild: https://docs.aws.amazon.com/codebuild/latest/userguide/auth-and-access-control-iam-identity-based-access-control.html;
        SageMaker: https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html.
        """
        allow(role, ["ec2:CreateNetworkInterface"], [self._interfaces, *self._subnets, *self._groups])
        allow(role, ["ec2:DeleteNetworkInterface"], [self._interfaces])
        allow(
            role,
            ["ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterfacePermission"],
            [self._interfaces],
            {"StringEquals": {"ec2:Subnet": self._subnets, **service}},
        )
        allow(role, _DESCRIBE, ["*"])
        reason = "Interfaces get their names when they are made; what describes networks knows no resources."
        acknowledge_wildcards(role, [self._interfaces, "*"], reason)

    def _role(self, arn: str) -> iam.Role:
        return self._roles[json.dumps(self._stack.resolve(arn))]

    def _ec2(self, resource: str) -> str:
        return f"arn:{Aws.PARTITION}:ec2:{Aws.REGION}:{Aws.ACCOUNT_ID}:{resource}"


def _encrypt(stack: Stack, key: str) -> None:
    """Encrypt what ``stack`` stores with ``key``, and let roles use it for what they do, nothing else."""
    for resource in _of_type(stack, cdk.CfnResource):
        match resource:
            # S3 delivers no access logs to a bucket with a key
            # (https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html).
            case s3.CfnBucket() if resource.logging_configuration is not None:
                resource.add_property_override(
                    "BucketEncryption.ServerSideEncryptionConfiguration",
                    [
                        {
                            "ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key},
                            "BucketKeyEnabled": True,
                        }
                    ],
                )
            case dynamodb.CfnGlobalTable():
                resource.add_property_override("SSESpecification", {"SSEEnabled": True, "SSEType": "KMS"})
                resource.add_property_override("Replicas.0.SSESpecification", {"KMSMasterKeyId": key})
            case sqs.CfnQueue():
                resource.kms_master_key_id, resource.sqs_managed_sse_enabled = key, None
            case logs.CfnLogGroup():
                resource.kms_key_id = key
            case codebuild.CfnProject():
                resource.encryption_key = key
            case codepipeline.CfnPipeline():
                resource.add_property_override("ArtifactStore.EncryptionKey", {"Id": key, "Type": "KMS"})
    for role in _of_type(stack, iam.Role):
        if "sagemaker.amazonaws.com" in json.dumps(stack.resolve(role.assume_role_policy)):
            # For the volumes of its instances.
            allow(role, ["kms:DescribeKey"], [key])
            allow(role, ["kms:CreateGrant"], [key], {"Bool": {"kms:GrantIsForAWSResource": "true"}})
    for policy in _of_type(stack, iam.Policy):
        _allow_key(policy, key)


def _allow_key(policy: iam.Policy, key: str) -> None:
    statements = Stack.of(policy).resolve(policy.document)["Statement"]
    patterns = {action for statement in statements for action in _listed(statement["Action"])}
    for service, actions in sorted(_key_uses(patterns).items()):
        policy.add_statements(
            iam.PolicyStatement(
                actions=sorted(actions),
                resources=[key],
                conditions={"StringEquals": {"kms:ViaService": f"{service}.{Aws.REGION}.{Aws.URL_SUFFIX}"}},
            )
        )


def _key_uses(patterns: Set[str]) -> dict[str, set[str]]:
    """What whoever may do ``patterns`` has to do with the key, by the service that asks for it."""
    uses: dict[str, set[str]] = {}
    for action, service, needed in KEY_USES:
        if any(fnmatchcase(action, pattern) for pattern in patterns):
            uses.setdefault(service, set()).update(needed)
    return uses


def _listed(value: Any) -> list[Any]:  # noqa: ANN401
    return value if isinstance(value, list) else [value]
