"""What the extensions take hold of in MiniStack, checked to be there.

MiniStack is pinned, because these are private names of a package that releases often.  An extension names each with
the parameters that it relies on, so that another release fails at start with a clear message, not in the middle of
something.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

from defectory.errors import LocalCloudError

PINNED = "1.5.33"
# What each replaced function was, by module and name.
_replaced: dict[tuple[str, str], Any] = {}
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
    """The attribute ``name`` of a module of MiniStack; a function is looked up at each call.

    So that it makes no difference who takes hold of a function first: what another puts in its place (``replace``), a
    check of permissions for instance, is always called.

    Args:
        parameters: names of parameters that the function has to take; none for a value.

    Raises:
        LocalCloudError: it is missing, or takes other parameters.
    """
    attribute = _attribute(owner, name, parameters)
    if not inspect.isfunction(attribute):
        return attribute

    @wraps(attribute)
    def current(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        return getattr(owner, name)(*args, **kwargs)

    return current


def replace(owner: ModuleType, name: str, *parameters: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: put a function in the place of ``owner.name``; it is given the original as first argument."""
    original = _attribute(owner, name, parameters)

    def put(function: Callable[..., Any]) -> Callable[..., Any]:
        # Its parameters stay visible for who takes hold of it next.
        @wraps(original)
        def replacement(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            return function(original, *args, **kwargs)

        setattr(owner, name, replacement)
        _replaced[owner.__name__, name] = original
        return function

    return put


def check_replacements() -> None:
    """Raise ``LocalCloudError`` if MiniStack itself still holds a function that another was put in the place of.

    It would call the original there, past whatever was put in its place.
    """
    originals = {id(original): ".".join(key) for key, original in _replaced.items()}
    for module_name, module in list(sys.modules.items()):
        if not module_name.startswith("ministack."):
            continue
        for name, value in list(vars(module).items()):
            members = value.items() if type(value) is dict else ()
            for place, held in ((name, value), *((f"{name}[{key!r}]", member) for key, member in members)):
                # Where it is defined it may stay: a module that imported it by name is what was meant.
                if id(held) in originals and (held.__module__, held.__name__) != (module_name, place):
                    raise LocalCloudError(
                        f"{module_name}.{place} is still {originals[id(held)]}, which was replaced: replace it there."
                    )


def _attribute(owner: ModuleType, name: str, parameters: Sequence[str]) -> Any:  # noqa: ANN401
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
