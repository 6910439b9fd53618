"""Machine names: read them from a model's reply, and turn them into safe folder names.

Models are asked for a fenced, numbered list and answer with much else: preambles, bold names, explanations, nested
bullets, tables, JSON, a second version.  What is taken, and what is not:

- versions: the text after ``<error>`` or after "Corrected list:" replaces the text before it, if it is complete
- where: fenced lists before unfenced ones, lists before plain lines; prose is never a list
- which level: the outermost; bullets under a number explain it
- the name: up to the dash, colon or arrow that starts an explanation; hyphens and numbers inside a name stay
"""

from __future__ import annotations

import hashlib
import html
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from defectory.errors import ReplyError
from defectory.sensors.replies import beginning, normalise, versions
from defectory.sensors.syntax import parse_literal

MAX_NAME = 80
MAX_SLUG = 63
MAX_NUMBER = 200

# ------------------------------------------------------------------ what a line can be

_EMPHASIS = r"(?P<emphasis>\*\*|__|\*|_)?"
_NUMBERED = re.compile(
    rf"""(?:[#>]+\s*)*{_EMPHASIS}                         # heading, quotation, bold
    (?:
      (?:(?:machine|item|no\.?|nr\.?|[#№])\s*)?
      [(（\[【]?\s*(?P<number>\d{{1,3}})\s*
      (?: \\?[)）\]】．、،]                               # 1) (1) １． 1、
        | \\?[.:：](?!\d)                                 # 1. but not 1.5 or 1:1
        | \s*[-–—]\s )                                    # 1 - but not 5-Axis
      | (?P<circled>[①-⑳⓵-⓾❶-❿➀-➓])[.)]?
      | [一二三四五六七八九十]{{1,3}}[、．.]
    )\s*(?P<text>.*)""",
    re.VERBOSE | re.IGNORECASE,
)
_BULLET = re.compile(r"(?:>\s*)*(?:[•‣◦▪▫●○■□◆►▸➤➢✓✔✅・·]\s*|[*+–—-]\s+|-(?=[^\W\d]))(?:\[[ xX]\]\s*)?(?P<text>.*)")
_LETTERED = re.compile(r"[(]?[A-Za-z][.)]\s+(?P<text>.*)")
_FENCE = re.compile(r"`{3,}|~{3,}")
_CODE_TAGS = frozenset({"python", "py", "python3", "bash", "sh", "shell", "javascript", "js", "html", "xml", "console"})
_REVISION = re.compile(
    r"(?:^|\n)[^\n`~]{0,60}\b(?:corrected|revised|updated|fixed|final|improved)\b[^\n`~]{0,40}\b(?:list|version|answer)\b[^\n`~]*"
    r"(?=\n|$)",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:I(?:['’]m| am)?|we)\b[^.\n]{0,40}\b(?:can(?:no|['’])t|unable to|not able to|won['’]t|will not)\b",
    re.IGNORECASE,
)
_META = re.compile(
    r"""(?:here(?:['’]s|\s+(?:is|are))|below\b|notes?\s*(?::|that\b)|please\b|sorry\b|unfortunately\b|as\s+an\s+ai
    |i['’](?:m|d|ll|ve)\b|i\s+(?:can|cannot|am|will|won|do|don|have|would|apologi|need|could|hope|understand)
    |th(?:ese|is)\s+(?:is|are|list|machines?|can|covers?|should)\b|the\s+(?:following|above|list)\b|let\s+me\b
    |sure\b|certainly\b|of\s+course\b|if\s+you\b|you\s+(?:can|may|will)\b|we\s+(?:can|have|are)\b|checked\b|no\s+errors?\b
    |let['’]s\b|each\s+(?:of|machine)\b|feel\s+free\b)""",
    re.VERBOSE | re.IGNORECASE,
)

# ------------------------------------------------------------------ what ends a name

_LABEL = re.compile(r"(?:machine(?:\s+name)?|name|equipment)\s*[:：=]\s*(?=\S)", re.IGNORECASE)
_EXPLANATION = re.compile(
    r"""\s+[-–—−|~=]+>?\s+              # spaced dash or bar
    | \s[-–—](?=[^\W\d])                # dash glued to the explanation
    | (?<=\w)[-–]\s+(?!(?:und|oder|and|or|et|ou|y|e|to)\b)   # dash glued to the name; "Dreh- und Fräsmaschine" stays
    | \s*[—―]+\s*                       # em dash, spaced or not
    | \s*:(?=\s|$) | \s*[：；，。،؛]     # colon; the marks of other scripts need no space
    | \s*(?:->|=>|[→⇒]) | ;\s | \t
    | ,\s+(?:which|that|used|for)\b""",
    re.VERBOSE,
)
_TAG = re.compile(r"</?[A-Za-z!][^<>]{0,200}>")
_LINK = re.compile(r"!?\[([^\[\]]+)\]\([^()\s]*\)")
_MATH = re.compile(r"\$[_^]?\{?(\w{1,8})\}?\$")
_LOOSE_EMPHASIS = re.compile(r"(?<!\w)[*_]+|[*_]+(?!\w)")
_BOLD_NAME = re.compile(r"(\*\*|__|`)\s*(?P<name>[^*`]+?)\s*\1(?P<rest>.*)", re.DOTALL)
_REMARK = re.compile(r"\s*[(（](?P<inside>[^()（）]*)[)）]\s*$")
_USE = re.compile(r"(?:used|for|e\.g\.|i\.e\.|用于|用來|用来)", re.IGNORECASE)
_SENTENCE_ENDS = (".", "!", "?", "。", "！", "？")
_QUOTES = "\"'“”‘’«»‹›„「」『』"
_LOOSE_SYMBOLS = re.compile(r"(?:\s+[^\w\s()（）]+)+$")
_TRAILING = " \t.,;:!?…·=*_-–—。、，；：，،؛؟"


@dataclass(frozen=True, slots=True)
class _Item:
    kind: Literal["number", "bullet", "letter"]
    indent: int
    number: int | None
    text: str


@dataclass(frozen=True, slots=True)
class _List:
    """Names found together; ``complete`` is false for the tail of something cut off or a mere patch ("3. ...")."""

    names: tuple[str, ...]
    complete: bool
    rank: int


def parse_machine_list(reply: str) -> list[str]:
    r"""Machine names in a model's reply, in its order, without duplicates, each at most 80 characters.

    Raises:
        ReplyError: the reply holds no list of machines (empty, prose, a refusal).

    >>> parse_machine_list("Here they are:\n1. Plasma Etcher - removes material\n2. Wafer Stepper")
    ['Plasma Etcher', 'Wafer Stepper']
    """
    text = normalise(reply)
    text = _visible(html.unescape(text))
    text = re.sub(r"<(?:li|item|machine)\b[^<>]*>", "\n- ", text, flags=re.IGNORECASE)
    best: _List | None = None
    for version in versions(text):
        for part in _REVISION.split(version):
            listing = _best_list(part)
            if listing and (best is None or listing.complete or len(listing.names) >= len(best.names)):
                best = listing
    refused = best is not None and best.rank < 3 and _REFUSAL.search(text[:160])
    if best is None or refused:
        raise ReplyError(
            "The reply holds no list of machines: expected one machine name a line, numbered, in a ``` fence; "
            f"it begins with: {beginning(reply)}"
        )
    return list(best.names)


def read_machine_names(values: object) -> list[str]:
    """Machine names that a model called a tool with, cleaned as those in a reply's text are.

    Args:
        values: unchecked: a list of names, or of objects with a name; some models pass the list as text.

    Raises:
        ReplyError: there is no machine's name in it.

    >>> read_machine_names(["1. Plasma Etcher - removes material", "Wafer Stepper"])
    ['Plasma Etcher', 'Wafer Stepper']
    """
    if isinstance(values, str):
        return parse_machine_list(values)
    texts = _texts(values[:MAX_NUMBER]) if isinstance(values, list) else []
    plain = [_visible(html.unescape(text[: 10 * MAX_NAME])).strip() for text in texts]
    items = [numbered["text"] if (numbered := _NUMBERED.match(text)) else text for text in plain]
    names = _distinct(name for item in items if (name := _name(item)))
    if not names:
        raise ReplyError(
            f"The tool was called without machines: expected a list of names, it begins with: {beginning(repr(values))}"
        )
    return list(names)


def machine_slug(name: str) -> str:
    """Folder name for a machine: ``[a-z0-9-]``, 1-63 characters, the same for the same name, safe in any path or shell.

    Letters that have no ASCII form, and names too long, leave a hash of the whole name behind, so that they stay apart.

    >>> machine_slug("Plasma Etcher #2")
    'plasma-etcher-2'
    """
    folded = name.casefold().translate(_LATIN)
    ascii_form = unicodedata.normalize("NFKD", folded)
    lost = any(c.isalnum() and not c.isascii() for c in ascii_form)
    slug = re.sub(r"[^a-z0-9]+", "-", "".join(c for c in ascii_form if c.isascii() or c.isalnum())).strip("-")
    if not slug:
        return f"machine-{_digest(name)}"
    if slug in _RESERVED:
        slug = f"machine-{slug}"
    if lost or len(slug) > MAX_SLUG:
        slug = f"{slug[: MAX_SLUG - 9].rstrip('-')}-{_digest(name)}"
    return slug


def unique_slugs(names: Sequence[str]) -> list[str]:
    """A slug for each name, in order, no two alike: a second ``cnc-mill`` becomes ``cnc-mill-2``."""
    base_slugs = [machine_slug(name) for name in names]
    reserved, used = set(base_slugs), set[str]()
    slugs = []
    for slug in base_slugs:
        unique, number = slug, 1
        while unique in used or (number > 1 and unique in reserved):
            number += 1
            unique = f"{slug[: MAX_SLUG - 1 - len(str(number))].rstrip('-')}-{number}"
        used.add(unique)
        slugs.append(unique)
    return slugs


# Zero-width joiners shape Persian and Indic words; anywhere else they only hide differences.
_JOINERS = re.compile("[\u200c\u200d]")
_LOOSE_JOINERS = re.compile("(?<![^\\W\\da-zA-Z_])[\u200c\u200d]+|[\u200c\u200d]+(?![^\\W\\da-zA-Z_])")
_LATIN = str.maketrans({"ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"})
# Names that Windows will not have as a folder, whatever comes after them.
_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(10))})


