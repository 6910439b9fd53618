"""Policy for generated scripts, checked on the syntax tree: quick advice to whoever writes them.

This is a lint, not the wall: ``defectory.sensors.sandbox`` is.  It therefore leaves honest code alone where a stricter
rule would only annoy, and says what to write instead where it objects.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from defectory.errors import shorten
from defectory.sensors.syntax import parse_whole_script

MAX_CHARACTERS = 100_000
LIBRARY = "defectory.sensors.signals"
_PACKAGE = LIBRARY.partition(".")[0]

ALLOWED_MODULES = frozenset(
    """__future__ abc argparse collections csv dataclasses datetime enum functools itertools json logging math numpy
    pandas pathlib polars random statistics string time typing""".split()  # noqa: SIM905
)

_INSTEAD = {
    "os": "use pathlib",
    "sys": "end with `raise SystemExit(code)`",
    "io": "write straight to a file",
    "matplotlib": "only data files are wanted",
    "scipy": "use numpy",
    "pickle": "write CSV",
    "requests": "there is no network; simulate the values",
    "urllib": "there is no network; simulate the values",
    "threading": "vectorise with numpy",
    "multiprocessing": "vectorise with numpy",
}

# Modules and parts of modules that an allowed module carries along and that lead to files, processes or the network.
_LEADS_OUT = frozenset(
    """os sys io builtins importlib subprocess ctypes ctypeslib socket pickle shutil tempfile threading multiprocessing
    f2py distutils testing compat handlers config core modules linecache inspect runpy pydoc""".split()  # noqa: SIM905
)

_BANNED_NAMES = {
    "eval": "write the expression itself",
    "exec": "write the statements themselves",
    "globals": "pass values as arguments",
    "locals": "pass values as arguments",
    "__import__": "use an import statement at the top",
    "__builtins__": "use the built-in names",
    "__loader__": "do without",
    "__spec__": "do without",
}
# Names that honest scripts give to things of their own, so that only calls count.
_BANNED_CALLS = {
    "compile": "write the code itself",
    "breakpoint": "nobody is there to debug",
    "input": "nobody is there to answer",
}

_BANNED_METHODS = {
    "read_pickle": "pickles run code; write and read CSV",
    "to_pickle": "write CSV or Parquet",
    "read_sql": "there is no database",
    "read_sql_query": "there is no database",
    "read_sql_table": "there is no database",
    "to_sql": "there is no database",
    "read_html": "there is no network",
    "read_clipboard": "there is no clipboard",
    "read_database": "there is no database",
    "read_database_uri": "there is no database",
    "write_database": "there is no database",
    "unlink": "files stay; write each once, under its final name",
    "rmdir": "folders are refused",
    "chmod": "a script needs no permissions",
    "symlink_to": "links are refused",
    "hardlink_to": "links are refused",
    "expanduser": "write to the working directory",
    "DataSource": "there is no network; simulate the values",
    "ctypes": "memory is numpy's business",
    "vformat": "use an f-string",
    "get_field": "name the attribute",
}
# What reaches an attribute by its name; in a call of its own the name is looked at, handed on it is anything.
_REFLECTION = frozenset(("getattr", "setattr", "delattr", "hasattr", "vars"))

# Special names that honest scripts use as attributes.  Those left out (__subclasses__, __globals__, __builtins__,
# __code__, __mro__, __reduce__...) lead from any object to the interpreter.
_HARMLESS_SPECIALS = frozenset(
    """abs add aenter aexit and annotations array bool bytes call ceil class class_getitem complex contains dict
    dataclass_fields del delete delitem divmod doc enter eq exit file float floor floordiv format ge get getitem
    gt hash iadd imul index init init_subclass int invert isub iter itruediv le len lt main matmul members missing mod
    module mul name ne neg new next or pos post_init pow qualname radd repr reversed rmul round rsub rtruediv set
    set_name setattr setitem slots str sub truediv trunc version xor""".split()  # noqa: SIM905
)

_CREDENTIALS = re.compile(r"169\.254\.\d+\.\d+|\bAWS_[A-Z_]{3,}|\.aws/|/etc/(passwd|shadow)|^/proc/|metadata\.google")
_URL = re.compile(r"(https?|ftps?|s3a?|gs|gcs|abfss?|file|hf)://")
_TABLES = "csv|parquet|json|ndjson|ipc|feather|excel|table|fwf|xml|orc"
_ARRAYS = "load|loadtxt|genfromtxt|fromregex|fromfile|save|savez|savez_compressed|savetxt|tofile|memmap|open_memmap"
_FILE_CALLS = re.compile(rf"open|Path|PurePath|{_ARRAYS}|(read|write|scan|sink|to)_({_TABLES})")
_FILE_KEYWORDS = frozenset(("path", "file", "fname", "filename", "path_or_buf", "filepath_or_buffer", "source"))
# A replacement field that walks on from its value, and the attributes that it walks by.
_FORMAT_WALK = re.compile(r"\{\w*((?:\.\w+|\[[^\]{}]*\])+)[!:}]")
_WALKED = re.compile(r"(?<=\.)\w+|(?<=\[)_\w*")
# What pandas' expressions may reach: "@frame.index.name".
_EXPRESSION_WALK = re.compile(r"\.\s*(\w+)")
_MOST_PIECES = 50


@dataclass(frozen=True, slots=True)
class Violation:
    """One breach of the policy; ``line`` counts from 1, and is 0 where the whole script is meant."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


