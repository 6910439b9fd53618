"""Run a generated script: lint, layers, a process of its own, and the files it may hand over."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from defectory.errors import SandboxError
from defectory.sensors.policy import check_script
from defectory.sensors.sandbox import layers as protection
from defectory.sensors.sandbox import output, users
from defectory.sensors.sandbox.limits import Limits, RunResult
from defectory.sensors.sandbox.process import ProcessResult, run_sandboxed
from defectory.unwinding import temporary_folder
from defectory.writing import DISK_WORDS, try_folder

_LAST_LINES = 20
_LAST_CHARACTERS = 2000
_SHOWN_VIOLATIONS = 20
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

# What libraries say when they meet a limit, and which limit it is.
_SYMPTOMS = (
    (re.compile(r"MemoryError|[Mm]emory allocation (of \d+ bytes|still) failed|Cannot allocate memory"), "memory_mb"),
    (re.compile(r"File too large"), "file_mb"),
    (re.compile(r"can't start new thread|Resource temporarily unavailable"), "threads"),
)


def run_script(
    source: str,
    output_dir: Path,
    limits: Limits = Limits(),  # noqa: B008 - a frozen value
    *,
    trusted: bool = False,
    outer_wall: bool | None = None,
) -> RunResult:
    r"""Run a script in a sandbox and put the files it wrote into ``output_dir``, which is made when missing.

    The script runs as ``__main__`` in an empty folder, reads only that folder, the interpreter and its libraries, and
    reaches no network, no other process and no credential.  Only a run that is ``ok`` leaves files behind.

    Args:
        source: the script; first checked by ``check_script``, whose violations end the run before it starts.
        output_dir: where accepted files go; files of the same names are replaced.
        limits: bounds of time, memory, disk, files, output and threads.
        trusted: the script is Defectory's own.  It then runs, with a warning, even where layers are missing.
        outer_wall: a container of its own stands around this process, so that a user of its own may stand in for
            Landlock; None asks the environment variable DEFECTORY_SANDBOX_OUTER_WALL (``container`` or unset).

    Raises:
        SandboxError: this machine lacks a layer that the script needs, or could not put one on; nothing was run.
        UnwritableError: the disk of temporary files is full.

    >>> source = "def main():\n    open('data.csv', 'w').write('1')\n\nmain()\n"
    >>> result = run_script(source, Path("written"), trusted=True)
    >>> result.ok, [path.name for path in result.files]
    (True, ['data.csv'])
    """
    if violations := check_script(source):
        listed = [str(violation) for violation in violations[:_SHOWN_VIOLATIONS]]
        if len(violations) > len(listed):
            listed.append(f"and {len(violations) - len(listed)} more")
        return RunResult(ok=False, reason="not run, the script breaks the policy:\n" + "\n".join(listed))
    return _execute(source, output_dir, limits, trusted=trusted, outer_wall=outer_wall)


def _execute(
    source: str, output_dir: Path, limits: Limits, *, trusted: bool = False, outer_wall: bool | None = None
) -> RunResult:
    """``run_script`` without the lint, which is no protection."""
    outer_wall = protection.outer_wall_declared() if outer_wall is None else outer_wall
    layers = protection.detect_layers()
    warnings = protection.require_layers(layers, trusted=trusted, outer_wall=outer_wall)
    output_dir.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        uid = stack.enter_context(users.leased_uid()) if protection.OWN_USER in layers else None
        work = stack.enter_context(_work_folder(uid))
        # Without a fence around files, the run's user may still write where everybody may.
        unfenced = uid if not protection.fences_files(layers) else None
        stack.callback(output.remove_strays, unfenced)

        def breach() -> str:
            return output.breach_of_quota(work, limits) or output.breach_of_folder(unfenced)

        outcome = run_sandboxed(source, work, limits, layers, uid, breach)
        if outcome.status and any(words in outcome.output for words in DISK_WORDS):
            # A script may say so without cause; while its files are there, the disk itself tells.
            try_folder(work.parent, field="TMPDIR")
        inventory = output.take_inventory(work, limits)
        reason = _failure(outcome, limits) or _unacceptable(inventory)
        files = () if reason else output.hand_over(work, inventory.names, output_dir)
    if inventory.folders:
        warnings += (f"Folders the script made were ignored: {', '.join(inventory.folders)}.",)
    return RunResult(
        ok=not reason,
        files=files,
        reason=reason,
        stdout=_printable(outcome.output),
        layers=layers,
        wall_seconds=outcome.wall_seconds,
        warnings=warnings,
    )


@contextlib.contextmanager
def _work_folder(uid: int | None) -> Iterator[Path]:
    """An empty folder that belongs to ``uid``, in a place that ``uid`` may walk to."""
    with temporary_folder("defectory-run-", _scratch(uid)) as folder:
        work = folder.resolve() / "work"
        work.mkdir(mode=0o700)
        if uid is not None:
            work.parent.chmod(0o711)
            os.chown(work, uid, uid)
        yield work


def _scratch(uid: int | None) -> str:
    candidates = (tempfile.gettempdir(), "/tmp", "/var/tmp")
    for candidate in candidates:
        path = Path(candidate).resolve()
        if uid is None or all(folder.is_dir() and folder.stat().st_mode & 0o001 for folder in (path, *path.parents)):
            return str(path)
    raise SandboxError(f"No temporary folder that other users may walk to: tried {', '.join(candidates)}. Set TMPDIR.")


def _failure(outcome: ProcessResult, limits: Limits) -> str:
    """Why the run itself is not acceptable; empty when it is."""
    last = "\n".join(_printable(outcome.output).rstrip().splitlines()[-_LAST_LINES:])[-_LAST_CHARACTERS:]
    if outcome.breach:
        what = f"stopped: the script {outcome.breach}"
    elif outcome.status == 0:
        return ""
    elif outcome.status == -signal.SIGXCPU or (
        outcome.status == -signal.SIGKILL and outcome.cpu_seconds >= limits.cpu_seconds
    ):
        what = f"stopped: the script used more than {limits.cpu_seconds} seconds of processor time"
    else:
        what = f"failed: the script {_exit(outcome.status)}{_suspected_limit(last, limits)}"
    return f"{what}\n{last}".rstrip()


def _exit(status: int) -> str:
    if status >= 0:
        return f"ended with exit code {status}"
    if status == -signal.SIGKILL:
        return "was killed, probably because the machine ran out of memory"
    if status == -signal.SIGSYS:
        return "was killed for a system call of another architecture"
    return f"was ended by signal {-status} ({signal.strsignal(-status)})"


def _suspected_limit(last: str, limits: Limits) -> str:
    for symptom, limit in _SYMPTOMS:
        if symptom.search(last):
            return f", it met the limit {limit} = {getattr(limits, limit)}"
    return ""


def _unacceptable(inventory: output.Inventory) -> str:
    if inventory.problems:
        return "not accepted: " + "; ".join(inventory.problems)
    return "" if inventory.names else "the script ended without an error but wrote no file into its working directory"


def _printable(text: str) -> str:
    return _CONTROL_CHARACTERS.sub("\ufffd", text)
