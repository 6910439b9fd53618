"""Lambda functions in the local cloud: under Lambda's contract, in processes of their own."""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.client import BaseClient

from defectory.local.cloud import LocalCloud
from tests.local_cloud.sample_app import RUNTIME, eventually

pytestmark = pytest.mark.xdist_group("local-cloud")


@pytest.fixture(scope="module")
def functions(cloud: LocalCloud) -> BaseClient:
    return cloud.client("lambda")


def invoke(functions: BaseClient, name: str, **event: Any) -> tuple[Any, str | None]:
    reply = functions.invoke(FunctionName=name, Payload=json.dumps(event))
    return json.loads(reply["Payload"].read()), reply.get("FunctionError")


def messages(cloud: LocalCloud, queue: str) -> list[dict[str, Any]]:
    return cloud.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", [])


def stored(cloud: LocalCloud, table: str) -> list[dict[str, Any]]:
    items = cloud.client("dynamodb").scan(TableName=table)["Items"]
    return [json.loads(item["value"]["S"]) for item in items]


def test_handler_sees_the_context_of_lambda(functions: BaseClient, sample: dict[str, str]) -> None:
    described, error = invoke(functions, sample["Worker"], do="describe")
    assert error is None
    assert described["name"] == sample["Worker"]
    assert described["arn"].endswith(f":function:{sample['Worker']}")
    assert described["memory"] == "256"
    assert 0 < described["remaining_ms"] <= 2000
    assert described["python"] == list(sys.version_info[:2])


