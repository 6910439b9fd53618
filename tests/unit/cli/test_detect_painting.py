"""``defectory detect compose --renderer bedrock``: painted, checked, counted and told of."""

from __future__ import annotations

import json

import pytest

from defectory.cli import main
from defectory.detection.detectors.detector import assemble
from tests.support.bedrock_server import DENIED
from tests.support.image_server import FILTERED_PROMPT, ImageServer
from tests.unit.detection.test_detector import LABELLED, card, model

BOX = (60, 50, 40, 60)


@pytest.fixture
def run(capsys):
    def run_(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["detect", "compose", "--renderer", "bedrock", *map(str, arguments)])
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run_


@pytest.fixture
def check(tmp_path):
    """A detector that sees a cone in `BOX` of a picture of 160 x 160, whatever is on it."""
    left, top, width, height = (value * 64 / 160 for value in BOX)
    answers = {"scores": [0.9], "boxes": [[left, top, left + width, top + height]], "labels": [0]}
    detector = assemble(card(LABELLED), model(answers))
    return "--check", detector.save(tmp_path / "detector.tar.gz")


@pytest.fixture
def layouts(tmp_path):
    """Writes a file of layouts of one cone each, by name and box."""

    def write(**boxes):
        file = tmp_path / "layouts.jsonl"
        lines = (
            {"image_id": name, "size": [160, 160], "objects": [{"label": "cone", "box": box}], "background": "hall"}
            for name, box in boxes.items()
        )
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return file

    return write


def test_what_the_detector_confirms_becomes_a_scene_and_the_rest_is_counted(
    run, check, layouts, tmp_path, image_models: ImageServer
):
    out = tmp_path / "scenes"
    arguments = (layouts(good=BOX, bad=(5, 5, 30, 40)), *check, "--out", out)
    code, printed, err = run(*arguments, "--json")

    report = json.loads(printed)
    assert code == 0
    assert (report["made"], report["failed"], report["rejected"]) == (1, 0, {"rejected": 1})
    assert report["failures"][0]["name"] == "bad"
    assert "Estimate: 2 pictures: 0.14 USD" in err
    assert "Cost: 2 pictures: 0.14 USD" in err
    scene = json.loads((out / "scenes.jsonl").read_text())
    assert (scene["image_id"], scene["objects"][0]["box"]) == ("good", list(BOX))
    assert [file.name for file in (out / "images").iterdir()] == ["good.jpg"]
    rates = json.loads((out / "acceptance.json").read_text())
    assert (rates["scenes"]["accepted"], rates["by_class"][0]["accepted"], rates["by_class"][0]["asked"]) == (1, 1, 2)
    page = (out / "contact-sheet.html").read_text()
    assert "1 scenes accepted, 1 rejected" in page
    assert "50 % (9 to 91)" in page

    # Again, nothing is paid for.
    asked = len(image_models.requests)
    code, _, err = run(*arguments)
    assert (code, len(image_models.requests)) == (0, asked)
    assert "Estimate: 0 pictures" in err


def test_a_scene_that_is_withheld_has_neither_picture_nor_label(
    run, check, layouts, tmp_path, image_models: ImageServer
):
    image_models.replies.append(FILTERED_PROMPT)
    out = tmp_path / "scenes"
    code, _, err = run(layouts(held=BOX), *check, "--out", out)

    # Nothing at all came of it.
    assert code == 1
    assert "1 withheld" in err
    assert "1 withheld by content filters" in err
    assert list((out / "images").iterdir()) == list((out / "labels").iterdir()) == []


def test_a_service_that_refuses_stops_it_before_more_is_asked(run, check, layouts, tmp_path, image_models: ImageServer):
    image_models.responder = lambda request: DENIED
    boxes = {f"n{number}": BOX for number in range(12)}
    code, _, err = run(layouts(**boxes), *check, "--out", tmp_path / "scenes")

    assert code == 1
    assert "bedrock:InvokeModel" in err
    assert len(image_models.requests) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--check: must be given with --renderer bedrock"),
        (("CHECK", "--cutouts", "."), "--cutouts: must be left out"),
        (("CHECK", "--budget", 0.01), "--budget: must be enough"),
        (("CHECK", "--model", "stability.sd3-5-large-v1:0"), "a model that inpaints"),
        (("--renderer", "gligen"), "gligen is a Batch Transform in AWS"),
        (("CHECK", "--renderer", "compositor"), "--check: must be left out"),
    ],
)
def test_what_does_not_go_together_is_told_and_nothing_is_begun(
    run, check, layouts, tmp_path, image_models: ImageServer, options, message
):
    given = [word for option in options for word in (check if option == "CHECK" else [option])]
    code, _, err = run(layouts(good=BOX), *given, "--out", tmp_path / "scenes")

    assert code == 2
    assert message in " ".join(err.split())
    assert image_models.requests == []
    assert not (tmp_path / "scenes").exists()


def test_a_detector_that_lacks_a_class_is_refused_before_anything_is_paid_for(
    run, check, tmp_path, image_models: ImageServer
):
    code, _, err = run("--preset", "ppe", "--count", 1, *check, "--out", tmp_path / "scenes")

    assert code == 2
    assert "a detector that knows person, hard_hat, safety_vest as well" in " ".join(err.split())
    assert image_models.requests == []
