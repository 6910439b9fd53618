"""Which rows of the services' states have changed since they were last written."""

from __future__ import annotations

import copy
import hashlib
import logging
import marshal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from ministack import app
from ministack.services import lambda_svc

from defectory.local.server.hooks import replace, require
from defectory.local.server.state.journal import Changes, Path_
from defectory.local.server.state.rows import Row, encode, split

log = logging.getLogger(__name__)

# Modules whose states are nothing but deep copies of what they hold.  What is only read need not be copied.
COPYING = (
    "cloudformation",
    "cloudwatch",
    "cloudwatch_logs",
    "dynamodb",
    "eventbridge",
    "iam",
    "s3",
    "sns",
    "sqs",
    "ssm",
    "stepfunctions",
)
# Of stacks the record comes last: what it does not name yet would belong to nobody.
LAST = "cloudformation"
# A thread that adds to a dictionary which another thread copies makes that fail.
ATTEMPTS = 20

Mark = tuple[bytes | int, object]
# Of a row that may be written, with whatever value.
_UNKNOWN = b""


class Capture:
    """Compares states with what is known to be written."""

    def __init__(self, locks: Mapping[str, threading.Lock]) -> None:
        """``locks`` are held while the state of a service, by its name, is looked at."""
        self._locks = locks
        # Of each row that is written, what tells whether it has changed.  A mark that is an object's identity keeps
        # the object, so that no other can have the same.
        self._known: dict[str, dict[Path_, Mark]] = {}
        self._assumed: dict[tuple[str, Path_], bytes] = {}
        self._refused: set[tuple[str, str]] = set()
        self._states: Callable[[], dict[str, Callable[[], Any]]] = require(app, "_build_persistence_save_dict")
        self._reading = threading.local()
        self._shared: set[str] = set()
        self._blobs: dict[int, tuple[bytes, str]] = {}
        self._write_each_package_once()

    def changes(self, services: Iterable[str] | None = None) -> Changes:
        """What has changed in these services, or in all, since the last call; it counts as written."""
        states = self._states()
        names = [name for name in states if services is None or name in services]
        changes = Changes()
        for name in sorted(names, key=lambda name: name == LAST):
            self._compare(name, states[name], changes)
        return changes

    def assume(self, service: str, rows: Sequence[tuple[Path_, str]]) -> None:
        """Take rows for written, with these values."""
        self._known[service] = {path: (_UNKNOWN, None) for path, _ in rows}
        self._assumed |= {(service, path): digest(value.encode()) for path, value in rows}

    def forget(self, changes: Changes) -> None:
        """Let changes that could not be written be found again."""
        for service, path, _ in changes.written:
            self._known[service][path] = (_UNKNOWN, None)
        for service, path in changes.removed:
            self._known[service][path] = (_UNKNOWN, None)

    def _compare(self, name: str, get_state: Callable[[], Any], changes: Changes) -> None:
        with self._locks.get(name, nullcontext()):
            rows = self._rows(name, get_state)
        known = self._known.setdefault(name, {})
        missing = set(known)
        for row in rows:
            missing.discard(row.path)
            mark: Mark = (row.mark, row.value) if row.mark is not None else (fingerprint(row.value), None)
            if row.path in known and known[row.path][0] == mark[0]:
                continue
            try:
                value = encode(row.value)
            except (TypeError, ValueError) as error:
                self._refuse(name, row, error)
                continue
            known[row.path] = mark
            if self._assumed.pop((name, row.path), None) != digest(value.encode()):
                changes.written.append((name, row.path, value))
        for path in missing:
            del known[path]
            changes.removed.append((name, path))

    def _rows(self, name: str, get_state: Callable[[], Any]) -> list[Row]:
        for attempt in range(ATTEMPTS):
            try:
                with self._sharing(name):
                    # A module that could not be imported has None.
                    return list(split(name, get_state() or {}))
            except RuntimeError as error:
                if attempt + 1 == ATTEMPTS or "changed size" not in str(error):
                    raise
        raise AssertionError

    def _refuse(self, name: str, row: Row, error: Exception) -> None:
        if (name, row.path[0]) not in self._refused:
            self._refused.add((name, row.path[0]))
            log.error("What %s keeps in %s cannot be kept: %s", name, row.path[0], error)

    @contextmanager
    def _sharing(self, name: str) -> Iterator[None]:
        """Within this, what this thread asks the module for is not copied."""
        module = sys.modules.get(f"ministack.services.{name}")
        if name not in COPYING or module is None:
            yield
            return
        if name not in self._shared:
            self._shared.add(name)
            require(module, "copy")
            module.copy = _Copying(self._reading)  # type: ignore[attr-defined]
        self._reading.active = True
        try:
            yield
        finally:
            self._reading.active = False

    def _write_each_package_once(self) -> None:
        """Functions' packages are files named by their digests, which MiniStack would compute at each look."""

        @replace(lambda_svc, "_write_code_blob", "code_zip")
        def write(original: Any, package: bytes) -> str:  # noqa: ANN401
            held = self._blobs.get(id(package))
            if held is None:
                self._blobs[id(package)] = held = (package, original(package))
            return held[1]

        @replace(lambda_svc, "_prune_orphan_code_blobs", "referenced")
        def prune(original: Any, referenced: set[str]) -> None:  # noqa: ANN401
            # Not before what refers to others is written: see ``prune_packages``.
            self._blobs = {key: held for key, held in self._blobs.items() if held[1] in referenced}
            self._prune = lambda: original(referenced)

    def prune_packages(self) -> None:
        """Remove the packages that no function has; only when that is written."""
        self._prune()

    @staticmethod
    def _prune() -> None:
        """Nothing, before the functions were looked at."""


class _Copying:
    """The module ``copy``, whose deep copy is the original while a state is looked at."""

    def __init__(self, reading: threading.local) -> None:
        self._reading = reading

    def deepcopy(self, value: Any, *arguments: Any) -> Any:  # noqa: ANN401
        return value if getattr(self._reading, "active", False) else copy.deepcopy(value, *arguments)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(copy, name)


def fingerprint(value: Any) -> bytes:  # noqa: ANN401
    """A digest of a value of JSON, the same for equal values."""
    try:
        # Several times faster than JSON, and nothing can come between; version 2 does not depend on references.
        content = marshal.dumps(value, 2)
    except ValueError:
        try:
            content = encode(value).encode()
        except (TypeError, ValueError):
            # What cannot be written either.
            content = b""
    return digest(content)


def digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
