"""Generate datasets without any cloud: the pipeline's steps, one after the other, on this machine.

```
<out>/
├── index.html
└── <machine slug>/      a dataset folder, see defectory.sensors.dataset
```
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from defectory.claims import MARKER, foreign, is_claimed, mark
from defectory.errors import InputError, UnwritableError
from defectory.progress import OnProgress, Progress, ignore_progress
from defectory.sensors.authors import AUTHORS_AT_ONCE, Author, Script, ScriptTask
from defectory.sensors.dataset import read_manifest
from defectory.sensors.machines import unique_slugs
from defectory.sensors.pipeline.artifacts import bounded, seed_of
from defectory.sensors.pipeline.finishing import DELIVERED_FILES, Origin, finish_dataset
from defectory.sensors.pipeline.scripting import write_checked_script
from defectory.sensors.pipeline.simulation import CHECK_SECONDS, Simulated, Simulation, simulate
from defectory.sensors.pipeline.workers import run_isolated
from defectory.sensors.report import write_index
from defectory.sensors.sandbox import Limits
from defectory.sensors.service.requests import parse_event, timestamp
from defectory.unwinding import temporary_folder

COMMAND = "defectory sensors generate"
_ROOM = "What is done stays done. Temporary files need room, too: TMPDIR says where."
INDEX = "index.html"
WORK_PREFIX = ".generating-"

ROUNDS = (("writing", "simulating"), ("repairing", "simulating again"))
"""The stages of each round, whose progress counts the machines that are through."""


@dataclass(frozen=True, slots=True)
class Generated:
    """One machine's result: a complete dataset in ``folder``, or the ``reasons`` why there is none.

    ``attempts`` counts the scripts that were run; ``warnings`` are the sandbox's.
    """

    name: str
    slug: str
    task: ScriptTask
    script: Script | None = None
    folder: Path | None = None
    reasons: tuple[str, ...] = ()
    repairable: bool = True
    attempts: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """All machines in the author's order; ``note`` is the author's word to the user (fewer than asked, say)."""

    machines: tuple[Generated, ...]
    note: str = ""

    @property
    def failed(self) -> tuple[Generated, ...]:
        """The machines without a dataset."""
        return tuple(machine for machine in self.machines if machine.folder is None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know of the protection the scripts ran under."""
        return tuple(dict.fromkeys(warning for machine in self.machines for warning in machine.warnings))


@dataclass(frozen=True, slots=True)
class _Production:
    simulation: Simulation
    origin: Origin


