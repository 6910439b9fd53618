"""``defectory detect train``, ``predict`` and ``evaluate``: what people and machines read, and the exit codes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from PIL import Image

from defectory.cli import main
from tests.support.shape_scenes import write_scenes

LABELS = ("safety_cone", "trash_can")


def run_detect(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["detect", *map(str, arguments)])
    captured = capsys.readouterr()
    return ended.value.code or 0, captured.out, captured.err


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes"), 13, "train", size=128, labels=LABELS)


@pytest.fixture(scope="module")
def model(scenes, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "detector.tar.gz"
    with pytest.raises(SystemExit) as ended:
        main(["detect", "train", str(scenes), "--side", "128", "--out", str(path)])
    assert not ended.value.code
    return path


def photos(folder: Path, labels: str = "0 0.5 0.5 0.2 0.4\n") -> Path:
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    (folder / "classes.txt").write_text("Cone\nMask\n")
    Image.new("RGB", (100, 80), "orange").save(folder / "images/a.png")
    (folder / "labels/a.txt").write_text(labels)
    return folder


def test_a_trained_detector_says_what_it_is(capsys, scenes, tmp_path):
    arguments = ("--side", 128, "--most-images", 3, "--precision", 0.9, "--json")
    code, out, _ = run_detect(capsys, "train", scenes, "--out", tmp_path / "d.tar.gz", *arguments)

    answer = json.loads(out)
    assert code == 0
    assert [item["name"] for item in answer["classes"]] == list(LABELS)
    assert (answer["trainer"], answer["kind"], answer["training"]["images"]) == ("ridge", "ridge", 3)
    assert "precision 0.9" in answer["calibration"]


def test_objects_are_listed_and_drawn(capsys, model, scenes, tmp_path):
    image = scenes / "images/train-00000.png"

    code, out, _ = run_detect(capsys, "predict", model, image, "--min-score", 0, "--json", "--out", tmp_path / "drawn")

    [answer] = json.loads(out)
    assert code == 0
    assert (answer["width"], answer["height"]) == (128, 128)
    assert {"label", "score", "box"} == set(answer["detections"][0])
    assert Image.open(tmp_path / "drawn/0001-train-00000.jpg").size == (128, 128)
    code, out, _ = run_detect(capsys, "predict", model, scenes / "images", "--min-score", 0)
    assert code == 0 and out.count("objects") == 13


def test_broken_rules_are_told_and_are_no_failure(capsys, model, scenes, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: [{name: clear aisle, label: trash_can, min_frames: 2}]")
    image = scenes / "images/train-00000.png"
    arguments = ("predict", model, image, image, "--min-score", 0, "--rules", rules)

    code, out, _ = run_detect(capsys, *arguments, "--json")
    first, second = json.loads(out)
    cans = [item["box"] for item in second["detections"] if item["label"] == "trash_can"]
    assert code == 0 and cans
    assert first["alerts"] == [] and [alert["box"] for alert in second["alerts"]] == cans
    assert {alert["message"] for alert in second["alerts"]} == {"clear aisle: trash_can"}

    code, out, _ = run_detect(capsys, *arguments)
    assert code == 0 and out.count("ALERT clear aisle: trash_can (") == len(cans)


def test_a_class_is_blurred_before_boxes_are_drawn(capsys, model, scenes, tmp_path):
    arguments = ("predict", model, scenes / "images/train-00000.png", "--min-score", 0)
    for name, more in (("plain", ()), ("blurred", ("--blur", "trash_can"))):
        code, _, _ = run_detect(capsys, *arguments, "--out", tmp_path / name, *more)
        assert code == 0
    plain, blurred = (Image.open(tmp_path / name / "0001-train-00000.jpg") for name in ("plain", "blurred"))
    assert plain.size == blurred.size and plain.tobytes() != blurred.tobytes()


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_looked_at(capsys, model, scenes, tmp_path):
    (tmp_path / "x.png").write_bytes(b"none")

    code, out, _ = run_detect(capsys, "predict", model, tmp_path / "x.png", scenes / "images/train-00001.png", "--json")

    first, second = json.loads(out)
    assert code == 1 and "x.png" in first["error"] and "detections" in second


def test_figures_of_photos_are_printed_and_written(capsys, model, tmp_path):
    folder = photos(tmp_path / "photos")

    arguments = ("--map", "Cone=safety_cone", "--out", tmp_path / "out", "--json")
    code, out, _ = run_detect(capsys, "evaluate", model, folder, *arguments)

    answer = json.loads(out)
    assert code == 0
    assert answer["origin"] == "real" and {"map50", "map50_95"} <= set(answer)
    assert set(answer["by_class"]) == {"safety_cone"}
    assert Path(answer["report"]).is_file()
    code, out, _ = run_detect(capsys, "evaluate", model, folder, "--map", "Cone=safety_cone", "--out", tmp_path / "out")
    assert code == 0 and "on 1 real images" in out


def test_bad_labels_stop_it_or_are_left_out(capsys, model, tmp_path):
    folder = photos(tmp_path / "photos", "0 0.5 0.5 0.2 0.4\n7 0.5 0.5 0.1 0.1\n")
    arguments = ("evaluate", model, folder, "--map", "Cone=safety_cone", "--out", tmp_path / "out")

    code, _, err = run_detect(capsys, *arguments)
    assert code == 2 and "a.txt, line 2" in err and "--skip-bad" in err

    code, _, err = run_detect(capsys, *arguments, "--skip-bad")
    assert code == 1 and "Left out: 1 x unknown class" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "MODEL", "PHOTOS", "--out", "OUT"), "--map THEIRS=OURS"),
        (("evaluate", "MODEL", "PHOTOS", "--out", "OUT", "--map", "Cone"), "THEIRS=OURS"),
        (("evaluate", "MODEL", "PHOTOS", "--out", "OUT", "--map", "Kone=safety_cone"), "of the classes of"),
        (("evaluate", "MODEL", "NOWHERE", "--out", "OUT"), "existing folder"),
        (("evaluate", "PHOTOS/classes.txt", "PHOTOS", "--out", "OUT"), "model"),
        (("train", "NOWHERE", "--out", "OUT/d.tar.gz"), "existing folder"),
        (("predict", "NOWHERE", "PHOTOS"), "existing model bundle"),
        (("predict", "MODEL", "PHOTOS", "--rules", "NOWHERE"), "rules"),
        (("predict", "MODEL", "PHOTOS", "--blur", "trash_can"), "--out"),
        (("predict", "MODEL", "PHOTOS", "--blur", "cat", "--out", "OUT"), "one of the detector's classes"),
    ],
    ids=[
        "no-class",
        "no-equals",
        "no-such-class",
        "no-folder",
        "no-model",
        "nothing",
        "no-bundle",
        "no-rules",
        "no-out",
        "cat",
    ],
)
def test_bad_input_is_named(capsys, model, tmp_path, arguments, message):
    places = {"MODEL": model, "PHOTOS": photos(tmp_path / "photos"), "OUT": tmp_path / "out", "NOWHERE": tmp_path / "x"}
    for name, path in places.items():
        arguments = tuple(str(path) + part.removeprefix(name) if part.startswith(name) else part for part in arguments)

    code, _, err = run_detect(capsys, *arguments)

    assert code == 2 and message in err


def test_photos_with_boxes_are_learned_from_beside_scenes(capsys, scenes, tmp_path):
    folder = photos(tmp_path / "photos")
    arguments = ("--side", 128, "--most-images", 4, "--map", "Cone=safety_cone", "--map", "Mask=")

    code, out, _ = run_detect(capsys, "train", scenes, folder, *arguments, "--out", tmp_path / "d.tar.gz", "--json")

    assert code == 0
    assert [item["name"] for item in json.loads(out)["classes"]] == list(LABELS)


def test_weak_spots_become_a_plan_that_compose_takes(capsys, model, tmp_path):
    curation = write_scenes(tmp_path / "curation", 6, "train", seed=9, size=128, labels=LABELS)
    arguments = ("--preset", "housekeeping", "--count", 5, "--size", 128, "--random", "--out", tmp_path / "out")

    code, out, _ = run_detect(capsys, "curate", model, curation, *arguments, "--json")

    answer = json.loads(out)
    assert code == 0
    assert (answer["images"], answer["plan"]["count"], answer["plan"]["preset"]) == (6, 5, "housekeeping")
    assert all(len(Path(file).read_text().splitlines()) == 5 for file in answer["plan"]["files"])
    assert {"weak-spots.json", "weak-spots.html", "layouts.jsonl", "random-layouts.jsonl"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    code, out, _ = run_detect(capsys, "curate", model, curation, *arguments)
    assert code == 0
    assert "layouts.jsonl: 5 layouts" in "".join(out.split("\n"))


def test_weak_spots_are_not_looked_for_in_what_was_learned(capsys, model, scenes, tmp_path):
    code, _, err = run_detect(capsys, "curate", model, scenes, "--preset", "housekeeping", "--out", tmp_path / "out")

    assert code == 2
    assert "that the detector was not trained on" in err and "--seed" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--epochs", 3), "--epochs: must be left out for --trainer ridge"),
        (("--trainer", "rfdetr", "--most-images", 3), "--most-images: must be left out for --trainer rfdetr"),
        (("--checkpoints", "kept"), "--checkpoints: must be left out for the trainer ridge"),
    ],
)
def test_options_of_another_trainer_are_refused(capsys, scenes, tmp_path, arguments, message):
    code, _, err = run_detect(capsys, "train", scenes, "--out", tmp_path / "d.tar.gz", *arguments)

    assert code == 2
    assert message in " ".join(err.split())


def test_trainers_that_need_torch_say_with_which_command_it_comes(capsys, scenes, tmp_path, monkeypatch):
    # Given what is true of most installations, whatever is installed here
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))

    code, out, err = run_detect(capsys, "train", scenes, "--trainer", "dfine", "--out", tmp_path / "d.tar.gz")

    assert (code, out) == (1, "")
    assert "pip install 'defectory[torch]'" in " ".join(err.split())
    assert "Traceback" not in err
