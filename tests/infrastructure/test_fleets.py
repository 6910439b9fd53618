"""Fleets of machines: what the state machine reaches, hands on, and makes of what its requests come to."""

from __future__ import annotations

import json

import pytest
from state_machines import choose, evaluate, following, states_of
from templates import matches

ENTRY = {"industry": "steel", "number": 3, "user_id": "ann", "idempotency_token": "night-00000", "machines": ["A"] * 3}
EXECUTION = {"Input": {"user_id": "ann"}, "Name": "night"}


@pytest.fixture(scope="module")
def states(template):
    return states_of(template, "Fleets")


@pytest.fixture(scope="module")
def child(states):
    return states["Make requests"]["ItemProcessor"]["States"]


def test_the_machine_runs_itself_calls_the_trigger_reads_rows_and_writes_summaries_alone(template):
    machine = template.of_type("AWS::StepFunctions::StateMachine")[template.only("AWS::StepFunctions::StateMachine")]
    leaves = template.leaves(machine["RoleArn"]["Fn::GetAtt"][0])
    data = f"<{template.only('AWS::S3::Bucket', 'Data')}.Arn>"

    def allowed(action: str) -> set[str]:
        return {leave.resource for leave in leaves if leave.action == action}

    assert {leave.action for leave in leaves if not leave.action.startswith(("logs:", "xray:", "kms:"))} == {
        *("lambda:InvokeFunction", "sns:Publish", "dynamodb:GetItem", "s3:GetObject", "s3:PutObject"),
        *("states:StartExecution", "states:DescribeExecution", "states:StopExecution"),
    }
    [itself] = allowed("states:StartExecution")
    assert itself.endswith(f":stateMachine:{machine['StateMachineName']}")
    assert allowed("dynamodb:GetItem") == {f"<{template.only('AWS::DynamoDB::GlobalTable')}.Arn>"}
    for action, name, other in (("s3:GetObject", "manifest.jsonl", "fleet.json"), ("s3:PutObject", "fleet.json", "x")):
        [pattern] = allowed(action)
        assert matches(pattern, f"{data}/ann/fleets/night/{name}")
        assert not matches(pattern, f"{data}/ann/fleets/night/{other}")


def test_nothing_is_a_dead_end_and_the_last_resort_comes_last(states, child):
    for part, start in ((states, "Plan"), (child, "Request")):
        reached = [start]
        for name in reached:
            assert name in part
            reached += [each for each in following(part[name]) if each not in reached]
        assert set(reached) == set(part)
        for state in part.values():
            if state["Type"] == "Task":
                assert state["Retry"][-1]["ErrorEquals"] == ["States.ALL"]


def test_a_fleet_is_planned_by_its_executions_name_and_requests_are_made_five_at_a_time(states, synthesise):
    asked = evaluate(states["Plan"]["Arguments"]["Payload"], states={"context": {"Execution": EXECUTION}})
    small = states_of(synthesise(fleet_concurrency="2"), "Fleets")

    assert asked == {"fleet": "night", "input": {"user_id": "ann"}}
    assert (states["Make requests"]["MaxConcurrency"], small["Make requests"]["MaxConcurrency"]) == (5, 2)
    assert states["Make requests"]["ToleratedFailureCount"] == 0


def look(child, row: dict) -> dict:
    given = {"user_id": "ann", "machines": 3, "looks": 1, "request": "r-1", "rejected": False}
    return evaluate(child["Look"]["Output"], states={"input": given, "result": {"Item": row}})


def machines(*statuses: str) -> dict:
    return {"L": [{"M": {"status": {"S": status}}} for status in statuses]}


def test_a_request_is_looked_at_until_nothing_is_owed_soon_first_and_then_once_a_minute(child):
    accepted = {"status": "REQUESTED", "request_id": "r-1"}
    given = evaluate(child["Request"]["Output"], states={"input": ENTRY, "result": {"Payload": accepted}})
    waits = [evaluate(child["Wait"]["Seconds"], states={"input": {"looks": looks}}) for looks in (0, 1, 2, 3, 4, 99)]
    owed = look(child, {"active": {"S": "yes"}, "machines": machines("PUBLISHED", "RUNNING", "FAILED")})
    closed = look(child, {"machines": machines("PUBLISHED", "PUBLISHED", "FAILED")})

    assert choose(child["Accepted?"], states={"input": given}) == "Wait"
    assert waits == [5, 10, 20, 40, 60, 60]
    assert choose(child["Owed?"], states={"input": owed}) == "Wait"
    assert choose(child["Owed?"], states={"input": closed}) == "Ended"
    ended = evaluate(child["Ended"]["Output"], states={"input": closed})
    assert ended == {"request": "r-1", "machines": 3, "published": 2}


