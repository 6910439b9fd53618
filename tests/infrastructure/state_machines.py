"""Reading a state machine as Step Functions does: where it goes, and what it makes of what it is given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonata
from templates import Template, flat


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