def generate_datasets(
    industry: str,
    number: int,
    user_id: str,
    out: Path,
    *,
    author: Author,
    year: int | None = None,
    seed: int = 0,
    limits: Limits | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Generation:
    """A year of labelled data for each of ``number`` machines of ``industry``, as dataset folders in ``out``.

    Each machine is simulated in a process of its own, as many at once as there are cores; one that fails is repaired
    once, then reported in the result.  A dataset folder is complete or not there.

    Args:
        industry, number, user_id: as in a request to the cloud, with the same rules.
        out: an empty or new folder, or one of an earlier call, whose datasets of the same machines are replaced.
        author: lists the machines and writes the scripts.
        year: calendar year; the last complete one when None.
        seed: the same seed gives the same data.
        limits: of one script in the sandbox.
        on_progress: hears of each machine that is through a stage of `ROUNDS`, and of each stage's beginning.

    Raises:
        InputError: an argument breaks its rule, or ``out`` holds something else.
        AuthorError, ReplyError: the author could not list the machines.

    >>> from defectory.sensors.authors import create_author
    >>> generation = generate_datasets("paper", 1, "ann", Path("paper"), author=create_author("catalogue"), year=2025)
    >>> [machine.folder.name for machine in generation.machines]
    ['fourdrinier-paper-machine']
    """
    now = datetime.now(UTC)
    year = now.year - 1 if year is None else year
    event = parse_event({"industry": industry, "number": number, "user_id": user_id, "year": year, "seed": seed})
    _refuse_foreign(out)
    listing = author.list_machines(event.industry, event.number)
    machines = {
        slug: Generated(name, slug, ScriptTask(event.industry, name, year, seed_of(seed, slug), len(listing.names)))
        for name, slug in zip(listing.names, unique_slugs(listing.names), strict=True)
    }
    with contextlib.ExitStack() as stack:
        try:
            mark(out, COMMAND)
            work = stack.enter_context(temporary_folder(WORK_PREFIX, out))
        except OSError as error:
            raise InputError("out", f"a folder that can be written to ({error.strerror})", str(out)) from None

        def produce(machine: Generated) -> _Production:
            assert machine.script is not None
            folder = work / machine.slug
            return _Production(
                Simulation(machine.slug, machine.task, machine.script.source, folder, limits or Limits()),
                Origin(
                    machine=machine.name,
                    slug=machine.slug,
                    industry=event.industry,
                    user_id=event.user_id,
                    created_at=timestamp(now),
                    script=machine.script,
                    attempts=machine.attempts,
                ),
            )

        for writing, simulating in ROUNDS:
            open_ = [machine for machine in machines.values() if machine.folder is None and machine.repairable]
            written = _write_all(author, open_, writing, on_progress)
            machines |= {machine.slug: machine for machine in written}
            jobs = [produce(machine) for machine in written if not machine.reasons]
            for slug, result in _simulate_all(jobs, simulating, on_progress):
                if result.disk:
                    raise UnwritableError("out", "a folder that can be written to", result.disk, str(out), _ROOM)
                folder = _keep(work / slug, out / slug) if result.ok else None
                machines[slug] = replace(
                    machines[slug],
                    folder=folder,
                    reasons=result.reasons,
                    repairable=result.repairable,
                    warnings=result.warnings,
                )
    generation = Generation(tuple(machines.values()), listing.note)
    write_index(out, {machine.name: "; ".join(machine.reasons) for machine in generation.failed})
    return generation


def _refuse_foreign(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError("out", "a folder", str(out))
    claimed = is_claimed(out, COMMAND)
    paths = sorted(path for path in out.iterdir() if not path.name.startswith(WORK_PREFIX))
    names = [name for path in paths for name in _foreign(path, claimed)]
    # Without the mark, an index alone may be anybody's.
    if names or (not claimed and [path.name for path in paths] == [INDEX]):
        raise foreign(out, COMMAND, names or [INDEX])


def _foreign(path: Path, claimed: bool) -> list[str]:
    """What at ``path`` in the folder of results is none: neither index nor dataset, or beside a dataset's own files."""
    if path.name in (INDEX, MARKER) and path.is_file():
        return []
    try:
        # A folder in a file's place is none of ours either.
        names = {entry.name if entry.is_file() else f"{entry.name}/" for entry in path.iterdir()}
        if not claimed:
            # Of a release that did not mark its folder.
            read_manifest(path)
    except (InputError, OSError):
        return [path.name]
    return sorted(f"{path.name}/{name}" for name in names - set(DELIVERED_FILES)) if names else [path.name]


def _keep(folder: Path, target: Path) -> Path:
    if target.exists():
        shutil.rmtree(target)
    return folder.rename(target)


def _write_all(author: Author, machines: list[Generated], stage: str, on_progress: OnProgress) -> list[Generated]:
    def write(machine: Generated) -> Generated:
        writing = write_checked_script(author, machine.task, machine.script, machine.reasons)
        if writing.script is None:
            return replace(machine, reasons=bounded(dict.fromkeys((*writing.reasons, *machine.reasons))))
        return replace(machine, script=writing.script, reasons=(), attempts=machine.attempts + 1)

    written: list[Generated] = []
    with ThreadPoolExecutor(AUTHORS_AT_ONCE) as pool:
        for machine in pool.map(write, machines):
            written.append(machine)
            on_progress(Progress(stage, len(written), len(machines), machine.name))
    return written


def _simulate_all(jobs: list[_Production], stage: str, on_progress: OnProgress) -> Iterator[tuple[str, Simulated]]:
    if jobs:
        on_progress(Progress(stage, 0, len(jobs)))
    seconds = max((job.simulation.limits.wall_seconds for job in jobs), default=0) + CHECK_SECONDS
    # Closed, not left to the garbage collector: whatever ends the loop ends the processes.
    with contextlib.closing(run_isolated(_produce, jobs, seconds=seconds)) as outcomes:
        for done, (job, outcome) in enumerate(outcomes, 1):
            on_progress(Progress(stage, done, len(jobs), job.origin.machine))
            yield job.origin.slug, Simulated.of(outcome)


def _produce(job: _Production) -> Simulated:
    """Simulate and finish in one process, while the files are still in memory."""
    result = simulate(job.simulation)
    if result.ok:
        assert result.contract is not None
        finish_dataset(job.simulation.folder, replace(job.origin, layers=result.layers), result.contract)
    return result
