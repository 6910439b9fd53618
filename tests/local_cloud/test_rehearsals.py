"""A deployment that fails half-way, and is tried again: nothing is left of it, nothing is in the way."""

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest

from defectory.local.cloud import LocalCloud
from tests.local_cloud.rehearsals import (
    RETAINED,
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

pytestmark = pytest.mark.xdist_group("application")

# Of the rest, kinds that something particular is made of; `make drills` lets creation fail after each resource.
KINDS = RETAINED | {
    *("AWS::KMS::Key", "AWS::CodePipeline::Pipeline", "AWS::StepFunctions::StateMachine"),
    *("AWS::Lambda::EventSourceMapping", "AWS::CloudWatch::Dashboard"),
}


@pytest.fixture
def empty() -> Iterator[LocalCloud]:
    with LocalCloud() as cloud:
        yield cloud


def test_what_failed_half_way_leaves_nothing_and_can_be_deployed(
    empty: LocalCloud, assemblies: dict[str, Path], tmp_path: Path
) -> None:
    templates = bare_templates(assemblies["catalogue"], retain=True)
    cloud = empty
    cloud.deploy(write_assembly(tmp_path, templates))
    orders = {stack: creation_order(cloud, stack) for stack in templates}
    for stack in templates:
        delete_stack(cloud, stack)
    retained = contents(cloud)
    assert retained["tables"], "or nothing of it would be in the way"
    assert retained["log groups"]
    assert retained["registries"]

    tried = set()
    for stack, template in templates.items():
        for resource in reversed(orders[stack]):
            if (kind := template["Resources"][resource]["Type"]) in KINDS - tried:
                tried.add(kind)
                rehearse_failure(cloud, tmp_path, stack, template, orders[stack], resource)
    assert tried == KINDS

    # What deleted stacks have retained is found by its tags.
    assert tear_down(cloud) == []
    left = {kind: names for kind, names in contents(cloud).items() if names}
    assert {kind: names for kind, names in left.items() if kind not in ("buckets", "roles")} == {}
    assert all(bucket.startswith("cdk-") for bucket in left["buckets"])


def test_an_update_that_fails_half_way_leaves_all_as_it_was_and_can_be_tried_again(
    empty: LocalCloud, assemblies: dict[str, Path], tmp_path: Path
) -> None:
    stack = "defectory-inspection"
    template = bare_templates(assemblies["catalogue"], retain=True)[stack]
    silence(template)
    empty.deploy(write_assembly(tmp_path, {stack: template}))
    order = creation_order(empty, stack)
    held = fill(empty)
    # What may be changed of each: the last function is where the update fails, when all the rest is changed.
    changed = copy.deepcopy(template)
    for resource in changed["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Lambda::Function":
            properties["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] = "DEBUG"
        elif resource["Type"] == "AWS::Logs::LogGroup":
            properties["RetentionInDays"] = 14
        elif resource["Type"] == "AWS::SQS::Queue":
            properties["MessageRetentionPeriod"] = 86_400
    last = [name for name in order if differs(name, template, changed)][-1]

    rehearse_failed_update(empty, tmp_path, stack, template, changed, order, last, held)
