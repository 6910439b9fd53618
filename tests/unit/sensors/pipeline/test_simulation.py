"""Simulation: what scripts write is put into shape where that is plain, and refused with a reason where it is not."""

import polars as pl
import pytest

from defectory.errors import InputError, UnwritableError
from defectory.sensors.authors import ScriptTask
from defectory.sensors.authors.catalogue import CatalogueAuthor
from defectory.sensors.pipeline.artifacts import DATASET_FILES
from defectory.sensors.pipeline.simulation import (
    Simulation,
    check_against_task,
    normalise_output,
    simulate,
    written_by_catalogue,
)
from defectory.sensors.sandbox import Limits, runner

TASK = ScriptTask(industry="semiconductor", machine="Plasma Etcher", year=2024, seed=3)
DATA = "Timestamp,Flow\n2024-01-01 00:00:00,1\n2024-01-01 00:01:00,2.5\n"


def script(*body):
    lines = "\n    ".join(body)
    return f"import math\n\n\ndef main():\n    {lines}\n\n\nif __name__ == '__main__':\n    main()\n"


def save(name, text):
    return f"with open({name!r}, 'w') as file: file.write({text!r})"


@pytest.fixture
def run(tmp_path):
    def simulate_(source, **limits):
        limits = Limits(**({"wall_seconds": 20, "cpu_seconds": 20} | limits))
        return simulate(Simulation("etcher", TASK, source, tmp_path / "etcher", limits))

    return simulate_


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        pytest.param(script("pass"), "wrote no file", id="writes nothing"),
        pytest.param(script("raise ValueError('no pressure')"), "no pressure", id="raises"),
        pytest.param("def main(:\n", "policy", id="does not compile"),
        pytest.param(
            script(save("a.csv", DATA), save("b.csv", DATA)), "only data file, got 'a.csv, b.csv'", id="two files"
        ),
        pytest.param(
            script(save("a.csv", "time,Flow\n1,2\n")), "the script wrote a.csv", id="no file begins with Timestamp"
        ),
        pytest.param(script(save("notes.txt", "hello")), "the script wrote notes.txt", id="no data"),
        pytest.param(script(save("data.csv", "Timestamp,Flow\n2024-01-01,1\n")), "data.csv", id="not to the minute"),
        pytest.param(script(save("data.csv", "Timestamp,Flow\n1,2,3\n4\n")), "data.csv", id="ragged rows"),
        pytest.param(script(save("data.csv", "")), "data.csv", id="empty file"),
        pytest.param(script(save("data.csv", DATA)), "dataset.json", id="no declaration"),
    ],
)
def test_a_bad_script_gives_the_reason(run, source, reason):
    result = run(source)

    assert not result.ok
    assert reason in " ".join(result.reasons)
    assert result.repairable


def test_a_script_that_never_ends_is_stopped(run):
    result = run(script("while True: math.sqrt(2)"), wall_seconds=1)

    assert "stopped" in result.reasons[0]


def test_where_no_sandbox_is_to_be_had_no_repair_is_asked_for(run, monkeypatch):
    monkeypatch.setenv("DEFECTORY_SANDBOX_OUTER_WALL", "a fence")

    result = run(script("pass"))

    assert not result.ok
    assert not result.repairable


def test_a_full_disk_is_no_fault_of_the_script(run, monkeypatch):
    def refuse(folder, field):
        raise UnwritableError(field, "a folder that can be written to", "No space left on device", str(folder))

    monkeypatch.setattr(runner, "try_folder", refuse)

    result = run(script("raise OSError(28, 'No space left on device')"))

    assert (result.disk, result.repairable) == ("No space left on device", False)
    assert "TMPDIR" in result.reasons[0]


def test_a_script_that_only_says_that_the_disk_is_full_is_to_blame(run):
    result = run(script("raise OSError(28, 'No space left on device')"))

    assert (result.disk, result.repairable) == ("", True)


def test_only_what_the_catalogue_would_write_itself_is_the_catalogue_s():
    author = CatalogueAuthor()
    own = author.write_script(TASK).source

    assert written_by_catalogue(own, TASK)
    assert written_by_catalogue(author.repair_script(TASK, author.write_script(TASK), ["drifts"]).source, TASK)
    assert not written_by_catalogue(own.replace("def main", "import os\ndef main"), TASK)
    assert not written_by_catalogue(own, ScriptTask("semiconductor", "Plasma Etcher", 2024, seed=4))
    assert not written_by_catalogue(own, ScriptTask("semiconductor", "Time Machine", 2024, seed=3))
    assert not written_by_catalogue(own, ScriptTask("cheese rolling", "Plasma Etcher", 2024, seed=3))


@pytest.mark.parametrize("name", ["plasma_etcher_data.csv", "Data.csv", "out.csv"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_data_under_another_name_is_found(tmp_path, name, start):
    (tmp_path / name).write_text(start + DATA)
    (tmp_path / "labels.csv").write_text("start,end,signal,kind,severity\n")
    (tmp_path / "events.csv").write_text("Timestamp,end\n")

    normalise_output(tmp_path)

    assert (tmp_path / "data.csv").read_text() == start + DATA


def test_parquet_and_events_are_made_where_the_script_made_none(tmp_path):
    (tmp_path / "data.csv").write_text(DATA)

    normalise_output(tmp_path)

    frame = pl.read_parquet(tmp_path / "data.parquet")
    assert frame.schema == {"Timestamp": pl.Datetime("ms"), "Flow": pl.Float64}
    assert frame["Flow"].to_list() == [1.0, 2.5]
    assert str(frame["Timestamp"][1]) == "2024-01-01 00:01:00"
    assert (tmp_path / "events.csv").read_text() == "start,end,kind,name\n"


def test_what_the_script_made_itself_stays(tmp_path):
    for name in DATASET_FILES:
        (tmp_path / name).write_text(f"my {name}")

    normalise_output(tmp_path)

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        name: f"my {name}" for name in DATASET_FILES
    }


def test_files_that_belong_to_no_dataset_are_removed(tmp_path):
    for name in (*DATASET_FILES, "plot.png", "second.csv"):
        (tmp_path / name).write_text(DATA)

    normalise_output(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == set(DATASET_FILES)


def test_a_folder_without_data_is_told_apart_from_one_with_too_much(tmp_path):
    with pytest.raises(InputError, match="nothing"):
        normalise_output(tmp_path)


def test_a_dataset_of_another_year_is_no_answer(year_of_data):
    report, reasons = check_against_task(year_of_data, ScriptTask("semiconductor", "Plasma Etcher", 2023, seed=3))

    assert report.ok
    assert reasons == ("year: the dataset is of 2024, asked for was 2023; simulate 2023.",)


def test_a_dataset_in_order_is_an_answer(year_of_data):
    assert check_against_task(year_of_data, TASK)[1] == ()