def test_handler_sees_its_own_variables_and_the_way_to_the_cloud_only(
    cloud: LocalCloud, functions: BaseClient, sample: dict[str, str]
) -> None:
    described, _ = invoke(functions, sample["Worker"], do="describe")
    environment = described["environment"]
    assert environment["TABLE"] == sample["Table"]
    assert environment["AWS_ENDPOINT_URL"] == cloud.endpoint
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == sample["Worker"]
    assert environment["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{RUNTIME}"
    assert environment["LAMBDA_TASK_ROOT"] == described["cwd"]
    assert not {"HOME", "VIRTUAL_ENV", "PYTEST_CURRENT_TEST", "GATEWAY_PORT", "STATE_DIR"} & environment.keys()


def test_warm_function_is_the_same_process(functions: BaseClient, sample: dict[str, str]) -> None:
    first, _ = invoke(functions, sample["Worker"], do="describe")
    second, _ = invoke(functions, sample["Worker"], do="describe")
    assert second["pid"] == first["pid"]
    assert second["calls"] == first["calls"] + 1


def test_exception_keeps_its_own_type(functions: BaseClient, sample: dict[str, str]) -> None:
    reply, error = invoke(functions, sample["Worker"], do="jam", why="belt torn")
    assert error == "Unhandled"
    assert reply["errorType"] == "MachineJammed"
    assert reply["errorMessage"] == "belt torn"
    assert any("in jam" in line for line in reply["stackTrace"])


def test_package_that_lacks_a_module_fails_as_it_would_in_aws(functions: BaseClient, sample: dict[str, str]) -> None:
    """pandas is installed where the tests run, and not in the function's package."""
    reply, _ = invoke(functions, sample["Worker"], do="load", module="pandas")
    assert reply["errorType"] == "ModuleNotFoundError"


def test_function_that_exits_says_how(functions: BaseClient, sample: dict[str, str]) -> None:
    reply, error = invoke(functions, sample["Worker"], do="leave", status=3)
    assert error == "Unhandled"
    assert reply["errorType"] == "Runtime.ExitError"
    assert "exit status 3" in reply["errorMessage"]
    assert invoke(functions, sample["Worker"], do="describe")[1] is None


def test_function_that_takes_too_long_is_ended(functions: BaseClient, sample: dict[str, str]) -> None:
    before, _ = invoke(functions, sample["Worker"], do="linger", seconds=0)
    reply, error = invoke(functions, sample["Worker"], do="linger", seconds=60)
    assert error == "Unhandled"
    assert reply["errorType"] == "Sandbox.Timedout"
    assert "timed out after 2.00 seconds" in reply["errorMessage"]
    after, _ = invoke(functions, sample["Worker"], do="linger", seconds=0)
    assert after["pid"] != before["pid"]


def test_logs_are_complete_and_attributed(cloud: LocalCloud, functions: BaseClient, sample: dict[str, str]) -> None:
    described, _ = invoke(functions, sample["Worker"], do="describe")
    invoke(functions, sample["Worker"], do="jam", why="for the log")
    logs = cloud.client("logs")
    events = logs.filter_log_events(logGroupName=f"/aws/lambda/{sample['Worker']}", limit=1000)["events"]
    text = [event["message"] for event in events]
    assert any(line.startswith(f"START RequestId: {described['request_id']}") for line in text)
    assert any("[INFO]" in line and described["request_id"] in line and "at level info" in line for line in text)
    assert any("described on standard output" in line for line in text)
    assert any("[ERROR] MachineJammed: for the log" in line for line in text)


def test_undeclared_interpreter_is_refused_with_the_way_out(
    cloud: LocalCloud, functions: BaseClient, sample: dict[str, str]
) -> None:
    other = "python3.12" if RUNTIME != "python3.12" else "python3.13"
    functions.update_function_configuration(FunctionName=sample["Worker"], Runtime=other)
    try:
        reply, error = invoke(functions, sample["Worker"], do="describe")
    finally:
        functions.update_function_configuration(FunctionName=sample["Worker"], Runtime=RUNTIME)
    assert error == "Unhandled"
    assert other in reply["errorMessage"]
    assert "lambda_python" in reply["errorMessage"]


def test_changed_configuration_counts_at_once(functions: BaseClient, sample: dict[str, str]) -> None:
    before, _ = invoke(functions, sample["Worker"], do="describe")
    variables = {"TABLE": sample["Table"], "SHIFT": "night"}
    functions.update_function_configuration(FunctionName=sample["Worker"], Environment={"Variables": variables})
    after, _ = invoke(functions, sample["Worker"], do="describe")
    assert "SHIFT" not in before["environment"]
    assert after["environment"]["SHIFT"] == "night"


def test_many_invocations_at_once_share_few_processes(functions: BaseClient, sample: dict[str, str]) -> None:
    room = max(4, 2 * (os.cpu_count() or 1))
    with ThreadPoolExecutor(2 * room) as threads:
        waits = [0.1] * (3 * room)
        replies = list(threads.map(lambda s: invoke(functions, sample["Worker"], do="linger", seconds=s), waits))
    assert all(error is None for _, error in replies)
    assert 1 < len({reply["pid"] for reply, _ in replies}) <= room


def test_message_from_a_queue_is_worked_on(cloud: LocalCloud, sample: dict[str, str]) -> None:
    cloud.client("sqs").send_message(QueueUrl=sample["Work"], MessageBody="a good one")
    eventually(lambda: {"body": "a good one"} in stored(cloud, sample["Table"]), "record of the message")


def test_message_that_fails_is_tried_again_and_then_a_dead_letter(cloud: LocalCloud, sample: dict[str, str]) -> None:
    cloud.client("sqs").send_message(QueueUrl=sample["Work"], MessageBody="poison")
    (dead,) = eventually(lambda: messages(cloud, sample["DeadLetters"]), "dead letter")
    assert dead["Body"] == "poison"
    events = cloud.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{sample['Worker']}", limit=1000)
    tries = [event["message"] for event in events["events"] if "working on poison" in event["message"]]
    assert [line.rpartition(" ")[2] for line in tries] == ["1", "2"]


def test_asynchronous_failure_is_tried_again_and_then_handed_over(
    cloud: LocalCloud, functions: BaseClient, sample: dict[str, str]
) -> None:
    event = {"do": "jam", "why": "asynchronously"}
    reply = functions.invoke(FunctionName=sample["Worker"], InvocationType="Event", Payload=json.dumps(event))
    assert reply["StatusCode"] == 202
    (failure,) = eventually(lambda: messages(cloud, sample["Failures"]), "failure")
    told = json.loads(failure["Body"])
    assert told["requestPayload"] == event
    assert told["responsePayload"]["errorType"] == "MachineJammed"
