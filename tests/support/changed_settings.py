"""Each setting of a deployment, changed; and what CloudFormation replaces when a property changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

KEY = "arn:aws:kms:us-east-1:123456789012:key/0d9f3a6c-41be-4f7a-8c52-e6b17f90d3aa"
NETWORK = {
    "vpc_id": "vpc-0a1b2c3d",
    "subnet_ids": "subnet-0a1b2c3d,subnet-0a1b2c3e",
    "security_group_ids": "sg-0a1b2c3d",
    # Serverless endpoints run in no VPC.
    "inspection_endpoint": "lambda",
}
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6"

OF_ANOTHER_DEPLOYMENT = ("name", "region")
"""Settings that say which deployment it is: changed, they make another one beside it."""

CHANGED: Mapping[str, Mapping[str, str]] = {
    "alert_email": {"alert_email": "others@example.com"},
    "alert_limit_per_hour": {"alert_limit_per_hour": "7"},
    "author": {"author": "catalogue"},
    "base_model_id": {"model_id": PROFILE, "base_model_id": "us.amazon.nova-pro-v1:0"},
    "budget_usd_per_month": {"budget_usd_per_month": "500", "alert_email": "ops@example.com"},
    "check_region": {"check_region": "false"},
    "dashboards": {"dashboards": "false"},
    "defect_email": {"defect_email": "others@example.com"},
    "fleet_concurrency": {"fleet_concurrency": "9"},
    "fleet_machines": {"fleet_machines": "77"},
    "image_concurrency": {"image_concurrency": "3"},
    "image_model_id": {"image_model_id": ""},
    "image_region": {"image_region": "us-east-1", "image_model_id": ""},
    "inpaint_model_id": {"inpaint_model_id": ""},
    "inspection_endpoint": {"inspection_endpoint": "lambda"},
    "inspection_instance": {"inspection_endpoint": "realtime", "inspection_instance": "ml.m5.xlarge"},
    "inspection_registry": {"inspection_registry": "210987654321"},
    "kms_key_arn": {"kms_key_arn": KEY},
    "lambda_platform": {"lambda_platform": "host"},
    "lambda_python": {"lambda_python": "3.12"},
    "log_level": {"log_level": "DEBUG"},
    "log_retention_days": {"log_retention_days": "14"},
    "model_id": {"model_id": "us.amazon.nova-pro-v1:0"},
    "permissions_boundary": {"permissions_boundary": "company-boundary"},
    "photos_may_leave": {"photos_may_leave": "true"},
    "pipeline_source": {"pipeline_source": "codecommit"},
    "prompt_style": {"prompt_style": "freeform"},
    "removal_policy": {"removal_policy": "destroy"},
    "retention_days": {"retention_days": "30"},
    "run_compute": {"run_compute": "small"},
    "safety_email": {"safety_email": "others@example.com"},
    "safety_original_days": {"safety_original_days": "30"},
    "safety_privacy": {"safety_privacy": "false"},
    "scene_instance": {"scene_model": "gligen-1", "scene_instance": "ml.g6.xlarge"},
    "scene_instances": {"scene_model": "gligen-1", "scene_instances": "4"},
    "scene_model": {"scene_model": "gligen-1"},
    "security_group_ids": NETWORK,
    "service_tier": {"service_tier": "flex", "model_id": "us.amazon.nova-2-lite-v1:0"},
    "subnet_ids": NETWORK,
    "tags": {"tags": "team=quality,cost centre=12"},
    "vpc_id": NETWORK,
}
"""What differs from a deployment that is as in ``cdk.json``, by the setting that is changed."""

# Properties whose change replaces the resource: "Update requires: Replacement" in CloudFormation's template reference
# (https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/), read 2026-11-28.
REPLACING = {
    "AWS::CodeCommit::Repository": (),
    "AWS::CodePipeline::Pipeline": ("Name",),
    "AWS::DynamoDB::GlobalTable": ("TableName", "KeySchema", "LocalSecondaryIndexes"),
    "AWS::Logs::LogGroup": ("LogGroupName",),
    "AWS::S3::Bucket": ("BucketName",),
    "AWS::SNS::Topic": ("TopicName", "FifoTopic"),
    "AWS::SQS::Queue": ("QueueName", "FifoQueue"),
    "AWS::SageMaker::ModelPackageGroup": ("ModelPackageGroupName", "ModelPackageGroupDescription"),
    "AWS::StepFunctions::StateMachine": ("StateMachineName", "StateMachineType"),
}
"""Of what holds data, is subscribed to by people, or has a history."""


def replaced(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """What of one template's resources that hold something is gone from another one, or is replaced by its update."""
    for name, resource in old["Resources"].items():
        kind = resource["Type"]
        if kind not in REPLACING:
            continue
        successor = new["Resources"].get(name)
        if successor is None or successor["Type"] != kind:
            yield f"{name} ({kind}) is removed"
            continue
        before, after = (each.get("Properties", {}) for each in (resource, successor))
        yield from (
            f"{name} ({kind}) is replaced: {member} changes"
            for member in REPLACING[kind]
            if before.get(member) != after.get(member)
        )
