"""In a company's account: its boundary, key, network and tags are on everything; nothing may more than it has to."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from company import COMPANY, GROUPS, KEY, SUBNETS, VPC
from templates import Template, flat, listed, matches

from defectory.config import load_config
from stacks.company_account import endpoint_key

STACKS = ("sensor-data", "inspection", "image-synthesis", "detection")
OPERATIONS = Path("docs/operations.md")


@pytest.fixture(scope="module", params=STACKS)
def company(request, synthesise) -> Template:
    """Each stack in a company's account."""
    return synthesise(request.param, **COMPANY)


def policies(template: Template) -> list[tuple[str, list[dict]]]:
    """Roles, each with the statements of its policies."""
    return [
        (role["Ref"], policy["PolicyDocument"]["Statement"])
        for policy in template.of_type("AWS::IAM::Policy").values()
        for role in policy["Roles"]
    ]


def document(name: str) -> dict:
    """A policy that the documentation gives, by its heading."""
    [text] = re.findall(rf"{re.escape(name)}.*?```json\n(.*?)```", OPERATIONS.read_text(), re.DOTALL)
    return json.loads(text)


def test_every_role_of_every_stack_carries_the_boundary(company):
    roles = company.of_type("AWS::IAM::Role")

    assert roles
    assert {flat(role["PermissionsBoundary"]) for role in roles.values()} == {
        "arn:aws:iam::123456789012:policy/company-boundary"
    }
    assert not {"AWS::IAM::User", "AWS::IAM::Group"} & {each["Type"] for each in company.body["Resources"].values()}


def test_a_boundary_may_be_named_by_its_arn(synthesise):
    arn = "arn:aws:iam::123456789012:policy/path/floor"
    for stack in STACKS:
        roles = synthesise(stack, permissions_boundary=arn).of_type("AWS::IAM::Role").values()
        assert {role["PermissionsBoundary"] for role in roles} == {arn}


def test_the_documented_boundary_denies_by_default_and_lets_through_what_roles_do(company):
    [allowed] = document("a boundary that is enough")["Statement"]
    assert allowed["Effect"] == "Allow"

    for _, statements in policies(company):
        for statement in statements:
            if statement["Effect"] == "Allow":
                for action in listed(statement["Action"]):
                    assert any(matches(pattern, action) for pattern in allowed["Action"]), action


def test_what_is_stored_is_encrypted_with_the_companys_key(company):
    for name, bucket in company.of_type("AWS::S3::Bucket").items():
        [rule] = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        # S3 delivers access logs to no bucket with a key.
        if "AccessLogs" in name:
            assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
        else:
            assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}
            assert rule["BucketKeyEnabled"] is True
    for table in company.of_type("AWS::DynamoDB::GlobalTable").values():
        assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS"}
        assert [replica["SSESpecification"] for replica in table["Replicas"]] == [{"KMSMasterKeyId": KEY}]
    for queue in company.of_type("AWS::SQS::Queue").values():
        assert queue["KmsMasterKeyId"] == KEY
        assert "SqsManagedSseEnabled" not in queue
    for kind, field in (("AWS::SNS::Topic", "KmsMasterKeyId"), ("AWS::Logs::LogGroup", "KmsKeyId")):
        assert {resource[field] for resource in company.of_type(kind).values()} == {KEY}
    for project in company.of_type("AWS::CodeBuild::Project").values():
        assert project["EncryptionKey"] == KEY
    for pipeline in company.of_type("AWS::CodePipeline::Pipeline").values():
        assert pipeline["ArtifactStore"]["EncryptionKey"] == {"Id": KEY, "Type": "KMS"}
    assert not company.of_type("AWS::KMS::Key"), "the company's key is the only one"