def _digest(name: str) -> str:
    return hashlib.sha256(_key(name).encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _key(name: str) -> str:
    """Names with the same key are the same machine."""
    plain = _JOINERS.sub("", _visible(name))
    return " ".join(unicodedata.normalize("NFKC", plain).casefold().split())


def _visible(text: str) -> str:
    """Without control characters, direction overrides and other invisibles; line breaks and tabs stay."""
    spaced = _LOOSE_JOINERS.sub("", re.sub(r"[\u2028\u2029\x0b\x0c\x85]", "\n", text))
    return "".join(c for c in spaced if c in "\n\t\u200c\u200d" or unicodedata.category(c)[0] != "C")


# ------------------------------------------------------------------ from a version to its best list


def _best_list(version: str) -> _List | None:
    lists = [runs for fenced, closed, block in _blocks(version) if (runs := _list_in(block, fenced, closed))]
    if not lists:
        return None
    rank = max(runs[0].rank for runs in lists)
    return _join(run for runs in lists for run in runs if run.rank == rank)


def _blocks(text: str) -> Iterable[tuple[bool, bool, str]]:
    """(fenced, closed, text) for every stretch of text inside or outside a fence."""
    parts = _FENCE.split(text)
    for index, part in enumerate(parts):
        yield index % 2 == 1, index + 1 < len(parts), part


def _join(runs: Iterable[_List]) -> _List | None:
    """Lists by category are one list; a list that repeats most of the one before it is its next version."""
    names: list[str] = []
    keys: set[str] = set()
    complete, rank = True, 0
    for run in runs:
        now = {_key(name) for name in run.names}
        if 2 * len(keys & now) < min(len(keys), len(now)) or not names:
            names += [name for name in run.names if _key(name) not in keys]
            keys |= now
            complete, rank = complete and run.complete, run.rank
        elif 2 * len(now) > len(keys) and (run.complete or len(now) >= len(keys)):
            names, keys, complete = list(run.names), now, run.complete
    return _List(tuple(names), complete, rank) if names else None


def _list_in(block: str, fenced: bool, closed: bool) -> list[_List] | None:
    tag = ""
    if fenced:
        first, _, rest = block.partition("\n")
        if re.fullmatch(r"[\w+#.-]*\s*", first) and not _NUMBERED.match(first):
            tag, block = first.strip().casefold(), rest
    complete = closed or not fenced
    ranked = 3 if fenced else 2
    if names := _literal_names(block) or _table_names(block):
        return [_List(names, complete, ranked)]
    if runs := [run for run in _marked_runs(block) if run[1]]:
        return [_List(names, complete and (first in (None, 0, 1)), ranked) for first, names in runs]
    if tag in _CODE_TAGS:
        return None
    names = _plain_names(block) if fenced else _bare_names(block)
    if not names:
        return None
    return [_List(names, complete, (3 if len(names) > 1 else 1) if fenced else 0)]


def _marked_runs(block: str) -> list[tuple[int | None, tuple[str, ...]]]:
    """(first number, names) of each run of numbers on the outermost level; bulleted lists are one run."""
    runs: list[tuple[int | None, list[str]]] = []
    last: int | None = None
    for item in _outermost(_items(block)):
        if not runs or (item.number is not None and last is not None and item.number <= last):
            runs.append((item.number, []))
        last = item.number
        if name := _name(item.text):
            runs[-1][1].append(name)
    return [(first, _distinct(names)) for first, names in runs]


def _items(block: str) -> list[_Item]:
    items = []
    for line in block.split("\n"):
        stripped, indent = line.strip(), _indent(line)
        if numbered := _NUMBERED.match(stripped):
            items += _on_one_line(numbered, indent)
        elif re.fullmatch(r"[-*_=\s]*", stripped):
            continue
        elif not stripped.startswith("**") and (bullet := _BULLET.match(stripped)):
            text = bullet["text"]
            nested = _NUMBERED.match(text)
            items += _on_one_line(nested, indent) if nested else [_Item("bullet", indent, None, text)]
        elif lettered := _LETTERED.match(stripped):
            items.append(_Item("letter", indent, None, lettered["text"]))
    return items


def _indent(line: str) -> int:
    expanded = line.expandtabs(4)
    return len(expanded) - len(expanded.lstrip())


def _on_one_line(match: re.Match[str], indent: int) -> list[_Item]:
    """The numbered item, and those that follow it on the same line: ``1. Lathe 2. Mill``."""
    emphasis, text = match["emphasis"] or "", match["text"]
    number = int(match["number"]) if match["number"] else None
    if match["circled"]:
        number = int(unicodedata.numeric(match["circled"]))
    items = []
    while (
        number is not None and number < MAX_NUMBER and (follower := re.search(rf"\s\(?{number + 1}[.)]\s+(?=\S)", text))
    ):
        items.append(_Item("number", indent, number, emphasis + text[: follower.start()]))
        text, number, emphasis = text[follower.end() :], number + 1, ""
    return [*items, _Item("number", indent, number, emphasis + text)]


def _outermost(items: list[_Item]) -> list[_Item]:
    if not items:
        return []
    by_kind = {kind: [i for i in items if i.kind == kind] for kind in ("number", "bullet", "letter")}
    numbers, bullets = by_kind["number"], by_kind["bullet"]
    candidates = numbers or bullets or by_kind["letter"]
    if numbers and bullets and items[0].kind == "bullet":
        around = [b for b in bullets if b.indent <= min(i.indent for i in numbers) - 2]
        before = [b for b in bullets if b.indent <= min(i.indent for i in numbers)]
        candidates = around if len(around) > 1 else max(numbers, before, key=len)
    level = min(i.indent for i in candidates) + 1  # right-aligned numbers differ by one
    return [i for i in candidates if i.indent <= level]


def _literal_names(block: str) -> tuple[str, ...]:
    """Names in a JSON or Python list of strings or of objects with a name."""
    start, end = block.find("["), block.rfind("]")
    if not -1 < start < end or end - start > 20_000:
        return ()
    values: object = None
    for read in (json.loads, parse_literal):
        try:
            values = read(block[start : end + 1])
            break
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    if not isinstance(values, list):
        return ()
    texts = _texts(values)
    names = _distinct(name for text in texts if (name := _name(text)))
    return names if len(names) > 1 or len(texts) == len(values) else ()


def _texts(values: list[object]) -> list[str]:
    """The texts among ``values``, and the names of objects among them."""
    fields = (_field(value) if isinstance(value, dict) else value for value in values)
    return [field for field in fields if isinstance(field, str)]


def _field(record: dict[object, object]) -> object:
    return next((v for k, v in record.items() if str(k).casefold() in {"name", "machine", "machine_name"}), None)


def _table_names(block: str) -> tuple[str, ...]:
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in block.split("\n") if "|" in line]
    ruler = next((i for i, row in enumerate(rows) if all(re.fullmatch(r":?-+:?", cell) for cell in row)), None)
    if ruler is None or ruler == 0 or ruler + 1 == len(rows):
        return ()
    header, body = rows[ruler - 1], rows[ruler + 1 :]
    width = min(len(row) for row in [header, *body])
    named = [i for i in range(width) if re.search(r"machine|name|equipment", header[i], re.IGNORECASE)]
    worded = [i for i in range(width) if sum(any(c.isalpha() for c in row[i]) for row in body) * 2 > len(body)]
    column = next((i for i in [*named, *worded] if i in worded), None)
    return () if column is None else _distinct(name for row in body if (name := _name(row[column])))


