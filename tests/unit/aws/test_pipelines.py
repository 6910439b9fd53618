"""The pipeline's adapter: what it asks CodePipeline, and what it makes of the answers."""

from __future__ import annotations

import boto3
import pytest
from botocore.stub import Stubber

from defectory.aws.pipelines import Pipeline
from defectory.errors import ServiceError

EXECUTION = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def stub(aws):
    client = boto3.client("codepipeline", region_name="us-east-1")
    with Stubber(client) as stubber:
        yield stubber


@pytest.fixture
def pipeline(stub):
    return Pipeline("sensors", stub.client)


def test_starting_passes_the_variables_and_the_token(stub, pipeline):
    stub.add_response(
        "start_pipeline_execution",
        {"pipelineExecutionId": EXECUTION},
        {
            "name": "sensors",
            "variables": [{"name": "user_id", "value": "ann"}, {"name": "request_id", "value": "r-1"}],
            "clientRequestToken": "r-1",
        },
    )

    assert pipeline.start({"user_id": "ann", "request_id": "r-1"}, token="r-1") == EXECUTION
    stub.assert_no_pending_responses()


def test_a_refused_start_says_what_was_refused(stub, pipeline):
    stub.add_client_error("start_pipeline_execution", "PipelineNotFoundException", "no such pipeline")

    with pytest.raises(ServiceError, match=r"Cannot start pipeline sensors.*no such pipeline"):
        pipeline.start({"user_id": "ann"}, token="r-1")


@pytest.mark.parametrize(("status", "running"), [("InProgress", True), ("Stopping", True), ("Failed", False)])
def test_an_execution_tells_its_status_and_variables(stub, pipeline, status, running):
    answer = {"status": status, "variables": [{"name": "user_id", "resolvedValue": "ann"}]}
    stub.add_response("get_pipeline_execution", {"pipelineExecution": answer})

    execution = pipeline.execution(EXECUTION)

    assert (execution.running, execution.variables) == (running, {"user_id": "ann"})


def test_an_execution_that_is_gone_is_none(stub, pipeline):
    stub.add_client_error("get_pipeline_execution", "PipelineExecutionNotFoundException")

    assert pipeline.execution(EXECUTION) is None


def test_an_execution_that_cannot_be_read_is_an_error(stub, pipeline):
    stub.add_client_error("get_pipeline_execution", "AccessDeniedException")

    with pytest.raises(ServiceError):
        pipeline.execution(EXECUTION)


def test_failed_actions_are_told_with_what_they_said_and_where_to_read_on(stub, pipeline):
    failed = {
        "actionName": "Run",
        "status": "Failed",
        "output": {"executionResult": {"externalExecutionUrl": "https://logs", "errorDetails": {"message": "exit 1"}}},
    }
    first = {"actionExecutionDetails": [{"actionName": "Write", "status": "Succeeded"}], "nextToken": "more"}
    stub.add_response("list_action_executions", first)
    stub.add_response("list_action_executions", {"actionExecutionDetails": [failed]})

    assert pipeline.failed_actions(EXECUTION) == ["Run failed: exit 1 https://logs"]
