"""``defectory doctor`` asks the local cloud as it would ask an account, over the wire."""

import json
import os
import subprocess
import sys
from functools import cache

import pytest

from defectory.config import load_config
from defectory.doctor import Finding, examine
from defectory.local.clients import connect

pytestmark = pytest.mark.xdist_group("local-cloud")

# Where nothing was deployed to: every region of the cloud is its own.
UNTOUCHED = "eu-north-1"
NO_IMAGE_MODELS = {"image_model_id": "", "inpaint_model_id": ""}


@pytest.fixture(scope="module")
def client(cloud):
    """Makes clients of the cloud in a region where nothing is, each once."""
    account, secret = cloud.settings.account, cloud.settings.secret
    return cache(lambda service, region=UNTOUCHED: connect(service, cloud.endpoint, account, secret, region))


@pytest.fixture
def ask(client):
    """The findings for some settings, by check."""

    def findings(**settings: str) -> dict[str, list[Finding]]:
        values = {"author": "catalogue", "region": UNTOUCHED, **NO_IMAGE_MODELS, **settings}
        by_check: dict[str, list[Finding]] = {}
        for finding in examine(load_config({"defectory": values}, {}), client):
            by_check.setdefault(finding.check, []).append(finding)
        return by_check

    return findings


def test_an_account_that_was_never_prepared(ask):
    [bootstrap] = ask()["bootstrap"]
    assert bootstrap.status == "fails"
    assert "bootstrap aws://123456789012/eu-north-1" in bootstrap.fix


@pytest.mark.parametrize(("version", "status"), [("5", "fails"), ("6", "well"), ("31", "well")])
def test_a_bootstrap_stack_has_to_be_recent(ask, client, version, status):
    name = "/cdk-bootstrap/hnb659fds/version"
    client("ssm").put_parameter(Name=name, Value=version, Type="String", Overwrite=True)
    try:
        [bootstrap] = ask()["bootstrap"]
    finally:
        client("ssm").delete_parameter(Name=name)
    assert bootstrap.status == status


def test_wrong_credentials_end_the_questions(cloud):
    config = load_config({"region": UNTOUCHED, "author": "catalogue"}, {})
    account = cloud.settings.account
    [finding] = examine(config, lambda service, region: connect(service, cloud.endpoint, account, "wrong", region))
    assert (finding.check, finding.status) == ("credentials", "fails")
    assert "aws sso login" in finding.fix


def test_a_model_that_is_not_offered(ask):
    settings = {"author": "bedrock", "model_id": "eu.amazon.nova-9-vast-v1:0"}
    [finding] = ask(**settings)["models"]
    assert finding.status == "fails"
    assert "list-inference-profiles --region eu-north-1" in finding.fix


def test_quotas_are_compared_with_what_the_settings_need(ask):
    assert {finding.status for finding in ask(inspection_endpoint="serverless")["quotas"]} == {"well"}
    # The local cloud has a quota for the default instance alone.
    settings = {"inspection_endpoint": "realtime", "inspection_instance": "ml.m7i.large"}
    [unlisted] = [finding for finding in ask(**settings)["quotas"] if finding.status != "well"]
    assert unlisted.status == "unknown"


def test_an_increase_is_granted_once(client):
    quotas, concurrency = client("service-quotas"), {"ServiceCode": "lambda", "QuotaCode": "L-B99A9384"}
    asked = quotas.request_service_quota_increase(**concurrency, DesiredValue=2000)
    assert asked["RequestedQuota"]["Status"] == "APPROVED"
    assert quotas.get_service_quota(**concurrency)["Quota"]["Value"] == 2000
    [default] = quotas.list_aws_default_service_quotas(ServiceCode="lambda")["Quotas"]
    assert default["Value"] == 1000
    with pytest.raises(quotas.exceptions.IllegalArgumentException):
        quotas.request_service_quota_increase(**concurrency, DesiredValue=2000)
    with pytest.raises(quotas.exceptions.NoSuchResourceException):
        quotas.list_service_quotas(ServiceCode="braket")


def test_a_name_that_somebody_else_has(ask, client):
    alarm = {"AlarmName": "other-inspection-errors", "MetricName": "Errors", "Namespace": "Other", "Threshold": 1}
    alarm |= {"EvaluationPeriods": 1, "Period": 60, "Statistic": "Sum", "ComparisonOperator": "GreaterThanThreshold"}
    client("cloudwatch").put_metric_alarm(**alarm)
    try:
        [taken] = ask(name="other")["names"]
    finally:
        client("cloudwatch").delete_alarms(AlarmNames=[alarm["AlarmName"]])
    assert taken.status == "fails"
    assert "delete-alarms --alarm-names other-inspection-errors" in taken.fix
    [free] = ask(name="other")["names"]
    assert free.status == "well", free


def test_nobody_who_would_be_told(ask):
    [finding] = ask()["e-mail"]
    assert finding.status == "warning"
    assert "alert_email" in finding.fix


def test_the_command_finds_nothing_wrong_where_the_cdk_is_at_home(cloud, sample):
    """In the region that the sample was deployed to, which is prepared for the CDK."""
    command = [sys.executable, "-m", "defectory", "doctor", "--json", "--region", cloud.settings.region]
    for setting in ("author=catalogue", "alert_email=a@example.com", "image_model_id=", "inpaint_model_id="):
        command += ["-c", setting]

    done = subprocess.run(command, env=cloud.process_environment(os.environ), capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    findings = json.loads(done.stdout)
    assert {finding["check"] for finding in findings} >= {"credentials", "bootstrap", "quotas", "stacks", "names"}
    assert {finding["status"] for finding in findings} <= {"well", "warning"}, findings
