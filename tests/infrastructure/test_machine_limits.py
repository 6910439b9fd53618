"""The state machines at their largest stay within what Step Functions takes: events, bytes and names.

https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from state_machines import choose, evaluate, longest_loop, states_of
from templates import Template, flat

from defectory.line.uploads import Upload
from defectory.local.server.executions import (
    MOST_BYTES,
    MOST_EVENTS,
    NAME_LENGTH,
    check_definition,
    check_name,
    size_of,
)
from defectory.sensors.service.fleets import MAX_REQUESTS, STEM_LENGTH
from defectory.sensors.service.requests import MAX_MACHINES

MACHINE = "AWS::StepFunctions::StateMachine"
# What a Cause may have, in characters, and those of the most bytes.
CAUSE, WIDEST = 32_768, "\U0001f4a5"


def machines(template: Template) -> Iterator[dict[str, Any]]:
    for machine in template.of_type(MACHINE).values():
        yield json.loads(flat(machine["DefinitionString"]))


def processors(states: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What Maps run, by the names of their states."""
    for name, state in states.items():
        assert state["Type"] != "Parallel"
        if state["Type"] == "Map":
            yield name, state["ItemProcessor"]


def test_no_history_grows_with_what_is_asked_for(stack):
    for machine in machines(stack):
        for name, processor in processors(machine["States"]):
            assert processor["ProcessorConfig"]["Mode"] == "DISTRIBUTED", f"{name}: its items count as the machine's"
            assert not list(processors(processor["States"]))


def test_definitions_and_names_are_taken(stack):
    for machine in stack.of_type(MACHINE).values():
        check_definition(flat(machine["DefinitionString"]))
        check_name(machine["StateMachineName"])


def test_a_request_that_never_ends_fits_into_its_childs_history(template):
    child = states_of(template, "Fleets")["Make requests"]["ItemProcessor"]["States"]

    def is_over(looks: int) -> bool:
        return choose(child["Owed?"], states={"input": {"owed": True, "looks": looks}}) != "Wait"

    times = bisect_left(range(MOST_EVENTS), True, key=is_over)
    last = evaluate(child["Wait"]["Seconds"], states={"input": {"looks": times}})
    assert times * last > 24 * 3600
    assert longest_loop(child, ("Wait", "Look", "Owed?"), times) < MOST_EVENTS


def test_the_ends_of_the_most_requests_with_the_longest_words_fit_into_a_state(template):
    states = states_of(template, "Fleets")
    make = states["Make requests"]
    [caught] = make["ItemProcessor"]["States"]["Request"]["Catch"]
    cause = json.dumps({"errorMessage": WIDEST * CAUSE}, ensure_ascii=False)
    entry = {"idempotency_token": f"{'n' * STEM_LENGTH}-00000", "number": MAX_MACHINES}
    failed = evaluate(caught["Output"], states={"input": entry, "errorOutput": {"Error": "E", "Cause": cause}})
    end = evaluate(make["ItemProcessor"]["States"]["Ended"]["Output"], states={"input": failed})
    assert end["reason"].count(WIDEST) > 30
    result = [end] * MAX_REQUESTS
    assert size_of(result) < MOST_BYTES
    execution = {"Name": WIDEST * NAME_LENGTH, "Input": {}}
    planned = {"summary": f"{'u' * 64}/fleets/{execution['Name']}/fleet.json"}
    known = {"input": planned, "result": result, "context": {"Execution": execution}}
    summary = evaluate(make["Output"], states=known)
    stored = evaluate(states["Store summary"]["Arguments"], states={"input": summary})
    assert len(summary["incomplete"]) == MAX_REQUESTS
    assert size_of(stored) < MOST_BYTES


@pytest.mark.parametrize(
    ("stack_name", "like"), [("image-synthesis", ""), ("sensor-data", "Fleets"), ("detection", "Generation")]
)
def test_an_input_that_leaves_no_room_is_told_of(synthesise, stack_name, like):
    states = states_of(synthesise(stack_name), like)
    request = {"user_id": "ann", "dataset": "boards", "plan": "p" * (MOST_BYTES - 60)}
    known = {"context": {"Execution": {"Input": request, "Name": "n" * NAME_LENGTH}}}
    assert size_of(request) < MOST_BYTES < size_of(evaluate(states["Plan"]["Arguments"], states=known))
    [caught] = [each for each in states["Plan"]["Catch"] if each["ErrorEquals"] == ["States.DataLimitExceeded"]]
    told = {**known, "input": evaluate(caught["Output"])}
    passed = [caught["Next"]]
    while states[passed[-1]]["Type"] == "Task":
        assert size_of(evaluate(states[passed[-1]]["Arguments"], states=told)) < 1000
        passed.append(states[passed[-1]]["Next"])
    assert "Tell of failure" in passed
    assert "too long" in evaluate(states["Tell of failure"]["Arguments"]["Message"], states=told)


def test_an_upload_of_the_longest_names_that_fails_in_the_longest_words_reaches_its_row(inspection):
    states = states_of(inspection, "Line")
    most = dict.fromkeys(("key", "version_id", "sequencer"), "\x01" * 1024)
    upload = {**most, "bucket": "b" * 255, "size": 10**15, "uploaded_at": "2026-11-21T12:00:00.123456789Z"}
    known = Upload.model_validate(upload).model_dump()
    assert size_of({"upload": known}) < MOST_BYTES
    [caught] = states["Inspect image"]["Catch"]
    error = {"Error": "e" * 256, "Cause": WIDEST * CAUSE}
    told = evaluate(caught["Output"], states={"input": {"upload": known}, "errorOutput": error})
    arguments = evaluate(states["Record inspection"]["Arguments"], states={"input": told})
    assert size_of(arguments) < MOST_BYTES


@settings(max_examples=30)
@given(key=st.text(min_size=1, max_size=99), version=st.text(max_size=99), again=st.integers(1, 10**6))
def test_executions_of_uploads_have_legal_names_whatever_the_file_is_called(key, version, again):
    upload = Upload(
        bucket="uploads", key=key, version_id=version, size=1, uploaded_at="2026-11-21T12:00:00Z", attempt=again
    )
    check_name(upload.execution_name)
