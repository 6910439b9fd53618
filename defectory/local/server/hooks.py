"""What the extensions take hold of in MiniStack, checked to be there.

MiniStack is pinned, because these are private names of a package that releases often.  An extension names each with
the parameters that it relies on, so that another release fails at start with a clear message, not in the middle of
something.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

from defectory.errors import LocalCloudError

PINNED = "1.5.33"
_FIX = f"Install the release that the local cloud was written for: pip install ministack=={PINNED}"


def check_release() -> None:
    """Raise ``LocalCloudError`` unless the pinned MiniStack is installed."""
    try:
        installed = version("ministack")
    except PackageNotFoundError:
        raise LocalCloudError(f"The local cloud needs MiniStack, which is not installed. {_FIX}") from None
    if installed != PINNED:
        raise LocalCloudError(f"The local cloud needs MiniStack {PINNED}, found {installed}. {_FIX}")


def require(owner: ModuleType, name: str, *parameters: str) -> Any:  # noqa: ANN401 - MiniStack has no types
    """The attribute ``name`` of a module of MiniStack.

    Args:
        parameters: names of parameters that the function has to take; none for a value.

    Raises:
        LocalCloudError: it is missing, or takes other parameters.
    """
    try:
        attribute = getattr(owner, name)
    except AttributeError:
        raise LocalCloudError(f"MiniStack has no {owner.__name__}.{name}. {_FIX}") from None
    if parameters:
        accepted = inspect.signature(attribute).parameters
        missing = [parameter for parameter in parameters if parameter not in accepted]
        if missing:
            raise LocalCloudError(f"MiniStack's {owner.__name__}.{name} takes no {', '.join(missing)}. {_FIX}")
    return attribute


def replace(owner: ModuleType, name: str, *parameters: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: put a function in the place of ``owner.name``; it is given the original as first argument."""
    original = require(owner, name, *parameters)

    def put(function: Callable[..., Any]) -> Callable[..., Any]:
        # Its parameters stay visible for who takes hold of it next.
        @wraps(original)
        def replacement(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            return function(original, *args, **kwargs)

        setattr(owner, name, replacement)
        return function

    return put
