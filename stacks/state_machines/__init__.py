"""The state machines, each a document in the Amazon States Language (https://states-language.net/spec.html).

The documents are YAML, read from top to bottom as what happens.  Beyond the language they have:

- ``Shared``: parts with names (retries above all) that states refer to by YAML's ``*name``; it is not part of the
  definition.
- ``${Name}``: what is known when the stack is synthesised, an ARN or a number say.  Alone it stands for a value of any
  kind, within a text for a text; where it leads to a state, states that nothing leads to are left out.  A field whose
  value is None is left out.
- Expressions of JSONata laid out over several lines, which the definition has in one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from defectory.errors import DefectoryError

FOLDER = Path(__file__).parent
_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
# The fields that lead from a state to another.
_LEADING = ("StartAt", "Next", "Default")


class DefinitionError(DefectoryError):
    """A state machine's document and what the stack gives it do not fit together."""

    code = "InvalidStateMachine"


def read_definition(name: str, values: Mapping[str, Any], *, without: Sequence[str] = ()) -> dict[str, Any]:
    """The definition in ``<name>.asl.yaml``, with ``values`` in the place of its ``${Name}``.

    Args:
        name: the document's name, such as ``training``.
        values: what is put in, tokens of the CDK included; every placeholder has one, every value a placeholder.
        without: states that are left out; what leads to one goes on to its ``Next`` instead.

    Raises:
        DefinitionError: a placeholder has no value, a value no placeholder, or a state to be left out is none.
    """
    file = f"{name}.asl.yaml"
    document: dict[str, Any] = yaml.safe_load((FOLDER / file).read_text(encoding="utf-8"))
    document.pop("Shared", None)
    for state in without:
        if "Next" not in document["States"].get(state, {}):
            raise DefinitionError(f"{file}: {state} is no state with a Next, and cannot be left out. Correct its name.")
        document = _redirect(document, state, document["States"].pop(state)["Next"])
    ways = {f"${{{key}}}": str(value) for key, value in values.items()}
    chosen = {key for way, key in zip(ways, values, strict=True) if way in set(_leads(document))}
    for way in (f"${{{key}}}" for key in chosen):
        document = _redirect(document, way, ways[way])
    document["States"] = _reached(document)
    used = chosen | set(_placeholders(document))
    if missing := sorted(used - values.keys()):
        raise DefinitionError(f"{file}: ${{{missing[0]}}} has no value. Give one where the machine is built.")
    if unused := sorted(values.keys() - used):
        raise DefinitionError(f"{file}: {unused[0]} is given, and ${{{unused[0]}}} is nowhere. Write it in.")
    definition: dict[str, Any] = _filled(document, values)
    return definition


def _reached(document: Mapping[str, Any]) -> dict[str, Any]:
    """The states that an execution may come to."""
    states: dict[str, Any] = document["States"]
    names, waiting = set(), [document["StartAt"]]
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            # A state that there is not is for whoever validates the definition to name.
            waiting += _leads(states.get(name, {}))
    return {name: state for name, state in states.items() if name in names}


def _leads(value: Any) -> Iterator[str]:  # noqa: ANN401
    """Where ``value`` leads to; what is within a Map or a Parallel has states of its own."""
    match value:
        case dict():
            for key, inner in value.items():
                if key in _LEADING and isinstance(inner, str):
                    yield inner
                elif key not in ("ItemProcessor", "Branches"):
                    yield from _leads(inner)
        case list():
            for inner in value:
                yield from _leads(inner)


def _redirect(value: Any, state: str, target: str) -> Any:  # noqa: ANN401
    """``value`` with every way to ``state`` leading to ``target``."""
    match value:
        case dict():
            return {
                key: target if key in _LEADING and inner == state else _redirect(inner, state, target)
                for key, inner in value.items()
            }
        case list():
            return [_redirect(inner, state, target) for inner in value]
        case _:
            return value


def _placeholders(value: Any) -> Iterator[str]:  # noqa: ANN401
    match value:
        case str():
            yield from _PLACEHOLDER.findall(value)
        case dict():
            for inner in value.values():
                yield from _placeholders(inner)
        case list():
            for inner in value:
                yield from _placeholders(inner)


def _filled(value: Any, values: Mapping[str, Any]) -> Any:  # noqa: ANN401
    match value:
        case str():
            if alone := _PLACEHOLDER.fullmatch(value):
                return values[alone[1]]
            line = " ".join(part.strip() for part in value.splitlines())
            return _PLACEHOLDER.sub(lambda placeholder: str(values[placeholder[1]]), line)
        case dict():
            fields = {key: _filled(inner, values) for key, inner in value.items()}
            return {key: field for key, field in fields.items() if field is not None}
        case list():
            return [_filled(inner, values) for inner in value]
        case _:
            return value
