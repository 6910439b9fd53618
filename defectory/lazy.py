"""Names that a package offers and loads only when they are asked for (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module


def load_lazily(
    package: str, names: Mapping[str, Iterable[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of ``package``, which offers ``names`` by the module they stand in.

    Importing the package then costs next to nothing, however much is behind its names.

    >>> __getattr__, __dir__, __all__ = load_lazily("defectory", {"json": ["dumps"]})
    >>> __getattr__("dumps")([1])
    '[1]'
    """

    places = {name: module for module, offered in names.items() for name in offered}

    def get(name: str) -> object:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(places[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def list_names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *places})

    return get, list_names, sorted(places)