def check_script(source: str) -> list[Violation]:
    r"""Check a script against the policy and return what breaks it, in the order of lines; never raises.

    >>> for violation in check_script("import os\n\ndef main():\n    os.getcwd()\n"):
    ...     print(violation.line, violation.message)
    1 import of `os` is not allowed; use pathlib
    """
    if len(source) > MAX_CHARACTERS:
        return [Violation(0, f"the script has {len(source)} characters; write at most {MAX_CHARACTERS}")]
    try:
        tree = parse_whole_script(source, "generator.py")
    except SyntaxError as error:
        return [Violation(error.lineno or 0, f"does not compile: {error.msg}")]
    except (ValueError, OverflowError) as error:
        return [Violation(0, f"does not compile: {error}")]
    except (RecursionError, MemoryError):
        return [Violation(0, "does not compile: the code is nested too deeply; split it into simple statements")]
    violations = set(_Script(tree).violations())
    return sorted(violations, key=lambda violation: (violation.line, violation.message))


class _Script:
    """A parsed script, with the names under which it knows modules."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        # Walked without recursion, so that a deep tree cannot exhaust the stack.
        self._nodes = list(ast.walk(tree))
        self._modules = {
            alias.asname or alias.name.partition(".")[0]
            for node in self._nodes
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        self._docstrings = {
            id(node.value)
            for node in self._nodes
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        self._called = {id(node.func) for node in self._nodes if isinstance(node, ast.Call)}
        self._bindings = _bindings(self._nodes)
        self._written_out: dict[tuple[str, int], bool] = {}
        self._modules |= {
            name
            for name, values in self._bindings.items()
            if any(isinstance(value, ast.Name) and value.id in self._modules for value in values)
        }

    def violations(self) -> Iterator[Violation]:
        if not any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in self._tree.body):
            yield Violation(0, "there is no function `main` at the top level")
        for node in self._nodes:
            for message in self._objections(node):
                yield Violation(getattr(node, "lineno", 0), message)

    def _objections(self, node: ast.AST) -> Iterator[str]:
        match node:
            case ast.Import():
                for alias in node.names:
                    yield from _import_objections(alias.name)
            case ast.ImportFrom():
                yield from self._import_from_objections(node)
            case ast.Name(id=name, ctx=ast.Load()) if name in _BANNED_NAMES:
                yield f"`{name}` is not allowed; {_BANNED_NAMES[name]}"
            case ast.Name(id=name, ctx=ast.Load()) if name in _REFLECTION and id(node) not in self._called:
                yield f"`{name}` handed on is not allowed; name the attribute"
            case ast.Attribute():
                yield from self._attribute_objections(node)
            case ast.Constant(value=str(text)) if id(node) not in self._docstrings:
                yield from _text_objections(text)
            case ast.BinOp():
                yield from _text_objections(_joined_text(node) or "")
            case ast.Call():
                yield from self._call_objections(node)
            case ast.Match():
                for pattern in ast.walk(node):
                    if isinstance(pattern, ast.MatchClass):
                        for name in pattern.kwd_attrs:
                            yield from self._name_of_attribute_objections(_root(node.subject), name)

    def _import_from_objections(self, node: ast.ImportFrom) -> Iterator[str]:
        module = node.module or ""
        if node.level:
            yield "relative import: a script stands alone"
            return
        for alias in node.names:
            if alias.name == "*":
                yield f"`from {shorten(module)} import *`: import the names you need"
            elif module == LIBRARY.rpartition(".")[0]:
                yield from _import_objections(f"{module}.{alias.name}")
            elif alias.name in _LEADS_OUT or _is_private(alias.name):
                yield f"import of `{shorten(alias.name)}` from `{shorten(module)}` is not allowed"
        if module != LIBRARY.rpartition(".")[0]:
            yield from _import_objections(module)

    def _attribute_objections(self, node: ast.Attribute) -> Iterator[str]:
        if node.attr in _BANNED_METHODS:
            yield f"`{node.attr}` is not allowed; {_BANNED_METHODS[node.attr]}"
        elif node.attr in ("format", "format_map") and _dotted(node.value) == "str":
            yield f"`str.{node.attr}` is not allowed; use an f-string"
        elif _root(node) == _PACKAGE and _PACKAGE in self._modules and not _is_within_library(node):
            # Importing the library brings the packages above it, which offer all else.
            yield f"`{shorten(_dotted(node))}` is not allowed; of {_PACKAGE}, use {LIBRARY}"
        else:
            yield from self._name_of_attribute_objections(_root(node), node.attr)

    def _call_objections(self, node: ast.Call) -> Iterator[str]:
        function = node.func
        is_name = isinstance(function, ast.Name)
        called = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
        if is_name and called in _BANNED_CALLS:
            yield f"`{called}` is not allowed; {_BANNED_CALLS[called]}"
        if is_name and called in _REFLECTION:
            yield from self._reflection_objections(called, node.args)
        if called in ("format", "format_map") and isinstance(function, ast.Attribute):
            yield from self._format_objections(function)
        if called in ("query", "eval"):
            yield from _expression_objections([*node.args, *(keyword.value for keyword in node.keywords)])
        if called == "home" and isinstance(function, ast.Attribute) and getattr(function.value, "id", "") == "Path":
            yield "`Path.home()` is not allowed; write to the working directory"
        if _FILE_CALLS.fullmatch(called):
            named = [keyword.value for keyword in node.keywords if keyword.arg in _FILE_KEYWORDS]
            for argument in (*node.args[:1], *named):
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield from _path_objections(argument.value)
        for keyword in node.keywords:
            if keyword.arg == "allow_pickle" and getattr(keyword.value, "value", True):
                yield "`allow_pickle` is not allowed; pickles run code"

    def _format_objections(self, function: ast.Attribute) -> Iterator[str]:
        """A text from elsewhere may reach any attribute of what it is given; a module's own `format` is no text's."""
        if _dotted(function.value) not in ("str", *self._modules) and not self._is_written_out(function.value):
            yield f"`{function.attr}` of a text that is not written out is not allowed; use an f-string"

    def _is_written_out(self, node: ast.expr | None, depth: int = 6) -> bool:
        """Whether an expression is a literal text, or one of several, by whatever name."""
        if depth == 0:
            return False
        values: list[ast.expr | None]
        match node:
            case ast.Constant(value=value):
                return isinstance(value, str)
            case ast.BinOp():
                return bool(_joined_text(node))
            case ast.IfExp():
                values = [node.body, node.orelse]
            case ast.Name(id=name) | ast.Attribute(attr=name):
                # Once for each name: many values may have many uses.
                if (name, depth) not in self._written_out:
                    values = self._bindings.get(name, [])
                    is_written_out = all(self._is_written_out(value, depth - 1) for value in values)
                    self._written_out[name, depth] = bool(values) and is_written_out
                return self._written_out[name, depth]
            case ast.Subscript():
                values = [node.value]
            case ast.Dict():
                values = [*node.values]
            case ast.List() | ast.Tuple():
                values = [*node.elts]
            case _:
                return False
        return bool(values) and all(self._is_written_out(value, depth - 1) for value in values)

    def _reflection_objections(self, called: str, arguments: list[ast.expr]) -> Iterator[str]:
        if not arguments:
            yield f"`{called}` without an argument is not allowed; pass values as arguments"
            return
        root = _root(arguments[0])
        name = _joined_text(arguments[1]) if len(arguments) > 1 else None
        if name is not None:
            yield from self._name_of_attribute_objections(root, name)
        elif root in self._modules:
            yield f"`{called}` on a module is not allowed; name the attribute"

    def _name_of_attribute_objections(self, root: str, name: str) -> Iterator[str]:
        if root in self._modules and (name in _LEADS_OUT or (name.startswith("_") and name != "__version__")):
            yield f"`{shorten(name)}` of `{shorten(root)}` is not allowed; use the public parts of libraries"
        elif _is_special(name) and name[2:-2] not in _HARMLESS_SPECIALS:
            yield f"attribute `{shorten(name)}` leads into the interpreter; do without"


def _import_objections(module: str) -> Iterator[str]:
    if module == LIBRARY or module.startswith(f"{LIBRARY}."):
        return
    top, *rest = module.split(".")
    if top not in ALLOWED_MODULES:
        instead = _INSTEAD.get(top, f"allowed are {', '.join(sorted(ALLOWED_MODULES))} and {LIBRARY}")
        yield f"import of `{shorten(module)}` is not allowed; {instead}"
    elif any(part in _LEADS_OUT or part.startswith("_") for part in rest):
        yield f"import of `{shorten(module)}` is not allowed; use the public parts of `{top}`"


def _text_objections(text: str) -> Iterator[str]:
    if _CREDENTIALS.search(text):
        yield "text that looks for credentials or instance metadata; a script needs neither"
    for walk in _FORMAT_WALK.findall(text):
        for name in _WALKED.findall(walk):
            if name in _LEADS_OUT or name.startswith("_"):
                yield f"a format that reaches `{shorten(name)}` is not allowed; use an f-string"
    if _is_special(text) and text.isidentifier() and text != "__main__" and text[2:-2] not in _HARMLESS_SPECIALS:
        yield f"the name `{shorten(text)}` leads into the interpreter; do without"


def _expression_objections(arguments: list[ast.expr]) -> Iterator[str]:
    """Objections to what pandas evaluates, as far as it is written out."""
    for argument in arguments:
        for node in ast.walk(argument):
            for name in _EXPRESSION_WALK.findall(_joined_text(node) or ""):
                if name in _LEADS_OUT or name.startswith("_"):
                    yield f"an expression that reaches `{shorten(name)}` is not allowed; use columns only"


def _bindings(nodes: list[ast.AST]) -> dict[str, list[ast.expr | None]]:
    """What names and attributes are bound to, by whoever binds them: expressions, or None where it is not written."""
    bindings: defaultdict[str, list[ast.expr | None]] = defaultdict(list)
    seen: set[int] = set()

    def bind(target: ast.expr, values: list[ast.expr | None]) -> None:
        if isinstance(target, ast.Name | ast.Attribute):
            seen.add(id(target))
            bindings[target.id if isinstance(target, ast.Name) else target.attr].extend(values)

    # Statements come before the names in them.
    for node in nodes:
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    bind(target, [value])
            case ast.AnnAssign(target=target, value=value) if value is not None:
                bind(target, [value])
            case ast.For(target=target, iter=ast.List(elts=elements) | ast.Tuple(elts=elements)):
                bind(target, [*elements])
            case ast.Name(ctx=ast.Store()) | ast.Attribute(ctx=ast.Store()) if id(node) not in seen:
                bind(node, [None])
            case ast.arg(arg=name):
                bindings[name].append(None)
    return bindings


def _joined_text(node: ast.AST) -> str | None:
    """A literal text, or several that are added; None for anything else."""
    pieces: list[str] = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and len(pieces) < _MOST_PIECES:
        if not (isinstance(node.right, ast.Constant) and isinstance(node.right.value, str)):
            return None
        pieces.append(node.right.value)
        node = node.left
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return "".join([node.value, *reversed(pieces)])
    return None


def _path_objections(path: str) -> Iterator[str]:
    if _URL.match(path):
        yield f"`{shorten(path)}`: there is no network; simulate the values"
    elif path.startswith(("/", "~")) or ".." in path.replace("\\", "/").split("/"):
        yield f"`{shorten(path)}` is outside the working directory; write to plain file names"


def _is_special(name: str) -> bool:
    return len(name) > 4 and name.startswith("__") and name.endswith("__")


def _is_private(name: str) -> bool:
    return name.startswith("_") and name != "__version__"


def _is_within_library(node: ast.Attribute) -> bool:
    """Whether a dotted chain is the library, a part of it, or on the way there."""
    chain = _dotted(node) + "."
    return chain.startswith(f"{LIBRARY}.") or f"{LIBRARY}.".startswith(chain)


def _root(node: ast.expr) -> str:
    """First name of a dotted chain; empty for anything else."""
    return _dotted(node).partition(".")[0]


def _dotted(node: ast.expr) -> str:
    """A dotted chain of names as it is written; empty for anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(names)]) if isinstance(node, ast.Name) else ""
