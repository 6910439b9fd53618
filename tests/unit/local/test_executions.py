"""The limits of Step Functions, held in MiniStack's own interpreter."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from ministack.services import stepfunctions
from ministack.services.cloudformation import provisioners

from defectory.local.server.deadlines import Deadlines
from defectory.local.server.distributed_map import DistributedMaps
from defectory.local.server.executions import (
    DEFINITION_BYTES,
    MOST_BYTES,
    NAME_KEPT,
    Executions,
    check_definition,
    check_name,
    resource_name,
    size_of,
)
from defectory.local.server.services import ServiceFault

FEW = 60
State = dict[str, Any]
PASS: State = {"Type": "Pass", "End": True}


@pytest.fixture
def limits() -> Iterator[Executions]:
    """The limits in force, with histories of few events; gone when the test is over."""
    before, handlers = dict(vars(stepfunctions)), dict(provisioners._RESOURCE_HANDLERS)
    # Without the moment that MiniStack waits before each execution.
    vars(stepfunctions)["time"] = SimpleNamespace(sleep=lambda seconds: time.sleep(seconds if seconds > 1 else 0))
    try:
        yield Executions(most_events=FEW)
    finally:
        vars(stepfunctions).update(before)
        provisioners._RESOURCE_HANDLERS.update(handlers)
        stepfunctions.reset()


def answered(reply: tuple[int, Any, bytes]) -> tuple[int, dict[str, Any]]:
    return reply[0], json.loads(reply[2])


def make(states: dict[str, State], language: str = "JSONPath", name: str = "machine", **more: str) -> str:
    definition = json.dumps({"QueryLanguage": language, "StartAt": next(iter(states)), "States": states})
    made = stepfunctions._create_state_machine(
        {"name": name, "definition": definition, "roleArn": "arn:aws:iam::000000000000:role/any", **more}
    )
    assert made[0] == 200, made
    return str(answered(made)[1]["stateMachineArn"])


def run(
    states: dict[str, State], language: str = "JSONPath", given: object = None, **more: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The end of an execution of these states, and its history."""
    arn = make(states, language, **more)
    text = json.dumps(given or {}, ensure_ascii=False)
    status, end = answered(stepfunctions._start_sync_execution({"stateMachineArn": arn, "input": text}))
    assert status == 200, end
    return end, stepfunctions._executions[end["executionArn"]]["events"]


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


# Names.


@pytest.mark.parametrize("name", ["a", "a" * 80, "Größe-1_ß.(2)+=@'!", "日本" * 40])
def test_name_that_aws_takes(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        *(
            (f"a{wrong}b", "InvalidName")
            for wrong in ' \t\n<>{}[]?*"#%\\^|~`$&,;:/\x00\x7f\x9f\ufffe\uffff\ud800\u2003'
        ),
        ("a\U0010ffff", "InvalidName"),
        ("", "ValidationException"),
        ("a" * 81, "ValidationException"),
    ],
)
def test_name_that_aws_refuses(name: str, code: str) -> None:
    with pytest.raises(ServiceFault) as refused:
        check_name(name)
    assert refused.value.code == code


@pytest.mark.usefixtures("limits")
def test_name_of_an_execution_is_used_once() -> None:
    arn = make({"Wait": {"Type": "Wait", "Seconds": 600, "End": True}})
    asked = {"stateMachineArn": arn, "name": "once", "input": '{"a": 1}'}
    first = answered(stepfunctions._start_execution(asked))
    assert first[0] == 200
    assert answered(stepfunctions._start_execution(asked)) == first
    other = answered(stepfunctions._start_execution({**asked, "input": "{}"}))
    assert (other[0], other[1]["__type"]) == (400, "ExecutionAlreadyExists")
    stepfunctions._stop_execution({"executionArn": first[1]["executionArn"]})
    again = answered(stepfunctions._start_execution(asked))
    assert (again[0], again[1]["__type"]) == (400, "ExecutionAlreadyExists")
    ended = stepfunctions._executions[first[1]["executionArn"]]
    ended["stopDate"] = (datetime.now(UTC) - NAME_KEPT - timedelta(hours=1)).isoformat()
    later = answered(stepfunctions._start_execution(asked))
    assert later[0] == 200
    stepfunctions._stop_execution({"executionArn": later[1]["executionArn"]})


