"""``defectory inspect train`` and ``predict``: what people and what machines read, and the exit codes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from defectory.cli import app
from defectory.errors import DefectoryError
from defectory.inspection.model import load_model
from tests.unit.inspection.conftest import render_part, write_images

QUICK = ("--resolution", "96", "--detector", "patchcore")


def run(*arguments):
    result = CliRunner().invoke(app, ["inspect", *(str(argument) for argument in arguments)])
    if isinstance(result.exception, DefectoryError):
        return result.exception.exit_code, result.stdout, str(result.exception)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Good parts, defects by class, and their masks."""
    folder = tmp_path_factory.mktemp("photos")
    write_images(folder / "normal", [render_part(seed) for seed in range(8)])
    write_images(folder / "anomaly" / "blot", [render_part(seed, blot=(70, 40)) for seed in range(20, 23)])
    mask = np.zeros((96, 96), np.uint8)
    mask[32:48, 62:78] = 255
    (folder / "masks").mkdir()
    (folder / "empty").mkdir()
    Image.fromarray(mask).save(folder / "masks" / "part-00.png")
    return folder


@pytest.fixture(scope="module")
def trained(photos):
    out = photos / "model.tar.gz"
    code, shown, _ = run("train", "--good", photos / "normal", "--out", out, *QUICK)
    assert code == 0
    return out, shown


def test_training_shows_the_candidates_and_writes_the_model(trained):
    out, shown = trained

    assert "patchcore + signature" in shown
    assert "FAIL from" in shown
    assert load_model(out).card.version in shown


def test_training_tells_machines_the_card(photos, tmp_path):
    out = tmp_path / "model.tar.gz"
    code, shown, _ = run(
        "train", "--good", photos / "normal", "--defects", photos / "anomaly", "--masks", photos / "masks",
        "--out", out, "--json", *QUICK,
    )  # fmt: skip

    card = json.loads(shown)
    assert code == 0
    assert card["version"] == load_model(out).card.version
    assert [kind["name"] for kind in card["classes"]] == ["blot"]
    assert (card["good_images"], card["defect_images"], card["masked_images"]) == (8, 3, 1)


def test_a_dataset_serves_in_place_of_folders(photos, tmp_path):
    code, shown, _ = run("train", "--dataset", photos, "--out", tmp_path / "model.tar.gz", "--json", *QUICK)

    assert code == 0
    assert json.loads(shown)["good_images"] == 8


def test_predictions_are_the_models_own(trained, photos):
    out, _ = trained
    code, shown, _ = run("predict", out, photos / "normal", photos / "anomaly" / "blot" / "part-01.png", "--json")

    answers = json.loads(shown)
    expected = load_model(out).inspect(render_part(21, blot=(70, 40)))
    assert code == 0
    assert len(answers) == 9
    assert answers[-1]["verdict"] == expected.verdict == "FAIL"
    assert answers[-1]["score"] == pytest.approx(expected.score, abs=1e-5)


def test_a_photo_that_cannot_be_read_does_not_stop_the_others(trained, photos, tmp_path):
    (tmp_path / "torn.png").write_bytes(b"torn")
    code, shown, errors = run("predict", trained[0], tmp_path / "torn.png", photos / "normal" / "part-00.png")

    assert code == 1
    assert "torn.png" in errors
    assert "part-00.png" in shown


def test_overlays_and_masks_are_written(trained, photos, tmp_path):
    code, _, _ = run("predict", trained[0], photos / "anomaly" / "blot", "--out", tmp_path / "seen")

    assert code == 0
    assert (
        len(list((tmp_path / "seen").glob("*-overlay.png"))) == len(list((tmp_path / "seen").glob("*-mask.png"))) == 3
    )


def test_rules_come_from_a_file(photos, tmp_path):
    (tmp_path / "rules.json").write_text('{"rules": [{"verdict": "REVIEW", "of_verdicts": ["FAIL"]}]}')
    run(
        "train", "--good", photos / "normal", "--out", tmp_path / "m.tar.gz", "--rules", tmp_path / "rules.json", *QUICK
    )
    _, shown, _ = run("predict", tmp_path / "m.tar.gz", photos / "anomaly" / "blot", "--json")

    assert {answer["verdict"] for answer in json.loads(shown)} == {"REVIEW"}
    assert "-> REVIEW" in json.loads(shown)[0]["reasons"][0]


def test_rules_are_tried_on_stored_results_before_they_are_written(trained, photos, tmp_path):
    _, shown, _ = run("predict", trained[0], photos / "anomaly" / "blot", photos / "normal", "--json")
    (tmp_path / "stored.json").write_text(shown)
    (tmp_path / "rules.json").write_text('{"rules": [{"verdict": "REVIEW", "of_verdicts": ["FAIL"]}]}')
    arguments = ("tune", trained[0], "--rules", tmp_path / "rules.json", "--results", tmp_path / "stored.json")

    code, tried, _ = run(*arguments)
    _, counted, _ = run(*arguments, "--out", tmp_path / "tuned.tar.gz", "--json")

    assert code == 0
    assert "result 1: FAIL -> REVIEW" in tried
    assert "3 of 11 stored verdicts change, 0 of them to stricter" in tried
    assert json.loads(counted)["after"]["FAIL"] == 0
    assert load_model(tmp_path / "tuned.tar.gz").inspect(render_part(21, blot=(70, 40))).verdict == "REVIEW"


def test_thresholds_are_tried_on_stored_results(trained, photos, tmp_path):
    _, shown, _ = run("predict", trained[0], photos / "normal", "--json")
    (tmp_path / "stored.json").write_text(shown)

    _, tried, _ = run("tune", trained[0], "--review", 0, "--fail", 0, "--results", tmp_path / "stored.json", "--json")

    assert json.loads(tried)["after"] == {"PASS": 0, "REVIEW": 0, "FAIL": 8}


@pytest.mark.parametrize("content", ["nonsense", "5", "[5]", '[{"verdict": "FAIL"}]'])
def test_what_are_no_results_is_explained(trained, tmp_path, content):
    (tmp_path / "stored.json").write_text(content)

    assert run("tune", trained[0], "--results", tmp_path / "stored.json")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--dataset in their place"),
        (("--good", "absent"), "existing folder"),
        (("--good", "normal", "--tiles", "0x2"), "ROWSxCOLUMNS"),
        (("--good", "normal", "--roi", "1,2"), "left,top,right,bottom"),
        (("--good", "normal", "--review-rate", "0"), "review"),
        (("--good", "normal", "--escape-cost", "5"), "--reject-cost"),
        (("--good", "normal", "--rules", "absent.json"), "absent.json"),
        (("--good", "normal", "--backbone", "absent.onnx"), "absent.onnx"),
        (("--good", "normal", "--backbone", "./mobilenet_v2"), "an ONNX file that can be read"),
        (("--good", "normal", "--defects", "anomaly", "--masks", "empty"), "named as the photos"),
        (("--good", "masks"), "at least 2 different"),
    ],
)
def test_bad_input_is_explained(photos, monkeypatch, arguments, said):
    monkeypatch.chdir(photos)

    code, _, error = run("train", "--out", "never.tar.gz", *arguments)

    assert code == 2
    assert said in error
    assert not (photos / "never.tar.gz").exists()


def test_what_is_no_model_is_explained(photos):
    code, _, error = run("predict", photos / "masks" / "part-00.png", photos / "normal")

    assert code == 2
    assert "model" in error
