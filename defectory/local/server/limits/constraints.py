"""Lengths, ranges and patterns of requests, as the models of AWS's services have them in botocore.

AWS checks them before the service itself sees the request, and names every one that does not hold at once.  botocore
checks the least of them alone, in the client.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from botocore.model import OperationNotFoundError, Shape

from defectory.local.clients import service_model
from defectory.local.server.limits.fault import LimitExceeded
from defectory.local.server.limits.patterns import compile_pattern

# Adds what does not hold of a value, which is at a path, to a list.
Check = Callable[[Any, str, list[str]], None]

# Services that answer so, by the prefix of their actions.  Others have their own words (rules.py), or check it
# themselves (MiniStack's DynamoDB).
SERVICES = ("codebuild", "codepipeline", "events", "kms", "lambda", "logs", "sagemaker", "ssm")
_CODES = {"logs": "InvalidParameterException"}
# Models that allow more than AWS does: for functions on instances of one's own.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
_NARROWER = {
    ("lambda", "Timeout"): {"max": 900},
    ("lambda", "MemorySize"): {"max": 10_240},
    ("lambda", "EphemeralStorageSize"): {"max": 10_240},
}
# Clients name actions, known or not: so many are remembered.
_ACTIONS = 1024
# A refusal shall be readable, whatever was too long.
_SHOWN = 200
# What is longer is not looked at by a pattern, some of which take long.
_MATCHED = 4096


def known(action: str) -> bool:
    """Whether there is something to check of an action such as ``ssm:PutParameter``."""
    return _check_of(action) is not None


def check(action: str, members: Mapping[str, Any]) -> None:
    """Check the members of a request.

    Raises:
        LimitExceeded: as AWS words it, with everything that does not hold.
    """
    checked = _check_of(action)
    violations: list[str] = []
    if checked:
        checked(members, "", violations)
    if violations:
        noun = "error" if len(violations) == 1 else "errors"
        message = f"{len(violations)} validation {noun} detected: {'; '.join(violations)}"
        raise LimitExceeded(_CODES.get(action.partition(":")[0], "ValidationException"), message)


@lru_cache(_ACTIONS)
def shape_of(action: str) -> Shape | None:
    """The model of an action's request; None if there is none."""
    service, _, name = action.partition(":")
    if service not in SERVICES:
        return None
    try:
        shape: Shape | None = service_model(service).operation_model(name).input_shape
    except OperationNotFoundError:
        return None
    return shape


@lru_cache(_ACTIONS)
def _check_of(action: str) -> Check | None:
    shape = shape_of(action)
    return _Checks(action.partition(":")[0]).of(shape) if shape else None


