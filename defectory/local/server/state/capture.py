"""Which rows of the services' states have changed since they were last written."""

from __future__ import annotations

import copy
import hashlib
import logging
import marshal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from ministack import app
from ministack.services import lambda_svc

from defectory.local.server.hooks import replace, require
from defectory.local.server.state import rows
from defectory.local.server.state.journal import Changes, Path_
from defectory.local.server.state.rows import Resource, divided, encode, split

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


@dataclass(slots=True)
class _Written:
    """What is written of a resource: its mark, and of each part the mark, with the value that it may be the id of."""

    mark: bytes | int | None = None
    parts: dict[Path_, tuple[int | None, object]] = field(default_factory=dict)


class Capture:
    """Compares states with what is known to be written."""

    def __init__(self, locks: Mapping[str, AbstractContextManager[bool]]) -> None:
        """``locks`` are held while the state of a service, by its name, is looked at."""
        self._locks = locks
        # By service and path.
        self._known: dict[str, dict[Path_, _Written]] = {}
        self._assumed: dict[tuple[str, Path_], bytes] = {}
        self._refused: set[tuple[str, str]] = set()
        self._states: Callable[[], dict[str, Callable[[], Any]]] = require(app, "_build_persistence_save_dict")
        self._reading = threading.local()
        self._shared: set[str] = set()
        self._unused: Callable[[], None] = lambda: None
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

    def assume(self, service: str, written: Sequence[tuple[Path_, str]]) -> None:
        """Take rows for written, with these values."""
        for path, value in written:
            self._doubt(service, path)
            self._assumed[service, path] = digest(value.encode())

    def forget(self, changes: Changes) -> None:
        """Let changes that could not be written be found again."""
        for service, path in (*((service, path) for service, path, _ in changes.written), *changes.removed):
            self._doubt(service, path)
        rows.forget()

    def _doubt(self, service: str, path: Path_) -> None:
        """Let a row be written, or removed if nothing is there."""
        whole, part = divided(path)
        written = self._known.setdefault(service, {}).setdefault(whole, _Written())
        if part:
            written.parts[part] = (None, None)
        else:
            written.mark = None

    def _compare(self, name: str, get_state: Callable[[], Any], changes: Changes) -> None:
        known = self._known.setdefault(name, {})
        missing = set(known)
        with self._locks.get(name, nullcontext()):
            for resource in self._resources(name, get_state):
                missing.discard(resource.path)
                written = known.setdefault(resource.path, _Written())
                mark = fingerprint(resource.value) if resource.mark is None else resource.mark
                if written.mark != mark and self._add(name, resource.path, resource.value, changes):
                    written.mark = mark
                self._compare_parts(name, resource, written, changes)
        for path in missing:
            gone = known.pop(path)
            changes.removed.extend([(name, path), *((name, (*path, *part)) for part in gone.parts)])

    def _compare_parts(self, name: str, resource: Resource, written: _Written, changes: Changes) -> None:
        missing = set() if resource.changed else set(written.parts)
        for part in resource.parts:
            missing.discard(part.path)
            if part.value is None:
                missing |= {part.path} & written.parts.keys()
                continue
            held = written.parts.get(part.path)
            if (held is None or held[0] != part.mark) and self._add(
                name, (*resource.path, *part.path), part.value, changes
            ):
                written.parts[part.path] = (part.mark, part.value)
        for path in missing:
            del written.parts[path]
            changes.removed.append((name, (*resource.path, *path)))

    def _add(self, name: str, path: Path_, value: object, changes: Changes) -> bool:
        try:
            text = encode(value)
        except (TypeError, ValueError) as error:
            self._refuse(name, path, error)
            return False
        if not self._assumed or self._assumed.pop((name, path), None) != digest(text.encode()):
            changes.written.append((name, path, text))
        return True

    def _resources(self, name: str, get_state: Callable[[], Any]) -> list[Resource]:
        for attempt in range(ATTEMPTS):
            try:
                with self._sharing(name):
                    # A module that could not be imported has None.
                    state = get_state() or {}
                break
            except RuntimeError as error:
                if attempt + 1 == ATTEMPTS or "changed size" not in str(error):
                    raise
        return list(split(name, state))

    def _refuse(self, name: str, path: Path_, error: Exception) -> None:
        if (name, path[0]) not in self._refused:
            self._refused.add((name, path[0]))
            log.error("What %s keeps in %s cannot be kept: %s", name, path[0], error)

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
            self._unused = lambda: original(referenced)

    def prune_packages(self) -> None:
        """Remove the packages that no function has; only when that is written."""
        self._unused()


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
    """What stands for a row's content where it need not be held."""
    return hashlib.blake2b(content, digest_size=16).digest()
