"""Attributes: measured figures that a person can check, and what a model is shown and may say."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from defectory.aws.bedrock import BedrockModel
from defectory.detection.curation.attributes import QUARTERS, VOCABULARY, View
from defectory.detection.curation.bedrock_attributes import AT_ONCE, BedrockAttributes
from defectory.detection.curation.describers import create_describer
from defectory.detection.curation.measured_attributes import MeasuredAttributes
from defectory.detection.curation.plan import LayoutPlan, plannable
from defectory.detection.curation.report import write_weak_spots_report
from defectory.detection.curation.weak_spots import find_weak_spots
from defectory.detection.labelled import open_labelled
from defectory.detection.layouts.presets import load_preset
from defectory.errors import InputError
from tests.support.bedrock_server import MODEL, BedrockServer, Reply, Request
from tests.unit.detection.test_curation import BOXES, rows, spot
from tests.unit.detection.test_detector_evaluation import Scripted, dataset

LOWEST, MIDDLE, HIGHEST = QUARTERS


def picture(file: Path, background: int = 90, level: int = 200, texture: int = 0, clutter: int = 0) -> View:
    """An object of 40 x 40 on a plain picture; ``texture`` and ``clutter`` are noise in and around it."""
    rng = np.random.default_rng(0)
    image = np.full((120, 120), background, np.float64) + rng.normal(0, 1, (120, 120)) * clutter
    image[40:80, 40:80] = level + rng.normal(0, 1, (40, 40)) * texture
    Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).convert("RGB").save(file)
    return View("cone", (40, 40, 40, 40), file)


@pytest.mark.parametrize(
    ("attribute", "low", "high"),
    [
        ("contrast", {"level": 92}, {"level": 250, "background": 40}),
        ("brightness", {"level": 20}, {"level": 250}),
        ("clutter", {"clutter": 0}, {"clutter": 40}),
    ],
)
def test_the_extremes_of_a_figure_are_its_quarters(tmp_path: Path, attribute: str, low: dict, high: dict):
    middle = {"level": 200, "clutter": 8}
    views = [picture(tmp_path / f"{n}.png", **how) for n, how in enumerate([low, middle, middle, middle, middle, high])]

    described = MeasuredAttributes().describe(views)

    assert [item[attribute] for item in described.attributes] == [LOWEST, MIDDLE, MIDDLE, MIDDLE, MIDDLE, HIGHEST]
    assert (described.source.described, described.source.left) == (6, 0)


def test_what_is_blurred_is_least_sharp(tmp_path: Path):
    views = [picture(tmp_path / f"{n}.png", texture=20) for n in range(5)]
    blurred = cv2.GaussianBlur(cv2.imread(str(views[0].path)), (0, 0), 3)
    cv2.imwrite(str(views[0].path), blurred)

    assert [item["sharpness"] for item in MeasuredAttributes().describe(views).attributes] == [LOWEST, *[MIDDLE] * 4]


def test_what_has_no_pixels_or_no_surroundings_has_no_attributes(tmp_path: Path):
    view = picture(tmp_path / "a.png")
    boxes = [(40.0, 40.0, 1.0, 1.0), (0.0, 0.0, 120.0, 120.0), (500.0, 500.0, 9.0, 9.0), view.box]

    described = MeasuredAttributes().describe([View("cone", box, view.path) for box in boxes])

    assert [bool(item) for item in described.attributes] == [False, False, False, True]
    assert set(described.attributes[3].values()) == {MIDDLE}
    assert (described.source.described, described.source.left) == (1, 3)
    assert MeasuredAttributes().describe([]).attributes == []


def test_what_is_seen_of_missed_objects_becomes_a_weak_spot(tmp_path: Path):
    folder = dataset(tmp_path / "set", [rows(*[0] * 12)] * 10)
    for number in range(10):
        image = np.array(Image.open(folder / f"images/{number}.png"))
        for place, (left, top, width, height) in enumerate(BOXES[:12]):
            image[int(top) : int(top + height), int(left) : int(left + width)] = 94 if place < 3 else 150 + 4 * place
        image[0, 0] = number
        Image.fromarray(image).save(folder / f"images/{number}.png")
    answers = [("cone", 0.9, box) for box in BOXES[3:12]]

    weak, examination = find_weak_spots(
        Scripted(dict.fromkeys(range(10), answers)),  # type: ignore[arg-type]
        open_labelled(folder),
        describer=MeasuredAttributes(),
    )

    told = {(item.condition, item.group): (item.count, item.cases) for item in weak.spots if item.kind == "missed"}
    assert told["contrast", LOWEST] == (30, 30)
    assert weak.attributes is not None and weak.attributes.described == 120
    page = write_weak_spots_report(weak, examination.paths(), tmp_path / "out").read_text()
    assert "contrast: lowest quarter" in page and "told by quarters" in page


def test_plans_take_up_what_layouts_decide():
    dark, faint = spot(condition="brightness", group=LOWEST), spot(condition="contrast", group=LOWEST, low=0.7)

    (planned,) = plannable((dark, faint))

    assert (planned.condition, planned.group) == ("light", "dim")
    # What no layout shows takes nothing from the others.
    preset = load_preset("floor")
    assert (
        LayoutPlan(preset, 30, (dark, faint))._choose().tolist() == LayoutPlan(preset, 30, (dark,))._choose().tolist()
    )
    assert LayoutPlan(preset, 30, (faint,))._choose().tolist() == LayoutPlan(preset, 30)._choose().tolist()


# A model that looks

SEEN = {name: values[0] for name, values in VOCABULARY.items()}


def pictures_of(request: Request) -> list[bytes]:
    content = request.body["messages"][0]["content"]
    return [base64.b64decode(block["image"]["source"]["bytes"]) for block in content if "image" in block]


def entries(*numbers: int, **changes: str) -> list[dict]:
    return [{"number": number, "attributes": {**SEEN, **changes}} for number in numbers]


def says(pictures: object) -> Reply:
    return Reply(call=("describe", {"pictures": pictures}), stop_reason="tool_use")


@pytest.fixture
def bedrock(monkeypatch: pytest.MonkeyPatch):
    with BedrockServer(responder=lambda request: says(entries(*range(1, len(pictures_of(request)) + 1)))) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        yield server


def model(most: int = 200) -> BedrockAttributes:
    return BedrockAttributes(BedrockModel.connect(MODEL, region="us-east-1"), most=most)


def test_a_model_is_shown_framed_pictures_and_answers_from_the_vocabulary(tmp_path: Path, bedrock: BedrockServer):
    views = [picture(tmp_path / f"{n}.png") for n in range(AT_ONCE + 3)]

    described = model().describe(views)

    assert [len(pictures_of(request)) for request in bedrock.requests] == [AT_ONCE, 3]
    shown = cv2.imdecode(np.frombuffer(pictures_of(bedrock.requests[0])[0], np.uint8), cv2.IMREAD_COLOR_RGB)
    assert (np.abs(shown.astype(int) - (0, 150, 70)).sum(axis=2) < 60).sum() > 100
    assert "Picture 1:" in bedrock.prompts[0] and "cone" in bedrock.prompts[0]
    assert list(described.attributes) == [SEEN] * len(views)
    assert (described.source.model_id, described.source.described, described.source.left) == (MODEL, len(views), 0)
    assert described.source.tokens is not None and described.source.tokens.input > 0


@pytest.mark.parametrize(
    "reply",
    [
        says("nothing"),
        says([]),
        says([{"number": 9}, 3, *entries(99), *entries(0)]),
        says(entries(1, **dict.fromkeys(VOCABULARY, "made up"))),
        Reply("I cannot help with that.", stop_reason="content_filtered"),
        Reply("They are all dim."),
        Reply(call=("describe", {"pictures": entries(1)}), stop_reason="max_tokens"),
    ],
    ids=["no list", "empty", "no entries", "other words", "refused", "text", "truncated"],
)
def test_an_answer_that_says_nothing_is_asked_for_once_more_and_then_counted(
    tmp_path: Path, bedrock: BedrockServer, reply: Reply
):
    bedrock.responder = lambda request: reply

    described = model().describe([picture(tmp_path / "a.png")])

    assert (described.attributes, len(bedrock.requests)) == ([{}], 2)
    assert (described.source.described, described.source.left) == (0, 1)


def test_pictures_that_were_passed_over_are_shown_again(tmp_path: Path, bedrock: BedrockServer):
    bedrock.replies.append(says([*entries(1), *entries(1, focus="blurred")]))

    described = model().describe([picture(tmp_path / f"{n}.png") for n in range(3)])

    assert [len(pictures_of(request)) for request in bedrock.requests] == [3, 2]
    assert list(described.attributes) == [SEEN] * 3


def test_more_objects_than_are_shown_are_drawn_at_random(tmp_path: Path, bedrock: BedrockServer):
    described = model(most=16).describe([picture(tmp_path / "a.png")] * 60)

    places = [place for place, item in enumerate(described.attributes) if item]
    assert (len(places), described.source.left) == (16, 44)
    assert max(places) > 30


@pytest.mark.parametrize(
    ("how", "rule"),
    [
        ({"name": "bedrock"}, "a model that sees pictures"),
        ({"name": "bedrock", "model_id": "us.amazon.nova-micro-v1:0"}, "known to see pictures"),
        ({"name": "bedrock", "model_id": "us.some.model-v9:0"}, "known to see pictures"),
        ({"name": "guess"}, "measured, bedrock or none"),
    ],
)
def test_describers_that_cannot_see_are_refused(how: dict, rule: str):
    with pytest.raises(InputError, match=rule):
        create_describer(**how, region="us-east-1")
