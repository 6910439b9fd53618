"""Checking: the contract's word on datasets on this machine, each in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from defectory.errors import DefectoryError, InputError
from defectory.progress import OnProgress, Progress, ignore_progress
from defectory.sensors.contract import check_dataset
from defectory.sensors.dataset import DATA_CSV, MANIFEST, CheckResult
from defectory.sensors.pipeline.workers import Lost, run_isolated

CHECK_SECONDS = 600.0
"""How long the check of one dataset may take."""


@dataclass(frozen=True, slots=True)
class DatasetVerdict:
    """What the contract says of one dataset; ``problem`` is why it could not be checked."""

    folder: Path
    checks: tuple[CheckResult, ...]
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether it was checked, and every check passed."""
        return not self.problem and all(check.ok for check in self.checks)


def check_datasets(folders: list[Path], *, on_progress: OnProgress = ignore_progress) -> list[DatasetVerdict]:
    """Check datasets, as many at a time as there are cores; the verdicts are sorted by folder.

    A dataset whose check dies or takes longer than `CHECK_SECONDS` gets a verdict that says so.

    Args:
        folders: of datasets, see `find_datasets`.
        on_progress: hears of each dataset that is checked.
    """
    verdicts = []
    for folder, outcome in run_isolated(check_folder, folders, seconds=CHECK_SECONDS):
        verdicts.append(DatasetVerdict(folder, (), outcome.reason) if isinstance(outcome, Lost) else outcome)
        on_progress(Progress("checking", len(verdicts), len(folders), folder.name))
    return sorted(verdicts, key=lambda verdict: verdict.folder)


def check_folder(folder: Path) -> DatasetVerdict:
    """Check one dataset, in this process."""
    try:
        return DatasetVerdict(folder, check_dataset(folder).checks)
    except DefectoryError as error:
        return DatasetVerdict(folder, (), str(error))


def find_datasets(folder: Path) -> list[Path]:
    """``folder`` if it is a dataset, else the datasets in it, sorted.

    Raises:
        InputError: it cannot be read, or there are none.
    """
    try:
        if _is_dataset(folder):
            return [folder]
        datasets = sorted(path for path in folder.iterdir() if _is_dataset(path)) if folder.is_dir() else []
    except OSError as error:
        raise InputError("DIR", f"a folder that can be read ({error.strerror})", str(folder)) from None
    if not datasets:
        fix = f"A dataset holds {DATA_CSV} and {MANIFEST}; `defectory sensors generate` makes some."
        raise InputError("DIR", "a dataset, or a folder of datasets", str(folder), fix)
    return datasets


def _is_dataset(path: Path) -> bool:
    return any((path / name).is_file() for name in (MANIFEST, DATA_CSV))
