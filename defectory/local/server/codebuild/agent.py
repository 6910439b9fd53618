"""What runs inside a build: unpack the sources, run the commands of each phase, pack the artifacts.

A process of its own, with the standard library alone: ``python -m defectory.local.server.codebuild.agent JOB``.
Standard output carries one JSON object a line for the service (a phase that begins or ends, the result); standard
error, which the commands share, is the build's log.

Commands run as CodeBuild runs them: each in a shell of its own that takes over the working directory and every variable
of the one before.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from defectory.archives import ArchiveError, extract, zip_members
from defectory.local import archives

# If one of these fails, there is nothing to build; after BUILD, POST_BUILD runs in any case.
BEFORE_BUILD = ("INSTALL", "PRE_BUILD")


@dataclass(frozen=True, slots=True)
class Commands:
    """A phase: its commands, those that run also after a failure, and whether the build goes on after one."""

    name: str
    commands: Sequence[str]
    after: Sequence[str]
    goes_on: bool


@dataclass(frozen=True, slots=True)
class Output:
    """An artifact: which files, and the archive to write, or the folder to fill if it is not ``packed``."""

    target: str
    files: Sequence[str]
    base_directory: str
    discard_paths: bool
    excluded: Sequence[str]
    packed: bool = True


@dataclass(frozen=True, slots=True)
class Job:
    """One build.  ``sources`` are folders to make, the primary first, and the archives to unpack there, if any."""

    sources: Sequence[tuple[str, str | None]]
    scratch: str
    shell: str
    environment: Mapping[str, str]
    phases: Sequence[Commands]
    outputs: Sequence[Output] = ()
    exported: Sequence[str] = field(default_factory=tuple)

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Job:
        values = json.loads(text)
        values["phases"] = [Commands(**phase) for phase in values["phases"]]
        values["outputs"] = [Output(**output) for output in values["outputs"]]
        return cls(**values)


class PhaseFailed(Exception):
    """A phase failed; ``code`` is CodeBuild's own word for why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def run(job: Job) -> bool:
    """Do the whole build, telling about it; True if it succeeded."""
    shell = _Shell(job)
    if not _phase("DOWNLOAD_SOURCE", partial(_unpack, job)):
        _tell(result=False, exported={})
        return False
    shell.begin()
    succeeded, built = True, True
    for phase in job.phases:
        if not _phase(phase.name, partial(shell.run_phase, phase)):
            shell.set("CODEBUILD_BUILD_SUCCEEDING", "0")
            succeeded = succeeded and phase.goes_on
            if phase.name in BEFORE_BUILD and not phase.goes_on:
                built = False
                break
    if job.outputs and built:
        # Also of a build that failed, as far as there is something: so does CodeBuild.
        succeeded = _phase("UPLOAD_ARTIFACTS", partial(_pack, job)) and succeeded
    _tell(result=succeeded, exported=shell.exported() if succeeded else {})
    return succeeded


def select(output: Output, source: Path) -> Iterator[tuple[Path, str]]:
    """The files of an artifact with their names in it.

    Raises:
        PhaseFailed: there is no such folder, or a pattern matches no file.
    """
    base = (source / output.base_directory).resolve()
    if not base.is_dir():
        raise PhaseFailed("CLIENT_ERROR", f"no matching base directory path found for {output.base_directory}")
    excluded = {name for pattern in output.excluded for name in _matches(pattern, base)}
    names: dict[str, None] = {}
    for pattern in output.files:
        matches = [name for name in _matches(pattern, base) if name not in excluded]
        if not matches:
            raise PhaseFailed("CLIENT_ERROR", f"no matching artifact paths found for {pattern} in {base}")
        names.update(dict.fromkeys(matches))
    for name in names:
        path = base / name
        yield path, path.name if output.discard_paths else os.path.relpath(path, base)


def _matches(pattern: str, base: Path) -> list[str]:
    # Unlike Path.glob, it takes absolute patterns, which buildspecs hold too.
    names = glob.glob(pattern, root_dir=base, recursive=True, include_hidden=True)  # noqa: PTH207
    return sorted(name for name in names if (base / name).is_file())


