"""The command line stays an adapter: it parses, calls the library and prints, in short files and functions."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import defectory.cli

MAX_FILE_LINES, MAX_FUNCTION_LINES = 250, 60

MODULES = sorted(Path(defectory.cli.__file__).parent.rglob("*.py"))


def test_there_is_something_to_look_at():
    assert len(MODULES) > 20


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(MODULES[0].parent).as_posix())
def test_no_file_and_no_function_is_longer_than_a_reader_can_hold(module):
    text = module.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_FILE_LINES
    lengths = {
        node.name: node.end_lineno - min(part.lineno for part in (node, *node.decorator_list)) + 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}
