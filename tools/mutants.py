"""Mutants: is every rule that decides something held by a test?

Each module that decides is changed in one place at a time, such as ``<`` to ``<=``, and the tests nearest to it have to
fail.  What to change, which tests those are, and which survivors are accepted for what reason is in ``mutants.toml``.

The changes are cosmic-ray's.  It would start a process for each, most of whose time goes into imports; here each is
forked from one that has imported the libraries already, and no file is ever changed.
"""

from __future__ import annotations

import argparse
import ast
import gc
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import parso.python.tree
import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator
from hypothesis import Phase, settings

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "tools/mutants.toml"

UNTRIED = 99
"""A status that pytest has not: the tests could not be started."""

HEAD = f"{'module':<46} {'mutants':>7} {'tried':>6} {'killed':>6} {'survived':>8} {'share':>6} {'time':>7}"

Position = tuple[int, int]
Span = tuple[Position, Position]


class ScaleFraction(Operator):
    """Doubles and halves numbers with a decimal point: cosmic-ray's ``0.05`` to ``1.05`` no test would miss."""

    FACTORS = (2.0, 0.5)

    def mutation_positions(self, node: Any) -> Iterator[Span]:  # noqa: ANN401 - parso's nodes are not typed
        if _is_fraction(node):
            for _ in self.FACTORS:
                yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:  # noqa: ANN401
        value = repr(float(node.value) * self.FACTORS[index])
        return parso.python.tree.Number(value, node.start_pos, prefix=node.prefix)

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


class LeaveOutCall(Operator):
    """Leaves out a call that is made for what it does: cosmic-ray removes no statement."""

    def mutation_positions(self, node: Any) -> Iterator[Span]:  # noqa: ANN401
        if node.type == "simple_stmt" and node.children[0].type in ("atom_expr", "power"):
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: Any, index: int) -> Any:  # noqa: ANN401
        call = node.children[0]
        node.children[0] = parso.python.tree.Keyword("pass", call.start_pos, prefix=call.get_first_leaf().prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one module: the ``line`` that it is in, and what that ``becomes``."""

    module: str
    number: int
    line: str
    becomes: str
    source: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What an accepted survivor is known by: it outlives a change elsewhere in the module."""
        return self.module, self.line, self.becomes

    def __str__(self) -> str:
        return f"{self.module}:{self.number}\n    - {self.line}\n    + {self.becomes}"


@dataclass(slots=True)
class Tally:
    """How the mutants of one module ended."""

    module: str
    possible: int
    tried: int = 0
    survivors: list[Mutant] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def killed(self) -> int:
        """How many made a test fail, or run for ever."""
        return self.tried - len(self.survivors)


# ------------------------------------------------------------------ which mutants there are


def find_mutants(module: str, config: dict[str, Any], texts: Sequence[str]) -> list[Mutant]:
    """Every mutant of the module in that path, but for those in what only words something."""
    code = (ROOT / module).read_text(encoding="utf-8")
    nodes = list(ast_nodes(get_ast(code)))
    left_out = list(_wording(code, frozenset(texts), frozenset(config["keywords"])))
    added: list[Operator] = [ScaleFraction(), LeaveOutCall()]
    operators: list[Operator] = [*added, *(get_operator(f"core/{name}")() for name in config["operators"])]
    found: dict[str, Mutant] = {}
    for operator in operators:
        places = [(node, span) for node in nodes for span in operator.mutation_positions(node)]
        for occurrence, (node, (start, end)) in enumerate(places):
            scaled_instead = operator not in added and _is_fraction(node)
            signature = node.parent is not None and node.parent.type == "parameters"  # its * is no product
            if scaled_instead or signature or any(first <= start and end <= last for first, last in left_out):
                continue
            mutated = mutate_code(code, operator, occurrence)
            # Of two operators that come to the same, one is enough.
            if mutated and mutated != code and mutated not in found and _compiles(mutated, module):
                found[mutated] = _describe(module, code, mutated)
    return sorted(found.values(), key=lambda mutant: mutant.number)


def sample(mutants: Sequence[Mutant], most: int, seed: int) -> list[Mutant]:
    """The same ``most`` mutants each time; a change of the module moves few others in or out."""

    def rank(mutant: Mutant) -> bytes:
        return hashlib.sha256(f"{seed}:{mutant.key}".encode()).digest()

    return sorted(sorted(mutants, key=rank)[:most], key=lambda mutant: mutant.number)


def _is_fraction(node: Any) -> bool:  # noqa: ANN401
    return isinstance(node, parso.python.tree.Number) and not node.value.replace("_", "").isdigit()


def _compiles(code: str, module: str) -> bool:
    try:
        compile(code, module, "exec")
    except SyntaxError:
        return False
    return True


def _describe(module: str, code: str, mutated: str) -> Mutant:
    before, after = code.splitlines(), mutated.splitlines()
    row = next((row for row, (one, other) in enumerate(zip(before, after, strict=False)) if one != other), 0)
    return Mutant(module, row + 1, " ".join(before[row].split()), " ".join(after[row].split()), mutated)


def _wording(code: str, texts: frozenset[str], keywords: frozenset[str]) -> Iterator[Span]:
    """Where a text is made: f-strings, what is raised or logged, and the functions named."""
    lines = code.splitlines()

    def span(node: ast.AST) -> Span:
        # ast counts bytes, parso letters.
        (row, column), (last, end) = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
        return tuple((line, len(lines[line - 1].encode()[:at].decode())) for line, at in ((row, column), (last, end)))  # type: ignore[return-value]

    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.JoinedStr() | ast.Raise():
                yield span(node)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="logger"))):
                yield span(node)
            case ast.FunctionDef(name=name) if name in texts:
                yield span(node)
            case ast.keyword(arg=str(name)) if name in keywords:
                yield span(node)


