"""What is taken hold of in MiniStack: a function that another extension replaces is never called past."""

import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from defectory.errors import LocalCloudError
from defectory.local.server import hooks


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    def deliver(target: str) -> str:
        return f"delivered to {target}"

    made = ModuleType("ministack.services.post")
    made.deliver = deliver  # type: ignore[attr-defined]
    made.LIMIT = 3  # type: ignore[attr-defined]
    deliver.__module__, deliver.__name__ = made.__name__, "deliver"
    monkeypatch.setitem(sys.modules, made.__name__, made)
    monkeypatch.setattr(hooks, "_replaced", {})
    yield made


def refuse(module: ModuleType) -> None:
    @hooks.replace(module, "deliver", "target")
    def refusing(original: Callable[[str], str], target: str) -> str:
        return "refused" if target == "secret" else original(target)


@pytest.mark.parametrize("first", ["require", "replace"])
def test_who_takes_hold_first_makes_no_difference(module: ModuleType, first: str) -> None:
    if first == "replace":
        refuse(module)
    deliver = hooks.require(module, "deliver", "target")
    if first == "require":
        refuse(module)

    assert (deliver("secret"), deliver("elsewhere")) == ("refused", "delivered to elsewhere")


def test_replacements_of_one_function_go_through_each_other(module: ModuleType) -> None:
    calls = []
    for name in ("first", "second"):
        hooks.replace(module, "deliver")(lambda original, target, name=name: (calls.append(name), original(target))[1])

    assert module.deliver("x") == "delivered to x"
    assert calls == ["second", "first"]


def test_a_value_is_the_value(module: ModuleType) -> None:
    assert hooks.require(module, "LIMIT") == 3


def test_what_is_not_there_or_takes_something_else_is_named(module: ModuleType) -> None:
    with pytest.raises(LocalCloudError, match=r"post\.deliver takes no size"):
        hooks.require(module, "deliver", "size")
    with pytest.raises(LocalCloudError, match=r"no ministack\.services\.post\.collect"):
        hooks.replace(module, "collect")


@pytest.mark.parametrize("place", ["name", "table"])
def test_a_module_that_holds_the_original_is_named(
    module: ModuleType, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ModuleType("ministack.services.other")
    monkeypatch.setitem(sys.modules, other.__name__, other)
    if place == "name":
        other.deliver = module.deliver  # type: ignore[attr-defined]
    else:
        other.HANDLERS = {"Deliver": module.deliver}  # type: ignore[attr-defined]
    hooks.check_replacements()

    refuse(module)
    with pytest.raises(LocalCloudError, match=r"ministack\.services\.other\.\S+ is still ministack\.services\.post"):
        hooks.check_replacements()
