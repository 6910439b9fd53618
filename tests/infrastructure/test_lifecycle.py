"""A deployment in the course of its life: no setting replaces what holds data, none is in another deployment's way."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import permutations

import pytest

from defectory.config import Config
from tests.support.changed_settings import CHANGED, OF_ANOTHER_DEPLOYMENT, replaced

STACKS = ("sensor-data", "inspection", "image-synthesis", "detection")
# Without this one an inspection is by another function, whose logs and dead letters are others.
OF_ITS_FUNCTION = ("InspectImage",)


def together(*apart: str) -> dict[str, str]:
    """All changes at once, but for those of ``apart``, which go with others' values."""
    changes = [change for name, change in CHANGED.items() if name not in apart]
    return {name: value for change in changes for name, value in change.items()}


# Each alone is deployed by the drills; here as many as go together, in three syntheses.
COMBINATIONS = {
    "all that go together": together("author", "inspection_instance", "model_id", "base_model_id", "lambda_platform"),
    "author": CHANGED["author"],
    "the rest": {**CHANGED["base_model_id"], **CHANGED["inspection_instance"], **CHANGED["lambda_platform"]},
}


def test_every_setting_is_changed() -> None:
    assert {*CHANGED, *OF_ANOTHER_DEPLOYMENT} == set(Config.model_fields)
    tried = {name for changes in COMBINATIONS.values() for name in changes}
    assert tried == set(CHANGED)


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("changes", COMBINATIONS.values(), ids=COMBINATIONS)
def test_no_setting_replaces_what_holds_data(synthesise, stack, changes):
    before, after = synthesise(stack), synthesise(stack, **changes)

    lost = [each for each in replaced(before.body, after.body) if not each.startswith(OF_ITS_FUNCTION)]
    back = [each for each in replaced(after.body, before.body) if not each.startswith(("InspectWithModel", "Pipeline"))]

    assert (lost, back) == ([], [])


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("changes", COMBINATIONS.values(), ids=COMBINATIONS)
def test_what_a_setting_leaves_out_is_not_in_the_way_when_it_is_set_back(synthesise, stack, changes):
    """What is retained keeps its name; made anew by the same stack, it could not have the same."""
    before, after = (template.body["Resources"] for template in (synthesise(stack), synthesise(stack, **changes)))

    for old, new in permutations((before, after)):
        for name in old.keys() - new.keys():
            if old[name].get("DeletionPolicy", "Delete") != "Delete":
                named = [member for member in old[name].get("Properties", {}) if member.endswith("Name")]
                # People's commits outweigh this: docs/operations.md says how to make room for a repository's return.
                assert not named or old[name]["Type"] == "AWS::CodeCommit::Repository", name


# ------------------------------------------------------------------ side by side

NAMES = {
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::CodeCommit::Repository": "RepositoryName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::SageMaker::ModelPackageGroup": "ModelPackageGroupName",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
}


@pytest.fixture(scope="module")
def given_names(synthesise) -> dict[str, set[str]]:
    """Names by type that the templates of the deployment ``defectory`` give, those of the stacks among them."""
    names: dict[str, set[str]] = defaultdict(set)
    for stack in STACKS:
        names["stack"].add(json.dumps(f"defectory-{stack}"))
        body = synthesise(stack, pipeline_source="codecommit").body
        assert not any("Export" in output for output in body["Outputs"].values())
        for logical, resource in body["Resources"].items():
            kind = resource["Type"]
            for member, value in resource.get("Properties", {}).items():
                if member == NAMES.get(kind):
                    names[kind].add(json.dumps(value))
                else:
                    # Another name that the account may have once would be one that nobody has looked at here.  A
                    # policy's is its role's matter.
                    own = (f"{kind.rpartition(':')[2]}Name", "Name")
                    assert member not in own or kind == "AWS::IAM::Policy", logical
    return names


def test_two_deployments_share_no_name(given_names):
    assert given_names.keys() == {"stack", *NAMES}
    for kind, names in given_names.items():
        assert all("defectory-" in name for name in names), kind


def test_no_deployment_can_be_called_so_that_its_names_are_anothers(given_names):
    """``plant`` and ``plant-inspection`` differ, too: no name ends in what another name of its type adds."""
    for kind, names in given_names.items():
        # What CloudFormation puts in differs anyway.
        endings = {name.strip('"').removeprefix("defectory") for name in names if "Fn::" not in name}
        for one, other in permutations(endings, 2):
            assert not one.endswith(other), (kind, one, other)
