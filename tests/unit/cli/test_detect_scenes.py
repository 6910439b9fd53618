"""``defectory detect layouts`` and ``compose``: what people and what machines read, and the exit codes."""

from __future__ import annotations

import json

import pytest

from defectory.cli import main
from tests.support.shape_cutouts import write_cutouts


@pytest.fixture
def run(capsys):
    def run_(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["detect", *map(str, arguments)])
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run_


@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "cutouts"
    folder.mkdir()
    return "--cutouts", write_cutouts(folder, variants=1, views=1), "--only-own", "--workers", 1


def test_the_schema_is_printed(run):
    code, out, _ = run("layouts", "--schema")

    assert code == 0
    assert json.loads(out)["title"] == "Layout"


def test_layouts_become_scenes(run, own, tmp_path):
    layouts, out = tmp_path / "layouts.jsonl", tmp_path / "scenes"
    code, _, _ = run("layouts", "--preset", "ppe", "--count", 5, "--size", 96, "--out", layouts, "--seed", 2)
    assert code == 0

    code, printed, _ = run("compose", layouts, *own, "--out", out, "--json")

    report = json.loads(printed)
    assert code == 0
    assert (report["made"], report["failed"], report["classes"]) == (5, 0, ["person", "hard_hat", "safety_vest"])
    assert len((out / "scenes.jsonl").read_text().splitlines()) == 5


def test_a_preset_is_composed_and_told_of(run, own, tmp_path):
    arguments = "compose", "--preset", "floor", "--count", 4, "--size", 96, "--format", "png", *own
    code, printed, _ = run(*arguments, "--out", tmp_path / "scenes")

    assert code == 0
    assert "4 scenes made" in printed
    assert "contact-sheet.html" in printed
    assert len(list((tmp_path / "scenes/images").glob("floor-train-0-*.png"))) == 4


def test_what_could_not_be_made_ends_with_1(run, own, tmp_path):
    layouts = tmp_path / "layouts.jsonl"
    run("layouts", "--preset", "floor", "--count", 2, "--size", 96, "--out", layouts)
    with layouts.open("a") as stream:
        stream.write("{}\n")

    code, _, err = run("compose", layouts, *own, "--out", tmp_path / "scenes")

    assert code == 1
    assert "line 3" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("compose",), "--preset"),
        (("compose", "--preset", "cars"), "ppe, housekeeping, floor"),
        (("compose", "--preset", "ppe", "--cutouts", "."), "cutouts.jsonl"),
        (("layouts", "--preset", "cars"), "ppe, housekeeping, floor"),
    ],
)
def test_bad_input_ends_with_2(run, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*arguments, "--out", tmp_path / "out")

    assert code == 2
    assert told in err
