"""Python's parser for what models write, in as many threads as ask.

CPython keeps one count of the depth of a syntax tree for all threads: where two build one at a time, it may end in
``SystemError: AST constructor recursion depth mismatch`` (https://github.com/python/cpython/issues/106905).  Filters of
warnings belong to the process, too.  Whoever parses in a thread does it here.
"""

from __future__ import annotations

import ast
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.RLock()


@contextmanager
def parsing() -> Iterator[None]:
    """One thread at a time, and no warnings of what a stranger's text looks like."""
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def parse_script(source: str) -> ast.Module:
    """The syntax tree of a script.

    Raises:
        SyntaxError, ValueError, OverflowError, RecursionError, MemoryError: as ``ast.parse``.
    """
    with parsing():
        return ast.parse(source)


def parse_whole_script(source: str, name: str) -> ast.Module:
    """As `parse_script`, of what compiles as well: a ``return`` outside of a function parses, and does not.

    Raises:
        SyntaxError, ValueError, OverflowError, RecursionError, MemoryError: as ``ast.parse`` and ``compile``.
    """
    with parsing():
        tree = ast.parse(source)
        compile(source, name, "exec", dont_inherit=True)
        return tree


def parse_literal(text: str) -> object:
    """The value of a literal.

    Raises:
        SyntaxError, ValueError, TypeError, RecursionError, MemoryError: as ``ast.literal_eval``.
    """
    with parsing():
        return ast.literal_eval(text)
