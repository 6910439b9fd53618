"""The list of mutants speaks of what is there: modules, tests, and the lines that accepted survivors are in."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = tomllib.loads((ROOT / "tools/mutants.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", CONFIG["module"], ids=lambda module: module["path"])
def test_each_module_and_its_nearest_tests_are_there(module):
    assert (ROOT / module["path"]).is_file()
    assert module["tests"]
    assert all((ROOT / path).exists() for path in module["tests"])
    source = (ROOT / module["path"]).read_text(encoding="utf-8")
    assert all(f"def {name}(" in source for name in module.get("texts", []))


def test_no_module_is_listed_twice():
    paths = [module["path"] for module in CONFIG["module"]]
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("accepted", CONFIG["accepted"], ids=lambda accepted: accepted["becomes"][:60])
def test_each_accepted_survivor_changes_a_line_that_is_there_for_a_reason(accepted):
    lines = [" ".join(line.split()) for line in (ROOT / accepted["module"]).read_text(encoding="utf-8").splitlines()]
    assert accepted["line"] in lines
    assert accepted["becomes"] != accepted["line"]
    assert len(accepted["why"].split()) > 3