# Definitions.


def test_definition_has_a_length_and_names_that_have_one() -> None:
    check_definition(json.dumps({"StartAt": "a" * 80, "States": {"a" * 80: PASS}}))
    inner = {"Type": "Map", "ItemProcessor": {"StartAt": "b", "States": {"b" * 81: PASS}}, "End": True}
    wait = {"Type": "Wait", "Seconds": 100_000_000, "End": True}
    for document in ({"States": {"a" * 81: PASS}}, {"States": {"Map": inner}}, {"States": {"Wait": wait}}):
        with pytest.raises(ServiceFault) as refused:
            check_definition(json.dumps(document))
        assert refused.value.code == "InvalidDefinition"
    with pytest.raises(ServiceFault, match="length less than or equal to 1048576") as refused:
        check_definition(json.dumps({"Comment": "a" * DEFINITION_BYTES, "States": {"a": PASS}}))
    assert refused.value.code == "ValidationException"
    with pytest.raises(ServiceFault, match="INVALID_JSON_DESCRIPTION"):
        check_definition("{")


@pytest.mark.usefixtures("limits")
def test_definition_in_a_template_has_them_too() -> None:
    create = provisioners._RESOURCE_HANDLERS["AWS::StepFunctions::StateMachine"]["create"]
    wrong = {"DefinitionString": json.dumps({"StartAt": "a", "States": {"a" * 81: PASS}})}
    with pytest.raises(ServiceFault, match="exceeds 80 characters"):
        create("Machine", wrong, "stack")
    with pytest.raises(ServiceFault, match="Invalid Name: 'a b'"):
        create("Machine", {**wrong, "StateMachineName": "a b"}, "stack")


# Sizes.


def test_size_is_of_utf_8_without_spaces() -> None:
    assert size_of({"a": ["ü", 1]}) == len('{"a":["ü",1]}'.encode())


