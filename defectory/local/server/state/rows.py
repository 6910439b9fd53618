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
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ministack.core import persistence, responses
from ministack.services import dynamodb

from defectory.local.server.hooks import replace, require
from defectory.local.server.state.journal import Path_

_Account = require(responses, "AccountScopedDict")
_Region = require(responses, "AccountRegionScopedDict")
_default = require(persistence, "_json_default", "obj")
_hook = require(persistence, "_json_object_hook", "obj")
# Log events that share a row.
EVENTS = 500


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a resource that is a row of its own; ``mark`` differs when the value does.

    None in the place of a value says that there is no such part any more.
    """

    path: Path_
    value: Any
    mark: int


@dataclass(frozen=True, slots=True)
class Resource:
    """A row that stands for itself, and the rows of its parts.

    Without a ``mark``, whether it has changed is found out from its value. ``parts`` are all of them, unless
    ``changed`` says that they are those that have changed.
    """

    path: Path_
    value: Any
    mark: int | None = None
    parts: Iterable[Part] = ()
    changed: bool = False


def encode(value: Any) -> str:  # noqa: ANN401
    """JSON of a row's value; raises ``TypeError`` if it is none."""
    return json.dumps(value, default=_default)


def decode(text: str) -> Any:  # noqa: ANN401
    """The value of a row."""
    return json.loads(text, object_hook=_hook)


def split(service: str, state: Mapping[str, Any]) -> Iterator[Resource]:
    """A service's state in rows."""
    for store, value in state.items():
        if not isinstance(value, _Account | _Region):
            yield Resource((store,), value)
            continue
        kind = "region" if isinstance(value, _Region) else "account"
        divide = _DIVISIONS.get((service, store))
        # A copy: threads of MiniStack may add to it meanwhile.
        for (*scope, key), resource in list(value._data.items()):
            path = (store, kind, *scope, repr(key))
            yield divide.split(path, resource) if divide else Resource(path, resource)


def join(service: str, rows: Iterable[tuple[Path_, Any]]) -> dict[str, Any]:
    """The state that was split into rows, in any order but that of parts among each other."""
    state: dict[str, Any] = {}
    parts: list[tuple[Path_, Path_, Any]] = []
    for path, value in rows:
        whole, part = divided(path)
        if part:
            parts.append((whole, part, value))
            continue
        if len(path) == 1:
            state[path[0]] = value
            continue
        store = state.setdefault(path[0], _Account() if path[1] == "account" else _Region())
        store._data[_scoped(path)] = value
    for whole, path, value in parts:
        store = state.get(whole[0])
        resource = None if store is None else store._data.get(_scoped(whole))
        if resource is not None:
            _DIVISIONS[service, whole[0]].add(resource, path, value)
    return state


def divided(path: Path_) -> tuple[Path_, Path_]:
    """The path of a resource, and that of a part below it; empty if it is the resource's own."""
    length = {"account": 4, "region": 5}[path[1]] if len(path) > 1 else 1
    return path[:length], path[length:]


def _scoped(path: Path_) -> tuple[Any, ...]:
    return (*path[2:-1], ast.literal_eval(path[-1]))


@dataclass(frozen=True, slots=True)
class _Division:
    """How a resource is taken apart, and a part put back."""

    split: Callable[[Path_, Mapping[str, Any]], Resource]
    add: Callable[[dict[str, Any], Path_, Any], None]


def _without(resource: Mapping[str, Any], name: str) -> dict[str, Any]:
    # Empty, but there.
    return {**resource, name: type(resource[name])()}


