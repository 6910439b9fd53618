"""The pipeline's wiring: stages, artifacts, variables, and what the build projects are given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from stacks.import_closure import LIBRARY

STAGES = ["Source", "Write", "Run", "Repair", "Rerun", "Publish"]


@pytest.fixture(scope="module")
def pipeline(template):
    [pipeline] = template.of_type("AWS::CodePipeline::Pipeline").values()
    return pipeline


@pytest.fixture(scope="module")
def actions(pipeline):
    return {action["Name"]: action for stage in pipeline["Stages"] for action in stage["Actions"]}


def names(artifacts):
    return [artifact["Name"] for artifact in artifacts]


def test_requests_are_worked_on_side_by_side(pipeline):
    assert (pipeline["PipelineType"], pipeline["ExecutionMode"]) == ("V2", "PARALLEL")


def test_an_execution_cannot_start_without_a_request(pipeline):
    assert {variable["Name"] for variable in pipeline["Variables"]} == {"user_id", "request_id"}
    assert not any("DefaultValue" in variable for variable in pipeline["Variables"])


def test_the_stages_follow_one_another_with_one_action_each(pipeline):
    assert [stage["Name"] for stage in pipeline["Stages"]] == STAGES
    assert all(len(stage["Actions"]) == 1 for stage in pipeline["Stages"])


def test_what_an_action_takes_was_made_before_and_is_no_more_than_codepipeline_allows(actions):
    made = set()
    for name in STAGES:
        inputs = names(actions[name].get("InputArtifacts", []))
        assert set(inputs) <= made
        assert len(inputs) <= 5
        made |= set(names(actions[name].get("OutputArtifacts", [])))


@pytest.mark.parametrize("name", STAGES[1:])
def test_the_source_is_every_actions_primary_input(actions, name):
    action = actions[name]

    assert names(action["InputArtifacts"])[0] == "Source"
    if len(action["InputArtifacts"]) > 1:
        assert action["Configuration"]["PrimarySource"] == "Source"


@pytest.mark.parametrize("name", STAGES[1:])
def test_an_action_knows_its_request_by_the_variables(actions, name):
    given = json.loads(actions[name]["Configuration"]["EnvironmentVariables"])

    assert {entry["name"]: entry["value"] for entry in given} == {
        "REQUEST_USER_ID": "#{variables.user_id}",
        "REQUEST_ID": "#{variables.request_id}",
    }


@pytest.mark.parametrize("name", STAGES[1:])
def test_the_buildspec_hands_over_what_the_action_promises(actions, name):
    artifacts = yaml.safe_load(Path(f"buildspec/{name.lower()}.yml").read_text()).get("artifacts", {})
    promised = names(actions[name].get("OutputArtifacts", []))

    # CodeBuild hands over one output as the primary artifact, several by their names.
    if len(promised) > 1:
        assert sorted(artifacts["secondary-artifacts"]) == sorted(promised)
    else:
        assert bool(promised) == ("files" in artifacts)


AUTHOR_VARIABLES = {
    *("REQUESTS_TABLE", "AUTHOR", "MODEL_ID", "BASE_MODEL_ID", "PROMPT_STYLE", "SERVICE_TIER", "DEPLOYMENT")
}


@pytest.mark.parametrize(
    ("action", "variables"),
    [
        ("write", AUTHOR_VARIABLES),
        ("repair", AUTHOR_VARIABLES),
        ("publish", {"REQUESTS_TABLE", "DATA_BUCKET", "ALERTS_TOPIC_ARN", "DEPLOYMENT"}),
    ],
)
def test_a_project_is_told_of_what_it_may_reach(template, action, variables):
    given = template.project(action)["Environment"]["EnvironmentVariables"]

    assert {entry["Name"] for entry in given} == variables


@pytest.mark.parametrize("name", STAGES[1:])
def test_an_actions_project_is_its_own_and_logs_to_a_group_that_is_kept(template, actions, name):
    project = template.project(name.lower())
    group = project["LogsConfig"]["CloudWatchLogs"]["GroupName"]["Ref"]

    assert name in actions[name]["Configuration"]["ProjectName"]["Ref"]
    assert template.of_type("AWS::Logs::LogGroup")[group]["RetentionInDays"] == 90


def test_the_size_that_scripts_run_on_is_configured(synthesise):
    template = synthesise(run_compute="medium")

    assert template.project("run")["Environment"]["ComputeType"] == "BUILD_GENERAL1_MEDIUM"
    assert template.project("rerun")["Environment"]["ComputeType"] == "BUILD_GENERAL1_MEDIUM"
    assert template.project("write")["Environment"]["ComputeType"] == "BUILD_GENERAL1_SMALL"


def test_the_source_is_what_was_deployed_and_starts_nothing(actions):
    source = actions["Source"]

    assert source["ActionTypeId"]["Provider"] == "S3"
    assert source["Configuration"]["PollForSourceChanges"] is False


def test_the_source_can_be_a_repository_that_starts_as_what_was_deployed(synthesise):
    template = synthesise(pipeline_source="codecommit")
    [pipeline] = template.of_type("AWS::CodePipeline::Pipeline").values()
    [repository] = template.of_type("AWS::CodeCommit::Repository").values()
    source = pipeline["Stages"][0]["Actions"][0]

    assert source["ActionTypeId"]["Provider"] == "CodeCommit"
    assert source["Configuration"]["PollForSourceChanges"] is False
    assert source["Configuration"]["BranchName"] == repository["Code"]["BranchName"]
    assert repository["Code"]["S3"]["Key"]
    starters = [
        target
        for rule in template.of_type("AWS::Events::Rule").values()
        for target in rule["Targets"]
        if "codepipeline" in str(target["Arn"])
    ]
    assert not starters, "a push must not start an execution that has no request"


def test_the_source_holds_what_the_actions_run_and_nothing_else(synthesise):
    template = synthesise()
    key = template.of_type("AWS::CodePipeline::Pipeline")["Pipeline9850B417"]["Stages"][0]["Actions"][0]
    folder = Path(template.app.outdir) / f"asset.{key['Configuration']['S3ObjectKey'].removesuffix('.zip')}"
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]

    assert {path.parts[0] for path in files} == {"buildspec", "defectory"}
    assert {path.parts[1] for path in files if path.parts[0] == "defectory"} == {
        *(
            "__init__.py",
            "claims.py",
            "errors.py",
            "lazy.py",
            "progress.py",
            "py.typed",
            "unwinding.py",
            "validation.py",
            "writing.py",
            "aws",
            "sensors",
        )
    }
    # Modules that are run by name, data, and what scripts import.
    sensors = Path("defectory/sensors")
    modules = {path.relative_to("defectory") for path in files if sensors in path.parents}
    assert modules == {
        path.relative_to(LIBRARY)
        for path in (LIBRARY / "sensors").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {Path("buildspec/run.yml"), Path("buildspec/requirements.txt")} <= set(files)
    assert not [path for path in files if "__pycache__" in path.parts]
