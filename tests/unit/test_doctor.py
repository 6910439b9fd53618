"""What the doctor says of answers that the local cloud never gives."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from defectory.config import STACKS, load_config
from defectory.doctor import examine

CONFIG = {"region": "eu-west-1", "author": "catalogue", "alert_email": "a@example.com"}
CONFIG |= {"image_model_id": "", "inpaint_model_id": ""}
CONCURRENCY = {"QuotaName": "Concurrent executions", "QuotaCode": "L-B99A9384"}


def refusal(code: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "GetParameter")


class Account:
    """An account of which each operation answers, by its name, with what was given."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {
            "get_caller_identity": {"Account": "123456789012", "Arn": "arn:aws:sts::123456789012:assumed-role/dev/me"},
            "get_parameter": {"Parameter": {"Value": "25"}},
            "describe_stacks": refusal("ValidationError", "Stack with id x does not exist"),
            "get_function_configuration": refusal("ResourceNotFoundException"),
            "describe_state_machine": refusal("StateMachineDoesNotExist"),
            "describe_alarms": {"MetricAlarms": []},
            "describe_endpoint": refusal("ValidationException", 'Could not find endpoint "x".'),
            "list_service_quotas": {"Quotas": []},
            "list_aws_default_service_quotas": {"Quotas": []},
            **answers,
        }

    def __call__(self, service: str, region: str) -> "Client":
        return Client(self.answers)


class Client:
    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.meta = type("Meta", (), {"partition": "aws"})

    def get_paginator(self, operation: str) -> Any:
        answer = getattr(self, operation)
        return type("Paginator", (), {"paginate": lambda _, **parameters: [answer(**parameters)]})()

    def __getattr__(self, operation: str) -> Any:
        def call(**parameters: Any) -> Any:
            answer = self.answers[operation]
            answer = answer(**parameters) if callable(answer) else answer
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


def findings_of(account: Account, **settings: str) -> dict[str, list[Any]]:
    findings: dict[str, list[Any]] = {}
    for finding in examine(load_config({"defectory": {**CONFIG, **settings}}, {}), account):
        findings.setdefault(finding.check, []).append(finding)
    return findings


def test_the_root_user_is_warned():
    account = Account(get_caller_identity={"Account": "1" * 12, "Arn": f"arn:aws:iam::{'1' * 12}:root"})
    [finding] = findings_of(account)["credentials"]
    assert finding.status == "warning"


def test_a_question_that_may_not_be_asked_is_a_finding_and_the_others_go_on():
    findings = findings_of(Account(get_parameter=refusal("AccessDeniedException")))
    [bootstrap] = findings["bootstrap"]
    assert bootstrap.status == "unknown"
    assert "GetParameter" in bootstrap.fix
    assert findings["names"]


@pytest.mark.parametrize(
    ("status", "verdict", "fix"),
    [
        ("CREATE_COMPLETE", "well", ""),
        ("UPDATE_ROLLBACK_COMPLETE", "well", ""),
        ("ROLLBACK_COMPLETE", "fails", "delete-stack --region eu-west-1 --stack-name defectory-"),
        ("DELETE_FAILED", "fails", "delete-stack"),
        ("UPDATE_ROLLBACK_FAILED", "fails", "continue-update-rollback"),
        ("UPDATE_IN_PROGRESS", "warning", "wait"),
    ],
)
def test_a_stack_that_cannot_be_updated(status, verdict, fix):
    account = Account(
        describe_stacks={"Stacks": [{"StackStatus": status}]}, list_stack_resources={"StackResourceSummaries": []}
    )
    stacks = findings_of(account)["stacks"]
    assert {finding.status for finding in stacks} == {verdict}
    assert len(stacks) == len(STACKS)
    assert all(fix in finding.fix for finding in stacks)


@pytest.mark.parametrize(
    ("kind", "hosting", "verdict", "fix"),
    [
        ("lambda", "", "well", ""),
        ("serverless", "", "well", ""),
        (
            "lambda",
            "InstanceType",
            "warning",
            "delete-endpoint --region eu-west-1 --endpoint-name defectory-inspection",
        ),
        ("lambda", "ServerlessConfig", "warning", "The first training after the change deletes it"),
        ("serverless", "InstanceType", "fails", "-c inspection_endpoint=realtime, or delete it"),
        ("serverless", "ServerlessConfig", "well", ""),
        ("realtime", "ServerlessConfig", "well", ""),
        ("realtime", "InstanceType", "well", ""),
    ],
)
def test_an_endpoint_of_other_settings_is_told(kind, hosting, verdict, fix):
    answers = {"describe_endpoint": {"EndpointConfigName": "run"}} if hosting else {}
    account = Account(**answers, describe_endpoint_config={"ProductionVariants": [{hosting: {}}]})
    [finding] = findings_of(account, inspection_endpoint=kind)["endpoint"]
    assert (finding.status, fix in finding.fix) == (verdict, True)


