"""Checking several datasets: one that cannot be checked is named, and stops no other."""

from __future__ import annotations

import pytest

from defectory.errors import InputError
from defectory.progress import Progress
from defectory.sensors.checking import DatasetVerdict, check_datasets, check_folder, find_datasets
from defectory.sensors.dataset import DATA_CSV, MANIFEST, CheckResult


@pytest.fixture
def folders(tmp_path):
    """Three folders, of which two are taken for datasets; neither is one."""
    for name, file in (("b", MANIFEST), ("a", DATA_CSV), ("notes", "notes.txt")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text("{}")
    return tmp_path


def test_datasets_are_found_by_their_files(folders):
    assert find_datasets(folders) == [folders / "a", folders / "b"]
    assert find_datasets(folders / "b") == [folders / "b"]
    with pytest.raises(InputError, match="DIR: must be a dataset, or a folder of datasets"):
        find_datasets(folders / "notes")


def test_all_are_checked_and_told_of_one_by_one(folders):
    heard = []
    verdicts = check_datasets(find_datasets(folders), on_progress=heard.append)
    assert [(verdict.folder, verdict.ok) for verdict in verdicts] == [(folders / "a", False), (folders / "b", False)]
    assert [(progress.stage, progress.done, progress.total) for progress in heard] == [
        ("checking", 1, 2),
        ("checking", 2, 2),
    ]
    assert {progress.item for progress in heard} == {"a", "b"}
    assert isinstance(heard[0], Progress)


@pytest.mark.parametrize(
    ("checks", "problem", "ok"),
    [([True, True], "", True), ([True, False], "", False), ([True], "it died", False), ([], "it died", False)],
)
def test_a_dataset_is_in_order_if_it_was_checked_and_every_check_passed(tmp_path, checks, problem, ok):
    results = tuple(CheckResult(name=str(number), ok=passed) for number, passed in enumerate(checks))
    assert DatasetVerdict(tmp_path, results, problem).ok is ok


def test_a_check_that_cannot_be_made_says_why(folders):
    verdict = check_folder(folders / "b")
    assert not verdict.ok
    assert verdict.problem or any(check.detail for check in verdict.checks if not check.ok)
