"""What a program imports of a library: modules, the packages around them, and those packages' data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stacks.import_closure import LIBRARY, ImportClosure, MissingImportError, import_closure

FILES = {
    "__init__.py": "from library.version import VERSION\n",
    "version.py": "VERSION = 1\n",
    "py.typed": "",
    "a/__init__.py": "",
    "a/core.py": "from library.b import deep as deeper\nSIZE: int = 1\n",
    "a/other.py": "",
    "a/prices.yaml": "",
    "a/templates/page.html.j2": "",
    "a/.hidden": "",
    "a/__pycache__/core.pyc": "",
    "b/__init__.py": "def shape():\n    from library.late import x\n",
    "b/deep.py": "import numpy\n",
    "b/tables.yaml": "",
    "late.py": "import pandas\nx = 1\n",
    "unused/__init__.py": "import library.nowhere\n",
    "unused/data.yaml": "",
}
AROUND = {"__init__.py", "version.py", "py.typed"}
A = {*AROUND, "a/__init__.py", "a/prices.yaml", "a/templates/page.html.j2"}
B = {*AROUND, "b/__init__.py", "b/tables.yaml", "late.py"}

Closure = Callable[..., ImportClosure]


@pytest.fixture
def closure(tmp_path: Path) -> Closure:
    """The closure of a program with the given text."""
    library = tmp_path / "library"
    for name, text in FILES.items():
        (library / name).parent.mkdir(parents=True, exist_ok=True)
        (library / name).write_text(text)

    def closure(text: str, **options: list[str]) -> ImportClosure:
        (tmp_path / "program.py").write_text(text)
        return import_closure([tmp_path / "program.py"], library=library, **options)

    return closure


def names(closure: ImportClosure) -> set[str]:
    parts = [file.as_posix().rpartition("/library/")[2] for file in closure.files]
    assert len(parts) == len(set(parts))
    return set(parts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import os", set()),
        ("import library", AROUND),
        ("import library.a.other", {*A, "a/other.py"}),
        ("from library.a import other", {*A, "a/other.py"}),
        ("from library.a import core", {*A, "a/core.py", *B, "b/deep.py"}),
        ("from library.a.core import SIZE, deeper", {*A, "a/core.py", *B, "b/deep.py"}),
        ("from library.b import shape", B),
        ("def handler():\n    import library.a.other", {*A, "a/other.py"}),
        ("class A:\n    if True:\n        from library import a", A),
        ("from importlib import import_module\nimport_module('library.a.other')", {*A, "a/other.py"}),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import library", set()),
        ("import typing\nif typing.TYPE_CHECKING:\n    import os\nelse:\n    import library", AROUND),
    ],
)
def test_what_is_imported_comes_with_the_packages_around_it_and_their_data(closure, text, expected):
    assert names(closure(text)) == expected


def test_relative_imports_are_those_of_the_package(closure, tmp_path):
    (tmp_path / "library" / "a" / "core.py").write_text("from . import other\nfrom ..version import VERSION\n")

    assert names(closure("import library.a.core")) == {*A, "a/core.py", "a/other.py"}


def test_a_package_can_be_had_as_a_whole(closure):
    assert names(closure("", packages=["library.a"])) == {*A, "a/core.py", "a/other.py", *B, "b/deep.py"}


def test_other_packages_are_named_that_have_to_be_there_on_loading(closure):
    text = "import json, yaml\ntry:\n    import torch\nexcept ImportError:\n    torch = None\nimport library.a.core\n"

    others = closure(text).others

    # numpy by way of library.b.deep; pandas only once library.b.shape is called.
    assert others.keys() == {"json", "yaml", "numpy"}
    assert others["yaml"].endswith("program.py, line 1")
    assert others["numpy"].endswith("b/deep.py, line 1")


def test_what_is_loaded_on_demand_and_at_once_has_to_be_there_at_once(closure):
    assert "pandas" in closure("from library import b\nimport library.late").others
    assert "pandas" in closure("import library.late\nfrom library import b").others


@pytest.mark.parametrize(
    "text", ["import library.nowhere", "from library.a import cor", "from library.a.core import SIZ"]
)
def test_an_import_of_nothing_is_refused_with_its_place(closure, text):
    with pytest.raises(MissingImportError, match=r"program\.py, line 2: "):
        closure(f"\n{text}\n")


def test_the_library_is_the_one_that_is_imported():
    assert (LIBRARY / "errors.py").is_file()
    assert LIBRARY.name == "defectory"
