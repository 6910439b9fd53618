"""A deployment that fails half-way, and is tried again: nothing is left of it, nothing is in the way."""

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
    rehearse_failure,
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