def test_a_request_that_is_never_closed_is_given_up_after_a_day(child):
    owed = look(child, {"active": {"S": "yes"}, "machines": machines("PUBLISHED", "RUNNING", "RUNNING")})
    late = {**owed, "looks": 1500}

    assert choose(child["Owed?"], states={"input": {**late, "looks": 1499}}) == "Wait"
    assert choose(child["Owed?"], states={"input": late}) == "Ended"
    given_up = evaluate(child["Owed?"]["Choices"][1]["Output"], states={"input": late})
    assert evaluate(child["Ended"]["Output"], states={"input": given_up}) == {
        **{"request": "r-1", "machines": 3, "published": 1, "reason": "still under way after a day"}
    }


def test_a_request_that_is_refused_or_fails_ends_as_one_that_published_nothing(child):
    refused = evaluate(
        child["Request"]["Output"], states={"input": ENTRY, "result": {"Payload": {"status": "REJECTED"}}}
    )
    [caught] = child["Request"]["Catch"]
    error = {"Error": "AuthorError", "Cause": "漢" * 999}
    failed = evaluate(caught["Output"], states={"input": ENTRY, "errorOutput": error})
    [choice] = child["Accepted?"]["Choices"]

    assert choose(child["Accepted?"], states={"input": refused}) == "Ended"
    assert evaluate(choice["Output"], states={"input": refused}) == {
        **{"request": "night-00000", "machines": 3, "published": 0}
    }
    ended = evaluate(child["Ended"]["Output"], states={"input": failed})
    assert (ended["request"], ended["published"], len(ended["reason"])) == ("night-00000", 0, 36)
    told = {"Error": "AuthorError", "Cause": json.dumps({"errorMessage": "No such machine.", "stackTrace": []})}
    failed = evaluate(caught["Output"], states={"input": ENTRY, "errorOutput": told})
    assert failed["reason"] == "AuthorError: No such machine."


@pytest.mark.parametrize(
    ("published", "then"), [((3, 3), "Complete"), ((3, 1), "Tell of missing machines"), ((0, 0), "Tell of failure")]
)
def test_the_summary_counts_machines_and_names_the_requests_that_lack_some(states, published, then):
    result = [{"request": f"r-{number}", "machines": 3, "published": count} for number, count in enumerate(published)]
    known = {"input": {"summary": "ann/fleets/night/fleet.json"}, "result": result, "context": {"Execution": EXECUTION}}

    summary = evaluate(states["Make requests"]["Output"], states=known)

    assert (summary["requests"], summary["machines"], summary["published"]) == (2, 6, sum(published))
    assert summary["incomplete"] == [each for each in result if each["published"] < 3]
    stored = evaluate(states["Store summary"]["Arguments"], states={"input": summary})
    assert (stored["Key"], stored["Body"]) == ("ann/fleets/night/fleet.json", summary)
    assert choose(states["Complete?"], states={"input": summary}) == then
    if then == "Tell of missing machines":
        told = evaluate(states[then]["Arguments"]["Message"], states={**known, "input": summary})
        assert told.startswith("night: 4 of 6 machines were published; ann/fleets/night/fleet.json")
    if then == "Tell of failure":
        problem = evaluate(states["Complete?"]["Choices"][1]["Output"], states={"input": summary})["problem"]
        assert problem.startswith("None of 6 machines was published; ann/fleets/night/fleet.json")


def test_whatever_else_fails_is_told_in_its_own_words(states):
    cause = json.dumps({"errorType": "InputError", "errorMessage": "number: must be less."})
    for name in ("Plan", "Make requests", "Store summary"):
        *_, caught = states[name]["Catch"]
        told = evaluate(caught["Output"], states={"errorOutput": {"Error": "InputError", "Cause": cause}})

        assert told == {"problem": "InputError: number: must be less."}
        assert caught["Next"] == "Tell of failure"
