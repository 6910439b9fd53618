"""``make lock``: write requirements.txt and the lists of what runs elsewhere, from pyproject.toml and tools/lists.toml.

requirements.txt is the complete lock of the project with all its extras: exact versions, what they need in turn, and
the hashes of every file that a package index has of them, for every platform and Python that the project runs on.
uv resolves it; versions that it holds already stay unless they no longer fit.  Each list of ``tools/lists.toml`` is cut
from it: the packages a list names and, by the comments ``# via`` of the lock, all that they need.  What a container
needs that the project does not (torch and CUDA, say) is a list ``apart``: resolved by itself, in the lock's versions
where both have a package.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import uv

ROOT = Path(__file__).parent.parent
LOCK = "requirements.txt"
LISTS = "tools/lists.toml"
OLDEST_PYTHON = "3.11"
LOCK_HEADER = """\
# The project with all its extras, whole and exact: installed by `make`, written by `make lock` from pyproject.toml.
"""
LIST_HEADER = """\
# {purpose}
# Whole and exact, so installed without dependencies; written by `make lock` from tools/lists.toml.
"""


@dataclass(frozen=True, slots=True)
class Pin:
    """A package of the lock.

    Attributes:
        name: normalised, as in ``scikit-learn``.
        lines: ``name==version``, its marker if there is one, and its hashes, as the lock has them.
        needed_by: names of the packages of the lock that need it.
    """

    name: str
    lines: tuple[str, ...]
    needed_by: frozenset[str]


def normalise(name: str) -> str:
    """A package's name as the lock spells it: ``PyYAML`` is ``pyyaml``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(text: str) -> dict[str, Pin]:
    """The packages of a lock that uv wrote, by name.

    Raises:
        ValueError: a line is none that uv writes.
    """
    pins: dict[str, Pin] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", text):
        lines = [line for line in block.splitlines() if line.strip() and not line.startswith("#")]
        if not lines:
            continue
        head = re.match(r"([A-Za-z0-9._-]+)==\S+", lines[0])
        if head is None:
            raise ValueError(f"{LOCK}: must hold lines 'name==version', got {lines[0]!r}. Run `make lock`.")
        comments = [line.strip(" #") for line in lines if line.lstrip().startswith("#")]
        sources = " ".join(comments).removeprefix("via").split()
        name = normalise(head[1])
        pins[name] = Pin(
            name,
            tuple(line for line in lines if not line.lstrip().startswith("#")),
            frozenset(normalise(source) for source in sources if not source.startswith("(")),
        )
    return pins


def closure(needs: Sequence[str], pins: Mapping[str, Pin]) -> set[str]:
    """Names of ``needs`` and of all that they need in turn.

    Raises:
        ValueError: the lock lacks one of ``needs``.
    """
    if missing := sorted({normalise(need) for need in needs} - pins.keys()):
        raise ValueError(f"{LISTS}: must name packages of pyproject.toml, got {', '.join(missing)}.")
    names: set[str] = set()
    new = {normalise(need) for need in needs}
    while new:
        names |= new
        new = {name for name, pin in pins.items() if pin.needed_by & new} - names
    return names


def render_lists(declared: str, lock: str) -> dict[str, str]:
    """The text of every list, by its path within the project.

    Args:
        declared: content of ``tools/lists.toml``.
        lock: content of ``requirements.txt``.

    Raises:
        ValueError: a list names a package that the lock lacks.
    """
    pins = read_lock(lock)
    groups = tomllib.loads(declared)["group"]
    needs = {path: packages for group in groups for path, packages in group["files"].items()}
    texts = {}
    for group in groups:
        elsewhere = closure(needs[group["beyond"]], pins) if "beyond" in group else set()
        for path, packages in group["files"].items():
            blocks = ["\n".join(pins[name].lines) for name in sorted(closure(packages, pins) - elsewhere)]
            texts[path] = LIST_HEADER.format(purpose=group["purpose"]) + "\n".join(blocks) + "\n"
    return texts


def resolve(root: Path, *, upgrade: bool = False) -> str:
    """The lock's text, resolved by uv: this asks the package index.

    Args:
        upgrade: take the newest versions instead of those that the lock has already.

    Raises:
        subprocess.CalledProcessError: uv found no solution; it has said why.
    """
    text = _compile(root, LOCK, ["pyproject.toml", "--all-extras"], upgrade=upgrade)
    return LOCK_HEADER + text.removeprefix(LOCK_HEADER)


def resolve_apart(root: Path, declared: str, *, upgrade: bool = False) -> dict[str, str]:
    """The text of every list apart, by its path; resolved by uv, in the versions of the lock that is there.

    Raises:
        subprocess.CalledProcessError: uv found no solution; it has said why.
    """
    texts = {}
    for entry in tomllib.loads(declared).get("apart", []):
        text = _compile(root, entry["file"], ["-", "--constraints", LOCK], stdin=entry["packages"], upgrade=upgrade)
        blocks = ["\n".join(pin.lines) for _, pin in sorted(read_lock(text).items())]
        texts[entry["file"]] = LIST_HEADER.format(purpose=entry["purpose"]) + "\n".join(blocks) + "\n"
    return texts


def _compile(root: Path, file: str, source: Sequence[str], *, stdin: Sequence[str] = (), upgrade: bool = False) -> str:
    """What uv makes of ``source``; versions that ``file`` has stay unless they no longer fit."""
    lock = root / file
    command = [
        *(uv.find_uv_bin(), "pip", "compile", *source, "--quiet"),
        *("--universal", "--fork-strategy", "fewest", "--python-version", OLDEST_PYTHON, "--generate-hashes"),
        # Where this machine gets its packages is nobody else's business.
        *("--no-header", "--no-emit-index-url", "--no-emit-find-links"),
        *("--output-file", str(lock), *(["--upgrade"] if upgrade else [])),
    ]
    subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL, input="\n".join(stdin), text=True)
    return lock.read_text()


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the lock and the lists; 1 if uv found no solution."""
    parser = argparse.ArgumentParser(prog="python -m tools.lock", description=__doc__.partition("\n")[0])
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    parser.add_argument("--lists-only", action="store_true", help="leave the lock as it is; needs no network")
    options = parser.parse_args(arguments)
    if not options.lists_only:
        try:
            text = resolve(ROOT, upgrade=options.upgrade)
        except subprocess.CalledProcessError as error:
            return error.returncode
        (ROOT / LOCK).write_text(text)
        try:
            apart = resolve_apart(ROOT, (ROOT / LISTS).read_text(), upgrade=options.upgrade)
        except subprocess.CalledProcessError as error:
            return error.returncode
        for path, text in apart.items():
            (ROOT / path).write_text(text)
    for path, text in render_lists((ROOT / LISTS).read_text(), (ROOT / LOCK).read_text()).items():
        (ROOT / path).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
