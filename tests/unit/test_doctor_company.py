"""What the doctor says of a company's boundary, key and network, in an account of moto's."""

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT

from defectory.config import load_config
from defectory.doctor.company import called_services, check_boundary, check_key, check_network
from defectory.doctor.findings import Finding

REGION = "eu-west-1"
GUIDE = Path("docs/operations.md").read_text()
Check = Callable[..., Iterator[Finding]]


@pytest.fixture(scope="module", autouse=True)
def account() -> Iterator[None]:
    """One for all: each test has a key or a network of its own in it."""
    with mock_aws():
        yield
    client.cache_clear()


@cache
def client(service: str, region: str = REGION) -> Any:
    return boto3.client(service, region, aws_access_key_id="testing", aws_secret_access_key="testing")


def ask(check: Check, **settings: str) -> list[Finding]:
    values = {"region": REGION, "author": "catalogue", "inspection_endpoint": "lambda", **settings}
    return list(check(load_config(values, {}), client, ACCOUNT))


@pytest.mark.parametrize("check", [check_boundary, check_key, check_network])
def test_what_is_not_set_is_not_asked_for(check: Check) -> None:
    assert ask(check) == []


# ------------------------------------------------------------------ boundary


def test_a_boundary_has_to_be_there() -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:policy/floor"
    [missing] = ask(check_boundary, permissions_boundary="floor")
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    client("iam").create_policy(PolicyName="floor", PolicyDocument=json.dumps(document))

    assert missing.status == "fails"
    assert "create-policy --policy-name floor" in missing.fix
    for name in ("floor", arn):
        [found] = ask(check_boundary, permissions_boundary=name)
        assert (found.status, arn in found.detail) == ("well", True)


def test_a_boundary_of_another_account_bounds_nobody() -> None:
    [finding] = ask(check_boundary, permissions_boundary="arn:aws:iam::999999999999:policy/floor")
    assert (finding.status, "999999999999" in finding.detail) == ("fails", True)


# ------------------------------------------------------------------ key

SERVICES = ["s3.amazonaws.com", "cloudwatch.amazonaws.com", "events.amazonaws.com", f"logs.{REGION}.amazonaws.com"]


def create_key(services: list[str] = SERVICES, root: str = f"arn:aws:iam::{ACCOUNT}:root", **options: str) -> str:
    allowed = {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}
    statements = [{**allowed, "Principal": {"AWS": root}}, {**allowed, "Principal": {"Service": services}}]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    return str(client("kms").create_key(Policy=policy, **options)["KeyMetadata"]["Arn"])


def test_a_key_that_everybody_concerned_may_use() -> None:
    for root in (f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT):
        [finding] = ask(check_key, kms_key_arn=create_key(root=root))
        assert finding.status == "well", finding


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_the_keys_policy_leaves_out_is_named(service: str) -> None:
    key = create_key([name for name in SERVICES if name != service])
    [finding] = ask(check_key, kms_key_arn=key)
    assert finding.status == "fails"
    assert f"does not name {service}." in finding.detail
    assert f"put-key-policy --key-id {key}" in finding.fix


def test_a_key_that_keeps_the_account_out() -> None:
    [finding] = ask(check_key, kms_key_arn=create_key(root="arn:aws:iam::999999999999:root"))
    assert finding.status == "fails"
    assert f"the account {ACCOUNT}" in finding.detail


def test_a_key_that_encrypts_nothing() -> None:
    key = create_key()
    client("kms").disable_key(KeyId=key.rpartition("/")[2])
    [disabled] = ask(check_key, kms_key_arn=key)
    client("kms").schedule_key_deletion(KeyId=key.rpartition("/")[2])
    [going] = ask(check_key, kms_key_arn=key)
    [absent] = ask(check_key, kms_key_arn=f"{key[:-4]}0000")
    [signing] = ask(check_key, kms_key_arn=create_key(KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048"))

    assert [finding.status for finding in (disabled, going, absent, signing)] == ["fails"] * 4
    assert disabled.fix.startswith("aws kms enable-key")
    assert "cancel-key-deletion" in going.fix
    assert "no key" in absent.detail
    assert "SIGN_VERIFY" in signing.detail


# ------------------------------------------------------------------ network


class Network:
    """A VPC with one subnet, which leads nowhere yet."""

    def __init__(self) -> None:
        self.ec2 = client("ec2")
        self.vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnet = self.ec2.create_subnet(VpcId=self.vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
        self.group = self.ec2.create_security_group(GroupName="g", Description="d", VpcId=self.vpc)["GroupId"]
        [self.main] = self.ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [self.vpc]}])["RouteTables"]

    def ask(self, **changes: str) -> list[Finding]:
        own = {"vpc_id": self.vpc, "subnet_ids": self.subnet, "security_group_ids": self.group}
        return ask(check_network, **{**own, **changes})

    def lead(self, table: str, **target: str) -> None:
        self.ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", **target)

    def own_table(self) -> str:
        table = self.ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"]
        self.ec2.associate_route_table(RouteTableId=table, SubnetId=self.subnet)
        return str(table)

    def nat(self) -> str:
        address = self.ec2.allocate_address(Domain="vpc")["AllocationId"]
        return str(
            self.ec2.create_nat_gateway(SubnetId=self.subnet, AllocationId=address)["NatGateway"]["NatGatewayId"]
        )

    def gateway(self) -> str:
        gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.vpc)
        return str(gateway)


