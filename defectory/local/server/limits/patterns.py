"""Regular expressions as AWS's services understand them, which are Java's, in Python's.

They differ in classes of Unicode (``\\p{L}``), in characters written as two halves, and in that ``\\w``, ``\\d`` and
``\\s`` are of ASCII alone: https://docs.oracle.com/en/java/javase/21/docs/api/java.base/java/util/regex/Pattern.html.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache
from itertools import groupby

# Classes that are no categories of Unicode.
_OF_ASCII = {"Alnum": "0-9A-Za-z", "ASCII": r"\x00-\x7f", "Print": r"\x20-\x7e"}
_PARTS = re.compile(
    r"\\p\{(?P<name>\w+)\}"
    r"|\\u(?P<high>[dD][89abAB]\w\w)\\u(?P<low>[dD][c-fC-F]\w\w)"
    r"|(?P<shorthand>\\[wds])-(?!\])"
    # An end that is asked for several times is still the end.
    r"|(?P<end>\$)\{\d+,\d+\}"
    r"|(?P<other>\\.|.)",
    re.DOTALL,
)


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The expression, to be matched as a whole.

    Raises:
        re.error: it has something that is not translated.
    """
    translated, in_class = [], False
    for part in _PARTS.finditer(pattern):
        match part.lastgroup, part["other"]:
            case "name", _:
                translated.append(_class_of(part["name"]) if in_class else f"[{_class_of(part['name'])}]")
            case "low", _:
                point = 0x10000 + (int(part["high"], 16) - 0xD800) * 0x400 + int(part["low"], 16) - 0xDC00
                translated.append(f"\\U{point:08x}")
            case "shorthand", _:
                translated.append(f"{part['shorthand']}\\-" if in_class else part[0])
            case "end", _:
                translated.append("$")
            case _, other:
                in_class = other == "[" or (in_class and other != "]")
                translated.append(other)
    return re.compile("".join(translated), re.ASCII)


@cache
def _class_of(name: str) -> str:
    """The inside of a class of characters: those of a category such as ``L`` or ``Lu``, or of one of Java's names."""
    if name in _OF_ASCII:
        return _OF_ASCII[name]
    runs = (f"\\U{first:08x}-\\U{last:08x}" for first, last, category in _runs() if category.startswith(name))
    return "".join(runs)


@cache
def _runs() -> list[tuple[int, int, str]]:
    """First and last characters of the runs of each category, in their order."""
    runs, first = [], 0
    for category, points in groupby(range(sys.maxunicode + 1), lambda point: unicodedata.category(chr(point))):
        length = sum(1 for _ in points)
        runs.append((first, first + length - 1, category))
        first += length
    return runs
