"""Rehearsing the life of a deployment: its stacks without their functions' code, which fail where they are told to."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from defectory.aws.teardown import Teardown
from defectory.config import BUDGET_STACK, STACKS
from defectory.errors import LocalCloudError
from defectory.local.cloud import LocalCloud

RETAINED = {
    *("AWS::S3::Bucket", "AWS::DynamoDB::GlobalTable", "AWS::SQS::Queue", "AWS::Logs::LogGroup"),
    "AWS::SageMaker::ModelPackageGroup",
}
CODE = {"ZipFile": "def handler(event, context):\n    return None\n"}
FAULT = "Fault"
# What neither AWS nor the local cloud creates.
IMPOSSIBLE = {"Type": "AWS::SageMaker::ModelPackageGroup", "Properties": {"ModelPackageGroupName": "no name!"}}


def bare_templates(assembly: Path, *, retain: bool = False) -> dict[str, dict[str, Any]]:
    """The templates of an assembly by stack, with nothing to upload for them.

    Args:
        assembly: where they are.
        retain: whether what can be retained is, as it is unless configured otherwise.
    """
    templates = {}
    for file in sorted(assembly.glob("*.template.json")):
        template = json.loads(file.read_text())
        for resource in template["Resources"].values():
            if resource["Type"] == "AWS::Lambda::Function":
                resource["Properties"] |= {"Code": CODE, "Handler": "index.handler"}
            if retain and resource["Type"] in RETAINED:
                resource |= {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}
        templates[file.name.removesuffix(".template.json")] = template
    return templates


def write_assembly(folder: Path, templates: Mapping[str, Mapping[str, Any]]) -> Path:
    """An assembly of these stacks alone."""
    folder.mkdir(exist_ok=True)
    artifacts = {}
    for name, template in templates.items():
        (folder / f"{name}.json").write_text(json.dumps(template))
        artifacts[name] = {"type": "aws:cloudformation:stack", "properties": {"templateFile": f"{name}.json"}}
    (folder / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))
    return folder


def status_of(cloud: LocalCloud, stack: str) -> str:
    return str(cloud.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"])


def creation_order(cloud: LocalCloud, stack: str) -> list[str]:
    """Logical ids of a stack's resources in the order in which they were created."""
    pages = cloud.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=stack)
    events = [event for page in pages for event in page["StackEvents"]]
    created = [event["LogicalResourceId"] for event in events if event["ResourceStatus"] == "CREATE_COMPLETE"]
    return [name for name in reversed(created) if name != stack]


def failing_after(template: Mapping[str, Any], order: Sequence[str], resource: str) -> dict[str, Any]:
    """The template of a stack whose creation ends in a fault as soon as ``resource`` and those before it are there."""
    broken = copy.deepcopy(dict(template))
    resources = broken["Resources"]
    position = order.index(resource) + 1
    for name in order[position:]:
        needed = resources[name].get("DependsOn", [])
        resources[name]["DependsOn"] = [*([needed] if isinstance(needed, str) else needed), FAULT]
    resources[FAULT] = {**IMPOSSIBLE, "DependsOn": list(order[:position])}
    return broken


def delete_stack(cloud: LocalCloud, stack: str) -> None:
    """Delete a stack as ``cdk destroy`` does: what is to be retained stays."""
    client = cloud.client("cloudformation")
    client.delete_stack(StackName=stack)
    client.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig={"Delay": 0.05, "MaxAttempts": 1200})


def tear_down(cloud: LocalCloud, name: str = "defectory") -> list[str]:
    """Delete a deployment as ``defectory aws destroy`` does; what is still there, with the reason."""
    teardown = Teardown(name, (*STACKS, BUDGET_STACK), cloud.client)
    return teardown.destroy(teardown.find())


def rehearse_failure(
    cloud: LocalCloud, folder: Path, stack: str, template: Mapping[str, Any], order: Sequence[str], resource: str
) -> None:
    """Let a stack's creation fail after ``resource``: nothing of it is left, and the stack can be deployed then.

    It is deleted in the end, so that what it retains is there when the next one is made.
    """
    before = contents(cloud)
    with pytest.raises(LocalCloudError, match=FAULT):
        cloud.deploy(write_assembly(folder, {stack: failing_after(template, order, resource)}))
    assert status_of(cloud, stack) == "ROLLBACK_COMPLETE", resource
    left = contents(cloud)
    assert left.pop("stacks") == before.pop("stacks") | {stack}
    assert left == before, f"left behind when creation failed after {resource}"
    outputs = cloud.deploy(write_assembly(folder, {stack: template}))[stack]
    assert outputs.keys() == template["Outputs"].keys(), resource
    delete_stack(cloud, stack)


