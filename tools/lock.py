"""``make lock``: write the locks and the lists of what runs elsewhere, from pyproject.toml and tools/lists.toml.

requirements.txt is the complete lock of the project with all its extras but one: exact versions, what they need in
turn, and the hashes of every file that a package index has of them, for every platform and Python that the project runs
on.  uv resolves it; versions that it holds already stay unless they no longer fit.

That one extra is ``torch``, a gigabyte that ``make`` does without: what it needs, with what containers need that have
torch, is the lock requirements-models.txt, of the same versions.  torch itself is in neither.  Its packages of one
version have as many contents as there are kinds of processors, from more than one index; ``make models`` asks for the
version in requirements-torch.txt, of which uv knows where the one for processors alone is.

Each list of ``tools/lists.toml`` is cut from the locks: the packages a list names and, by their comments ``# via``, all
that they need.  What a container needs that none of them has (torch and CUDA, say) is a list ``apart``: resolved by
itself, in the lock's versions where both have a package.
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
MODELS_LOCK, TORCH_PIN = "requirements-models.txt", "requirements-torch.txt"
LISTS = "tools/lists.toml"
TORCH = "torch"
# What torch brings for one maker's processors.
GPU_PACKAGES = re.compile(r"nvidia-|cuda-|triton$")
OLDEST_PYTHON = "3.11"
LOCK_HEADER = """\
# The project with all its extras, whole and exact: installed by `make`, written by `make lock` from pyproject.toml.
"""
MODELS_HEADER = """\
# What `make models` installs beside requirements.txt and torch; written by `make lock` from pyproject.toml's extra
# `torch` and tools/lists.toml.
"""
TORCH_HEADER = """\
# The torch of `make models`, by version alone (tools/lock.py says why); written by `make lock`.
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


def read_locks(*locks: str) -> dict[str, Pin]:
    """The packages of several locks, each of one version; a package that is in several is needed by all they say."""
    pins: dict[str, Pin] = {}
    for lock in locks:
        for name, pin in read_lock(lock).items():
            others = pins[name].needed_by if name in pins else frozenset()
            pins[name] = Pin(name, pins[name].lines if name in pins else pin.lines, pin.needed_by | others)
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


def render_lists(declared: str, *locks: str) -> dict[str, str]:
    """The text of every list, by its path within the project.

    Args:
        declared: content of ``tools/lists.toml``.
        locks: content of ``requirements.txt``, and of ``requirements-models.txt``.

    Raises:
        ValueError: a list names a package that the locks lack.
    """
    pins = read_locks(*locks)
    groups = tomllib.loads(declared)["group"]
    needs = {path: packages for group in groups for path, packages in group["files"].items()}
    texts = {}
    for group in groups:
        elsewhere = closure([need for path in group.get("beyond", ()) for need in needs[path]], pins)
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
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = [part for name in project["optional-dependencies"] if name != TORCH for part in ("--extra", name)]
    text = _compile(root, LOCK, ["pyproject.toml", *extras], upgrade=upgrade)
    return LOCK_HEADER + text.removeprefix(LOCK_HEADER)


def resolve_models(root: Path, declared: str, *, upgrade: bool = False) -> dict[str, str]:
    """The texts of requirements-models.txt and requirements-torch.txt, with what all lists apart name, by `resolve`."""
    apart = [package for entry in tomllib.loads(declared).get("apart", []) for package in entry["packages"]]
    source = ["pyproject.toml", "-", "--extra", TORCH, "--constraints", LOCK]
    return split_models_lock(_compile(root, MODELS_LOCK, source, stdin=apart, upgrade=upgrade))


def split_models_lock(text: str) -> dict[str, str]:
    """requirements-models.txt and requirements-torch.txt, from what uv resolved of everything in them.

    Packages for one maker's processors come with torch, if at all.
    """
    blocks = {name: block for block in re.split(r"\n(?=[A-Za-z0-9])", "\n" + text) for name in read_lock(block)}
    stays = [block.strip() for name, block in blocks.items() if name != TORCH and not GPU_PACKAGES.match(name)]
    version = read_lock(text)[TORCH].lines[0].split()[0]
    return {MODELS_LOCK: MODELS_HEADER + "\n".join(stays) + "\n", TORCH_PIN: f"{TORCH_HEADER}{version}\n"}


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
    declared = (ROOT / LISTS).read_text()
    if not options.lists_only:
        try:
            (ROOT / LOCK).write_text(resolve(ROOT, upgrade=options.upgrade))
            texts = resolve_models(ROOT, declared, upgrade=options.upgrade)
            texts |= resolve_apart(ROOT, declared, upgrade=options.upgrade)
        except subprocess.CalledProcessError as error:
            return error.returncode
        for path, text in texts.items():
            (ROOT / path).write_text(text)
    locks = [(ROOT / name).read_text() for name in (LOCK, MODELS_LOCK)]
    for path, text in render_lists(declared, *locks).items():
        (ROOT / path).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
