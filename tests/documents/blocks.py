"""The documents' fenced blocks: what each is, and running those of one document in a folder of its own.

A block's language says what becomes of it:

    console           lines that begin with ``$`` are run by bash, one after the other; what stands below one is what it
                      has to print, where ``...`` stands for any text
    sh, bash, shell   run by bash as a whole
    python            run in one process a document, whose names stay from block to block
    yaml, json, csv, text with a mark ``<!-- file: NAME -->``   written to that file, for the commands after it
    json, yaml        parsed
    mermaid, text     to look at; a text may hold no commands
    {toctree}         and other directives in braces: for the site that the pages are built into

Marks are comments of HTML on the line above a block.  ``<!-- not run: REASON -->`` excuses one that cannot run on any
machine; the reason is one of `REASONS`.  ``<!-- runs in a copy of the checkout -->``, anywhere in a document, gives its
commands a copy of the package to change.

``python -m tests.documents.blocks`` lists the blocks that are not run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

ROOT = Path(__file__).parents[2]

REASONS = {
    "needs an AWS account": "The templates and the local cloud are tested in its place.",
    "needs a deployed stack and the aws command": "The local cloud's tests call the same; what is sent is parsed here.",
    "changes the checkout": "It installs, or runs the very suite that runs the documents.",
    "fetches gigabytes": "`make models` runs the same program on random weights.",
    "stays until Ctrl-C": "The local cloud's tests start and stop it.",
}
"""Why a block may be left out, and what proves it instead."""

# The port that the documents name.  Several runs share a machine, so each gets a free one in its place.
DOCUMENTED_PORT = "8080"
SECONDS = 180.0

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\{[\w-]+\}|[\w-]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)
_MARK = re.compile(r"<!-- (?P<name>not run|file): (?P<value>[^\n]+?) -->\s*\Z")
_COPY = "<!-- runs in a copy of the checkout -->"
_SHELLS = frozenset({"sh", "bash", "shell"})
_COMMAND = re.compile(r"\s*(\$ |(defectory|aws|cdk|npx|make|pip|python|curl|git) )")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: where it begins (``line`` counts from 1), its language, its text, and its mark."""

    document: Path
    line: int
    language: str
    text: str
    reason: str = ""
    file: str = ""

    def __str__(self) -> str:
        document = self.document.relative_to(ROOT) if self.document.is_relative_to(ROOT) else self.document
        return f"{document}:{self.line}"


@dataclass(frozen=True, slots=True)
class Command:
    """A line of a ``console`` block and what it has to print; None where the document does not show it."""

    line: str
    output: str | None


class BlockError(AssertionError):
    """A block does not do what its document says."""


def documents() -> list[Path]:
    """Every document of the project that may hold blocks."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])


def read_blocks(document: Path) -> list[Block]:
    """The fenced blocks of ``document``, in their order.

    Raises:
        BlockError: a fence is never closed.
    """
    source = document.read_text(encoding="utf-8")
    if len(re.findall(r"^ *```", source, re.MULTILINE)) != 2 * len(_FENCE.findall(source)):
        raise BlockError(f"{document}: a fence is not closed")
    blocks = []
    for match in _FENCE.finditer(source):
        mark = _MARK.search(source, 0, match.start())
        marks = {mark["name"]: mark["value"]} if mark else {}
        blocks.append(
            Block(
                document,
                source.count("\n", 0, match.start()) + 1,
                match["language"],
                textwrap.dedent(match["text"]),
                reason=marks.get("not run", ""),
                file=marks.get("file", ""),
            )
        )
    return blocks


def fault(block: Block) -> str:
    """Why nobody knows how to run ``block``; empty where somebody does, or where its mark excuses it."""
    if block.reason:
        return "" if block.reason in REASONS else f"{block.reason!r} is none of {', '.join(REASONS)}"
    if (
        block.file
        or block.language.startswith("{")
        or block.language in _SHELLS | {"python", "json", "yaml", "mermaid"}
    ):
        return ""
    if block.language == "console":
        return "" if block.text.startswith("$ ") else "a console block begins with '$ '"
    if block.language == "text":
        commands = [line for line in block.text.splitlines() if _COMMAND.match(line)]
        return f"a text holds a command: {commands[0]}" if commands else ""
    return f"unknown language {block.language!r}: name one that is run, or mark the block <!-- not run: REASON -->"


def commands_of(text: str) -> list[Command]:
    r"""The commands of a ``console`` block; a line that ends in ``\`` or in an open here-document goes on."""
    commands: list[Command] = []
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, _, rest = part.partition("\n")
        while line.endswith("\\"):
            following, _, rest = rest.partition("\n")
            line = f"{line}\n{following}"
        commands.append(Command(line, rest if rest.strip() else None))
    return commands


def prints(expected: str, printed: str) -> bool:
    """Whether ``printed`` is ``expected``, in which ``...`` stands for any text; ends of lines do not count."""
    lines = "\n".join(line.rstrip() for line in expected.strip().splitlines())
    shown = "\n".join(line.rstrip() for line in printed.strip().splitlines())
    pattern = ".*?".join(re.escape(part) for part in lines.split("..."))
    return re.fullmatch(pattern, shown, re.DOTALL) is not None


_DRIVER = r"""
import contextlib, io, json, os, sys, traceback
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
names = {"__name__": "__main__"}
for request in sys.stdin:
    title, source = json.loads(request)
    printed, error = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(source, title, "exec"), names)
    except BaseException:
        error = traceback.format_exc()
    answers.write(json.dumps([printed.getvalue(), error]) + "\n")
    answers.flush()
