"""GLIGEN's requests and answers: what is asked for, where, and what is left out."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from defectory.detection.generative.gligen import (
    TransformAnswer,
    TransformRequest,
    answer_lines,
    ground,
    parse_answer,
)
from defectory.detection.generative.prompts import describe_scene, name_object
from defectory.detection.generative.serving import TransformServer
from defectory.detection.layouts.records import Layout, LayoutObject
from defectory.errors import ImageError, InputError
from defectory.vision.images import encode_png


def layout(*objects: LayoutObject, **changes) -> Layout:
    return Layout(**{"image_id": "a", "size": (400, 200), "objects": objects, **changes})


def thing(*box: float, label: str = "safety_cone", **changes) -> LayoutObject:
    return LayoutObject(label=label, box=box, **changes)


def test_boxes_are_shares_of_the_picture_and_cut_to_the_canvas():
    grounding = ground(layout(thing(100, 50, 100, 100), thing(-40, 150, 80, 100)))

    assert grounding.frame.sent == (1024, 512)
    assert grounding.boxes == ((0.25, 0.25, 0.5, 0.75), (0.0, 0.75, 0.1, 1.0))


def test_a_picture_to_paint_into_is_widened_to_a_square_and_comes_back():
    # 400 x 200 is widened by 100 above and below.
    grounding = ground(layout(thing(100, 50, 100, 100)), is_square=True)
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None, None], (200, 400, 3))

    assert grounding.frame.sent == (512, 512)
    assert grounding.boxes == ((0.25, 0.375, 0.5, 0.625),)
    assert np.abs(grounding.frame.restore(grounding.frame.lay_out(ramp)).astype(int) - ramp).max() <= 2


@given(width=st.integers(64, 8192), height=st.integers(64, 8192), is_square=st.booleans())
def test_what_is_painted_keeps_the_aspect_and_has_sides_that_the_model_takes(width, height, is_square):
    frame = ground(layout(size=(width, height)), is_square=is_square).frame

    assert min(frame.sent) == 512
    assert max(frame.sent) <= 1032
    assert all(side % 8 == 0 for side in frame.sent)
    if is_square:
        assert frame.sent == (512, 512)
    assert frame.sent[0] / frame.sent[1] == pytest.approx(frame.widened[0] / frame.widened[1], rel=0.02)


def test_of_too_many_objects_the_largest_on_the_canvas_are_asked_for():
    # The first is the largest, but most of it lies beyond the canvas: 2 x 200 pixels of it are left.
    things = [thing(398, 0, 300, 200)] + [thing(10 * number, 0, 5, 60 + number) for number in range(31)]
    grounding = ground(layout(*things))

    assert grounding.dropped == (1, 2)
    assert len(grounding.boxes) == len(grounding.phrases) == 30
    assert grounding.boxes[0] == (0.995, 0.0, 1.0, 1.0)


def test_who_wears_something_is_left_out_with_it():
    things = [thing(10 * number, 0, 9, 100) for number in range(29)]
    worker = thing(300, 0, 10, 80, label="person", wears=("hard_hat",))
    hat = thing(302, 0, 6, 6, label="hard_hat", worn_by=29)
    small = thing(350, 0, 5, 5)

    assert ground(layout(*things, worker, hat, small)).dropped == (29, 30)


def test_phrases_say_what_is_known_of_an_object():
    asked = layout(
        thing(10, 10, 20, 60, label="person", wears=("safety_vest",), variant="tall"),
        thing(12, 10, 8, 8, label="hard_hat", worn_by=0),
        thing(80, 10, 20, 40, tilt=-90),
        thing(120, 10, 20, 40, tilt=20),
        background="warehouse",
        conditions={"light": "dim"},
    )

    assert [name_object(asked, place) for place in range(4)] == [
        "tall person wearing a hard hat and a safety vest",
        "hard hat",
        "safety cone that has fallen over",
        "safety cone",
    ]
    assert describe_scene(asked, range(4)) == (
        "A photo of a warehouse, dim light, with a tall person wearing a hard hat and a safety vest, "
        "a safety cone that has fallen over, a safety cone"
    )
    assert ground(asked.model_copy(update={"prompt": " In a hall. "})).prompt == "In a hall."


def test_an_empty_layout_has_nothing_to_ask_for():
    grounding = ground(layout())

    assert (grounding.phrases, grounding.boxes, grounding.dropped) == ((), (), ())
    assert grounding.prompt == "A photo of a factory, even light"


def test_a_request_is_of_its_layout():
    content = {"image_id": "b", "layout": layout().model_dump(mode="json")}

    with pytest.raises(ValidationError, match="that of the layout, a"):
        TransformRequest.model_validate(content)
    assert TransformRequest.model_validate(content | {"image_id": "a"}).steps == 50


@pytest.mark.parametrize(
    "answer",
    [{}, {"withheld": True, "error": "no"}, {"image": "", "withheld": True}, {"error": "no", "dropped": [-1]}],
)
def test_an_answer_says_one_thing(answer):
    with pytest.raises(InputError, match="line 3"):
        parse_answer(json.dumps({"image_id": "a", **answer}), "line 3")


def test_an_answers_picture_is_of_its_layouts_size():
    picture = np.random.default_rng(0).integers(0, 255, (200, 400, 3), np.uint8)
    answer = parse_answer(TransformAnswer.of_picture("a", picture, (3,)).model_dump_json(), "line 1")

    assert answer.dropped == (3,)
    assert np.array_equal(answer.picture(layout()), picture)
    with pytest.raises(ImageError, match="64 x 64"):
        answer.picture(layout(size=(64, 64)))
    assert TransformAnswer(image_id="a", withheld=True).picture(layout()) is None


@pytest.mark.parametrize(
    "image",
    [
        "*",
        base64.b64encode(b"no picture").decode(),
        base64.b64encode(encode_png(np.zeros((8, 8, 3), np.uint8))[:40]).decode(),
    ],
)
def test_what_is_no_picture_is_refused(image):
    with pytest.raises(ImageError):
        TransformAnswer(image_id="a", image=image).picture(layout())


class Model:
    """Paints noise by the seed, or does what it was told for a record."""

    side = 64

    def __init__(self, inpaints: bool = False, **script) -> None:
        self.inpaints, self.script, self.backgrounds = inpaints, script, []

    def paint(self, grounding, request, background):
        self.backgrounds.append(background)
        scripted = self.script.get(request.image_id)
        if isinstance(scripted, Exception):
            raise scripted
        if scripted is not None:
            return None if scripted == "withheld" else np.zeros((*grounding.frame.sent[::-1], 3), np.uint8)
        noise = np.random.default_rng(request.layout.seed).integers(0, 255, (8, 8, 3), np.uint8)
        return np.repeat(np.repeat(noise, grounding.frame.sent[1] // 8, 0), grounding.frame.sent[0] // 8, 1)


def line(name: str, **changes) -> bytes:
    asked = layout(thing(10, 10, 40, 40), image_id=name, size=(128, 64))
    return json.dumps({"image_id": name, "layout": asked.model_dump(mode="json"), **changes}).encode()


def answers(body: bytes, model: Model) -> list[TransformAnswer]:
    return [TransformAnswer.model_validate_json(answer) for answer in answer_lines(body, model).split(b"\n")]


def test_every_line_has_its_answer_whatever_becomes_of_the_others():
    model = Model(b=MemoryError("CUDA out of memory"), d="withheld", e="black")
    lines = [line("a"), line("b"), b"{no json", line("c", steps=0), b"", line("d"), line("e"), b'{"image_id": "f"}']
    told = answers(b"\n".join(lines) + b"\n", model)

    assert [(answer.image_id, answer.image is not None, answer.withheld) for answer in told] == [
        ("a", True, False),
        ("b", False, False),
        ("", False, False),
        ("c", False, False),
        ("d", False, True),
        ("e", False, True),
        ("f", False, False),
    ]
    assert told[1].error == "MemoryError: CUDA out of memory"
    assert [answer.error.split(":")[0] for answer in (told[2], told[3], told[6]) if answer.error] == [
        "TransformRequest", "steps", "layout",
    ]  # fmt: skip


def test_what_was_dropped_is_named_even_where_painting_fails():
    things = [thing(10 * number, 0, 5, 60 + number) for number in range(31)]
    asked = layout(*things).model_dump(mode="json")
    body = json.dumps({"image_id": "a", "layout": asked}).encode()

    assert answers(body, Model())[0].dropped == (0,)
    assert answers(body, Model(a=ValueError("no")))[0].dropped == (0,)


def test_a_picture_comes_back_as_the_canvas_was_and_is_painted_into_where_the_model_inpaints():
    asked = layout(size=(128, 64))
    picture = np.full((64, 128, 3), 200, np.uint8)
    background = base64.b64encode(encode_png(picture)).decode()
    model = Model(inpaints=True)
    answer = answers(line("a", background=background), model)[0]

    assert answer.picture(asked).shape == (64, 128, 3)
    assert model.backgrounds[0].shape == (64, 64, 3)
    assert (model.backgrounds[0] == 200).all()
    assert "given, as this model inpaints" in answers(line("a"), model)[0].error
    assert "left out" in answers(line("a", background=background), Model())[0].error
    other = base64.b64encode(encode_png(picture[:, :100])).decode()
    assert "of the layout's size, 128 x 64" in answers(line("a", background=other), model)[0].error


def test_a_canvas_that_is_larger_than_an_answer_may_be_is_refused():
    body = json.dumps({"image_id": "a", "layout": layout(size=(2049, 64)).model_dump(mode="json")}).encode()

    assert "at most 2048 pixels a side" in answers(body, Model())[0].error


def test_it_is_served_as_batch_transform_asks():
    with TransformServer("127.0.0.1", 0, Model(), token=None) as server:
        server.start()
        assert json.loads(fetch(f"{server.url}/execution-parameters")) == {
            "MaxConcurrentTransforms": 1, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 6,
        }  # fmt: skip
        body = fetch(f"{server.url}/invocations", line("a") + b"\n" + line("b"))
        assert [json.loads(answer)["image_id"] for answer in body.split(b"\n")] == ["a", "b"]
        with pytest.raises(urllib.error.HTTPError, match="415"):
            fetch(f"{server.url}/invocations", line("a"), "image/png")


def fetch(address: str, content: bytes | None = None, kind: str = "application/jsonlines") -> bytes:
    with urllib.request.urlopen(urllib.request.Request(address, content, {"Content-Type": kind}), timeout=60) as reply:
        return bytes(reply.read())
