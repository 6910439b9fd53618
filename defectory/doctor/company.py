"""Whether what a company's settings name is there, and lets the deployment do what it does: boundary, key, network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from botocore.client import BaseClient
from botocore.exceptions import ClientError

from defectory.aws.clients import error_code
from defectory.config import IMAGE_MODELS, Config
from defectory.doctor.findings import Connect, Finding

GUIDE = "docs/operations.md, In a company's account"
# Services that use the key in their own name, and what each has to be allowed, at the least.
_KEY_USERS = ("s3.amazonaws.com", "cloudwatch.amazonaws.com", "events.amazonaws.com", "logs.{region}.amazonaws.com")
_DEFAULT_ROUTE = "0.0.0.0/0"
# Addresses that a subnet should have left: functions with the same groups share theirs, each build and job takes one.
_FREE_ADDRESSES = 8


def check_boundary(config: Config, connect: Connect, account: str) -> Iterator[Finding]:
    """The managed policy that is to bound every role is there, in this account or as one of AWS's."""
    boundary = config.permissions_boundary
    if not boundary:
        return
    iam = connect("iam", config.region)
    arn = boundary if boundary.startswith("arn:") else f"arn:{iam.meta.partition}:iam::{account}:policy/{boundary}"
    owner = arn.split(":")[4]
    if owner not in (account, "aws"):
        fix = f"Have the policy made in {account}, and give its ARN: a role takes no boundary of another account."
        yield Finding("boundary", "fails", f"{arn} belongs to the account {owner}.", fix)
        return
    try:
        iam.get_policy(PolicyArn=arn)
    except ClientError as error:
        if error_code(error) != "NoSuchEntity":
            raise
        name = arn.rpartition("/")[2]
        fix = f"aws iam create-policy --policy-name {name} --policy-document file://boundary.json ({GUIDE}, has one)"
        yield Finding("boundary", "fails", f"There is no policy {arn}.", fix)
        return
    yield Finding("boundary", "well", f"{arn} is there.")


def check_key(config: Config, connect: Connect, account: str) -> Iterator[Finding]:
    """The key can encrypt, and its policy lets in the account and the services that use it in their own name."""
    arn = config.kms_key_arn
    if not arn:
        return
    kms = connect("kms", config.region)
    try:
        key = kms.describe_key(KeyId=arn)["KeyMetadata"]
    except ClientError as error:
        if error_code(error) != "NotFoundException":
            raise
        yield Finding("key", "fails", f"There is no key {arn}.", "Give the ARN of one that is (aws kms list-keys).")
        return
    usage, spec = key.get("KeyUsage", "ENCRYPT_DECRYPT"), key.get("KeySpec", "SYMMETRIC_DEFAULT")
    if (usage, spec) != ("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT"):
        yield Finding("key", "fails", f"{arn} is a key of {spec} for {usage}.", "Give a symmetric key for encryption.")
        return
    if (state := key["KeyState"]) != "Enabled":
        revive = "aws kms cancel-key-deletion, then " if state == "PendingDeletion" else ""
        fix = f"{revive}aws kms enable-key --region {config.region} --key-id {arn}"
        yield Finding("key", "fails", f"{arn} is {state}: nothing could be stored.", fix)
        return
    if (owner := arn.split(":")[4]) != account:
        fix = f"Ask its administrators whether its policy has what is needed ({GUIDE})."
        yield Finding(
            "key", "warning", f"{arn} is enabled; its policy can be read in its own account {owner} alone.", fix
        )
        return
    policy = json.loads(kms.get_key_policy(KeyId=arn, PolicyName="default")["Policy"])
    services = [service.format(region=config.region) for service in _KEY_USERS]
    missing = [name for name in services if not _lets_in(policy, "Service", (name,))]
    accounts = (account, f"arn:{kms.meta.partition}:iam::{account}:root")
    if not _lets_in(policy, "AWS", accounts):
        missing.insert(0, f"the account {account}, so that its roles may be given leave")
    if missing:
        fix = f"Have its policy changed (aws kms put-key-policy --key-id {arn}); {GUIDE}, has the statements."
        yield Finding("key", "fails", f"The policy of {arn} does not name {', '.join(missing)}.", fix)
    else:
        yield Finding("key", "well", f"{arn} is enabled, and the account and AWS's services may use it.")


def _lets_in(policy: Mapping[str, Any], kind: str, names: Sequence[str]) -> bool:
    """Whether a statement allows anything to one of these principals; its conditions are the administrators' matter."""
    for statement in _listed(policy["Statement"]):
        principals = statement.get("Principal", {})
        given = ["*"] if principals == "*" else _listed(principals.get(kind, []))
        if statement["Effect"] == "Allow" and {"*", *names} & set(given):
            return True
    return False


