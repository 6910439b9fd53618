"""Batches that models paint: only what a detector confirms is a scene; nothing is painted, or paid for, twice."""

from __future__ import annotations

import numpy as np
import pytest

from defectory.aws.image_models import create_image_model
from defectory.detection.batch.plan import PaintingModels
from defectory.detection.generative.gligen import TransformAnswer, TransformRequest
from defectory.detection.layouts.records import Layout, LayoutObject, layout_line
from defectory.errors import InputError
from tests.support.constant_detector import constant_detector
from tests.support.image_server import INPAINT, ImageServer

# The detector of these tests sees a cone in the middle of whatever it is shown.
MIDDLE, ASIDE = (24.0, 24.0, 48.0, 48.0), (2.0, 2.0, 20.0, 20.0)
PICTURE = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)


def cone(name: str, *boxes: tuple[float, float, float, float], **fields) -> Layout:
    objects = tuple(LayoutObject(label="cone", box=box) for box in boxes)
    return Layout(image_id=name, size=(96, 96), objects=objects, background="warehouse", **fields)


def wish(site, renderer: str, *layouts: Layout, **fields) -> dict:
    site.upload("ann/check.tar.gz", constant_detector().to_bytes())
    site.upload("ann/layouts.jsonl", "\n".join(map(layout_line, layouts)).encode())
    own = dict.fromkeys(("preset", "count", "seed", "size"))
    return {**own, "layouts": "ann/layouts.jsonl", "renderer": renderer, "detector": "ann/check.tar.gz", **fields}


def requests(site, planned: dict) -> list[TransformRequest]:
    keys = site.bucket.keys(planned["asked"])
    return [TransformRequest.model_validate_json(line) for key in keys for line in site.bucket.lines(key)]


def answer(site, planned: dict, *answers: TransformAnswer) -> None:
    """What a transform writes for each object that it was asked."""
    for key in site.bucket.keys(planned["asked"]):
        names = {line["image_id"] for line in site.lines(key)}
        lines = (entry.model_dump_json() for entry in answers if entry.image_id in names)
        target = f"{planned['answers']}/{key.removeprefix(planned['asked'])}.out"
        site.upload(target, "\n".join(lines).encode())


def test_answers_of_a_transform_become_scenes_or_are_counted_as_what_they_are(site):
    layouts = [cone("seen", MIDDLE), cone("missed", ASIDE), cone("blank", MIDDLE), cone("withheld", MIDDLE)]
    layouts += [cone("failed", MIDDLE), cone("forgotten", MIDDLE), cone("dropped", MIDDLE, ASIDE)]
    planned = site.plan(**wish(site, "gligen", *layouts, steps=20))
    assert site.ask(planned) == 7
    assert {(request.image_id, request.steps) for request in requests(site, planned)} == {
        (layout.image_id, 20) for layout in layouts
    }
    answer(
        site,
        planned,
        TransformAnswer.of_picture("seen", PICTURE),
        TransformAnswer.of_picture("missed", PICTURE),
        TransformAnswer.of_picture("blank", np.zeros_like(PICTURE)),
        TransformAnswer(image_id="withheld", withheld=True),
        TransformAnswer(image_id="failed", error="no memory"),
        TransformAnswer.of_picture("dropped", PICTURE, dropped=(1,)),
    )

    site.render(planned)
    status = site.assemble(planned)

    assert status["outcomes"] == {"blank": 1, "failed": 2, "made": 2, "rejected": 1, "withheld": 1}
    scenes = {scene["image_id"]: scene for scene in site.lines("ann/site/scenes.jsonl")}
    assert scenes.keys() == {"seen", "dropped"}
    assert scenes["dropped"]["dropped"] == {"cone": 1}
    reasons = {failure["image_id"]: failure["reason"] for failure in site.lines("ann/site/failures.jsonl")}
    assert "no memory" in reasons["failed"]
    assert "start the same again" in reasons["forgotten"]
    assert b'"withheld": 1' in site.bucket.read("ann/site/acceptance.json")
    assert {line["image_id"] for line in site.lines("ann/site/acceptance.jsonl")} == {
        *("seen", "missed", "blank", "withheld", "dropped")
    }

    # Given the same again, only what failed is asked for
    again = site.plan("run-2", **wish(site, "gligen", *layouts, steps=20))
    assert site.ask(again) == 2
    assert {request.image_id for request in requests(site, again)} == {"failed", "forgotten"}
    answer(site, again, *(TransformAnswer.of_picture(name, PICTURE) for name in ("failed", "forgotten")))
    site.render(again)
    assert site.assemble(again)["status"] == "COMPLETE"


def test_what_was_painted_and_not_looked_at_is_not_painted_again(site):
    planned = site.plan(**wish(site, "gligen", cone("seen", MIDDLE)))
    assert site.ask(planned) == 1
    answer(site, planned, TransformAnswer.of_picture("seen", PICTURE))

    again = site.plan("run-2", **wish(site, "gligen", cone("seen", MIDDLE)))
    assert site.ask(again) == 0
    assert site.render(again) == {"made": 1}


@pytest.fixture
def painting(site, image_models: ImageServer):
    """The installation with a model of Bedrock."""
    site.models = PaintingModels(inpaint_model_id=INPAINT)
    site.image_model = create_image_model
    return site


def test_bedrock_is_asked_once_for_each_object_and_what_is_turned_down_is_not_asked_for_again(painting, image_models):
    asked = wish(painting, "bedrock", cone("seen", MIDDLE), cone("missed", ASIDE))
    planned = painting.plan(**asked)
    assert [item["count"] for item in painting.lines(planned["manifest"])] == [1, 1]

    assert painting.render(planned) == {"made": 1, "rejected": 1}
    assert painting.render(painting.plan("run-2", **asked)) == {"made": 1, "rejected": 1}
    assert len(image_models.requests) == 2
    status = painting.assemble(planned)
    assert (status["status"], status["outcomes"]) == ("COMPLETE", {"made": 1, "rejected": 1})


def test_more_calls_than_are_allowed_are_refused_before_the_first(painting, image_models):
    with pytest.raises(InputError, match="at least 2") as caught:
        painting.plan(**wish(painting, "bedrock", cone("two", MIDDLE, ASIDE), call_limit=1))

    assert caught.value.field == "call_limit"
    assert not painting.bucket.keys("ann/site/") and not image_models.requests