def _plain_names(block: str) -> tuple[str, ...]:
    """One name a line, without marks, in a fence; deeper lines explain."""
    lines = [line for line in block.split("\n") if line.strip()]
    level = min(map(_indent, lines), default=0) + 1
    outer_lines = [line.strip() for line in lines if _indent(line) <= level]
    return _distinct(
        name
        for line in outer_lines
        if not line.endswith((":", "：")) and not line.startswith("#") and (name := _name(line))
    )


def _bare_names(text: str) -> tuple[str, ...]:
    """One name a line, without marks or fence: only when no line after the first could be prose."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if lines and lines[0].endswith((":", "：")):
        lines = lines[1:]
    prose = any(
        len(line) > 60 or len(line.split()) > 7 or line.endswith((*_SENTENCE_ENDS, ":")) or _META.match(line)
        for line in lines
    )
    return () if prose or len(lines) < 3 else _distinct(name for line in lines if (name := _name(line)))


# ------------------------------------------------------------------ from an item to a name


def _name(text: str) -> str | None:
    """The machine's name at the beginning of an item, or None when the item is a sentence, a remark or nothing."""
    text = _MATH.sub(r"\1", _LINK.sub(r"\1", _TAG.sub("", text))).strip()
    text = re.sub(r"^(?:\*{4}|_{4})\s*", "", text)
    if _META.match(text.lstrip("*_` ")):
        return None
    sentence = text.endswith(_SENTENCE_ENDS)
    bold = _BOLD_NAME.match(text)
    if bold and (not bold["rest"].strip() or len(bold["rest"].split()) > 3 or _EXPLANATION.match(bold["rest"])):
        text = bold["name"]
    text = _LOOSE_EMPHASIS.sub("", text.replace("`", "").replace("**", "").replace("__", "")).strip()
    if label := _LABEL.match(text):
        text = text[label.end() :]
    name = " ".join(_tidy(_EXPLANATION.split(text, maxsplit=1)[0]).split())
    while (remark := _REMARK.search(name)) and _explains(remark["inside"], name):
        name = _tidy(name[: remark.start()])
    words = len(name.split())
    if words > 12 or (sentence and words > 6) or len(name) > 2.5 * MAX_NAME:
        return None
    if len(name) > MAX_NAME:
        name = _tidy(name[: MAX_NAME + 1].rsplit(" ", 1)[0][:MAX_NAME])
    letters = [c for c in name if c.isalpha()]
    return name if len(letters) > 1 or any(not c.isascii() for c in letters) else None


def _explains(inside: str, name: str) -> bool:
    return len(inside.split()) > 4 or len(name) > MAX_NAME or bool(_USE.match(inside))


def _tidy(name: str) -> str:
    """Without quotes, trailing punctuation and symbols around it (emoji, stray marks)."""
    name = name.strip().strip(_QUOTES).rstrip(_TRAILING).strip(_QUOTES)
    name = _LOOSE_SYMBOLS.sub("", name)
    start = next((i for i, c in enumerate(name) if c.isalnum() or c in "(（"), len(name))
    return name[start:].rstrip(_TRAILING)


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(_key(name), name)
    return tuple(first.values())