def check_network(config: Config, connect: Connect, account: str) -> Iterator[Finding]:
    """Subnets and groups are there, in the VPC, and lead to the services: by a route, or by endpoints."""
    if not config.in_vpc:
        return
    ec2 = connect("ec2", config.region)
    vpc = str(config.vpc_id)
    findings = [
        *_check_members(ec2, "describe_subnets", "Subnet", config.subnet_ids, vpc),
        *_check_members(ec2, "describe_security_groups", "Group", config.security_group_ids, vpc),
    ]
    if all(finding.status != "fails" for finding in findings):
        findings += _check_ways(ec2, config)
    yield from findings or [Finding("network", "well", f"{config.vpc_id}: its subnets lead to what is called.")]


def _check_members(ec2: BaseClient, operation: str, kind: str, ids: Sequence[str], vpc: str) -> Iterator[Finding]:
    """What is missing of subnets or groups, and which are in another VPC or full."""
    listing = {"Subnet": "Subnets", "Group": "SecurityGroups"}[kind]
    look = f"aws ec2 {operation.replace('_', '-')} --filters Name=vpc-id,Values={vpc}"
    try:
        members = getattr(ec2, operation)(**{f"{kind}Ids": list(ids)})[listing]
    except ClientError as error:
        if "NotFound" not in error_code(error):
            raise
        yield Finding("network", "fails", error.response["Error"]["Message"], f"{look} lists those of {vpc}.")
        return
    for member in members:
        name = member[f"{kind}Id"]
        if member["VpcId"] != vpc:
            yield Finding("network", "fails", f"{name} is in {member['VpcId']}, not in {vpc}.", f"{look} lists others.")
        elif member.get("AvailableIpAddressCount", _FREE_ADDRESSES) < _FREE_ADDRESSES:
            detail = f"{name} has {member['AvailableIpAddressCount']} addresses left."
            yield Finding("network", "warning", detail, f"Give larger subnets: {_FREE_ADDRESSES} or more each.")


def _check_ways(ec2: BaseClient, config: Config) -> Iterator[Finding]:
    """Subnets from which something that is called cannot be reached."""
    vpc = {"Name": "vpc-id", "Values": [str(config.vpc_id)]}
    tables = ec2.describe_route_tables(Filters=[vpc])["RouteTables"]
    endpoints = [
        endpoint
        for endpoint in ec2.describe_vpc_endpoints(Filters=[vpc])["VpcEndpoints"]
        if str(endpoint["State"]).lower() == "available"
    ]
    for subnet in config.subnet_ids:
        table = _table_of(subnet, tables)
        target = _default_target(table)
        if target.startswith("igw-"):
            detail = f"{subnet} is a public subnet: what runs there has no public address, and its way out is {target}."
            fix = "Give private subnets, whose default route is a NAT gateway, or that have endpoints."
            yield Finding("network", "fails", detail, fix)
        elif not target:
            yield from _check_endpoints(subnet, str(table.get("RouteTableId", "")), endpoints, config)


def _check_endpoints(
    subnet: str, table: str, endpoints: Sequence[Mapping[str, Any]], config: Config
) -> Iterator[Finding]:
    prefix = f".{config.region}."
    reached = {
        str(endpoint["ServiceName"]).partition(prefix)[2]
        for endpoint in endpoints
        if endpoint["VpcEndpointType"] != "Gateway" or table in endpoint.get("RouteTableIds", ())
    }
    if missing := sorted(called_services(config) - reached):
        detail = f"From {subnet}, which has no way out, these are not reached: {', '.join(missing)}."
        fix = (
            f"aws ec2 create-vpc-endpoint --vpc-id {config.vpc_id} --service-name com.amazonaws{prefix}{missing[0]} "
            "... for each, or a NAT gateway."
        )
        yield Finding("network", "fails", detail, fix)
    detail = f"From {subnet}, which has no way out, builds reach no public package index, from which they install."
    yield Finding("network", "warning", detail, "Have a mirror within reach (PIP_INDEX_URL), or a NAT gateway.")


def called_services(config: Config) -> frozenset[str]:
    """What functions, builds and jobs in the network call, by the ends of the names of the endpoints' services."""
    services = {"codebuild", "codepipeline", "dynamodb", "logs", "s3", "sns", "states"}
    if config.inspection_endpoint != "lambda":
        services |= {"sagemaker.api", "sagemaker.runtime"}
    images = config.image_region == config.region and any(getattr(config, name) for name in IMAGE_MODELS)
    if config.author == "bedrock" or images:
        services.add("bedrock-runtime")
    return frozenset(services)


def _table_of(subnet: str, tables: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The subnet's own route table, or the VPC's main one."""
    main: Mapping[str, Any] = {}
    for table in tables:
        for association in table.get("Associations", ()):
            if association.get("SubnetId") == subnet:
                return table
            if association.get("Main"):
                main = table
    return main


def _default_target(table: Mapping[str, Any]) -> str:
    """Where a route table leads whatever has no other way; "" for nowhere."""
    for route in table.get("Routes", ()):
        if route.get("DestinationCidrBlock") == _DEFAULT_ROUTE and route.get("State", "active") == "active":
            return next(
                (str(value) for name, value in route.items() if name.endswith(("GatewayId", "InterfaceId"))), ""
            )
    return ""


def _listed(value: Any) -> list[Any]:  # noqa: ANN401
    return value if isinstance(value, list) else [value]