# What has to be done with the key by whoever does this (AWS's documentation of each service).
NEEDED = {
    "s3:GetObject": ("s3", {"kms:Decrypt"}),
    "s3:PutObject": ("s3", {"kms:Decrypt", "kms:GenerateDataKey"}),
    "sqs:SendMessage": ("sqs", {"kms:Decrypt", "kms:GenerateDataKey"}),
    "sqs:ReceiveMessage": ("sqs", {"kms:Decrypt"}),
    "sns:Publish": ("sns", {"kms:Decrypt", "kms:GenerateDataKey"}),
    "dynamodb:GetItem": ("dynamodb", {"kms:Decrypt"}),
    "dynamodb:Query": ("dynamodb", {"kms:Decrypt"}),
    "dynamodb:PutItem": ("dynamodb", {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"}),
    "dynamodb:UpdateItem": ("dynamodb", {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"}),
}


def test_roles_use_the_key_for_what_they_do_and_for_nothing_else(company):
    for role, statements in policies(company):
        granted: dict[str, set[str]] = {}
        for statement in statements:
            if any(action.startswith("kms:") for action in listed(statement["Action"])):
                assert statement["Resource"] == KEY
                service = (
                    flat(statement.get("Condition", ""))
                    .removeprefix("StringEquals: kms:ViaService: ")
                    .partition(".")[0]
                )
                granted.setdefault(service, set()).update(listed(statement["Action"]))
        actions = {action for each in statements for action in listed(each["Action"]) if each["Effect"] == "Allow"}
        done = {name for name in NEEDED if any(matches(action, name) for action in actions)}
        services = {NEEDED[name][0] for name in done}
        for name in done:
            service, needed = NEEDED[name]
            assert needed <= granted[service], f"{role}: {name}"
        # Volumes of SageMaker's instances take grants, which it asks for itself.
        volumes = {"", "Bool: kms:GrantIsForAWSResource: true"} if "JobRole" in role else set()
        assert granted.keys() == services | volumes, role


def test_services_that_need_the_key_are_in_the_documented_key_policy(company):
    """Who puts messages into encrypted queues and topics, besides roles; and the logs."""
    senders = {"logs.eu-west-1.amazonaws.com"}
    for kind in ("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"):
        for policy in company.of_type(kind).values():
            for statement in policy["PolicyDocument"]["Statement"]:
                if statement["Effect"] == "Allow":
                    senders |= set(listed(statement["Principal"]["Service"]))
    described = {
        service
        for statement in document("the key's policy")["Statement"]
        for service in listed(statement["Principal"].get("Service", []))
    }
    assert senders <= described


def test_functions_and_builds_run_in_the_companys_subnets(company):
    functions = company.of_type("AWS::Lambda::Function").values()
    assert functions
    for function in functions:
        assert function["VpcConfig"] == {"SubnetIds": SUBNETS, "SecurityGroupIds": GROUPS}
    for name, resource in company.body["Resources"].items():
        if resource["Type"] == "AWS::CodeBuild::Project":
            network = resource["Properties"]["VpcConfig"]
            assert network == {"VpcId": VPC, "Subnets": SUBNETS, "SecurityGroupIds": GROUPS}
            # CodeBuild makes no project whose role may not attach it to the network.
            policy = company.only("AWS::IAM::Policy", resource["Properties"]["ServiceRole"]["Fn::GetAtt"][0][:-8])
            assert policy in resource["DependsOn"], name


# What the service does for a function, not the function itself.
BY_LAMBDA = {"ec2", "kms", "logs", "sqs", "xray", "aws-marketplace"}
ENDPOINTS = {"bedrock": "bedrock-runtime", "sagemaker": "sagemaker.runtime"}


@pytest.mark.parametrize("stack", STACKS)
def test_endpoints_that_functions_need_are_documented(synthesise, stack):
    template = synthesise(stack, **COMPANY)
    title = f"| functions of {stack.replace('-', ' ')} |"
    [row] = [line for line in OPERATIONS.read_text().splitlines() if line.startswith(title)]
    roles = {each["Role"]["Fn::GetAtt"][0] for each in template.of_type("AWS::Lambda::Function").values()}

    actions = {
        action
        for role, statements in policies(template)
        if role in roles
        for statement in statements
        for action in listed(statement["Action"])
    }

    services = {action.partition(":")[0] for action in actions} - BY_LAMBDA
    assert {ENDPOINTS.get(service, service) for service in services} <= set(re.findall("`([^`]+)`", row))


def test_code_in_a_function_may_not_do_what_lambda_does_for_it(company):
    for function in company.of_type("AWS::Lambda::Function").values():
        role = function["Role"]["Fn::GetAtt"][0]
        statements = [each for ref, found in policies(company) if ref == role for each in found]
        network = [each for each in statements if any(a.startswith("ec2:") for a in listed(each["Action"]))]
        denied = [each for each in network if each["Effect"] == "Deny"]
        allowed = {a for each in network if each["Effect"] == "Allow" for a in listed(each["Action"]) if "ec2:" in a}
        [deny] = denied
        assert {"ec2:CreateNetworkInterface", "ec2:DescribeSubnets"} <= allowed
        assert set(deny["Action"]) == allowed
        assert flat(deny["Condition"]).endswith(f":function:{function['FunctionName']}")


def test_builds_and_jobs_make_interfaces_in_the_companys_subnets_alone(company):
    for role, statements in policies(company):
        trust = flat(company.of_type("AWS::IAM::Role")[role]["AssumeRolePolicyDocument"])
        if "lambda.amazonaws.com" in trust:
            continue
        for statement in statements:
            if "ec2:CreateNetworkInterface" in listed(statement["Action"]):
                resources = {flat(each).rpartition(":")[2] for each in listed(statement["Resource"])}
                assert resources == {
                    "network-interface/*",
                    *(f"subnet/{each}" for each in SUBNETS),
                    *(f"security-group/{each}" for each in GROUPS),
                }


def test_training_and_hosting_have_key_network_and_tags(synthesise):
    states = training_states(synthesise("inspection", **COMPANY))

    network = {"SecurityGroupIds": GROUPS, "Subnets": SUBNETS}
    tags = {"project": "defectory", "team": "quality", "cost centre": "12"}
    for name in ("Train", "Evaluate", "CreateModel"):
        assert states[name]["Arguments"]["VpcConfig"] == network
    for name in ("Train", "Evaluate"):
        assert states[name]["Arguments"]["OutputDataConfig"]["KmsKeyId"] == KEY
        assert states[name]["Arguments"]["ResourceConfig"]["VolumeKmsKeyId"] == KEY
    assert states["CreateEndpointConfig"]["Arguments"]["KmsKeyId"] == KEY
    for name in ("Train", "Evaluate", "CreateModel", "CreateEndpointConfig", "CreateEndpoint"):
        assert {tag["Key"]: tag["Value"] for tag in states[name]["Arguments"]["Tags"]} == tags


@pytest.mark.parametrize(
    ("instance", "encrypted"),
    [
        *(("ml.c6i.large", True), ("ml.m5.xlarge", True), ("ml.t2.medium", True)),
        *(("ml.m5d.xlarge", False), ("ml.c6id.large", False), ("ml.g5.xlarge", False)),
    ],
)
def test_instances_with_disks_of_their_own_take_no_key(instance, encrypted):
    settings = {"kms_key_arn": KEY, "inspection_endpoint": "realtime", "inspection_instance": instance}
    assert endpoint_key(load_config(settings, {})) == (KEY if encrypted else None)


def test_without_company_rules_there_is_none_of_it(inspection):
    text = json.dumps(training_states(inspection))

    assert not [name for name in ("VpcConfig", "KmsKeyId", "Tags", "null") if name in text]
    assert not [f for f in inspection.of_type("AWS::Lambda::Function").values() if "VpcConfig" in f]


def training_states(template: Template) -> dict:
    [machine] = [
        each
        for name, each in template.of_type("AWS::StepFunctions::StateMachine").items()
        if name.startswith("Training")
    ]
    return json.loads(flat(machine["DefinitionString"]))["States"]


def test_tags_are_on_everything_that_takes_any(company):
    tagged = {"AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::SNS::Topic", "AWS::Lambda::Function", "AWS::IAM::Role"}
    for name, resource in company.body["Resources"].items():
        if resource["Type"] in tagged:
            tags = {tag["Key"]: tag["Value"] for tag in resource["Properties"]["Tags"]}
            assert tags.items() >= {"team": "quality", "cost centre": "12", "project": "defectory"}.items(), name


def test_functions_log_at_the_configured_level_and_are_traced(company, stack):
    for function in company.of_type("AWS::Lambda::Function").values():
        assert function["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] == "DEBUG"
    for function in stack.of_type("AWS::Lambda::Function").values():
        assert function["TracingConfig"] == {"Mode": "Active"}
        assert function["Environment"]["Variables"]["DEPLOYMENT"] == "defectory"


def test_people_are_told_before_the_account_costs_more_than_its_budget(synthesise):
    [budget] = synthesise("budget", **COMPANY).of_type("AWS::Budgets::Budget").values()

    assert budget["Budget"]["BudgetLimit"] == {"Amount": 500, "Unit": "USD"}
    assert budget["Budget"]["TimeUnit"] == "MONTHLY"
    # Another address takes another budget, which could not have the same name.
    assert "BudgetName" not in budget["Budget"]
    told = budget["NotificationsWithSubscribers"]
    assert {(each["Notification"]["NotificationType"], each["Notification"]["Threshold"]) for each in told} == {
        ("ACTUAL", 80),
        ("ACTUAL", 100),
        ("FORECASTED", 100),
    }
    assert {subscriber["Address"] for each in told for subscriber in each["Subscribers"]} == {"ops@example.com"}
