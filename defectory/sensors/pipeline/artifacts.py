"""Artifacts: what the actions hand to one another, as folders of small JSON files, scripts and datasets.

```
Scripts, RepairedScripts           Datasets, RerunDatasets            Failures
├── request.json     WorkOrder     ├── run.json         RunLog        └── failures.json   RunLog
└── <slug>/                        └── <slug>/
    ├── generator.py                   └── data.csv, data.parquet, labels.csv, events.csv, dataset.json
    └── script.json  ScriptRecord
```

Generated code ran where Datasets and Failures were made, so whoever reads them checks them: every text has a limit,
every slug a pattern that is safe in a path, and every file has to be a regular one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, BinaryIO, TypeVar

from pydantic import Field, ValidationError

from defectory.aws.tokens import TokenUsage
from defectory.errors import InputError, shorten
from defectory.sensors.authors import AuthorName, PromptStyle, Script, ScriptTask
from defectory.sensors.dataset import DATA_CSV, DATA_PARQUET, EVENTS_CSV, GENERATOR, LABELS_CSV, MANIFEST
from defectory.validation import FrozenModel

REQUEST_FILE = "request.json"
SCRIPT_FILE = "script.json"
RUN_FILE = "run.json"
FAILURES_FILE = "failures.json"

DATASET_FILES = (DATA_CSV, DATA_PARQUET, LABELS_CSV, EVENTS_CSV, MANIFEST)
MAX_JSON_BYTES = 8 * 2**20
MAX_DATA_BYTES = 2**30
MAX_REASONS, MAX_REASON_LENGTH = 20, 1000

Slug = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$")]
Reason = Annotated[str, Field(max_length=MAX_REASON_LENGTH)]
Reasons = Annotated[tuple[Reason, ...], Field(max_length=MAX_REASONS)]


class MachineOrder(FrozenModel):
    """One machine to simulate.  ``reasons`` says why it has no script; ``attempts`` counts its scripts."""

    name: str = Field(min_length=1, max_length=200)
    slug: Slug
    seed: int
    attempts: int = 0
    reasons: Reasons = ()


class WorkOrder(FrozenModel):
    """``request.json``: all that the later actions need of the request, so that Run can do without the table."""

    user_id: str
    request_id: str
    industry: str
    year: int
    created_at: str
    machines: tuple[MachineOrder, ...] = Field(max_length=50)

    def task(self, machine: MachineOrder) -> ScriptTask:
        """What the script of ``machine`` has to simulate."""
        return ScriptTask(
            industry=self.industry,
            machine=machine.name,
            year=self.year,
            seed=machine.seed,
            siblings=len(self.machines),
        )


class ScriptRecord(FrozenModel):
    """``script.json``: where the script beside it comes from, and what it cost in tokens."""

    author: AuthorName
    model_id: str | None = None
    prompt_style: PromptStyle | None = None
    prompt: str = ""
    tokens: TokenUsage | None = None
    tier: str | None = Field(default=None, max_length=20)


class RunRecord(FrozenModel):
    """How one machine's script ran: the sandbox layers that held, the seconds it took, checks included.

    Without ``reasons`` its dataset is in order.  ``repairable`` is false when no other script could help.
    """

    slug: Slug
    reasons: Reasons = ()
    repairable: bool = True
    layers: tuple[Annotated[str, Field(max_length=100)], ...] = Field(default=(), max_length=32)
    seconds: float = 0.0


class RunLog(FrozenModel):
    """``run.json``, for every machine, and ``failures.json``, for those that Repair has to see to."""

    machines: tuple[RunRecord, ...] = Field(default=(), max_length=50)


Model = TypeVar("Model", bound=FrozenModel)


def seed_of(base: str | int, slug: str) -> int:
    """A machine's own seed, 0..2^31-1, derived from the request's: the same request gives the same data again."""
    return int.from_bytes(hashlib.sha256(f"{base}/{slug}".encode()).digest()[:4], "big") >> 1


def bounded(reasons: Iterable[str]) -> tuple[str, ...]:
    """The first reasons, each shortened and printable, so that what a script shouts fits wherever it is kept."""
    short_reasons = [shorten(_printable(reason), MAX_REASON_LENGTH) for reason in reasons]
    if len(short_reasons) > MAX_REASONS:
        short_reasons = [*short_reasons[: MAX_REASONS - 1], f"… and {len(short_reasons) - MAX_REASONS + 1} more"]
    return tuple(short_reasons)


def _printable(text: str) -> str:
    text = "".join(character if character.isprintable() or character == "\n" else " " for character in text)
    return text.strip() or "no reason given"


def fresh_folder(path: Path) -> Path:
    """An empty folder at ``path``, whatever an earlier run of the same action left there."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def write_artifact(folder: Path, name: str, content: FrozenModel) -> None:
    """Write ``content`` as ``folder/name``."""
    (folder / name).write_text(content.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_artifact(folder: Path, name: str, model: type[Model]) -> Model:
    """Read ``folder/name``.

    Raises:
        InputError: it is missing, no regular file, too big, or breaks the format.
    """
    try:
        return model.model_validate_json(read_regular_file(folder / name, MAX_JSON_BYTES))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"{name} {where}", f"valid ({first['msg']})", first.get("input")) from None


def write_script(folder: Path, slug: str, script: Script) -> None:
    """Write ``<slug>/generator.py`` and ``<slug>/script.json``."""
    home = fresh_folder(folder / slug)
    (home / GENERATOR).write_text(script.source, encoding="utf-8")
    record = ScriptRecord.model_validate({name: getattr(script, name) for name in ScriptRecord.model_fields})
    write_artifact(home, SCRIPT_FILE, record)


def read_script(folder: Path, slug: str) -> Script:
    """Read what ``write_script`` wrote.  It is never trusted: what ran on the way here could have written it."""
    record = read_artifact(folder / slug, SCRIPT_FILE, ScriptRecord)
    source = read_regular_file(folder / slug / GENERATOR, MAX_JSON_BYTES).decode("utf-8")
    return Script(source=source, trusted=False, **dict(record))


def read_regular_file(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most ``limit`` bytes; links, devices and pipes are refused.

    Raises:
        InputError: it is missing, something else, or too big.
    """
    with _open_regular_file(path, limit) as file:
        return file.read(limit)


def accept_dataset(source: Path, target: Path) -> None:
    """Copy the files of a dataset, and nothing else, from an artifact into a fresh ``target``.

    Raises:
        InputError: a file is missing, is not a regular file, or is too big.
    """
    if source.is_symlink() or not source.is_dir():
        raise InputError(source.name, "a folder in the artifact")
    fresh_folder(target)
    for name in DATASET_FILES:
        with _open_regular_file(source / name, MAX_DATA_BYTES) as file, (target / name).open("wb") as copy:
            shutil.copyfileobj(file, copy, 2**20)


def _open_regular_file(path: Path, limit: int) -> BinaryIO:
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for a writer for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise InputError(path.name, f"a regular file ({error.strerror})") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
        os.close(descriptor)
        raise InputError(path.name, f"a regular file of at most {limit} bytes", f"{status.st_size} bytes")
    return os.fdopen(descriptor, "rb")