"""


@dataclass
class Workplace:
    """Runs the blocks of one document in ``folder``; processes that they left behind end with it."""

    folder: Path
    environment: Mapping[str, str]
    _sessions: list[int] = field(default_factory=list)
    _python: subprocess.Popen[str] | None = None
    _port: str = ""

    def __enter__(self) -> Self:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = str(free.getsockname()[1])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._python is not None:
            self._python.kill()
            self._python.communicate()
        for session in self._sessions:
            try:
                os.killpg(session, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def run(self, block: Block) -> str:
        """Do with ``block`` what its language says; returns what it printed.

        Raises:
            BlockError: it failed, printed something else than the document shows, or nobody knows how to run it.
        """
        if why := fault(block):
            raise BlockError(f"{block}: {why}")
        if block.reason:
            return ""
        if block.file:
            target = self.folder / block.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text, encoding="utf-8")
        elif block.language in {"json", "yaml"}:
            (json.loads if block.language == "json" else yaml.safe_load)(block.text)
        elif block.language == "python":
            return self._run_python(block)
        elif block.language in _SHELLS:
            return self._run_shell(block, block.text)
        elif block.language == "console":
            return "".join(self._run_command(block, command) for command in commands_of(block.text))
        return ""

    def _run_command(self, block: Block, command: Command) -> str:
        printed = self._run_shell(block, command.line)
        if command.output is not None and not prints(self._localised(command.output), printed):
            raise BlockError(f"{block}: {command.line}\nhas to print\n{command.output}\nprints\n{printed}")
        return printed

    def _run_shell(self, block: Block, script: str) -> str:
        # Files, not pipes: a server that is left in the background holds its ends open.
        printed, told = self.folder.parent / "stdout", self.folder.parent / "stderr"
        with printed.open("w") as stdout, told.open("w") as stderr:
            shell = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", self._localised(script)],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
            self._sessions.append(shell.pid)
            status = shell.wait(SECONDS)
        if status:
            message = f"{printed.read_text('utf-8')}\n{told.read_text('utf-8')}"
            raise BlockError(f"{block}: exit code {status} of\n{script}\n{message}")
        return printed.read_text("utf-8")

    def _run_python(self, block: Block) -> str:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, "-c", _DRIVER],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            self._sessions.append(self._python.pid)
        assert self._python.stdin is not None and self._python.stdout is not None
        self._python.stdin.write(json.dumps([str(block), self._localised(block.text)]) + "\n")
        self._python.stdin.flush()
        answer = self._python.stdout.readline()
        printed, error = json.loads(answer) if answer else ("", "the process ended")
        if error:
            raise BlockError(f"{block}:\n{printed}{error}")
        return str(printed)

    def _localised(self, text: str) -> str:
        return re.sub(rf"\b{DOCUMENTED_PORT}\b", self._port, text)


def run_document(document: Path, folder: Path, environment: Mapping[str, str]) -> list[str]:
    """Run every block of ``document`` in ``folder``, in order; returns what each printed.

    Args:
        document: the Markdown file.
        folder: an empty folder, whose parent may be written to.
        environment: variables of the commands; ``PATH`` and ``PYTHONPATH`` are put right here.

    Raises:
        BlockError: a block does not do what the document says.
    """
    library = ROOT
    if _COPY in document.read_text(encoding="utf-8"):
        shutil.copytree(ROOT / "defectory", folder / "defectory", ignore=shutil.ignore_patterns("__pycache__"))
        library = folder
    variables = {
        **environment,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}",
        "PYTHONPATH": str(library),
    }
    with Workplace(folder, variables) as workplace:
        return [workplace.run(block) for block in read_blocks(document)]


def not_run(blocks: Sequence[Block]) -> Iterator[str]:
    """A line for each block that its mark excuses."""
    for block in blocks:
        if block.reason:
            yield f"{block}: {block.reason}"


if __name__ == "__main__":
    for path in documents():
        for excused in not_run(read_blocks(path)):
            print(excused)
