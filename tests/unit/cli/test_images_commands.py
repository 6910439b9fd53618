"""``defectory images``: what people and what machines read, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from defectory.cli import main
from defectory.datasets import load_dataset
from defectory.images.renderers.procedural import KINDS
from defectory.vision.images import encode_png
from tests.support.bedrock_server import Failure
from tests.support.image_server import FILTERED_PROMPT, ImageServer


@pytest.fixture
def run(capsys):
    def run_(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["images", *map(str, arguments)])
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run_


def photo(path: Path, seed: int, *, cracked: bool = False) -> Path:
    """A grey plate with a grain of its own, 96 x 80."""
    rng = np.random.default_rng(seed)
    image = np.clip(150 + cv2.GaussianBlur(rng.normal(0, 40, (80, 96, 1)), (0, 0), 1.5)[..., None], 0, 255)
    image = np.repeat(image, 3, axis=2).astype(np.uint8)
    if cracked:
        cv2.line(image, (30, 20), (60, 50), (20, 20, 20), 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(image))
    return path


@pytest.fixture
def parts(tmp_path) -> Path:
    """Six good parts and two cracked ones, whose masks are there."""
    for number in range(6):
        photo(tmp_path / f"parts/good/{number}.png", number)
    mask = np.zeros((80, 96), np.uint8)
    cv2.line(mask, (30, 20), (60, 50), 255, 4)
    for number in (6, 7):
        photo(tmp_path / f"parts/crack/{number}.png", number, cracked=True)
        (tmp_path / "parts/masks/crack").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"parts/masks/crack/{number}.png").write_bytes(encode_png(mask))
    return tmp_path / "parts"


@pytest.mark.parametrize("command", ["plan", "synthesize", "balance"])
def test_every_command_has_an_example(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"defectory images {command}" in out


def test_the_help_names_all_kinds_that_can_be_drawn(run):
    out = run("synthesize", "--help")[1]
    assert all(kind in out.replace("│", "").replace("\n", "") for kind in KINDS)


def test_plan_then_synthesize_then_train_on_it(run, parts, tmp_path):
    # Given a plan for the dataset
    code, out, _ = run("plan", parts, "--defect", "scratch", "--target", 4, "--out", tmp_path / "plan.json")
    assert code == 0
    assert "2 real ones are masked" in out
    # When it is made
    summary = json.loads(
        run("synthesize", "--dataset", parts, "--plan", tmp_path / "plan.json", "--out", tmp_path / "out", "--json")[1]
    )
    # Then there is what was planned, as a dataset
    assert summary["outcomes"] == {"crack": {"made": 2}, "scratch": {"made": 4}}
    assert load_dataset(tmp_path / "out").version == summary["version"]
    # And the same again makes nothing
    again = run("synthesize", "--dataset", parts, "--plan", tmp_path / "plan.json", "--out", tmp_path / "out")
    assert (again[0], "(6 were there before)" in again[1]) == (0, True)


def test_a_plan_as_json_is_what_the_file_holds(run, parts, tmp_path):
    _, out, _ = run("plan", parts, "--out", tmp_path / "plan.json", "--json")
    assert json.loads(out) == json.loads((tmp_path / "plan.json").read_text())


def test_defects_from_folders_are_transplanted(run, parts, tmp_path):
    options = ("--good", parts / "good", "--defects", parts / "crack", "--masks", parts / "masks/crack")
    more = ("--renderer", "transplant", "--defect", "crack", "--count", 3, "--out", tmp_path / "out", "--json")
    code, out, _ = run("synthesize", *options, *more)
    assert (code, json.loads(out)["made"]) == (0, 3)
    donors = {load_dataset(parts).digest(path) for path in (parts / "crack").iterdir()}
    assert all(donors & set(record.made_from) for record in load_dataset(tmp_path / "out").records)


def test_a_photo_that_is_none_is_left_out_and_named(run, parts, tmp_path):
    (parts / "good/broken.png").write_bytes(b"no image")
    code, out, err = run(
        "synthesize", "--good", parts / "good", "--defect", "stain", "--count", 7, "--out", tmp_path / "o"
    )
    assert (code, "7 of 7 pictures" in out) == (0, True)
    assert "Photo left out: broken.png" in err


def test_a_file_name_that_is_no_text_does_no_harm(run, parts, tmp_path):
    (parts / "good/0.png").rename(parts / "good/\udcff\udcfe.png")
    code, _, _ = run(
        "synthesize", "--good", parts / "good", "--defect", "stain", "--count", 6, "--out", tmp_path / "out"
    )
    assert code == 0
    assert r"\udcff\udcfe.png" in {record.source_ref for record in load_dataset(tmp_path / "out").records}


def test_masks_say_where_one_for_each_photo_or_one_for_all(run, parts, tmp_path):
    mask = np.zeros((80, 96), np.uint8)
    mask[50:70, 10:40] = 255
    for number in range(6):
        (tmp_path / "where").mkdir(exist_ok=True)
        (tmp_path / f"where/{number}_mask.png").write_bytes(encode_png(mask))
    for where in (tmp_path / "where", tmp_path / "where/0_mask.png"):
        out = tmp_path / where.stem
        options = ("--good", parts / "good", "--defect", "stain", "--count", 3, "--mask", where)
        assert run("synthesize", *options, "--out", out.with_suffix(".made"))[0] == 0
        coco = json.loads((out.with_suffix(".made") / "coco.json").read_text())
        for annotation in coco["annotations"]:
            left, top, width, height = annotation["bbox"]
            assert (left >= 6, left + width <= 44, top >= 46, top + height <= 74) == (True,) * 4
    (tmp_path / "where/3_mask.png").unlink()
    code, _, err = run("synthesize", *options[:-1], tmp_path / "where", "--out", tmp_path / "new")
    assert (code, "none for 3.png" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--good", "GOOD", "--defect", "rust", "--count", "1"], "one of scratch"),
        (["--good", "GOOD", "--defect", "Rust!", "--count", "1"], "lower-case letters"),
        (["--good", "GOOD", "--defect", "scratch"], "--defect and --count, or a --plan"),
        (["--defect", "scratch", "--count", "1"], "--good"),
        (["--good", "GOOD", "--defect", "scratch", "--count", "1", "--mode", "inpaint"], "--renderer bedrock"),
        (["--good", "GOOD", "--defect", "crack", "--count", "1", "--renderer", "transplant"], "--defects and --masks"),
        (["--good", "GOOD", "--defect", "crack", "--count", "1", "--masks", "GOOD"], "given with --defects"),
        (["--good", "GOOD", "--defect", "crack", "--count", "1", "--dataset", "GOOD"], "given without --good"),
        (["--good", "GOOD", "--plan", "none.json"], "No such file"),
        (["--good", "GOOD", "--plan", "none.json", "--count", "3"], "which it has"),
        (["--good", "GOOD/none", "--defect", "scratch", "--count", "1"], "existing folder"),
        (["--good", "GOOD", "--defect", "scratch", "--count", "1", "--mask", "EMPTY"], "an empty one"),
        (["--good", "GOOD", "--defect", "scratch", "--count", "1", "--within", "EMPTY"], "an empty one"),
        (
            ["--defect", "x", "--count", "1", "--renderer", "bedrock", "--mode", "zero-shot", "--mask", "EMPTY"],
            "a text",
        ),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(run, parts, tmp_path, arguments, message):
    (tmp_path / "empty.png").write_bytes(encode_png(np.zeros((80, 96), np.uint8)))
    given = [
        word.replace("GOOD", str(parts / "good")).replace("EMPTY", str(tmp_path / "empty.png")) for word in arguments
    ]
    code, _, err = run("synthesize", *given, "--out", tmp_path / "out")
    assert code == 2
    assert message in err
    assert not (tmp_path / "out").exists()


def test_what_costs_more_than_the_budget_is_not_begun(run, parts, tmp_path, image_models: ImageServer):
    options = ("--good", parts / "good", "--defect", "scratch", "--renderer", "bedrock")
    code, _, err = run("synthesize", *options, "--count", 90, "--out", tmp_path / "out")
    assert (code, "--budget" in err) == (2, True)
    assert not (tmp_path / "out").exists()
    assert image_models.requests == []


def test_a_service_that_refuses_ends_in_an_exit_code_and_a_cure(run, parts, tmp_path, image_models: ImageServer):
    image_models.responder = lambda request: Failure("AccessDeniedException", 403, "You don't have access.")
    options = ("--good", parts / "good", "--defect", "scratch", "--renderer", "bedrock", "--workers", 1)
    code, out, err = run("synthesize", *options, "--count", 5, "--out", tmp_path / "out")
    assert code == 1
    assert "Stopped with 2 still to make" in err
    assert "Run the same command again" in err
    assert "0 of 5 pictures" in out


def test_what_bedrock_withholds_is_counted_and_paid_pictures_are_told(run, parts, tmp_path, image_models: ImageServer):
    image_models.replies.append(FILTERED_PROMPT)
    options = ("--good", parts / "good", "--defect", "scratch", "--renderer", "bedrock", "--part", "a grey plate")
    code, out, err = run("synthesize", *options, "--count", 3, "--workers", 1, "--out", tmp_path / "out", "--json")
    summary = json.loads(out)
    assert code == 0
    assert summary["outcomes"] == {"scratch": {"filtered": 1, "made": 2}}
    assert summary["cost"]["lines"][0]["pictures"] == 2
    assert "Estimate: 3 pictures" in err
    assert "surface of a grey plate" in image_models.requests[0].body["prompt"]


def test_pictures_that_two_renderers_have_of_one_model_are_counted_together(run, parts, tmp_path, image_models):
    wants = [
        {"renderer": renderer, "defect": "scratch", "count": 1}
        for renderer in ("bedrock-zero-shot", "bedrock-image-to-image")
    ]
    (tmp_path / "plan.json").write_text(json.dumps({"wants": wants}))
    options = ("--good", parts / "good", "--plan", tmp_path / "plan.json", "--out", tmp_path / "out", "--json")
    _, out, err = run("synthesize", *options)
    assert "Estimate: 2 pictures" in err
    assert [line["pictures"] for line in json.loads(out)["cost"]["lines"]] == [2]


def test_balance_writes_a_dataset_to_train_on(run, parts, tmp_path):
    # Two real defects are too few to say whether synthetic ones help
    code, out, _ = run("balance", parts, "--target", 3, "--out", tmp_path / "asked")
    assert (code, "unmeasured" in out, "--keep-all keeps them" in out) == (0, True, True)
    assert not any(record.synthetic for record in load_dataset(tmp_path / "asked/dataset").records)
    code, out, _ = run(
        "balance", parts, "--target", 3, "--keep-all", "--format", "coco", "--out", tmp_path / "o", "--json"
    )
    summary = json.loads(out)
    assert (code, summary["kept"], summary["synthetic"], summary["images"]) == (0, True, 1, 9)
    assert json.loads((tmp_path / "o/dataset/coco.json").read_text())["annotations"]


def test_a_balanced_dataset_needs_nothing(run, parts, tmp_path):
    code, _, err = run("balance", parts, "--target", 1, "--out", tmp_path / "out")
    assert (code, "nothing to make" in err) == (2, True)