@pytest.fixture
def network() -> Network:
    return Network()


def test_a_subnet_that_leads_out_by_a_nat_gateway(network: Network) -> None:
    network.lead(network.main["RouteTableId"], NatGatewayId=network.nat())
    assert [finding.status for finding in network.ask()] == ["well"]


def test_a_public_subnet_leads_nowhere_for_what_has_no_public_address(network: Network) -> None:
    network.lead(network.main["RouteTableId"], NatGatewayId=network.nat())
    network.lead(network.own_table(), GatewayId=network.gateway())
    [finding] = network.ask()
    assert (finding.status, "public subnet" in finding.detail) == ("fails", True)


def test_a_subnet_without_a_way_out_needs_an_endpoint_for_each_service(network: Network) -> None:
    table = network.own_table()

    def endpoint(service: str, **options: Any) -> None:
        network.ec2.create_vpc_endpoint(VpcId=network.vpc, ServiceName=f"com.amazonaws.{REGION}.{service}", **options)

    for service in ("s3", "dynamodb"):
        # The second leads from another table of the VPC alone.
        tables = [table if service == "s3" else network.main["RouteTableId"]]
        endpoint(service, VpcEndpointType="Gateway", RouteTableIds=tables)
    for service in ("codebuild", "codepipeline", "logs", "sns"):
        endpoint(service, VpcEndpointType="Interface", SubnetIds=[network.subnet])

    [missing, packages] = network.ask()

    assert missing.status == "fails"
    assert missing.detail.endswith("are not reached: dynamodb, states.")
    assert (packages.status, "PIP_INDEX_URL" in packages.fix) == ("warning", True)


def test_subnets_and_groups_have_to_be_there_and_in_the_vpc(network: Network) -> None:
    other = Network()
    absent = network.ask(subnet_ids="subnet-0123456789abcdef0")
    elsewhere = network.ask(subnet_ids=other.subnet, security_group_ids=other.group)

    assert [finding.status for finding in absent] == ["fails"]
    assert "subnet-0123456789abcdef0" in absent[0].detail
    assert [(finding.status, other.vpc in finding.detail) for finding in elsewhere] == [("fails", True)] * 2


def test_a_subnet_that_is_nearly_full(network: Network) -> None:
    small = network.ec2.create_subnet(VpcId=network.vpc, CidrBlock="10.0.2.0/28")["Subnet"]["SubnetId"]
    for _ in range(5):
        network.ec2.create_network_interface(SubnetId=small)
    network.lead(network.main["RouteTableId"], NatGatewayId=network.nat())
    [finding] = network.ask(subnet_ids=small)
    assert (finding.status, "addresses left" in finding.detail) == ("warning", True)


def test_services_follow_from_the_settings() -> None:
    by_function = load_config({"region": REGION, "author": "catalogue", "inspection_endpoint": "lambda"}, {})
    by_endpoint = load_config({"region": REGION}, {})
    assert called_services(by_endpoint) - called_services(by_function) == {
        *("bedrock-runtime", "sagemaker.api", "sagemaker.runtime")
    }


def test_services_are_those_that_the_documentation_names() -> None:
    rows = re.findall(
        r"^\| (?:functions of [a-z ]+|builds|training jobs and endpoints) \| (.*) \|$", GUIDE, re.MULTILINE
    )
    documented = {name for row in rows for name in re.findall(r"`([a-z0-9.-]+)`", row)}
    assert len(rows) == 6
    assert documented == called_services(load_config({"region": REGION}, {}))