def differs(resource: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether an update from one template to another has something to do with a resource of the new one."""
    before, after = (template["Resources"].get(resource) or {} for template in (old, new))
    return bool(after and before.get("Properties") != after.get("Properties"))


def silence(template: Mapping[str, Any]) -> None:
    """Let nobody take the messages that wait in the queues of a stack."""
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Lambda::EventSourceMapping":
            resource["Properties"]["Enabled"] = False


def rehearse_failed_update(
    cloud: LocalCloud,
    folder: Path,
    stack: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    order: Sequence[str],
    resource: str,
    held: Mapping[str, set[str]],
) -> None:
    """Let a stack's update fail after ``resource``: all is as before, with what it holds, and a second try succeeds.

    The stack is as ``old`` in the beginning and in the end.

    Args:
        order: in which the new template's resources are created.
        held: what `fill` has filled.
    """
    before = contents(cloud), configuration(cloud, stack)
    with pytest.raises(LocalCloudError, match=FAULT):
        cloud.deploy(write_assembly(folder, {stack: failing_after(new, order, resource)}))
    assert status_of(cloud, stack) == "UPDATE_ROLLBACK_COMPLETE", resource
    assert contents(cloud) == before[0], f"not what was before when the update failed after {resource}"
    changed = _differences(before[1], configuration(cloud, stack))
    assert not changed, f"not as before when the update failed after {resource}: {changed}"
    assert_filled(cloud, held, resource)

    for template in (new, old):
        outputs = cloud.deploy(write_assembly(folder, {stack: template}))[stack]
        assert outputs.keys() == template["Outputs"].keys(), resource
        assert_filled(cloud, held, resource)


def fill(cloud: LocalCloud) -> dict[str, set[str]]:
    """Put something into all that holds something; what there is, as `contents` says."""
    held = contents(cloud)
    for bucket in held["buckets"]:
        cloud.client("s3").put_object(Bucket=bucket, Key="kept.txt", Body=b"kept")
    for queue in held["queues"]:
        cloud.client("sqs").send_message(QueueUrl=queue, MessageBody="kept")
    for table in held["tables"]:
        description = cloud.client("dynamodb").describe_table(TableName=table)["Table"]
        row = {key["AttributeName"]: {"S": "kept"} for key in description["KeySchema"]}
        cloud.client("dynamodb").put_item(TableName=table, Item=row)
    return held


def assert_filled(cloud: LocalCloud, before: Mapping[str, set[str]], changed: str) -> None:
    """All that `fill` found is there, with what was put into it."""
    after = contents(cloud)
    for kind in ("buckets", "queues", "tables", "topics", "machines", "pipelines", "registries", "log groups"):
        assert before[kind] <= after[kind], (changed, kind)
    for bucket in before["buckets"]:
        assert cloud.client("s3").head_object(Bucket=bucket, Key="kept.txt"), changed
    for table in before["tables"]:
        assert cloud.client("dynamodb").scan(TableName=table)["Count"] == 1, changed
    for queue in before["queues"]:
        # In that of uploads the bucket's own message may be as well.
        assert waiting(cloud, queue) >= 1, (changed, queue)


# What lists each kind, and what its entries are called by.
LISTINGS = {
    "buckets": ("s3", "list_buckets", "Buckets", "Name"),
    "tables": ("dynamodb", "list_tables", "TableNames", ""),
    "queues": ("sqs", "list_queues", "QueueUrls", ""),
    "topics": ("sns", "list_topics", "Topics", "TopicArn"),
    "functions": ("lambda", "list_functions", "Functions", "FunctionName"),
    "roles": ("iam", "list_roles", "Roles", "RoleName"),
    "machines": ("stepfunctions", "list_state_machines", "stateMachines", "name"),
    "pipelines": ("codepipeline", "list_pipelines", "pipelines", "name"),
    "projects": ("codebuild", "list_projects", "projects", ""),
    "rules": ("events", "list_rules", "Rules", "Name"),
    "alarms": ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    "dashboards": ("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
    "log groups": ("logs", "describe_log_groups", "logGroups", "logGroupName"),
    "models": ("sagemaker", "list_models", "Models", "ModelName"),
    "configs": ("sagemaker", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"),
    "endpoints": ("sagemaker", "list_endpoints", "Endpoints", "EndpointName"),
    "registries": (
        *("sagemaker", "list_model_package_groups", "ModelPackageGroupSummaryList"),
        "ModelPackageGroupName",
    ),
}
# A key that is going to be deleted stays that; there may be hundreds of them.
_going: set[str] = set()


def contents(cloud: LocalCloud) -> dict[str, set[str]]:
    """What is in the account that costs, holds data, or is in the way of another deployment."""
    found = {
        kind: {
            entry[name] if name else entry
            for page in cloud.client(service).get_paginator(operation).paginate()
            for entry in page.get(listing, ())
        }
        for kind, (service, operation, listing, name) in LISTINGS.items()
    }
    stacks = cloud.client("cloudformation").describe_stacks()["Stacks"]
    found["stacks"] = {stack["StackName"] for stack in stacks if stack["StackStatus"] != "DELETE_COMPLETE"}
    found["keys"] = set(_enabled_keys(cloud))
    return found


def _enabled_keys(cloud: LocalCloud) -> Iterator[str]:
    kms = cloud.client("kms")
    for page in kms.get_paginator("list_keys").paginate():
        for key in {entry["KeyId"] for entry in page["Keys"]} - _going:
            if kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled":
                yield key
            else:
                _going.add(key)


def waiting(cloud: LocalCloud, queue: str) -> int:
    """Messages in a queue."""
    counted = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    attributes = cloud.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    return sum(int(attributes[name]) for name in counted)


# What tells how each kind is set up, the parameter that its name is, and where in the answer that stands.
DESCRIPTIONS = {
    "AWS::Lambda::Function": ("lambda", "get_function_configuration", "FunctionName", ""),
    "AWS::StepFunctions::StateMachine": ("stepfunctions", "describe_state_machine", "stateMachineArn", ""),
    "AWS::SQS::Queue": ("sqs", "get_queue_attributes", "QueueUrl", "Attributes"),
    "AWS::SNS::Topic": ("sns", "get_topic_attributes", "TopicArn", "Attributes"),
    "AWS::Events::Rule": ("events", "describe_rule", "Name", ""),
    "AWS::CodePipeline::Pipeline": ("codepipeline", "get_pipeline", "name", "pipeline"),
    "AWS::CodeBuild::Project": ("codebuild", "batch_get_projects", "names", "projects"),
    "AWS::IAM::Role": ("iam", "get_role", "RoleName", "Role"),
    "AWS::S3::Bucket": ("s3", "get_bucket_lifecycle_configuration", "Bucket", "Rules"),
    "AWS::CloudWatch::Alarm": ("cloudwatch", "describe_alarms", "AlarmNames", "MetricAlarms"),
    "AWS::Logs::LogGroup": ("logs", "describe_log_groups", "logGroupNamePrefix", "logGroups"),
}
# What changes by itself, or with each change.
CHANGING = re.compile(
    r"ResponseMetadata|(?i:reason|revision|version|lastmodified|updated|modified|timestamp|bytes|roleLastUsed|"
    r"ApproximateNumber|CodeSha|created?Date|created)"
)


def configuration(cloud: LocalCloud, stack: str) -> dict[str, Any]:
    """How the resources of a stack are set up, as their services say, and its template and outputs."""
    client = cloud.client("cloudformation")
    pages = client.get_paginator("list_stack_resources").paginate(StackName=stack)
    entries = [entry for page in pages for entry in page["StackResourceSummaries"]]
    described: dict[str, Any] = {
        entry["LogicalResourceId"]: _description(cloud, entry["ResourceType"], entry["PhysicalResourceId"])
        for entry in entries
        if entry["ResourceStatus"] != "DELETE_COMPLETE"
    }
    [told] = client.describe_stacks(StackName=stack)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in told.get("Outputs", ())}
    return {"resources": described, "outputs": outputs}


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What of two configurations is not the same, by the name of the resource or output."""
    flat = [{**each["resources"], **each["outputs"]} for each in (before, after)]
    return {
        name: (flat[0].get(name), flat[1].get(name))
        for name in flat[0].keys() | flat[1].keys()
        if flat[0].get(name) != flat[1].get(name)
    }


def _description(cloud: LocalCloud, kind: str, name: str) -> Any:
    if kind not in DESCRIPTIONS:
        return name
    service, operation, parameter, member = DESCRIPTIONS[kind]
    given: dict[str, Any] = {parameter: [name] if parameter.endswith("ames") else name}
    if service == "sqs":
        given["AttributeNames"] = ["All"]
    try:
        answer = getattr(cloud.client(service), operation)(**given)
    except ClientError as error:
        # A bucket without rules.
        return error.response["Error"]["Code"]
    return _steady(answer[member] if member else answer)


# A function is set up a moment before it can be called.
_ON_THE_WAY = tuple(
    (key, state)
    for key, states in {"State": ("Pending", "Active"), "LastUpdateStatus": ("InProgress", "Successful")}.items()
    for state in states
)


def _steady(value: Any) -> Any:
    match value:
        case dict():
            return {
                key: _steady(inner)
                for key, inner in value.items()
                if not CHANGING.search(key) and (key, inner) not in _ON_THE_WAY
            }
        case list():
            return [_steady(inner) for inner in value]
        case _:
            return value
