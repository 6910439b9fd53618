"""Simulation: run one machine's script in the sandbox, put what it wrote into shape, and check it."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from polars import selectors

from defectory.errors import DefectoryError, InputError
from defectory.sensors.authors import ScriptTask
from defectory.sensors.authors.catalogue import CatalogueAuthor
from defectory.sensors.contract import ContractReport, check_dataset
from defectory.sensors.dataset import (
    DATA_CSV,
    DATA_PARQUET,
    EVENT_COLUMNS,
    EVENTS_CSV,
    LABELS_CSV,
    TIMESTAMP,
    TIMESTAMP_FORMAT,
    read_manifest,
)
from defectory.sensors.pipeline.artifacts import DATASET_FILES, bounded
from defectory.sensors.pipeline.workers import Lost
from defectory.sensors.sandbox import Limits, run_script
from defectory.writing import disk_problem

# Beyond the sandbox's own wall clock: for conversion, checks and a slow disk.
CHECK_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Simulation:
    """One script to run; its dataset goes to ``folder``, which is replaced."""

    slug: str
    task: ScriptTask
    source: str
    folder: Path
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Simulated:
    """What came of it.  Without ``reasons`` the folder holds a dataset in order, and ``contract`` says so.

    ``disk`` is what the disk refused, such as "No space left on device": that is no fault of the script.
    """

    reasons: tuple[str, ...]
    contract: ContractReport | None = None
    layers: tuple[str, ...] = ()
    seconds: float = 0.0
    repairable: bool = True
    warnings: tuple[str, ...] = ()
    disk: str = ""

    @classmethod
    def of(cls, outcome: Simulated | Lost) -> Simulated:
        """What came of a simulation in a process of its own, which may have been lost."""
        if isinstance(outcome, Lost):
            return cls(bounded([outcome.reason]), repairable=not outcome.disk, disk=outcome.disk)
        return outcome

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons


def simulate(job: Simulation) -> Simulated:
    """Run the script and check its dataset; whatever the script does wrong is in the result's reasons."""
    start = time.monotonic()
    shutil.rmtree(job.folder, ignore_errors=True)
    try:
        job.folder.mkdir()
    except FileNotFoundError:  # whoever asked for it was interrupted, and has cleared away
        return Simulated((f"The folder {job.folder.parent} is gone.",), repairable=False)
    try:
        run = run_script(job.source, job.folder, job.limits, trusted=written_by_catalogue(job.source, job.task))
    except DefectoryError as error:  # about this machine, not about the script
        return Simulated(bounded([str(error)]), repairable=False, disk=disk_problem(error))
    contract = None
    if run.ok:
        try:
            normalise_output(job.folder)
            contract, reasons = check_against_task(job.folder, job.task)
        except DefectoryError as error:
            if disk := disk_problem(error):
                return Simulated(bounded([str(error)]), repairable=False, disk=disk)
            reasons = (str(error),)
    else:
        reasons = (run.reason,)
    seconds = round(time.monotonic() - start, 3)
    return Simulated(bounded(reasons), contract, run.layers, seconds, warnings=run.warnings)


def written_by_catalogue(source: str, task: ScriptTask) -> bool:
    """Whether ``source`` is exactly what the catalogue writes for ``task``, at first or as a repair.

    Only such a script is trusted.  What an artifact says of its author proves nothing, writing it again does.
    """
    author = CatalogueAuthor()
    try:
        first = author.write_script(task)
        return source in (first.source, author.repair_script(task, first, ()).source)
    except DefectoryError:
        return False


def normalise_output(folder: Path) -> None:
    """Give what a script wrote the names and the forms of a dataset: ``data.csv`` under any name, Parquet, events.

    Files that do not belong to a dataset are removed.

    Raises:
        InputError: no file, or more than one, could be the data; or it cannot be read as a table.
    """
    if not (folder / DATA_CSV).exists():
        _find_data(folder).rename(folder / DATA_CSV)
    if not (folder / DATA_PARQUET).exists():
        _convert_to_parquet(folder)
    if not (folder / EVENTS_CSV).exists():
        (folder / EVENTS_CSV).write_text(",".join(EVENT_COLUMNS) + "\n", encoding="utf-8")
    for path in folder.iterdir():
        if path.name not in DATASET_FILES:
            path.unlink()


def check_against_task(folder: Path, task: ScriptTask) -> tuple[ContractReport, tuple[str, ...]]:
    """The contract's report on a dataset, and all that is wrong with it as an answer to ``task``."""
    contract = check_dataset(folder)
    reasons = contract.failures
    if not reasons:
        year = read_manifest(folder).year
        if year != task.year:
            reasons = [f"year: the dataset is of {year}, asked for was {task.year}; simulate {task.year}."]
    return contract, tuple(reasons)


def _find_data(folder: Path) -> Path:
    names = sorted(path.name for path in folder.iterdir())
    candidates = [name for name in names if name.endswith(".csv") and name not in (LABELS_CSV, EVENTS_CSV)]
    candidates = [name for name in candidates if _starts_with_timestamp(folder / name)]
    if len(candidates) == 1:
        return folder / candidates[0]
    fix = f"Write all signals to one file, {DATA_CSV}, in the working directory."
    if candidates:
        raise InputError(DATA_CSV, "the only data file", ", ".join(candidates), fix)
    wrote = f"the script wrote {', '.join(names) or 'nothing'}"
    raise InputError(DATA_CSV, f"written, with {TIMESTAMP} as its first column, but {wrote}", fix=fix)


def _starts_with_timestamp(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip(b'"').startswith(TIMESTAMP.encode())


def _convert_to_parquet(folder: Path) -> None:
    try:
        frame = pl.read_csv(folder / DATA_CSV, schema_overrides={TIMESTAMP: pl.String}, infer_schema_length=None)
        moments = pl.col(TIMESTAMP).str.to_datetime(TIMESTAMP_FORMAT, time_unit="ms")
        frame = frame.with_columns(moments, selectors.numeric().cast(pl.Float64))
        frame.write_parquet(folder / DATA_PARQUET, compression="zstd", compression_level=1)
    except pl.exceptions.PolarsError as error:
        raise InputError(DATA_CSV, f"a table with {TIMESTAMP} as {TIMESTAMP_FORMAT} first", fix=str(error)) from None
