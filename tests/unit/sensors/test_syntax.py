"""Parsing in several threads: one at a time, since CPython's parser counts the depth of all trees together."""

from __future__ import annotations

import ast
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from defectory.sensors.machines import parse_machine_list
from defectory.sensors.policy import check_script
from defectory.sensors.scripts import extract_script
from defectory.sensors.syntax import parse_literal, parse_script, parse_whole_script

SCRIPT = "def main():\n    print(1)\n\n\nmain()\n"


def test_no_two_threads_build_a_tree_at_once(monkeypatch):
    inside, most, busy = 0, 0, threading.Lock()
    parse = ast.parse

    def watched(*arguments, **named):
        nonlocal inside, most
        with busy:
            inside += 1
            most = max(most, inside)
        time.sleep(0.002)
        try:
            return parse(*arguments, **named)
        finally:
            with busy:
                inside -= 1

    monkeypatch.setattr(ast, "parse", watched)
    works = [
        lambda: check_script(SCRIPT),
        lambda: extract_script(f"```python\n{SCRIPT}```"),
        lambda: parse_machine_list("['Mill', 'Lathe']"),
    ]
    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(work) for work in works * 6]:
            future.result()

    assert most == 1


def test_nobody_parses_past_it():
    folder = Path(__file__).parent.parent.parent.parent / "defectory" / "sensors"
    users = {path.name for path in folder.rglob("*.py") if "ast.parse(" in path.read_text()}
    users |= {path.name for path in folder.rglob("*.py") if "ast.literal_eval" in path.read_text()}

    # The catalogue's entries are parsed under the same lock.
    assert users == {"syntax.py", "__init__.py"}


def test_what_parses_need_not_compile():
    assert isinstance(parse_script("return 1"), ast.Module)
    with pytest.raises(SyntaxError):
        parse_whole_script("return 1", "generator.py")
    assert parse_literal("[1, 'a']") == [1, "a"]


def test_a_stranger_s_text_warns_nobody(recwarn):
    parse_whole_script("a = '\\d'\nb = 1 is 1\n", "generator.py")
    assert not recwarn.list
