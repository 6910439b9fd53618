"""The life of a deployment: its creation fails after each resource, each setting is changed, two stand side by side."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from defectory.local.cloud import LocalCloud
from defectory.local.synth import synthesise
from stacks.application import create_app
from tests.local_cloud.application import Application
from tests.local_cloud.rehearsals import (
    bare_templates,
    contents,
    creation_order,
    delete_stack,
    rehearse_failure,
    tear_down,
    write_assembly,
)
from tests.support.changed_settings import CHANGED, KEY, replaced

BASE = {"alert_email": "ops@example.com", "defect_email": "line@example.com", "removal_policy": "retain"}
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
# The local cloud has no repositories; the templates are compared in tests/infrastructure/test_lifecycle.py.
NOT_HERE = ("pipeline_source",)

Templates = Mapping[str, Mapping[str, Any]]
Synthesise = Callable[[Mapping[str, str]], Templates]


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Synthesise:
    """The templates that some settings give, as AWS would get them, but for the functions' code."""

    def synthesised(changes: Mapping[str, str]) -> Templates:
        out = tmp_path_factory.mktemp("cdk")
        context = {"aws:cdk:bundling-stacks": [], **BASE, **changes}
        create_app({"AWS_REGION": "us-east-1"}, context, out).synth()
        return bare_templates(out)

    return synthesised


@pytest.fixture(scope="module")
def base(templates: Synthesise) -> Templates:
    return templates({})


@pytest.fixture
def cloud() -> Iterator[LocalCloud]:
    with LocalCloud() as cloud:
        yield cloud


# ------------------------------------------------------------------ failures


def test_creation_that_fails_after_any_resource_leaves_nothing(cloud, base, tmp_path, report):
    cloud.deploy(write_assembly(tmp_path, base))
    orders = {stack: creation_order(cloud, stack) for stack in base}
    for stack in base:
        assert set(orders[stack]) == set(base[stack]["Resources"])
        delete_stack(cloud, stack)

    for stack, template in base.items():
        for resource in orders[stack]:
            rehearse_failure(cloud, tmp_path, stack, template, orders[stack], resource)
        # Or they would be hundreds.
        assert tear_down(cloud) == []
        report[stack] = len(orders[stack])

    left = {kind: names for kind, names in contents(cloud).items() if names}
    assert left.keys() <= {"buckets"}, left


# ------------------------------------------------------------------ settings


def waiting(cloud: LocalCloud, queue: str) -> int:
    """Messages in a queue."""
    counted = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    attributes = cloud.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    return sum(int(attributes[name]) for name in counted)


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


def create_key(cloud: LocalCloud) -> str:
    """A key with the policy that docs/operations.md asks for, beside the usual statement for the account."""
    page = OPERATIONS.read_text(encoding="utf-8")
    block = next(block for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL) if "EncryptedQueues" in block)
    policy = json.loads(block.replace("eu-west-1", "us-east-1").replace("111122223333", "123456789012"))
    root = {"AWS": "arn:aws:iam::123456789012:root"}
    policy["Statement"].append({"Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"})
    return str(cloud.client("kms").create_key(Policy=json.dumps(policy))["KeyMetadata"]["Arn"])


# Some belong together.
SETTINGS = {
    str(sorted(changes.items())): name for name, changes in reversed(CHANGED.items()) if name not in NOT_HERE
}.values()


@pytest.mark.parametrize("setting", sorted(SETTINGS))
def test_a_setting_that_is_changed_and_set_back_loses_nothing(cloud, templates, base, tmp_path, setting):
    changed = templates(CHANGED[setting])
    keys = set()
    if setting == "kms_key_arn":
        keys = {create_key(cloud)}
        changed = json.loads(json.dumps(changed).replace(KEY, *keys))
    # Nobody takes the messages that wait.
    for template in (*base.values(), *changed.values()):
        for resource in template["Resources"].values():
            if resource["Type"] == "AWS::Lambda::EventSourceMapping":
                resource["Properties"]["Enabled"] = False
    cloud.deploy(write_assembly(tmp_path / "base", base))
    before = fill(cloud)

    cloud.deploy(write_assembly(tmp_path / "changed", changed))
    assert_filled(cloud, before, setting)
    cloud.deploy(write_assembly(tmp_path / "base", base))
    assert_filled(cloud, before, setting)

    for stack, template in base.items():
        lost = [each for each in replaced(template, changed[stack]) if not each.startswith("InspectImage")]
        assert not lost, setting
    # What was left out with the setting is found, too; the budget's stack is not the deployment's alone.
    assert tear_down(cloud) == []
    left = {kind: names for kind, names in contents(cloud).items() if names}
    # The company's own key is the company's.
    assert left.pop("keys", set()) == {key.rpartition("/")[2] for key in keys}
    assert left.keys() <= {"buckets"}, left
    assert all(bucket.startswith("cdk-") for bucket in left["buckets"])
    for key in keys:
        cloud.client("kms").schedule_key_deletion(KeyId=key)


# ------------------------------------------------------------------ side by side


def test_two_deployments_stand_side_by_side_and_one_outlives_the_other(cloud, tmp_path):
    # The second one's name begins like a name of the first one's resources.
    names, deployed = ("plant", "plant-inspection"), {}
    for name in names:
        stacks = cloud.deploy(synthesise(tmp_path / name, context={"name": name}))
        outputs = {key: value for stack in stacks.values() for key, value in stack.items()}
        deployed[name] = Application(cloud, outputs)
    first, second = (deployed[name] for name in names)
    assert not set(first.outputs.values()) & set(second.outputs.values())

    def works(application: Application) -> None:
        event = {"industry": "steel", "number": 1, "user_id": "ann"}
        answer = application.request(**event)
        assert application.wait("ann", answer["request_id"])["status"] == "PUBLISHED"

    for application in (first, second):
        works(application)
    others = contents(cloud)

    assert tear_down(cloud, names[0]) == []

    after = contents(cloud)
    assert after["stacks"] == {stack for stack in others["stacks"] if stack.startswith("plant-inspection-")}
    assert len(after["stacks"]) == 3
    works(second)
    assert tear_down(cloud, names[1]) == []
    left = {kind: names for kind, names in contents(cloud).items() if names}
    assert left.keys() <= {"buckets"}, left