class _Checks:
    """Makes the checks of shapes; of one without constraints there is none, however much is in it."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._made: dict[str, Check | None] = {}

    def of(self, shape: Shape) -> Check | None:
        if shape.name not in self._made:
            # What holds another of its kind is not looked into any deeper.
            self._made[shape.name] = None
            self._made[shape.name] = self._make(shape)
        return self._made[shape.name]

    def _make(self, shape: Shape) -> Check | None:
        inner = {"structure": self._structure, "list": self._list, "map": self._map}.get(shape.type_name)
        nested = inner(shape) if inner else None
        constraints = _constraints(shape, _NARROWER.get((self._service, shape.name), {}))
        if not constraints:
            return nested

        def checked(value: Any, path: str, violations: list[str]) -> None:  # noqa: ANN401
            for sentence, holds in constraints:
                if not holds(value):
                    told = f"Value{_shown(value, shape)} at '{path}' failed to satisfy constraint: {sentence}"
                    violations.append(told)
            if nested:
                nested(value, path, violations)

        return checked

    def _structure(self, shape: Shape) -> Check | None:
        members = [
            (member.serialization.get("name", name), name[0].lower() + name[1:], made)
            for name, member in shape.members.items()
            # What is in the address or the headers is not in the body.
            if "location" not in member.serialization and (made := self.of(member))
        ]

        def checked(value: Any, path: str, violations: list[str]) -> None:  # noqa: ANN401
            if isinstance(value, Mapping):
                for wire, name, made in members:
                    if (member := value.get(wire)) is not None:
                        made(member, f"{path}.{name}" if path else name, violations)

        return checked if members else None

    def _list(self, shape: Shape) -> Check | None:
        made = self.of(shape.member)

        def checked(value: Any, path: str, violations: list[str]) -> None:  # noqa: ANN401
            if isinstance(value, list) and made:
                for index, item in enumerate(value, 1):
                    made(item, f"{path}.{index}.member", violations)

        return checked if made else None

    def _map(self, shape: Shape) -> Check | None:
        """AWS names the rule of a map's keys or values, not which of them broke it."""
        rules = [
            (noun, pick, constraints)
            for noun, pick, part in (("keys", _keys, shape.key), ("value", _values, shape.value))
            if (constraints := _constraints(part, {}))
        ]
        made = self.of(shape.value) if shape.value.type_name in ("structure", "list", "map") else None

        def checked(value: Any, path: str, violations: list[str]) -> None:  # noqa: ANN401
            if not isinstance(value, Mapping):
                return
            for noun, pick, constraints in rules:
                if not all(holds(item) for item in pick(value) for _, holds in constraints):
                    sentences = ", ".join(sentence for sentence, _ in constraints)
                    violations.append(
                        f"Value{_shown(dict(value), shape)} at '{path}' failed to satisfy constraint: "
                        f"Map {noun} must satisfy constraint: [{sentences}]"
                    )
            if made:
                for name, item in value.items():
                    made(item, f"{path}.{name}.member", violations)

        return checked if rules or made else None


def _keys(value: Mapping[str, Any]) -> list[Any]:
    return list(value)


def _values(value: Mapping[str, Any]) -> list[Any]:
    return list(value.values())


def _constraints(shape: Shape, narrower: Mapping[str, int]) -> list[tuple[str, Callable[[Any], bool]]]:
    """Sentences of AWS, each with what tells that it holds."""
    given = {**shape.metadata, **narrower}
    measure, noun = (_length, "length") if shape.type_name in _LENGTHS else (_number, "value")
    made: list[tuple[str, Callable[[Any], bool]]] = []
    if (most := given.get("max")) is not None:
        made.append(
            (f"Member must have {noun} less than or equal to {most}", lambda value: _at_most(measure(value), most))
        )
    if (least := given.get("min")) is not None:
        made.append(
            (
                f"Member must have {noun} greater than or equal to {least}",
                lambda value: _at_least(measure(value), least),
            )
        )
    if pattern := _pattern(given.get("pattern")):
        matched = given.get("max", _MATCHED)
        made.append(
            (
                f"Member must satisfy regular expression pattern: {given['pattern']}",
                lambda value: not isinstance(value, str) or len(value) > matched or bool(pattern.fullmatch(value)),
            )
        )
    return made


# Not of bytes, which travel as longer text.
_LENGTHS = frozenset({"string", "list", "map"})


def _length(value: Any) -> float | None:  # noqa: ANN401
    return len(value) if isinstance(value, str | list | Mapping) else None


def _number(value: Any) -> float | None:  # noqa: ANN401
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _at_most(measured: float | None, most: float) -> bool:
    return measured is None or measured <= most


def _at_least(measured: float | None, least: float) -> bool:
    return measured is None or measured >= least


def _pattern(text: str | None) -> re.Pattern[str] | None:
    try:
        return compile_pattern(text) if text else None
    except re.error:
        # A newer model may have what is not translated: a test says so.
        return None


def _shown(value: Any, shape: Shape) -> str:  # noqa: ANN401
    if shape.metadata.get("sensitive"):
        return ""
    text = str(value)
    return f" '{text[:_SHOWN]}{'...' if len(text) > _SHOWN else ''}'"
