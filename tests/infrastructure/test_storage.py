"""What is kept: encrypted, private, over TLS only, and for as long as the configuration says."""

from __future__ import annotations

import json

import pytest
from templates import flat, listed

from defectory.sensors.service.requests_table import ACTIVE_INDEX


def statements(template, kind, owner, name):
    """Statements of the resource policies on the resource ``name``."""
    policies = template.of_type(kind).values()
    return [
        statement
        for policy in policies
        if {"Ref": name} in listed(policy[owner])
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def denies_plain_http(statements):
    return any(
        statement["Effect"] == "Deny"
        and statement["Principal"] in ("*", {"AWS": "*"})
        and statement["Condition"].get("Bool") == {"aws:SecureTransport": "false"}
        for statement in statements
    )


def lifecycle(template, name):
    bucket = template.of_type("AWS::S3::Bucket")[template.only("AWS::S3::Bucket", name)]
    return {key: value for rule in bucket["LifecycleConfiguration"]["Rules"] for key, value in rule.items()}


def test_every_bucket_is_private_encrypted_and_owned_by_the_account(stack):
    for bucket in stack.of_type("AWS::S3::Bucket").values():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert len(bucket["PublicAccessBlockConfiguration"]) == 4
        assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]


@pytest.mark.parametrize(
    ("resource", "policy", "owner"),
    [
        ("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "Bucket"),
        ("AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "Queues"),
        ("AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "Topics"),
    ],
)
def test_buckets_queues_and_topics_take_tls_only(stack, resource, policy, owner):
    assert stack.of_type(resource)
    for name in stack.of_type(resource):
        assert denies_plain_http(statements(stack, policy, owner, name)), name


def test_no_resource_policy_lets_the_world_in(stack):
    for kind in ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"):
        for policy in stack.of_type(kind).values():
            for statement in policy["PolicyDocument"]["Statement"]:
                assert statement["Effect"] == "Deny" or set(statement["Principal"]) == {"Service"}


def test_who_reads_buckets_is_logged(stack):
    logs = stack.only("AWS::S3::Bucket", "AccessLogs")
    for name, bucket in stack.of_type("AWS::S3::Bucket").items():
        if name != logs:
            assert bucket["LoggingConfiguration"]["DestinationBucketName"] == {"Ref": logs}
    writers = [
        statement["Principal"]
        for statement in statements(stack, "AWS::S3::BucketPolicy", "Bucket", logs)
        if statement["Effect"] == "Allow"
    ]
    assert {"Service": "logging.s3.amazonaws.com"} in writers


def test_what_the_pipeline_hands_on_goes_after_a_week(template):
    assert lifecycle(template, "Artifacts")["ExpirationInDays"] == 7


def test_datasets_and_logs_are_kept_as_configured(synthesise):
    template = synthesise(retention_days="30", log_retention_days="14")

    assert lifecycle(template, "Data")["ExpirationInDays"] == 30
    assert lifecycle(template, "AccessLogs")["ExpirationInDays"] == 14
    assert {group["RetentionInDays"] for group in template.of_type("AWS::Logs::LogGroup").values()} == {14}
    assert template.function("RequestSensorData")["Environment"]["Variables"]["RETENTION_DAYS"] == "30"


def test_a_dataset_that_was_overwritten_can_be_had_back(template):
    data = template.of_type("AWS::S3::Bucket")[template.only("AWS::S3::Bucket", "Data")]

    assert data["VersioningConfiguration"] == {"Status": "Enabled"}
    assert "NoncurrentVersionExpiration" in lifecycle(template, "Data")


def test_the_table_has_the_keys_and_the_index_that_its_adapter_uses(template):
    [table] = template.of_type("AWS::DynamoDB::GlobalTable").values()
    [index] = table["GlobalSecondaryIndexes"]

    assert [key["AttributeName"] for key in table["KeySchema"]] == ["user_id", "request_id"]
    assert index["IndexName"] == ACTIVE_INDEX
    assert [key["AttributeName"] for key in index["KeySchema"]] == ["active", "request_id"]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}


def test_tables_are_encrypted_and_can_be_restored(template, inspection):
    for stack in (template, inspection):
        [table] = stack.of_type("AWS::DynamoDB::GlobalTable").values()

        assert table["SSESpecification"]["SSEEnabled"] is True
        assert [replica["PointInTimeRecoverySpecification"] for replica in table["Replicas"]] == [
            {"PointInTimeRecoveryEnabled": True}
        ]


@pytest.mark.parametrize("stack", ["sensor-data", "inspection", "image-synthesis", "detection"])
@pytest.mark.parametrize(("setting", "policy"), [("retain", "Retain"), ("destroy", "Delete")])
def test_data_outlives_its_stack_if_configured(synthesise, stack, setting, policy):
    template = synthesise(stack, removal_policy=setting)
    kept = {
        *("AWS::S3::Bucket", "AWS::DynamoDB::GlobalTable", "AWS::Logs::LogGroup", "AWS::SQS::Queue"),
        *("AWS::SageMaker::ModelPackageGroup", "AWS::CodeCommit::Repository"),
    }

    for resource in template.body["Resources"].values():
        if resource["Type"] in kept:
            # What a failed deployment made anew goes in either case: kept, it would be in the way of the next one.
            assert resource["DeletionPolicy"] == {"Retain": "RetainExceptOnCreate"}.get(policy, policy)
            assert resource["UpdateReplacePolicy"] == policy


@pytest.mark.parametrize("stack", ["sensor-data", "inspection", "image-synthesis", "detection"])
def test_what_is_kept_of_a_deleted_stack_is_never_in_the_way_of_the_next(synthesise, stack):
    named = {
        "AWS::S3::Bucket": "BucketName",
        "AWS::DynamoDB::GlobalTable": "TableName",
        "AWS::Logs::LogGroup": "LogGroupName",
        "AWS::SQS::Queue": "QueueName",
        "AWS::SageMaker::ModelPackageGroup": "ModelPackageGroupName",
    }

    for resource in synthesise(stack).body["Resources"].values():
        name = resource.get("Properties", {}).get(named.get(resource["Type"], ""))
        assert name is None or "AWS::StackId" in json.dumps(name), resource


@pytest.mark.parametrize("stack", ["inspection", "image-synthesis", "detection"])
def test_logs_of_state_machines_are_where_their_delivery_needs_no_policy_of_its_own(synthesise, stack):
    template = synthesise(stack)
    groups = template.of_type("AWS::Logs::LogGroup")

    for machine in template.of_type("AWS::StepFunctions::StateMachine").values():
        [destination] = machine["LoggingConfiguration"]["Destinations"]
        logical = destination["CloudWatchLogsLogGroup"]["LogGroupArn"]["Fn::GetAtt"][0]
        assert flat(groups[logical]["LogGroupName"]).startswith(f"/aws/vendedlogs/states/{machine['StateMachineName']}")


def test_no_secret_is_written_into_the_template(stack):
    text = flat(dict(stack.body))

    assert "AKIA" not in text
    assert "aws_secret" not in text.lower()
