"""CodePipeline and CodeBuild in the local cloud: the sample's pipeline, driven through the API."""

import io
import json
import uuid
import zipfile
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from defectory.local.cloud import LocalCloud
from tests.local_cloud.roles import ROLE
from tests.local_cloud.sample_app import eventually

pytestmark = pytest.mark.xdist_group("local-cloud")


@pytest.fixture(scope="module")
def pipelines(cloud: LocalCloud) -> BaseClient:
    return cloud.client("codepipeline")


def start(pipelines: BaseClient, name: str, **variables: str) -> str:
    given = [{"name": key, "value": value} for key, value in variables.items()]
    request = {"variables": given} if given else {}
    return pipelines.start_pipeline_execution(name=name, **request)["pipelineExecutionId"]


def execution(pipelines: BaseClient, name: str, execution_id: str) -> dict[str, Any]:
    reply = pipelines.get_pipeline_execution(pipelineName=name, pipelineExecutionId=execution_id)
    return reply["pipelineExecution"]


def ended(pipelines: BaseClient, name: str, execution_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = execution(pipelines, name, execution_id)
        return None if found["status"] in ("InProgress", "Stopping") else found

    return eventually(look, "end of the execution")


def actions(pipelines: BaseClient, name: str, execution_id: str) -> dict[str, dict[str, Any]]:
    pages = pipelines.get_paginator("list_action_executions").paginate(
        pipelineName=name, filter={"pipelineExecutionId": execution_id}
    )
    return {detail["actionName"]: detail for page in pages for detail in page["actionExecutionDetails"]}


def events(cloud: LocalCloud, sample: dict[str, str], execution_id: str) -> list[dict[str, Any]]:
    """The pipeline's events of an execution that reached the function that the rule names, in order."""
    items = cloud.client("dynamodb").scan(TableName=sample["Table"])["Items"]
    found = [json.loads(item["value"]["S"]) for item in items]
    return [event for event in found if event.get("detail", {}).get("execution-id") == execution_id]


def states(cloud: LocalCloud, sample: dict[str, str], execution_id: str) -> set[str]:
    return {event["detail"]["state"] for event in events(cloud, sample, execution_id)}


@pytest.fixture(scope="module")
def succeeded(pipelines: BaseClient, sample: dict[str, str]) -> str:
    """An execution that has succeeded."""
    execution_id = start(pipelines, sample["Pipeline"], who="o'hara")
    found = ended(pipelines, sample["Pipeline"], execution_id)
    assert found["status"] == "Succeeded", actions(pipelines, sample["Pipeline"], execution_id)
    return execution_id


def test_execution_tells_its_variables(pipelines: BaseClient, sample: dict[str, str], succeeded: str) -> None:
    found = execution(pipelines, sample["Pipeline"], succeeded)
    resolved = {variable["name"]: variable["resolvedValue"] for variable in found["variables"]}
    assert resolved == {"who": "o'hara", "mode": "good"}


def test_actions_hand_artifacts_and_variables_on(cloud: LocalCloud, sample: dict[str, str], succeeded: str) -> None:
    """Check compares both of Make's artifacts, an exported variable and a parameter; its result is in S3."""
    body = cloud.client("s3").get_object(Bucket=sample["Results"], Key="o'hara/state.txt")["Body"].read()
    assert body == b"succeeding 1\n"


def test_artifacts_are_archives_in_the_artifact_store(
    cloud: LocalCloud, pipelines: BaseClient, sample: dict[str, str], succeeded: str
) -> None:
    made = actions(pipelines, sample["Pipeline"], succeeded)["Make"]["output"]["outputArtifacts"]
    places = {artifact["name"]: artifact["s3location"] for artifact in made}
    assert places.keys() == {"Numbers", "Notes"}
    numbers = places["Numbers"]
    assert numbers["bucket"] == sample["Artifacts"]
    assert numbers["key"].startswith(f"{sample['Pipeline'][:20]}/Numbers/")
    body = cloud.client("s3").get_object(Bucket=numbers["bucket"], Key=numbers["key"])["Body"].read()
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"answer.txt": b"42\n"}