# ------------------------------------------------------------------ trying them


class _Replaced(importlib.abc.MetaPathFinder, importlib.machinery.SourceFileLoader):
    """Imports one module from a source that no file has."""

    def __init__(self, mutant: Mutant) -> None:
        name = mutant.module.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        super().__init__(name, str(ROOT / mutant.module))
        self._source = mutant.source

    def find_spec(self, fullname: str, path: object, target: ModuleType | None = None) -> Any:  # noqa: ANN401
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def get_code(self, fullname: str) -> Any:  # noqa: ANN401
        return compile(self._source, self.path, "exec", dont_inherit=True)


class _NoShrinking:
    """That a test fails is enough; hypothesis would go on to look for the simplest failure."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutants", settings.get_profile("gate"), phases=phases)
        settings.load_profile("mutants")


def start(mutant: Mutant | None, tests: Sequence[str], log: Path) -> int:
    """Fork a process that runs ``tests`` on a mutant, or on the module as it is; its number."""
    child = os.fork()
    if child:
        return child
    status = UNTRIED
    try:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        if mutant:
            sys.meta_path.insert(0, _Replaced(mutant))
        arguments = ["-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:benchmark"]
        status = int(pytest.main([*arguments, *tests], plugins=[_NoShrinking()]))
        sys.stdout.flush()
    finally:
        os._exit(status)


def wait(child: int, seconds: float) -> int | None:
    """How the process ended, or None while it runs; after so many ``seconds`` of them it is ended."""
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        return os.waitstatus_to_exitcode(status)
    if seconds > 0:
        return None
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGKILL


def try_all(
    mutants: Sequence[Mutant], tests: Sequence[str], workers: int, folder: Path
) -> Iterator[tuple[Mutant, bool]]:
    """Each mutant with whether it survived, in the order in which they end."""
    begun = time.monotonic()
    first = start(None, tests, folder / "as-it-is.log")
    while (status := wait(first, 600 - (time.monotonic() - begun))) is None:
        time.sleep(0.02)
    if status:
        raise SystemExit(f"The tests fail on {mutants[0].module} as it is:\n{(folder / 'as-it-is.log').read_text()}")
    # A mutant may loop for ever; a machine may be busy.
    limit = 20 + 5 * (time.monotonic() - begun)
    waiting, running = list(reversed(mutants)), {}
    while waiting or running:
        while waiting and len(running) < workers:
            mutant = waiting.pop()
            child = start(mutant, tests, folder / f"{len(waiting)}.log")
            running[child] = mutant, time.monotonic() + limit
        for child, (mutant, until) in list(running.items()):
            status = wait(child, until - time.monotonic())
            if status is not None:
                del running[child]
                if status == UNTRIED:
                    raise SystemExit(f"No tests were run on {mutant}\nSee {folder}.")
                yield mutant, status == 0
        time.sleep(0.01)


# ------------------------------------------------------------------ the report


def main() -> int:
    """Try the mutants, print the table; 1 where too few are killed or one survives that nobody has accepted."""
    parser = argparse.ArgumentParser(description="Change the modules that decide; the nearest tests have to fail.")
    parser.add_argument("modules", nargs="*", help="parts of paths, such as thresholds; all without")
    parser.add_argument("--all", action="store_true", help="every mutant, not a sample of each module's")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--list", action="store_true", help="name the mutants, try none")
    arguments = parser.parse_args()
    config = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
    accepted = {(each["module"], each["line"], each["becomes"]): each["why"] for each in config.get("accepted", [])}
    chosen = [
        each for each in config["module"]
        if not arguments.modules or any(part in each["path"] for part in arguments.modules)
    ]  # fmt: skip
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    folder = ROOT / "build/mutants"
    folder.mkdir(parents=True, exist_ok=True)
    if not arguments.list:
        for name in config["preload"]:
            importlib.import_module(name)
    gc.freeze()
    tallies = []
    for each in chosen:
        found = find_mutants(each["path"], config, each.get("texts", []))
        tried = found if arguments.all else sample(found, config["sample"], config["seed"])
        tally = Tally(each["path"], len(found))
        tallies.append(tally)
        if arguments.list:
            print(*tried, sep="\n")
            continue
        begun = time.monotonic()
        for mutant, survived in try_all(tried, each["tests"], arguments.workers, folder):
            tally.tried += 1
            if survived:
                tally.survivors.append(mutant)
        tally.seconds = time.monotonic() - begun
        print(_row(tally) if tallies[1:] else f"{HEAD}\n{_row(tally)}", flush=True)
        for mutant in sorted(tally.survivors, key=lambda mutant: mutant.number):
            print(f"  {mutant}\n    {accepted.get(mutant.key, 'NOT ACCEPTED')}", flush=True)
    return 0 if arguments.list else _report(tallies, accepted, config)


def _report(tallies: Sequence[Tally], accepted: dict[tuple[str, str, str], str], config: dict[str, Any]) -> int:
    tried, killed = sum(tally.tried for tally in tallies), sum(tally.killed for tally in tallies)
    unknown = [mutant for tally in tallies for mutant in tally.survivors if mutant.key not in accepted]
    print(f"\n{HEAD}")
    print(*map(_row, tallies), sep="\n")
    share = killed / max(tried, 1)
    total = Tally("all", sum(tally.possible for tally in tallies), tried, seconds=sum(each.seconds for each in tallies))
    total.survivors = [mutant for tally in tallies for mutant in tally.survivors]
    print(_row(total))
    if sum(tally.possible for tally in tallies) > tried:
        print(
            f"A sample of at most {config['sample']} a module, seed {config['seed']}; all of them: make mutants ALL=1"
        )
    print(f"Survivors: {len(total.survivors)}, of which accepted with a reason: {len(total.survivors) - len(unknown)}")
    if unknown:
        print("Not accepted; hold them by a test, or say in tools/mutants.toml why not:", *unknown, sep="\n")
    return int(bool(unknown) or share < config["least"])


def _row(tally: Tally) -> str:
    share = tally.killed / max(tally.tried, 1)
    return (
        f"{tally.module:<46} {tally.possible:>7} {tally.tried:>6} {tally.killed:>6} {len(tally.survivors):>8} "
        f"{share:>6.1%} {tally.seconds:>5.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
