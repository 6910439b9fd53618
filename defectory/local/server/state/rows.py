"""The state of a service, as MiniStack's modules report and restore it, taken apart into rows.

A state is a dictionary of stores. Most stores hold the resources of all accounts; each resource is a row. What a
resource holds many of (the items of a table, the messages of a queue) is a row each as well, so that a change costs
what has changed. Paths of rows::

    (store,)                                      a store as a whole
    (store, "account", account, key)              a resource of an account
    (store, "region", account, region, key)       a resource of an account in a region
    (..., field, key...)                          a part of the resource's field
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ministack.core import persistence, responses

from defectory.local.server.hooks import require
from defectory.local.server.state.journal import Path_

_Account = require(responses, "AccountScopedDict")
_Region = require(responses, "AccountRegionScopedDict")
_default = require(persistence, "_json_default", "obj")
_hook = require(persistence, "_json_object_hook", "obj")
# Log events that share a row.
EVENTS = 500


@dataclass(frozen=True, slots=True)
class Row:
    """A part of a state; ``mark`` tells whether it has changed where that need not be found out from the value."""

    path: Path_
    value: Any
    mark: int | None = None


def encode(value: Any) -> str:  # noqa: ANN401
    """JSON of a row's value; raises ``TypeError`` if it is none."""
    return json.dumps(value, default=_default)


def decode(text: str) -> Any:  # noqa: ANN401
    return json.loads(text, object_hook=_hook)


def split(service: str, state: Mapping[str, Any]) -> Iterator[Row]:
    """The rows of a service's state."""
    for store, value in state.items():
        if not isinstance(value, _Account | _Region):
            yield Row((store,), value)
            continue
        kind = "region" if isinstance(value, _Region) else "account"
        divide = _DIVISIONS.get((service, store))
        # A copy: threads of MiniStack may add to it meanwhile.
        for (*scope, key), resource in list(value._data.items()):
            path = (store, kind, *scope, repr(key))
            if divide is None:
                yield Row(path, resource)
                continue
            for row in divide.split(resource):
                yield Row((*path, *row.path), row.value, row.mark)


def join(service: str, rows: Iterable[tuple[Path_, Any]]) -> dict[str, Any]:
    """The state that was split into rows, in any order but that of parts among each other."""
    state: dict[str, Any] = {}
    parts: list[tuple[Path_, Path_, Any]] = []
    for path, value in rows:
        if len(path) == 1:
            state[path[0]] = value
            continue
        length = 4 if path[1] == "account" else 5
        if len(path) > length:
            parts.append((path[:length], path[length:], value))
            continue
        store = state.setdefault(path[0], _Account() if path[1] == "account" else _Region())
        store._data[_scoped(path)] = value
    for whole, path, value in parts:
        store = state.get(whole[0])
        resource = None if store is None else store._data.get(_scoped(whole))
        if resource is not None:
            _DIVISIONS[service, whole[0]].add(resource, path, value)
    return state


def _scoped(path: Path_) -> tuple[Any, ...]:
    return (*path[2:-1], ast.literal_eval(path[-1]))


@dataclass(frozen=True, slots=True)
class _Division:
    """How a resource is taken apart, and a part put back."""

    split: Callable[[Mapping[str, Any]], Iterator[Row]]
    add: Callable[[dict[str, Any], Path_, Any], None]


def _same(value: object) -> int:
    """The mark of a value that is replaced by another object when it changes, and never changed itself."""
    return id(value)


def _without(resource: Mapping[str, Any], name: str) -> dict[str, Any]:
    # Empty, but there.
    return {**resource, name: type(resource[name])()} if name in resource else dict(resource)


def _split_table(table: Mapping[str, Any]) -> Iterator[Row]:
    yield Row((), {**table, "items": {}})
    for partition, items in list(table["items"].items()):
        for key, item in list(items.items()):
            yield Row(("items", partition, key), item, _same(item))


def _add_item(table: dict[str, Any], path: Path_, item: object) -> None:
    table["items"].setdefault(path[1], {})[path[2]] = item


def _split_queue(queue: Mapping[str, Any]) -> Iterator[Row]:
    yield Row((), _without(queue, "messages"))
    for message in list(queue["messages"]):
        yield Row(("messages", message["id"]), message)


def _add_message(queue: dict[str, Any], _: Path_, message: object) -> None:
    queue["messages"].append(message)


def _split_log_group(group: Mapping[str, Any]) -> Iterator[Row]:
    yield Row((), _without(group, "streams"))
    for name, stream in list(group["streams"].items()):
        yield Row(("streams", name), _without(stream, "events"))
        events = stream["events"]
        for start in range(0, len(events), EVENTS):
            piece = events[start : start + EVENTS]
            yield Row(("streams", name, str(start)), piece, hash(tuple(map(_same, piece))))


def _add_stream(group: dict[str, Any], path: Path_, value: Any) -> None:  # noqa: ANN401
    if len(path) == 2:
        group["streams"][path[1]] = value
    else:
        # Pieces come in order: one has a place among the rows before its next.
        group["streams"][path[1]]["events"] += value


def _split_upload(upload: Mapping[str, Any]) -> Iterator[Row]:
    yield Row((), _without(upload, "parts"))
    for number, part in list(upload["parts"].items()):
        yield Row(("parts", repr(number)), part, _same(part))


def _add_upload_part(upload: dict[str, Any], path: Path_, part: object) -> None:
    upload["parts"][ast.literal_eval(path[1])] = part


def _split_execution(execution: Mapping[str, Any]) -> Iterator[Row]:
    # One that has ended changes only by being started again.
    ended = execution["status"] != "RUNNING"
    mark = hash((execution["status"], execution["stopDate"], len(execution.get("events", ())))) if ended else None
    yield Row((), execution, mark)


def _add_nothing(*_: object) -> None:
    raise AssertionError("executions have no parts")


_DIVISIONS: Mapping[tuple[str, str], _Division] = {
    ("dynamodb", "tables"): _Division(_split_table, _add_item),
    ("sqs", "queues"): _Division(_split_queue, _add_message),
    ("cloudwatch_logs", "log_groups"): _Division(_split_log_group, _add_stream),
    ("s3", "multipart_uploads"): _Division(_split_upload, _add_upload_part),
    ("stepfunctions", "executions"): _Division(_split_execution, _add_nothing),
}
