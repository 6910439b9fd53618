"""What the pages on architecture, decisions and contributing say of the code is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from defectory import errors
from defectory.errors import DefectoryError
from tests.documents.blocks import ROOT, documents

PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
PAGES = [path for path in documents() if path.name == "CONTRIBUTING.md" or path.is_relative_to(ROOT / "docs")]
# What is made, or named as an example.
MADE = re.compile(r"[<*…]|^defectory/__|\.\.\.")


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def imports(file: Path) -> set[str]:
    """The first parts of what a module imports."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_nobody_else_knows_boto3() -> None:
    # Given the adapters that the page lists, a folder in the first file's place where one cell names several
    listed = set()
    for cell in re.findall(r"^\| (`[^|]*) \|", section("Who knows boto3"), re.MULTILINE):
        for group in cell.split(";"):
            files = re.findall(r"`([^`]+)`", group)
            folder = Path(files[0]).parent
            listed |= {f"defectory/{file if '/' in file else folder / file}" for file in files}
    # When the library, the handlers, the containers' code and the stacks are searched
    knowing = {
        str(file.relative_to(ROOT))
        for top in ("defectory", "lambdas", "models", "stacks")
        for file in (ROOT / top).rglob("*.py")
        if imports(file) & {"boto3", "botocore"}
    }
    # Then it is these, and the places that the text names
    named = ("defectory/aws/", "defectory/local/", "defectory/cli/demo/")
    assert {file for file in knowing if not file.startswith(named)} == listed


def test_the_table_of_errors_is_whole() -> None:
    rows = re.findall(r"^\| `(\w+)`.* \| (\d) \|$", section("Errors"), re.MULTILINE)
    kinds = {
        name: kind.exit_code
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, DefectoryError) and kind is not DefectoryError
    }
    assert {name: int(code) for name, code in rows} == kinds


def test_errors_named_elsewhere_stand_below_the_class_that_the_page_says() -> None:
    bases = {}
    for file in (ROOT / "defectory").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]
    for names, base in re.findall(r"((?:`\w+Error`(?:, |\s+and\s+)?)+)\s+are `(\w+)`s", section("Errors")):
        for name in re.findall(r"`(\w+)`", names):
            assert bases[name] == [base], name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_that_pages_name_are_there(page: Path) -> None:
    for path in re.findall(
        r"`((?:defectory|stacks|lambdas|models|tests|tools|buildspec|docs)/[^`\s]*)`", page.read_text("utf-8")
    ):
        if not MADE.search(path):
            assert (ROOT / path).exists(), path
