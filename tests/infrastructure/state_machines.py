"""Reading a state machine as Step Functions does: where it goes, and what it makes of what it is given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonata
from templates import Template, flat

# Entered and exited; scheduled, started, submitted and ended for each attempt.
EVENTS_OF_A_STATE, EVENTS_OF_AN_ATTEMPT = 2, 4


def states_of(template: Template, like: str = "") -> dict[str, Any]:
    """The states of the one state machine whose logical id has ``like`` in it."""
    machines = template.of_type("AWS::StepFunctions::StateMachine")
    definition = json.loads(flat(machines[template.only("AWS::StepFunctions::StateMachine", like)]["DefinitionString"]))
    assert definition["QueryLanguage"] == "JSONata"
    return definition["States"]


def evaluate(value: Any, **variables: Any) -> Any:
    """What Step Functions makes of a field, given variables and, as ``states``, what it knows itself."""
    match value:
        case str() if value.startswith("{%"):
            expression = jsonata.Jsonata(value.removeprefix("{%").removesuffix("%}").strip())
            for name, content in variables.items():
                expression.assign(name, content)
            return expression.evaluate(None)
        case dict():
            return {key: evaluate(inner, **variables) for key, inner in value.items()}
        case list():
            return [evaluate(inner, **variables) for inner in value]
        case _:
            return value


def choose(state: dict[str, Any], **variables: Any) -> str:
    """Where a Choice goes."""
    for choice in state["Choices"]:
        if evaluate(choice["Condition"], **variables) is True:
            return choice["Next"]
    return state["Default"]


def following(state: dict[str, Any]) -> Iterator[str]:
    """Every state that may come after one."""
    if "Next" in state:
        yield state["Next"]
    for rule in (*state.get("Choices", ()), *state.get("Catch", ())):
        yield rule["Next"]
    if "Default" in state:
        yield state["Default"]


def longest_loop(states: dict[str, Any], loop: tuple[str, ...], times: int) -> int:
    """The most events of an execution that goes round so often: each state fails as often as is tried again, once."""
    ends = 2
    once = sum(_events(state, 1 + _retries(state)) for state in states.values())
    return ends + once + times * sum(_events(states[name], 1) for name in loop)


def _events(state: dict[str, Any], attempts: int) -> int:
    # A Distributed Map's children have histories of their own.
    return EVENTS_OF_A_STATE + (attempts * EVENTS_OF_AN_ATTEMPT if state["Type"] in ("Task", "Map") else 0)


def _retries(state: dict[str, Any]) -> int:
    # Each retrier counts for itself.
    return sum(retrier.get("MaxAttempts", 3) for retrier in state.get("Retry", ()))
