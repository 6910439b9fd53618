"""``defectory datasets``: what people and what machines read, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defectory.cli import main


@pytest.fixture
def run(capsys):
    def run_(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["datasets", *map(str, arguments)])
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run_


def photo(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8))
    coarse.resize((64, 64), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def parts(tmp_path) -> Path:
    """Twelve good parts and six scratched ones, two photos of each part."""
    for number in range(12):
        photo(tmp_path / f"parts/good/part{number // 2}_{number}.png", number)
    for number in range(12, 18):
        photo(tmp_path / f"parts/scratch/part{number // 2}_{number}.png", number)
    return tmp_path / "parts"


@pytest.mark.parametrize(
    "command", ["import", "check", "split", "export", "confirm", "fetch-feedback", "merge", "compare"]
)
def test_every_command_has_an_example(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"defectory datasets {command}" in out


def test_import_then_split_then_export(run, parts, tmp_path):
    # Given a folder of parts imported with their groups
    code, out, _ = run("import", parts, "--group-pattern", r"part(\d+)", "--out", tmp_path / "set")
    assert code == 0
    assert "18 images (12 normal; 6 anomaly: 6 scratch), 9 groups, version " in out
    # When the dataset is split
    split = json.loads(run("split", tmp_path / "set", "--test", 0.34, "--out", tmp_path / "split", "--json")[1])
    # Then both parts are datasets, and photos of one part are on one side
    assert (split["train"]["images"], split["test"]["images"]) == (12, 6)
    assert split["test"]["groups"] == 3
    # And either can be exported and imported again
    exported = run("export", tmp_path / "split/test.json", "--format", "manifest", "--out", tmp_path / "out")
    assert exported[0] == 0
    again = json.loads(run("import", tmp_path / "out/dataset.manifest", "--out", tmp_path / "again", "--json")[1])
    assert again["version"] == split["test"]["version"]


def test_an_export_for_s3_says_how_to_upload_it(run, parts, tmp_path):
    _, out, _ = run("export", parts, "--format", "csv", "--prefix", "s3://bucket/parts", "--out", tmp_path / "out")
    assert f"aws s3 sync {tmp_path / 'out'} s3://bucket/parts" in out
    assert "s3://bucket/parts/images/part0_0.png,normal" in (tmp_path / "out/dataset.csv").read_text()


def test_sources_are_joined_and_synthetic_images_marked(run, parts, tmp_path):
    photo(tmp_path / "made/good/x.png", 70)
    photo(tmp_path / "made/scratch/y.png", 71)
    run("import", tmp_path / "made", "--synthetic", "--out", tmp_path / "synthetic")
    code, out, _ = run("import", parts, tmp_path / "synthetic", "--out", tmp_path / "all", "--json")
    assert code == 0
    assert (json.loads(out)["images"], json.loads(out)["synthetic"]) == (20, 2)
    split = json.loads(run("split", tmp_path / "all", "--test", 0.5, "--out", tmp_path / "split", "--json")[1])
    assert (split["train"]["synthetic"], split["test"]["synthetic"]) == (2, 0)


def test_a_folder_imported_into_itself_again_has_what_is_new_in_it(run, parts):
    run("import", parts, "--out", parts)
    photo(parts / "good/new.png", 72)
    assert json.loads(run("import", parts, "--out", parts, "--json")[1])["images"] == 19


def test_missing_images_stop_the_import_unless_they_are_to_be_left_out(run, parts, tmp_path):
    table = parts / "parts.csv"
    table.write_text("good/part0_0.png,normal\ns3://bucket/gone.png,normal\n")
    code, _, err = run("import", table, "--out", tmp_path / "set")
    assert code == 2
    assert "1 missing of 2: s3://bucket/gone.png" in err
    assert not (tmp_path / "set").exists()
    code, out, err = run("import", table, "--skip-missing", "--out", tmp_path / "set")
    assert (code, "1 image (1 normal; 0 anomaly)" in out, "s3://bucket/gone.png" in err) == (0, True, True)


def test_check_names_what_it_finds_and_fails_on_errors_alone(run, parts):
    (parts / "good/copy.png").write_bytes((parts / "good/part0_0.png").read_bytes())
    code, out, _ = run("check", parts, "--no-labels")
    assert (code, "duplicate: good/copy.png, good/part0_0.png" in out) == (0, True)
    (parts / "good/broken.png").write_bytes(b"broken")
    code, out, _ = run("check", parts, "--no-labels", "--json")
    assert code == 1
    assert [(finding["kind"], finding["error"]) for finding in json.loads(out)] == [
        ("unreadable", True),
        ("duplicate", False),
    ]


def test_confirmed_images_become_the_next_version(run, parts, tmp_path):
    # Given a split dataset, and a person who corrects a verdict and adds an image
    run("import", parts, "--out", tmp_path / "set")
    run("split", tmp_path / "set", "--out", tmp_path / "split")
    learnt = json.loads((tmp_path / "split/train.json").read_text())["images"]
    path = next(Path(tmp_path / "split", row["path"]).resolve() for row in learnt if row["label"] == "normal")
    feedback = ("--by", "ann", "--feedback", tmp_path / "feedback.jsonl")
    _, out, _ = run("confirm", path, "--label", "anomaly", "--class", "dent", "--verdict", "PASS", *feedback)
    assert "which corrects the model" in out
    run("confirm", photo(tmp_path / "new.png", 80), "--label", "normal", *feedback)
    # When the words are merged
    arguments = ("merge", tmp_path / "split/train.json", tmp_path / "feedback.jsonl")
    code, out, _ = run(*arguments, "--frozen", tmp_path / "split/test.json", "--out", tmp_path / "next")
    # Then the command and the comparison say what changed
    assert code == 0
    assert "1 added, 1 relabelled." in out
    assert "normal -> anomaly (dent)" in out
    compared = json.loads(run("compare", tmp_path / "split/train.json", tmp_path / "next", "--json")[1])
    assert len(compared["changes"]) == 2
    assert compared["changes"][0].endswith("new.png, normal")
    assert "nothing changed" in run("compare", tmp_path / "next", tmp_path / "next")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("import", "gone", "--out", "x"), "an existing folder"),
        (("import", "parts", "--group-gap", "3", "--out", "x"), "--group-gap"),
        (("import", "parts", "--group-pattern", "(", "--out", "x"), "regular expression"),
        (("split", "parts", "--test", "2", "--out", "x"), "above 0 and below 1"),
        (("export", "parts", "--format", "csv", "--out", "parts"), "a new or empty folder"),
        (("export", "parts", "--format", "xml", "--out", "x"), "xml"),
        (("confirm", "gone.png", "--label", "normal", "--by", "ann"), "an existing file"),
        (("confirm", "parts/good/part0_0.png", "--label", "normal", "--by", " "), "a name"),
        (("confirm", "parts/good/part0_0.png", "--label", "normal", "--by", "a", "--class", "x"), "left out"),
        (("merge", "parts", "gone.jsonl", "--out", "x"), "gone.jsonl"),
    ],
)
def test_bad_input_is_explained_with_exit_code_2(run, parts, monkeypatch, arguments, message):
    monkeypatch.chdir(parts.parent)
    code, _, err = run(*arguments)
    assert code == 2
    assert message in err
    assert not Path("x").exists()