class _Tables:
    """The tables of DynamoDB: which items have changed since a table was looked at last.

    A table may have many; MiniStack changes them in two functions, or replaces
    all of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By path: the dictionary of the table's items, and the keys of those that have changed.
        self._changed: dict[Path_, tuple[object, set[tuple[str, str]]]] = {}

        @replace(dynamodb, "_set_item", "table", "pk_val", "sk_val", "item")
        def set_item(original: Any, table: dict[str, Any], partition: str, key: str, item: object) -> Any:  # noqa: ANN401
            before = original(table, partition, key, item)
            self._note(table["items"], partition, key)
            return before

        @replace(dynamodb, "_remove_item", "table", "pk_val", "sk_val")
        def remove_item(original: Any, table: dict[str, Any], partition: str, key: str) -> Any:  # noqa: ANN401
            before = original(table, partition, key)
            self._note(table["items"], partition, key)
            return before

    def _note(self, items: object, partition: str, key: str) -> None:
        with self._lock:
            for held, keys in self._changed.values():
                if held is items:
                    keys.add((partition, key))

    def forget(self) -> None:
        """Have every item looked at again."""
        with self._lock:
            self._changed.clear()

    def split(self, path: Path_, table: Mapping[str, Any]) -> Resource:
        items, base = table["items"], {**table, "items": {}}
        with self._lock:
            held, changed = self._changed.get(path, (None, set()))
            self._changed[path] = (items, set())
        # Another dictionary where a backup was restored, or the table made anew.
        known = held is items
        if known:
            keys = list(changed)
        else:
            keys = [(partition, key) for partition, sorted_ in list(items.items()) for key in list(sorted_)]
        parts = (self._part(items, partition, key) for partition, key in keys)
        return Resource(path, base, None, parts, changed=known)

    @staticmethod
    def _part(items: Mapping[str, Mapping[str, Any]], partition: str, key: str) -> Part:
        item = items.get(partition, {}).get(key)
        # Replaced when it changes.
        return Part(("items", partition, key), item, id(item))

    @staticmethod
    def add(table: dict[str, Any], path: Path_, item: object) -> None:
        table["items"].setdefault(path[1], {})[path[2]] = item


def _split_queue(path: Path_, queue: Mapping[str, Any]) -> Resource:
    parts = (
        # All else that a message has it keeps.
        Part(
            ("messages", message["id"]),
            message,
            hash((message["visible_at"], message["receive_count"], message["receipt_handle"])),
        )
        for message in list(queue["messages"])
    )
    return Resource(path, _without(queue, "messages"), None, parts)


def _add_message(queue: dict[str, Any], _: Path_, message: object) -> None:
    queue["messages"].append(message)


def _split_log_group(path: Path_, group: Mapping[str, Any]) -> Resource:
    def parts() -> Iterator[Part]:
        for name, stream in list(group["streams"].items()):
            events = stream["events"]
            yield Part(("streams", name), _without(stream, "events"), hash(repr(_without(stream, "events"))))
            for start in range(0, len(events), EVENTS):
                piece = events[start : start + EVENTS]
                yield Part(("streams", name, str(start)), piece, hash(tuple(map(id, piece))))

    return Resource(path, _without(group, "streams"), None, parts())


def _add_stream(group: dict[str, Any], path: Path_, value: Any) -> None:  # noqa: ANN401
    if len(path) == 2:
        group["streams"][path[1]] = value
    else:
        # Pieces come in order: one has a place among the rows before its next.
        group["streams"][path[1]]["events"] += value


def _split_upload(path: Path_, upload: Mapping[str, Any]) -> Resource:
    parts = (Part(("parts", repr(number)), part, id(part)) for number, part in list(upload["parts"].items()))
    return Resource(path, _without(upload, "parts"), None, parts)


def _add_upload_part(upload: dict[str, Any], path: Path_, part: object) -> None:
    upload["parts"][ast.literal_eval(path[1])] = part


def _split_execution(path: Path_, execution: Mapping[str, Any]) -> Resource:
    # One that has ended changes only by being started again.
    ended = execution["status"] != "RUNNING"
    mark = hash((execution["status"], execution["stopDate"], len(execution.get("events", ())))) if ended else None
    return Resource(path, execution, mark)


def _add_nothing(*_: object) -> None:
    raise AssertionError("executions have no parts")


_tables = _Tables()
forget = _tables.forget
_DIVISIONS: Mapping[tuple[str, str], _Division] = {
    ("dynamodb", "tables"): _Division(_tables.split, _tables.add),
    ("sqs", "queues"): _Division(_split_queue, _add_message),
    ("cloudwatch_logs", "log_groups"): _Division(_split_log_group, _add_stream),
    ("s3", "multipart_uploads"): _Division(_split_upload, _add_upload_part),
    ("stepfunctions", "executions"): _Division(_split_execution, _add_nothing),
}
