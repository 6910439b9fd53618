"""Tasks of state machines that call SageMaker and S3, with the names of errors that AWS reports."""

import json
from typing import Any

import pytest

from tests.local_cloud.laboratory import BUCKET, IMAGE, Laboratory, unique
from tests.local_cloud.roles import ROLE
from tests.local_cloud.sample_app import eventually

pytestmark = pytest.mark.xdist_group("local-cloud")

State = dict[str, Any]
SAGEMAKER = "arn:aws:states:::sagemaker:"
SDK = "arn:aws:states:::aws-sdk:"


def task(resource: str, parameters: State, **more: Any) -> State:
    return {"Type": "Task", "Resource": resource, "Parameters": parameters, **more}


def run(laboratory: Laboratory, states: dict[str, State], language: str = "JSONPath") -> dict[str, Any]:
    """The end of an execution of these states, one after the other."""
    names = list(states)
    chained = {
        name: {**state, **({"Next": names[index + 1]} if index + 1 < len(names) else {"End": True})}
        if state["Type"] != "Succeed" and not {"Next", "Default", "End"} & set(state)
        else state
        for index, (name, state) in enumerate(states.items())
    }
    machines = laboratory.cloud.client("stepfunctions")
    definition = json.dumps({"QueryLanguage": language, "StartAt": names[0], "States": chained})
    machine = machines.create_state_machine(name=unique("machine"), definition=definition, roleArn=ROLE)
    arn = machines.start_execution(stateMachineArn=machine["stateMachineArn"], input='{"asked": 1}')["executionArn"]

    def look() -> dict[str, Any] | None:
        found = machines.describe_execution(executionArn=arn)
        return None if found["status"] == "RUNNING" else found

    return eventually(look, "end of the execution")


def error(laboratory: Laboratory, state: State, retry: list[State] | None = None) -> tuple[str, str]:
    """How the only task failed: name and cause."""
    found = run(laboratory, {"Task": {**state, **({"Retry": retry} if retry else {})}})
    assert found["status"] == "FAILED", found
    return found["error"], found["cause"]


def test_state_machine_trains_deploys_and_asks(laboratory: Laboratory) -> None:
    name = unique("machine")
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.c5.large", "InitialInstanceCount": 1}
    states = {
        "Train": task(f"{SAGEMAKER}createTrainingJob.sync", {**laboratory.job(greeting="hi"), "TrainingJobName": name}),
        "Model": task(
            f"{SAGEMAKER}createModel",
            {
                "ModelName": name,
                "ExecutionRoleArn": ROLE,
                "PrimaryContainer": {
                    "Image": IMAGE,
                    "ModelDataUrl.$": "$.ModelArtifacts.S3ModelArtifacts",
                    "Environment": laboratory.code,
                },
            },
            ResultPath="$.model",
        ),
        "Config": task(
            f"{SAGEMAKER}createEndpointConfig",
            {"EndpointConfigName": name, "ProductionVariants": [variant]},
            ResultPath="$.config",
        ),
        "Endpoint": task(
            f"{SAGEMAKER}createEndpoint",
            {"EndpointName": name, "EndpointConfigName": name},
            ResultPath="$.endpoint",
        ),
        "Look": task(f"{SDK}sagemaker:describeEndpoint", {"EndpointName": name}, ResultPath="$.described"),
        "Serves": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.described.EndpointStatus", "StringEquals": "Creating", "Next": "Wait"}],
            "Default": "Ask",
        },
        "Wait": {"Type": "Wait", "Seconds": 0, "Next": "Look"},
        "Ask": task(
            f"{SDK}sagemakerruntime:invokeEndpoint",
            {"EndpointName": name, "Body": {"a": 1}, "ContentType": "application/octet-stream"},
            ResultSelector={"answer.$": "States.StringToJson($.Body)", "variant.$": "$.InvokedProductionVariant"},
            ResultPath="$.asked",
        ),
    }
    found = run(laboratory, states)
    assert found["status"] == "SUCCEEDED", found
    output = json.loads(found["output"])
    assert output["TrainingJobStatus"] == "Completed"
    assert isinstance(output["TrainingEndTime"], int)
    assert output["model"]["ModelArn"].endswith(f":model/{name}")
    assert output["endpoint"]["EndpointArn"].endswith(f":endpoint/{name}")
    assert output["described"]["CreationTime"].endswith("Z")
    assert (output["asked"]["answer"]["greeting"], output["asked"]["answer"]["bytes"]) == ("hi", len('{"a":1}'))
    assert output["asked"]["variant"] == "AllTraffic"