class _Shell:
    """Shells that hand their working directory and variables on to the next."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._variables = Path(job.scratch) / "variables.sh"
        self._directory = Path(job.scratch) / "directory"

    def begin(self) -> None:
        self._variables.write_text("")
        self._directory.write_text(f"{self._job.sources[0][0]}\n")

    def set(self, name: str, value: str) -> None:
        with self._variables.open("a") as file:
            file.write(f"\nexport {name}={value}\n")

    def run_phase(self, phase: Commands) -> None:
        failure: PhaseFailed | None = None
        for command in phase.commands:
            status = self._run(command)
            if status:
                _log(f"Command did not exit successfully {command} exit status {status}")
                failure = PhaseFailed(
                    "COMMAND_EXECUTION_ERROR", f"Error while executing command: {command}. Reason: exit status {status}"
                )
                break
        for command in phase.after:
            self._run(command)
        if failure:
            raise failure

    def exported(self) -> dict[str, str]:
        """The values that the build hands to the pipeline."""
        if not self._job.exported:
            return {}
        show = "import json, os; print(json.dumps(dict(os.environ)))"
        script = f'. "{self._variables}"; exec "{sys.executable}" -S -c "{show}"'
        shown = subprocess.run(
            [self._job.shell, "-c", script], env=dict(self._job.environment), capture_output=True, check=True
        )
        values = json.loads(shown.stdout)
        return {name: values[name] for name in self._job.exported if name in values}

    def _run(self, command: str) -> int:
        _log(f"Running command {command}")
        # ``set -a``: a variable set without ``export`` is there for the next command too, as in CodeBuild.
        script = (
            f'cd "$(cat "{self._directory}")" || exit\n. "{self._variables}"\nset -a\n{command}\n'
            f'set -- $?; export -p > "{self._variables}"; pwd > "{self._directory}"; exit $1\n'
        )
        return subprocess.run(
            [self._job.shell, "-c", script],
            env=dict(self._job.environment),
            cwd=self._job.sources[0][0],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
        ).returncode


def _unpack(job: Job) -> None:
    for folder, archive in job.sources:
        Path(folder).mkdir(parents=True, exist_ok=True)
        if archive is None:
            continue
        try:
            with Path(archive).open("rb") as packed:
                extract(zip_members(packed, archives.SOURCE), Path(folder))
        except ArchiveError as error:
            raise PhaseFailed("CLIENT_ERROR", f"the source cannot be unpacked: {error}") from None


def _pack(job: Job) -> None:
    source = Path(job.sources[0][0])
    for output in job.outputs:
        target = Path(output.target)
        selected = list(select(output, source))
        _log(f"Expanding base directory path: {output.base_directory}. Found {len(selected)} file(s)")
        if output.packed:
            archives.write(target, selected)
            continue
        for path, name in selected:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / name)


def _phase(name: str, work: Callable[[], None]) -> bool:
    _tell(phase=name, status="IN_PROGRESS")
    _log(f"Entering phase {name}")
    status, context = "SUCCEEDED", {}
    try:
        work()
    except PhaseFailed as failure:
        status, context = "FAILED", {"statusCode": failure.code, "message": str(failure)}
    except OSError as error:
        status, context = "FAILED", {"statusCode": "INTERNAL_SERVICE_ERROR", "message": str(error)}
    _log(f"Phase complete: {name} State: {status}")
    _log(f"Phase context status code: {context.get('statusCode', '')} Message: {context.get('message', '')}")
    _tell(phase=name, status=status, context=context)
    return status == "SUCCEEDED"


def _log(text: str) -> None:
    print(f"[Container] {datetime.now(UTC):%Y/%m/%d %H:%M:%S.%f} {text}", file=sys.stderr, flush=True)


def _tell(**event: object) -> None:
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    sys.exit(0 if run(Job.load(Path(sys.argv[1]).read_text())) else 1)