def test_build_tells_its_phases_and_logs(
    cloud: LocalCloud, pipelines: BaseClient, sample: dict[str, str], succeeded: str
) -> None:
    result = actions(pipelines, sample["Pipeline"], succeeded)["Make"]["output"]["executionResult"]
    (build,) = cloud.client("codebuild").batch_get_builds(ids=[result["externalExecutionId"]])["builds"]
    assert build["buildStatus"] == "SUCCEEDED"
    assert build["initiator"] == f"codepipeline/{sample['Pipeline']}"
    phases = {phase["phaseType"]: phase.get("phaseStatus") for phase in build["phases"]}
    work = ("DOWNLOAD_SOURCE", "INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD", "UPLOAD_ARTIFACTS")
    assert [phases[name] for name in work] == ["SUCCEEDED"] * 6
    assert build["logs"]["groupName"] == "/sample/make"
    lines = log_of(cloud, build)
    assert "installing for o'hara in src" in lines
    # The working directory and a variable that was not exported carry over from one phase to the next.
    assert "counting in made" in lines
    assert "cleaned up" in lines


def log_of(cloud: LocalCloud, build: dict[str, Any]) -> list[str]:
    reply = cloud.client("logs").get_log_events(
        logGroupName=build["logs"]["groupName"], logStreamName=build["logs"]["streamName"], startFromHead=True
    )
    return [event["message"] for event in reply["events"]]


def test_start_and_end_are_events_that_rules_see(cloud: LocalCloud, sample: dict[str, str], succeeded: str) -> None:
    eventually(lambda: states(cloud, sample, succeeded) == {"STARTED", "SUCCEEDED"}, "events of start and end")
    (event,) = (e for e in events(cloud, sample, succeeded) if e["detail"]["state"] == "SUCCEEDED")
    assert event["source"] == "aws.codepipeline"
    assert event["detail-type"] == "CodePipeline Pipeline Execution State Change"
    assert event["resources"] == [f"arn:aws:codepipeline:us-east-1:123456789012:{sample['Pipeline']}"]
    assert event["detail"]["pipeline"] == sample["Pipeline"]
    assert event["detail"]["version"] == 1.0
    assert event["detail"]["execution-trigger"]["trigger-type"] == "StartPipelineExecution"


def test_failed_build_fails_the_execution_and_says_why(
    cloud: LocalCloud, pipelines: BaseClient, sample: dict[str, str]
) -> None:
    execution_id = start(pipelines, sample["Pipeline"], who="ada", mode="bad")
    assert ended(pipelines, sample["Pipeline"], execution_id)["status"] == "Failed"
    found = actions(pipelines, sample["Pipeline"], execution_id)
    assert found["Make"]["status"] == "Failed"
    assert "Check" not in found
    result = found["Make"]["output"]["executionResult"]
    assert result["errorDetails"]["code"] == "JobFailed"
    assert "Phase: BUILD, Code: COMMAND_EXECUTION_ERROR" in result["errorDetails"]["message"]
    assert "exit status 3" in result["errorDetails"]["message"]
    (build,) = cloud.client("codebuild").batch_get_builds(ids=[result["externalExecutionId"]])["builds"]
    phases = {phase["phaseType"]: phase.get("phaseStatus") for phase in build["phases"]}
    assert (build["buildStatus"], phases["BUILD"], phases["POST_BUILD"]) == ("FAILED", "FAILED", "SUCCEEDED")
    # What failed is told, and what has to run in any case did, knowing of the failure.
    assert {"about to fail", "cleaned up", "succeeding 0"} <= set(log_of(cloud, build))
    eventually(lambda: states(cloud, sample, execution_id) == {"STARTED", "FAILED"}, "event of the failure")


def running_build(pipelines: BaseClient, sample: dict[str, str], execution_id: str) -> str:
    def look() -> str:
        make = actions(pipelines, sample["Pipeline"], execution_id).get("Make", {})
        return make.get("output", {}).get("executionResult", {}).get("externalExecutionId", "")

    return eventually(look, "build under way")


