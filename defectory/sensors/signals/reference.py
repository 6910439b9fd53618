"""Reference: the library's interface as text, made from its signatures and docstrings so that it cannot go stale."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from functools import cache
from types import ModuleType


@cache
def api_reference() -> str:
    """What a script may use of ``defectory.sensors.signals``: its public names, their signatures and docstrings."""
    from defectory.sensors import signals

    return describe(signals)


def describe(module: ModuleType) -> str:
    """The docstring of ``module``, then each name of its ``__all__`` with its public methods and properties."""
    parts = [inspect.getdoc(module) or ""]
    for name in module.__all__:
        thing = getattr(module, name)
        parts.append("\n".join(_class(name, thing) if inspect.isclass(thing) else _entry(name, thing)))
    return "\n\n".join(part for part in parts if part) + "\n"


def _class(name: str, kind: type) -> Iterator[str]:
    doc = inspect.getdoc(kind) or ""
    # A class whose docstring explains no arguments is handed out by others, never made by a script.
    constructible = dataclasses.is_dataclass(kind) or "Args:" in doc
    yield f"class {name}{_signature(kind) if constructible else ''}"
    yield from _indented(doc)
    for member, value in vars(kind).items():
        if member.startswith("_"):
            continue
        if isinstance(value, property):
            yield f"  .{member}"
            yield from _indented(inspect.getdoc(value) or "", 4)
        elif inspect.isfunction(value) or isinstance(value, classmethod | staticmethod):
            function = value if inspect.isfunction(value) else value.__func__
            yield from ("  " + line for line in _entry(f".{member}", function))


def _entry(name: str, function: object) -> Iterator[str]:
    if callable(function):
        yield f"{name}{_signature(function)}"
        yield from _indented(inspect.getdoc(function) or "")
    else:
        yield f"{name} = {function!r}"


def _signature(function: object) -> str:
    """As in the source, without ``self`` and without the annotations that the docstrings make plain."""
    signature = inspect.signature(function)  # type: ignore[arg-type]
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
        if parameter.name not in ("self", "cls")
    ]
    returned = "" if signature.return_annotation in _NOTHING else f" -> {_plain(signature.return_annotation)}"
    bare = signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    return f"{bare}{returned}"


_NOTHING = (inspect.Signature.empty, None, "None")


def _plain(annotation: object) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:\w+\.)+", "", text)


def _indented(doc: str, width: int = 2) -> Iterator[str]:
    for line in doc.split("\n"):
        if line.strip():
            yield " " * width + line
