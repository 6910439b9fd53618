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
    assert_filled,
    bare_templates,
    contents,
    creation_order,
    delete_stack,
    differs,
    fill,
    rehearse_failed_update,
    rehearse_failure,
    silence,
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


# Every kind of resource that a setting changes, without a second function that inspects: another template.
APART = ("author", "inspection_endpoint", "inspection_instance", "vpc_id", "subnet_ids", "security_group_ids")
KEPT = (*APART, "lambda_platform", "lambda_python", "kms_key_arn", "removal_policy", "base_model_id", "service_tier")
MUCH = {
    name: value
    for setting, changes in CHANGED.items()
    if setting not in (*KEPT, *NOT_HERE)
    for name, value in changes.items()
}


def test_an_update_that_fails_after_any_change_loses_nothing_and_succeeds_when_it_is_tried_again(
    cloud, templates, base, tmp_path, report
):
    changed = templates(MUCH)
    cloud.deploy(write_assembly(tmp_path, changed))
    orders = {stack: creation_order(cloud, stack) for stack in base}
    assert tear_down(cloud) == []
    for template in (*base.values(), *changed.values()):
        silence(template)
    cloud.deploy(write_assembly(tmp_path, base))
    held = fill(cloud)

    for stack, template in base.items():
        differing = [name for name in orders[stack] if differs(name, template, changed[stack])]
        for resource in differing:
            rehearse_failed_update(cloud, tmp_path, stack, template, changed[stack], orders[stack], resource, held)
        report[stack] = len(differing)

    assert len(report) == len(base)
    assert sum(report.values()) > 40
    assert tear_down(cloud) == []


# ------------------------------------------------------------------ settings


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
    for template in (*base.values(), *changed.values()):
        silence(template)
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
