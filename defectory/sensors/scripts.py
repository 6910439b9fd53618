"""Scripts: find the Python program in a model's reply.

A fence proves nothing: replies hold usage examples, first drafts, fences inside docstrings, and code cut off by a token
limit.  So every stretch between two fences is a candidate, and the compiler decides: what is returned compiles and
defines ``main``.  The last such program counts, because a model that finds an error writes the program again.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from defectory.errors import ReplyError, shorten
from defectory.sensors.replies import beginning, normalise, versions
from defectory.sensors.syntax import parse_script, parse_whole_script

MAX_FENCES = 40

_MARK = re.compile(r"`{3,}|~{3,}")
_DEFINES_MAIN = re.compile(r"^[ \t]*def[ \t]+main\b", re.MULTILINE)
_FIRST_LINE_OF_CODE = re.compile(r"(?:import\s|from\s+[\w.]+\s+import\b|\"\"\"|'''|class\s|def\s|@)")
_NOT_COMPILED = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)


@dataclass(frozen=True, slots=True)
class _Fence:
    """A line that may open or close a fence: text before the mark, and what follows it (the language)."""

    line: int
    before: str
    info: str

    @property
    def indent(self) -> int:
        return len(self.before) - len(self.before.lstrip())


def extract_script(reply: str) -> str:
    r"""The last complete Python program in a model's reply, ending in one newline.

    Complete means: it compiles, it defines ``main`` at the top level, and its fence is closed.  Code in a fence that is
    never closed, or in no fence, must also run ``main`` after it, which code cut off half-way does not.

    Raises:
        ReplyError: there is none; the message says what was missing and, for code that does not compile, where.

    >>> extract_script("Sure:\n```python\ndef main():\n    print(1)\n\nmain()\n```")
    'def main():\n    print(1)\n\nmain()\n'
    """
    text = normalise(reply)
    script = _last_fenced(text) or _last_bare(text)
    if script is None:
        raise ReplyError(
            "The reply holds no usable script: expected one complete Python program with a main function in a "
            f"```python fence; {_what_is_wrong(text)}"
        )
    return script


def _last_fenced(text: str) -> str | None:
    lines = text.split("\n")
    fences = [fence for number, line in enumerate(lines) if (fence := _fence(number, line))][-MAX_FENCES:]
    for closing in range(len(fences), 0, -1):
        end, rest, closed = len(lines), "", False
        if closing < len(fences):
            fence = fences[closing]
            end, rest, closed = fence.line, fence.before, not fence.before.strip() and not fence.info
        # A program whose strings hold fences spans several; the outermost pair that compiles is the whole of it.
        for opening in fences[:closing]:
            if opening.before.lstrip().startswith("#"):
                continue
            script = _program(_without_indent([*lines[opening.line + 1 : end], rest], opening.indent))
            if script and (closed or _runs_main(script)):
                return script
    return None


def _fence(number: int, line: str) -> _Fence | None:
    marks = list(_MARK.finditer(line))
    if not marks or set("`~") & set(line[marks[-1].end() :]):
        return None
    mark = marks[-1]
    return _Fence(number, line[: mark.start()], line[mark.end() :].strip())


def _last_bare(text: str) -> str | None:
    """The program in a reply without fences: from a line that can begin one to the line where prose resumes."""
    for version in reversed(versions(text)):
        for code in islice(_beginnings(version), MAX_FENCES):
            script = _program(code) or _program(_until_error(code))
            if script and _runs_main(script):
                return script
    return None


def _beginnings(text: str) -> Iterator[str]:
    """The text from each comment (or heading) on, up to the first line of code, which can not be left out."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if _FIRST_LINE_OF_CODE.match(line):
            yield "\n".join(lines[number:])
            return
        if line.startswith("#"):
            yield "\n".join(lines[number:])


def _program(code: str) -> str | None:
    """``code`` in its final form when it is a program with a top-level ``main``, else None."""
    if not _DEFINES_MAIN.search(code):
        return None
    for form in (code, textwrap.dedent(code)):
        try:
            tree = parse_whole_script(form, "<script>")
        except _NOT_COMPILED:
            continue
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            return form.strip("\n").rstrip() + "\n"
    return None


def _runs_main(script: str) -> bool:
    """Whether a statement after the definition of ``main`` calls it, as the last lines of a whole program do."""
    try:
        body = parse_script(script).body
    except _NOT_COMPILED:
        return False
    defined = next(
        (i for i, node in enumerate(body) if isinstance(node, ast.FunctionDef) and node.name == "main"), None
    )
    return defined is not None and any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "main"
        for statement in body[defined + 1 :]
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef)
        for node in ast.walk(statement)
    )


def _without_indent(body: list[str], width: int) -> str:
    """Lines of a fence that is itself indented, as under a list item, lose up to as much indentation."""
    return "\n".join(line[min(width, len(line) - len(line.lstrip())) :] if width else line for line in body)


def _until_error(code: str) -> str:
    try:
        parse_script(code)
    except SyntaxError as error:
        return "\n".join(code.split("\n")[: max(0, (error.lineno or 1) - 1)])
    except _NOT_COMPILED:
        pass
    return ""


def _what_is_wrong(text: str) -> str:
    fenced = list(_fenced(text))
    if not fenced:
        return f"it begins with: {beginning(text)}"
    code = fenced[-1]
    try:
        tree = parse_script(code)
    except SyntaxError as error:
        line = shorten((error.text or "").strip(), 80)
        return f"the code does not compile: line {error.lineno}: {error.msg}" + (f": {line}" if line else "")
    except _NOT_COMPILED as error:
        return f"the code does not compile: {error or type(error).__name__}"
    if not any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
        return "the code defines no main function at its top level"
    return "the code is cut off: its fence is not closed and main is never called"


def _fenced(text: str) -> Iterator[str]:
    """What lies between fences as they are meant to be read, for the message only; the longest comes last."""
    parts = re.split(r"^[ \t]*(?:`{3,}|~{3,})[^\n]*(?:\n|\Z)", text, flags=re.MULTILINE)
    yield from sorted((textwrap.dedent(part) for part in parts[1::2] if part.strip()), key=len)