def test_update_of_an_endpoint_is_a_task(laboratory: Laboratory) -> None:
    endpoint = laboratory.endpoint(laboratory.container("old"))
    config = laboratory.config(laboratory.container("new"))
    parameters = {"EndpointName": endpoint, "EndpointConfigName": config}
    assert run(laboratory, {"Update": task(f"{SAGEMAKER}updateEndpoint", parameters)})["status"] == "SUCCEEDED"
    assert laboratory.settled(endpoint)["EndpointConfigName"] == config


def test_failed_training_fails_the_task_with_its_description(laboratory: Laboratory) -> None:
    name, cause = error(laboratory, task(f"{SAGEMAKER}createTrainingJob.sync", laboratory.job(mode="failure")))
    assert name == "States.TaskFailed"
    described = json.loads(cause)
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"] == "AlgorithmError: InvalidInput: too few images, exit code: 2"


def test_training_ends_with_its_task(laboratory: Laboratory) -> None:
    request = laboratory.job(mode="sleep")
    name, _ = error(laboratory, task(f"{SAGEMAKER}createTrainingJob.sync", request, TimeoutSeconds=1))
    assert name == "States.Timeout"
    assert laboratory.trained(request["TrainingJobName"])["TrainingJobStatus"] == "Stopped"


def test_training_ends_with_its_execution(laboratory: Laboratory) -> None:
    machines, request = laboratory.cloud.client("stepfunctions"), laboratory.job(mode="sleep")
    states = {"Train": {**task(f"{SAGEMAKER}createTrainingJob.sync", request), "End": True}}
    definition = json.dumps({"StartAt": "Train", "States": states})
    machine = machines.create_state_machine(name=unique("machine"), definition=definition, roleArn=ROLE)
    execution = machines.start_execution(stateMachineArn=machine["stateMachineArn"])["executionArn"]
    known = {"NameContains": request["TrainingJobName"], "StatusEquals": "InProgress"}
    eventually(lambda: laboratory.sagemaker.list_training_jobs(**known)["TrainingJobSummaries"], "job")
    machines.stop_execution(executionArn=execution)
    assert laboratory.trained(request["TrainingJobName"])["TrainingJobStatus"] == "Stopped"


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (f"{SAGEMAKER}createModel", "SageMaker.AmazonSageMakerException"),
        (f"{SDK}sagemaker:createModel", "SageMaker.SageMakerException"),
    ],
)
def test_refusals_without_an_exception_of_their_own_have_the_services(
    laboratory: Laboratory, resource: str, expected: str
) -> None:
    parameters = {"ModelName": "under_score", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": IMAGE}}
    name, cause = error(laboratory, task(resource, parameters))
    assert name == expected
    assert "regular expression" in cause
    assert "Service: " in cause


def test_name_of_a_job_in_use_has_an_exception_of_its_own(laboratory: Laboratory) -> None:
    request = laboratory.job(greeting="hi")
    laboratory.train(request)
    for resource in (f"{SAGEMAKER}createTrainingJob.sync", f"{SDK}sagemaker:createTrainingJob"):
        assert error(laboratory, task(resource, request))[0] == "SageMaker.ResourceInUseException"


def test_catch_goes_by_the_name_of_the_error(laboratory: Laboratory) -> None:
    parameters = {"EndpointName": "nowhere", "Body": "x"}
    caught = {"ErrorEquals": ["SageMakerRuntime.ValidationErrorException"], "ResultPath": "$.error", "Next": "Caught"}
    states = {
        "Ask": task(f"{SDK}sagemakerruntime:invokeEndpoint", parameters, Catch=[caught], Next="Missed"),
        "Missed": {"Type": "Fail", "Error": "Missed"},
        "Caught": {"Type": "Pass", "End": True},
    }
    found = run(laboratory, states)
    assert found["status"] == "SUCCEEDED", found
    assert "Endpoint nowhere of account 123456789012 not found." in json.loads(found["output"])["error"]["Cause"]


def test_retry_goes_by_the_name_of_the_error(laboratory: Laboratory) -> None:
    """The error is gone by the second attempt: the first one's retry is what lets the execution succeed."""
    endpoint = laboratory.endpoint(laboratory.container(SAGEMAKER_MODEL_SERVER_TIMEOUT="30"))
    once = laboratory.cloud.settings.work / unique("once")
    retry = [{"ErrorEquals": ["SageMakerRuntime.ModelErrorException"], "IntervalSeconds": 0, "MaxAttempts": 1}]
    parameters = {"EndpointName": endpoint, "Body": f"crash unless {once}", "ContentType": "text/x"}
    found = run(laboratory, {"Ask": task(f"{SDK}sagemakerruntime:invokeEndpoint", parameters, Retry=retry)})
    assert found["status"] == "SUCCEEDED", found


def test_objects_of_s3_are_within_reach(laboratory: Laboratory) -> None:
    where = {"Bucket": BUCKET, "Key": "written/by a task.json"}
    states = {
        "Put": task(f"{SDK}s3:putObject", {**where, "Body": {"gate": "passed"}}, ResultPath="$.put"),
        "Get": task(f"{SDK}s3:getObject", where, ResultSelector={"body.$": "States.StringToJson($.Body)"}),
        "List": task(f"{SDK}s3:listObjectsV2", {"Bucket": BUCKET, "Prefix": "written/"}, ResultPath="$.listed"),
    }
    found = run(laboratory, states)
    assert found["status"] == "SUCCEEDED", found
    output = json.loads(found["output"])
    assert output["body"] == {"gate": "passed"}
    assert [entry["Key"] for entry in output["listed"]["Contents"]] == ["written/by a task.json"]


@pytest.mark.parametrize(
    ("action", "where", "expected"),
    [
        ("getObject", {"Bucket": BUCKET, "Key": "absent"}, "S3.NoSuchKeyException"),
        ("listObjectsV2", {"Bucket": "no-such-bucket"}, "S3.NoSuchBucketException"),
        ("getBucketPolicy", {"Bucket": BUCKET}, "S3.S3Exception"),
    ],
)
def test_refusals_of_s3_have_its_sdks_names(laboratory: Laboratory, action: str, where: State, expected: str) -> None:
    assert error(laboratory, task(f"{SDK}s3:{action}", where))[0] == expected


def test_unknown_operation_is_told(laboratory: Laboratory) -> None:
    assert error(laboratory, task(f"{SDK}sagemaker:createUnicorn", {}))[0] == "States.Runtime"
    assert error(laboratory, task(f"{SAGEMAKER}createProcessingJob.sync", {}))[0] == "States.Runtime"


@pytest.mark.parametrize(
    ("language", "state", "expected"),
    [
        (
            "JSONata",
            {"Output": {"status": "DONE", "asked": "{% $states.input.asked + 1 %}"}},
            {"status": "DONE", "asked": 2},
        ),
        ("JSONata", {}, {"asked": 1}),
        ("JSONPath", {"OutputPath": "$.asked"}, 1),
    ],
)
def test_succeed_state_ends_with_its_output(
    laboratory: Laboratory, language: str, state: State, expected: object
) -> None:
    found = run(laboratory, {"Done": {"Type": "Succeed", **state}}, language)
    assert json.loads(found["output"]) == expected


def test_execution_that_loops_ends_as_in_aws(laboratory: Laboratory) -> None:
    found = run(laboratory, {"Loop": {"Type": "Pass", "Next": "Loop"}})
    assert (found["status"], found["error"]) == ("FAILED", "States.Runtime")
    assert found["cause"] == "The execution reached the maximum number of history events (25000)."


def test_requests_beyond_the_limits_are_refused_as_in_aws(laboratory: Laboratory) -> None:
    machines = laboratory.cloud.client("stepfunctions")
    known = machines.exceptions
    definition = json.dumps({"StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "End": True}}})
    arn = machines.create_state_machine(name=unique("machine"), definition=definition, roleArn=ROLE)["stateMachineArn"]
    with pytest.raises(known.InvalidName):
        machines.create_state_machine(name="a b", definition=definition, roleArn=ROLE)
    with pytest.raises(known.InvalidDefinition):
        machines.update_state_machine(stateMachineArn=arn, definition=definition.replace("Pass", "P" * 81))
    with pytest.raises(known.InvalidName):
        machines.start_execution(stateMachineArn=arn, name="a/b")
    with pytest.raises(known.InvalidExecutionInput):
        machines.start_execution(stateMachineArn=arn, input="{")
    with pytest.raises(known.ValidationException):
        machines.start_execution(stateMachineArn=arn, input=json.dumps("a" * 262_143))
