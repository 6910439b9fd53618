"""Nothing is deleted in a folder that does not carry our own mark, whichever command is told to write there."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from defectory.claims import MARKER, check_claim, claim, claim_empty, is_claimed
from defectory.cli import app
from defectory.errors import InputError, LocalCloudError
from defectory.images.dataset_folder import DatasetFolder
from defectory.inspection.evaluation.evaluate import evaluate
from defectory.local import instance
from defectory.local.cloud import LocalCloud
from defectory.local.synth import synthesise
from tests.support.scripted_inspection import ScriptedModel, write_dataset

COMMAND = "defectory test"


def precious(folder: Path, name: str = "thesis.txt") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("precious")
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_new_and_an_empty_folder_are_taken_and_emptied_again(tmp_path):
    for folder in (tmp_path / "new" / "deep", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        assert claim_empty(folder, COMMAND) == folder
        precious(folder / "below")
        (folder / "link").symlink_to(tmp_path)
        claim_empty(folder, COMMAND)
        assert [path.name for path in folder.iterdir()] == [MARKER]
    assert tmp_path.is_dir()


@pytest.mark.parametrize("name", ["thesis.txt", ".hidden", "below/thesis.txt"])
def test_another_s_folder_is_refused_by_name_and_left_as_it_was(tmp_path, name):
    folder = precious(tmp_path / "mine", name)
    for refuse in (check_claim, claim, claim_empty):
        with pytest.raises(InputError, match=rf"out: must be a new or empty folder.*holds {name.split('/')[0]}"):
            refuse(folder, COMMAND)
    assert contents(folder) == {name: "precious"}


def test_a_folder_of_another_command_and_a_file_are_refused(tmp_path):
    claim(tmp_path / "other", "defectory other")
    (tmp_path / "file").write_text("precious")
    for name in ("other", "file"):
        with pytest.raises(InputError, match="state"):
            claim_empty(tmp_path / name, COMMAND, field="state")
    assert (tmp_path / "file").read_text() == "precious"


def test_bytes_that_are_no_text_claim_nothing(tmp_path):
    (tmp_path / MARKER).write_bytes(b"\xff\xfe")
    assert not is_claimed(tmp_path, COMMAND)


@pytest.mark.parametrize("name", ["sensor-data", "inspection", "defect-images", "detection"])
def test_the_demo_refuses_before_it_begins(tmp_path, name):
    folder = precious(tmp_path / "mine" / name)

    result = CliRunner().invoke(app, ["demo", "--out", str(folder.parent), "--number", "1"])

    assert isinstance(result.exception, InputError)
    assert "thesis.txt" in str(result.exception)
    assert contents(tmp_path) == {f"mine/{name}/thesis.txt": "precious"}
    assert [path.name for path in folder.parent.iterdir()] == [name]


def test_a_local_cloud_keeps_no_state_in_another_s_folder(tmp_path):
    folder = precious(tmp_path / "mine", "work/thesis.txt")

    with pytest.raises(InputError, match=r"state: must be .*holds work"):
        LocalCloud(state=folder).start()

    assert contents(folder) == {"work/thesis.txt": "precious"}


def test_asking_for_a_local_cloud_leaves_nothing_behind(tmp_path):
    assert instance.running(tmp_path) is None
    assert not instance.is_locked(tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_assembly_replaces_assemblies_only(tmp_path):
    folder = precious(tmp_path / "mine")
    with pytest.raises(LocalCloudError, match="not empty"):
        synthesise(folder)
    assert contents(folder) == {"thesis.txt": "precious"}


@pytest.mark.parametrize("name", ["records/a.json", "labels/a.txt", "images/a.part", "dataset.json"])
def test_a_synthetic_dataset_takes_no_other_folder(tmp_path, name):
    folder = precious(tmp_path / "mine", name)
    with pytest.raises(InputError, match="out"):
        DatasetFolder(folder)
    assert contents(folder) == {name: "precious"}


def test_an_evaluation_touches_no_pictures_of_others(tmp_path):
    folder = precious(tmp_path / "mine", "pictures/0001-truth.png")
    with pytest.raises(InputError, match=r"holds 0001-truth\.png"):
        evaluate(ScriptedModel(), write_dataset(tmp_path / "photos"), folder)
    assert contents(folder) == {"pictures/0001-truth.png": "precious"}