def test_stopped_build_fails_the_execution(cloud: LocalCloud, pipelines: BaseClient, sample: dict[str, str]) -> None:
    execution_id = start(pipelines, sample["Pipeline"], who="ada", mode="slow")
    build_id = running_build(pipelines, sample, execution_id)
    stopped = cloud.client("codebuild").stop_build(id=build_id)["build"]
    assert stopped["buildStatus"] == "STOPPED"
    assert ended(pipelines, sample["Pipeline"], execution_id)["status"] == "Failed"


def test_executions_run_in_parallel_and_stop_one_by_one(
    cloud: LocalCloud, pipelines: BaseClient, sample: dict[str, str]
) -> None:
    name = sample["Pipeline"]
    slow = start(pipelines, name, who="ada", mode="slow")
    build_id = running_build(pipelines, sample, slow)
    quick = start(pipelines, name, who="grace")
    assert ended(pipelines, name, quick)["status"] == "Succeeded"
    assert execution(pipelines, name, slow)["status"] == "InProgress"
    pipelines.stop_pipeline_execution(pipelineName=name, pipelineExecutionId=slow, abandon=True, reason="shift over")
    found = ended(pipelines, name, slow)
    assert (found["status"], found["statusSummary"]) == ("Stopped", "shift over")
    assert actions(pipelines, name, slow)["Make"]["status"] == "Abandoned"
    eventually(lambda: states(cloud, sample, slow) == {"STARTED", "STOPPING", "STOPPED"}, "event of the stop")
    with pytest.raises(ClientError, match="PipelineExecutionNotStoppableException"):
        pipelines.stop_pipeline_execution(pipelineName=name, pipelineExecutionId=slow)
    # Abandoning an action leaves its build alone, as in AWS.
    builds = cloud.client("codebuild")
    assert builds.batch_get_builds(ids=[build_id])["builds"][0]["buildStatus"] == "IN_PROGRESS"
    builds.stop_build(id=build_id)


def test_execution_that_is_stopped_lets_its_action_end(
    cloud: LocalCloud, pipelines: BaseClient, sample: dict[str, str]
) -> None:
    name = sample["Pipeline"]
    execution_id = start(pipelines, name, who="ada", mode="slow")
    build_id = running_build(pipelines, sample, execution_id)
    pipelines.stop_pipeline_execution(pipelineName=name, pipelineExecutionId=execution_id)
    assert execution(pipelines, name, execution_id)["status"] == "Stopping"
    with pytest.raises(ClientError, match="DuplicatedStopRequestException"):
        pipelines.stop_pipeline_execution(pipelineName=name, pipelineExecutionId=execution_id)
    cloud.client("codebuild").stop_build(id=build_id)
    assert ended(pipelines, name, execution_id)["status"] == "Stopped"


def test_same_token_starts_one_execution(pipelines: BaseClient, sample: dict[str, str]) -> None:
    request = {
        "name": sample["Pipeline"],
        "variables": [{"name": "who", "value": "x"}, {"name": "mode", "value": "bad"}],
    }
    first = pipelines.start_pipeline_execution(**request, clientRequestToken="token-1")["pipelineExecutionId"]
    second = pipelines.start_pipeline_execution(**request, clientRequestToken="token-1")["pipelineExecutionId"]
    other = pipelines.start_pipeline_execution(**request, clientRequestToken="token-2")["pipelineExecutionId"]
    assert second == first != other
    for execution_id in (first, other):
        ended(pipelines, sample["Pipeline"], execution_id)


