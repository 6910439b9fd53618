"""What every reply of a language model has in common: line ends, thinking blocks, versions around ``<error>``."""

from __future__ import annotations

import re
import unicodedata

from defectory.errors import shorten

MAX_REPLY = 400_000

_THOUGHTS = "think|thinking|scratchpad|reasoning|reflection|analysis|planning|thoughts?"
_TAG = re.compile(rf"^[ \t]*<(?P<begins>{_THOUGHTS})>|</(?P<ends>{_THOUGHTS})>(?P<last>[ \t]*$)?", re.I | re.M)
_TAG_LINE = re.compile(rf"^[ \t]*</?(?:{_THOUGHTS})>[ \t]*$", re.I | re.M)
_ERRORS = re.compile(r"^[ \t]*<errors?>(?:(?:(?!<errors?>).)*?</errors?>)?", re.I | re.S | re.M)


def normalise(reply: str) -> str:
    """The answer itself: lines end in ``\\n``, no byte order mark, no thinking, at most ``MAX_REPLY`` characters.

    A thinking block that only ends (its start was swallowed upstream) is cut with all before it; one that only begins
    loses its tag, so that an answer whose author forgot to close it is not lost.
    """
    text = reply[:MAX_REPLY].replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", "")
    parts: list[str] = []
    position = 0
    thinking: re.Match[str] | None = None
    for tag in _TAG.finditer(text):
        if tag["begins"]:
            thinking = thinking or tag
        elif thinking and thinking["begins"].casefold() == tag["ends"].casefold():
            parts.append(text[position : thinking.start()])
            position, thinking = tag.end(), None
        elif not thinking and tag["last"] is not None and text[tag.end() :].strip():
            parts, position = [], tag.end()
    return _TAG_LINE.sub("", "".join(parts) + text[position:])


def versions(text: str) -> list[str]:
    """The text before, between and after ``<error>`` blocks, in order; the blocks themselves are left out."""
    return _ERRORS.split(text)


def beginning(reply: str, limit: int = 200) -> str:
    """The first characters of a reply on one line, for a message: nothing in it can disturb a log or a terminal."""
    visible = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in reply[: 4 * limit])
    return shorten(" ".join(visible.split()), limit) or "(empty)"