def test_a_quota_that_is_too_small_comes_with_the_request_for_more():
    def quotas(ServiceCode):
        return {"Quotas": [{**CONCURRENCY, "Value": 10.0}] if ServiceCode == "lambda" else []}

    findings = findings_of(Account(list_service_quotas=quotas), image_concurrency="30")["quotas"]
    [small] = [finding for finding in findings if finding.status == "fails"]
    assert small.fix == (
        "aws service-quotas request-service-quota-increase --region eu-west-1 --service-code lambda "
        "--quota-code L-B99A9384 --desired-value 45"
    )


def test_the_accounts_own_quota_counts_before_the_default():
    default, own = ({"Quotas": [{**CONCURRENCY, "Value": value}]} for value in (1000.0, 10.0))
    account = Account(list_aws_default_service_quotas=default, list_service_quotas=own)
    assert any("Concurrent executions: 10;" in finding.detail for finding in findings_of(account)["quotas"])


def test_an_address_that_was_never_confirmed():
    topic = {"ResourceType": "AWS::SNS::Topic", "PhysicalResourceId": "arn:aws:sns:eu-west-1:1:alerts"}
    pending = {"Protocol": "email", "Endpoint": "a@example.com", "SubscriptionArn": "PendingConfirmation"}
    account = Account(
        describe_stacks={"Stacks": [{"StackStatus": "CREATE_COMPLETE"}]},
        list_stack_resources={"StackResourceSummaries": [topic]},
        list_subscriptions_by_topic={"Subscriptions": [pending, {**pending, "Protocol": "sqs"}]},
    )
    mails = findings_of(account)["e-mail"]
    assert [finding.status for finding in mails] == ["fails"] * len(STACKS), "one a stack"
    assert "a@example.com has not confirmed alerts" in mails[0].detail


@pytest.mark.parametrize(
    ("availability", "lifecycle", "status", "said"),
    [
        ({}, "ACTIVE", "well", "may be called"),
        ({"entitlementAvailability": "NOT_AVAILABLE"}, "ACTIVE", "fails", "entitlementAvailability"),
        ({"agreementAvailability": {"status": "PENDING"}}, "ACTIVE", "fails", "PENDING"),
        ({}, "LEGACY", "warning", "retired"),
    ],
)
def test_access_to_a_model(availability, lifecycle, status, said):
    account = Account(
        get_inference_profile={},
        get_foundation_model={"modelDetails": {"modelLifecycle": {"status": lifecycle}}},
        get_foundation_model_availability={"authorizationStatus": "AUTHORIZED", **availability},
    )
    [finding] = findings_of(account, author="bedrock", model_id="eu.amazon.nova-pro-v1:0")["models"]
    assert finding.status == status
    assert said in finding.detail


OWN = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3d4e5f6"


@pytest.mark.parametrize(
    ("routed", "statuses"),
    [
        (
            ("eu-west-1::foundation-model/amazon.nova-pro-v1:0", "eu-central-1::foundation-model/amazon.nova-pro-v1:0"),
            [],
        ),
        (("eu-west-1::foundation-model/amazon.nova-lite-v1:0",), ["fails"]),
        (("us-east-1::foundation-model/amazon.nova-pro-v1:0",), ["fails"]),
    ],
)
def test_an_applications_own_profile_has_to_be_made_from_what_the_settings_say(routed, statuses):
    account = Account(
        get_inference_profile={
            "inferenceProfileArn": OWN,
            "models": [{"modelArn": f"arn:aws:bedrock:{rest}"} for rest in routed],
        },
        get_foundation_model=lambda modelIdentifier: {"modelDetails": {"modelId": modelIdentifier}},
        get_foundation_model_availability={"authorizationStatus": "AUTHORIZED"},
    )
    model = {"author": "bedrock", "model_id": OWN, "base_model_id": "eu.amazon.nova-pro-v1:0"}

    *wrong, called = findings_of(account, **model)["models"]

    assert [finding.status for finding in wrong] == statuses
    assert all("Set base_model_id" in finding.fix for finding in wrong)
    assert (called.status, OWN in called.detail) == ("well", True)