def test_lists_show_every_execution_newest_first(pipelines: BaseClient, sample: dict[str, str], succeeded: str) -> None:
    name = sample["Pipeline"]
    latest = start(pipelines, name, who="last", mode="bad")
    ended(pipelines, name, latest)
    pages = pipelines.get_paginator("list_pipeline_executions").paginate(
        pipelineName=name, PaginationConfig={"PageSize": 1}
    )
    listed = [summary for page in pages for summary in page["pipelineExecutionSummaries"]]
    assert listed[0]["pipelineExecutionId"] == latest
    assert succeeded in [summary["pipelineExecutionId"] for summary in listed]
    assert name in [pipeline["name"] for pipeline in pipelines.list_pipelines()["pipelines"]]
    stages = {stage["stageName"]: stage for stage in pipelines.get_pipeline_state(name=name)["stageStates"]}
    assert stages["Make"]["latestExecution"] == {"pipelineExecutionId": latest, "status": "Failed"}


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [({}, "who"), ({"who": "x", "shift": "night"}, "no variable shift")],
)
def test_wrong_variables_start_nothing(
    pipelines: BaseClient, sample: dict[str, str], variables: dict[str, str], complaint: str
) -> None:
    with pytest.raises(ClientError, match=complaint):
        start(pipelines, sample["Pipeline"], **variables)


def test_unknown_pipeline_and_execution_are_told(pipelines: BaseClient, sample: dict[str, str]) -> None:
    with pytest.raises(ClientError, match="PipelineNotFoundException"):
        start(pipelines, "nope")
    with pytest.raises(ClientError, match="PipelineExecutionNotFoundException"):
        execution(pipelines, sample["Pipeline"], str(uuid.UUID(int=0)))


def test_pipeline_that_aws_would_refuse_is_refused(pipelines: BaseClient, sample: dict[str, str]) -> None:
    pipeline = pipelines.get_pipeline(name=sample["Pipeline"])["pipeline"]
    pipeline["name"] = "other"
    check = pipeline["stages"][2]["actions"][0]
    check["inputArtifacts"] = [*check["inputArtifacts"], {"name": "Missing"}]
    with pytest.raises(ClientError, match="no action before it makes the artifact Missing"):
        pipelines.create_pipeline(pipeline=pipeline)
    check["inputArtifacts"] = [{"name": f"A{number}"} for number in range(6)]
    with pytest.raises(ClientError, match="inputArtifacts"):
        pipelines.create_pipeline(pipeline=pipeline)


def test_actions_of_equal_run_order_run_at_the_same_time(
    cloud: LocalCloud, pipelines: BaseClient, sample: dict[str, str]
) -> None:
    """Each of two builds waits for a file that the other makes."""
    meeting = (
        'version: 0.2\nphases: {build: {commands: ["touch $MEETING/$ME", '
        '"for i in $(seq 100); do [ -e $MEETING/$YOU ] && exit 0; sleep 0.1; done; exit 1"]}}'
    )
    builds = cloud.client("codebuild")
    source = pipelines.get_pipeline(name=sample["Pipeline"])["pipeline"]["stages"][0]
    actions_together = []
    for me, you in (("one", "two"), ("two", "one")):
        builds.create_project(
            name=f"meet-{me}",
            source={"type": "CODEPIPELINE", "buildspec": meeting},
            artifacts={"type": "CODEPIPELINE"},
            environment={"type": "LINUX_CONTAINER", "computeType": "BUILD_GENERAL1_SMALL", "image": "any"},
            serviceRole=ROLE,
        )
        variables = {"MEETING": str(cloud.settings.work / "tmp"), "ME": me, "YOU": you}
        actions_together.append(
            {
                "name": me,
                "actionTypeId": {"category": "Test", "owner": "AWS", "provider": "CodeBuild", "version": "1"},
                "runOrder": 7,
                "inputArtifacts": [{"name": "Source"}],
                "configuration": {
                    "ProjectName": f"meet-{me}",
                    "EnvironmentVariables": json.dumps([{"name": k, "value": v} for k, v in variables.items()]),
                },
            }
        )
    pipelines.create_pipeline(
        pipeline={
            "name": "meeting",
            "roleArn": ROLE,
            "pipelineType": "V2",
            "executionMode": "QUEUED",
            "artifactStore": {"type": "S3", "location": sample["Artifacts"]},
            "stages": [source, {"name": "Meet", "actions": actions_together}],
        }
    )
    assert ended(pipelines, "meeting", start(pipelines, "meeting"))["status"] == "Succeeded"