@pytest.mark.usefixtures("limits")
def test_input_of_an_execution_is_bounded_and_json() -> None:
    arn = make({"Pass": PASS})
    fitting = json.dumps("ü" * (MOST_BYTES // 2 - 1), ensure_ascii=False)
    for start in (stepfunctions._start_execution, stepfunctions._start_sync_execution):
        assert start({"stateMachineArn": arn, "input": fitting})[0] == 200
        for given, code in ((f"{fitting} ", "ValidationException"), ("{", "InvalidExecutionInput")):
            status, refused = answered(start({"stateMachineArn": arn, "input": given}))
            assert (status, refused["__type"]) == (400, code)


@pytest.mark.usefixtures("limits")
def test_output_of_a_callback_is_bounded_and_json() -> None:
    for output, code in (("1" * (MOST_BYTES + 1), "ValidationException"), ("{", "InvalidOutput")):
        status, refused = answered(stepfunctions._send_task_success({"taskToken": "token", "output": output}))
        assert (status, refused["__type"]) == (400, code)
    for told in ({"error": "e" * 257}, {"cause": "c" * 32_769}):
        status, refused = answered(stepfunctions._send_task_failure({"taskToken": "token", **told}))
        assert (status, refused["__type"]) == (400, "ValidationException")


GROWTH: dict[str, State] = {
    # Twice the input, and the quotes, the name and the braces around it.
    "JSONPath": {"Type": "Pass", "Parameters": {"t.$": "States.Format('{}{}', $.t, $.t)"}, "End": True},
    "JSONata": {"Type": "Pass", "Output": {"t": "{% $states.input.t & $states.input.t %}"}, "End": True},
}


@pytest.mark.usefixtures("limits")
@pytest.mark.parametrize("language", GROWTH)
@pytest.mark.parametrize("letter", ["a", "ü"])
def test_output_of_a_state_is_bounded(language: str, letter: str) -> None:
    # {"t":"…"} has 8 bytes besides the text.
    most = (MOST_BYTES - 8) // 2 // len(letter.encode())
    end, _ = run({"Grow": GROWTH[language]}, language, {"t": letter * most}, name="fits")
    assert end["status"] == "SUCCEEDED"
    end, events = run({"Grow": GROWTH[language]}, language, {"t": letter * (most + 1)}, name="exceeds")
    assert (end["status"], end["error"]) == ("FAILED", "States.DataLimitExceeded")
    assert "'Grow' returned a result with a size exceeding" in end["cause"]
    assert kinds(events) == ["ExecutionStarted", "PassStateEntered", "ExecutionFailed"]


HALF = "a" * (MOST_BYTES // 2)
INNER = {"StartAt": "Inner", "States": {"Inner": PASS}}
# States whose results exceed the limit, though nothing else does, and what they are given.
EXCEEDING: dict[str, tuple[State, object]] = {
    "Task": ({"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke"}, {"FunctionName": "f"}),
    "Map": ({"Type": "Map", "ItemProcessor": INNER, "ItemSelector": {"text": HALF}}, [1, 2]),
    "Parallel": ({"Type": "Parallel", "Branches": [INNER, INNER]}, HALF),
}


@pytest.mark.usefixtures("limits")
@pytest.mark.parametrize("discard", [("JSONPath", {"ResultPath": None}), ("JSONata", {"Output": {}})])
@pytest.mark.parametrize("kind", EXCEEDING)
@pytest.mark.parametrize("caught", ["States.ALL", "States.TaskFailed", "States.DataLimitExceeded"])
def test_result_that_is_too_long_is_caught_by_its_own_name_alone(
    monkeypatch: pytest.MonkeyPatch, discard: tuple[str, State], kind: str, caught: str
) -> None:
    monkeypatch.setattr(stepfunctions, "_resolve_lambda_function_ref", lambda *_, **__: "f")
    monkeypatch.setattr(stepfunctions, "_call_lambda", lambda *_: [HALF, HALF])
    (state, given), (language, without_result) = EXCEEDING[kind], discard
    tried = {**state, **without_result, "Catch": [{"ErrorEquals": [caught], "Next": "Caught"}], "End": True}
    end, _ = run({"Try": tried, "Caught": {"Type": "Succeed"}}, language, given)
    if caught == "States.DataLimitExceeded":
        assert end["status"] == "SUCCEEDED", end
    else:
        assert (end["status"], end["error"]) == ("FAILED", "States.DataLimitExceeded"), end
        assert "exceeding the maximum number of bytes service limit" in end["cause"]


@pytest.mark.usefixtures("limits")
@pytest.mark.parametrize("language", GROWTH)
def test_what_a_task_is_given_is_bounded(language: str) -> None:
    arguments = {"JSONPath": ("Parameters", {"TopicArn": "t", "a.$": "$.t", "b.$": "$.t"})}
    arguments["JSONata"] = ("Arguments", {"a": "{% $states.input.t %}", "b": "{% $states.input.t %}"})
    field, value = arguments[language]
    publish = {"Type": "Task", "Resource": "arn:aws:states:::sns:publish", field: value, "End": True}
    end, _ = run({"Tell": publish}, language, {"t": "a" * (MOST_BYTES // 2)})
    assert (end["error"], "'sns'" in end["cause"]) == ("States.DataLimitExceeded", True)


def test_tasks_are_called_by_their_service_or_function() -> None:
    assert resource_name("arn:aws:states:::lambda:invoke") == "lambda"
    assert resource_name("arn:aws:states:::aws-sdk:s3:putObject") == "aws-sdk:s3"
    assert resource_name("arn:aws:lambda:us-east-1:1:function:f") == "arn:aws:lambda:us-east-1:1:function:f"


# Histories.


@pytest.mark.usefixtures("limits")
def test_execution_that_loops_ends_at_the_limit() -> None:
    end, events = run({"Loop": {"Type": "Pass", "Next": "Loop"}})
    assert (end["status"], end["error"]) == ("FAILED", "States.Runtime")
    assert end["cause"] == f"The execution reached the maximum number of history events ({FEW})."
    assert (len(events), events[-1]["type"]) == (FEW, "ExecutionFailed")
    assert [event["id"] for event in events] == list(range(1, FEW + 1))


@pytest.mark.usefixtures("limits")
def test_execution_may_succeed_as_the_last_event() -> None:
    # A start, two of each state, an end.
    count = (FEW - 2) // 2
    states = {f"S{n}": {"Type": "Pass", "Next": f"S{n + 1}"} for n in range(count - 1)}
    end, events = run({**states, f"S{count - 1}": PASS})
    assert (end["status"], len(events)) == ("SUCCEEDED", FEW)


@pytest.mark.usefixtures("limits")
def test_history_of_an_express_execution_is_not_bounded() -> None:
    states = {f"S{n}": {"Type": "Pass", "Next": f"S{n + 1}"} for n in range(FEW)}
    end, events = run({**states, f"S{FEW}": PASS}, type="EXPRESS")
    assert (end["status"], len(events)) == ("SUCCEEDED", 2 * FEW + 4)


@pytest.mark.usefixtures("limits")
def test_states_within_others_are_in_the_history() -> None:
    processor = {"StartAt": "Inner", "States": {"Inner": {"Type": "Succeed"}}}
    each = {"Type": "Map", "ItemProcessor": processor, "Next": "Both"}
    both = {"Type": "Parallel", "Branches": [{**processor}, {**processor}], "End": True}
    end, events = run({"Each": each, "Both": both}, given=[1, 2, 3])
    assert end["status"] == "SUCCEEDED", end
    found = kinds(events)
    inner = ["SucceedStateEntered", "SucceedStateExited"]
    assert found[:3] == ["ExecutionStarted", "MapStateEntered", "MapStateStarted"]
    iterations = ["MapIterationStarted", "MapIterationSucceeded", *inner] * 3
    assert sorted(found[3:15]) == sorted(iterations)
    assert found[15:19] == ["MapStateSucceeded", "MapStateExited", "ParallelStateEntered", "ParallelStateStarted"]
    assert sorted(found[19:23]) == sorted(inner * 2)
    assert found[23:] == ["ParallelStateSucceeded", "ParallelStateExited", "ExecutionSucceeded"]


@pytest.mark.usefixtures("limits")
def test_iterations_count_and_no_catch_holds_the_execution() -> None:
    processor = {"StartAt": "Inner", "States": {"Inner": {"Type": "Pass", "Next": "Again"}, "Again": PASS}}
    each = {"Type": "Map", "ItemProcessor": processor, "Catch": [{"ErrorEquals": ["States.Runtime"], "Next": "End"}]}
    end, events = run({"Each": {**each, "Next": "End"}, "End": PASS}, given=list(range(FEW // 6 + 1)))
    assert (end["status"], end["error"], len(events)) == ("FAILED", "States.Runtime", FEW)


@pytest.mark.usefixtures("limits")
def test_task_that_waits_has_five_events() -> None:
    wait = {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "End": True}
    _, events = run({"Ask": wait})
    assert kinds(events)[1:5] == ["TaskStateEntered", "TaskScheduled", "TaskStarted", "TaskSubmitted"]


@pytest.mark.usefixtures("limits")
def test_inline_map_runs_forty_iterations_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    workers: list[int] = []
    pool = stepfunctions.ThreadPoolExecutor

    def made(max_workers: int) -> Any:
        workers.append(max_workers)
        return pool(max_workers=max_workers)

    monkeypatch.setattr(stepfunctions, "ThreadPoolExecutor", made)
    for most in ({}, {"MaxConcurrency": 100}, {"MaxConcurrency": 3}):
        processor = {"StartAt": "Inner", "States": {"Inner": PASS}}
        run(
            {"Each": {"Type": "Map", "ItemProcessor": processor, "End": True, **most}},
            given=[1],
            name=f"m{len(workers)}",
        )
    assert workers == [40, 40, 3]


# Deadlines.

SOON = 0.02
LONG_WAIT: State = {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}


@pytest.mark.usefixtures("limits")
@pytest.mark.parametrize(("more", "machine"), [({"type": "EXPRESS"}, {}), ({}, {"TimeoutSeconds": SOON})])
def test_execution_ends_when_its_time_is_up(more: dict[str, str], machine: State) -> None:
    Deadlines(express_seconds=SOON)
    arn = make(LONG_WAIT, **more)
    definition = json.loads(stepfunctions._state_machines[arn]["definition"]) | machine
    stepfunctions._state_machines[arn]["definition"] = json.dumps(definition)
    _, end = answered(stepfunctions._start_sync_execution({"stateMachineArn": arn}))
    execution = stepfunctions._executions[end["executionArn"]]
    assert (end["status"], end["output"], "error" in end) == ("TIMED_OUT", "{}", False)
    assert kinds(execution["events"])[-1] == "ExecutionTimedOut"
    # What it had under way may still fail: nothing comes of it.
    stepfunctions._fail_execution(execution, "TooLate", "")
    assert (execution["status"], kinds(execution["events"])[-1]) == ("TIMED_OUT", "ExecutionTimedOut")


@pytest.mark.usefixtures("limits")
def test_standard_execution_has_all_the_time_that_its_machine_gives() -> None:
    Deadlines(express_seconds=0)
    for more in ({}, {"TimeoutSeconds": 9_999_999_999}):
        definition = json.dumps({"StartAt": "Pass", "States": {"Pass": PASS}, **more})
        asked = {"name": f"machine-{len(more)}", "definition": definition, "roleArn": "arn:aws:iam::0:role/any"}
        arn = answered(stepfunctions._create_state_machine(asked))[1]["stateMachineArn"]
        assert answered(stepfunctions._start_sync_execution({"stateMachineArn": arn}))[1]["status"] == "SUCCEEDED"


@pytest.mark.usefixtures("limits")
@pytest.mark.parametrize(("tolerated", "status"), [(1, "SUCCEEDED"), (0, "FAILED")])
def test_express_child_of_a_distributed_map_that_runs_out_of_time_has_failed(tolerated: int, status: str) -> None:
    DistributedMaps(lambda execution, service: None, express_seconds=SOON)  # type: ignore[arg-type, return-value]
    slow = {"Type": "Choice", "Choices": [{"Condition": "{% $states.input = 1 %}", "Next": "Wait"}], "Default": "Done"}
    processor = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
        "StartAt": "Slow?",
        "States": {"Slow?": slow, **LONG_WAIT, "Done": {"Type": "Succeed"}},
    }
    each = {"Type": "Map", "Items": [1], "ItemProcessor": processor, "ToleratedFailureCount": tolerated, "End": True}
    end, _ = run({"Map": each}, "JSONata")
    [map_run] = stepfunctions._map_runs.values()
    assert (end["status"], map_run["itemCounts"]["timedOut"], map_run["itemCounts"]["failed"]) == (status, 1, 0)
    [child] = [item for item in stepfunctions._executions.values() if "mapRunArn" in item]
    assert (child["status"], child["events"][-1]["type"]) == ("TIMED_OUT", "ExecutionTimedOut")
