"""Scenes that an image model paints: what it is asked over the wire, what is taken over, what is counted."""

from __future__ import annotations

import numpy as np
import pytest

from defectory.aws.image_models import create_image_model
from defectory.aws.image_usage import Usage
from defectory.detection.generative.bedrock import BedrockPainter, mask_of
from defectory.detection.layouts.records import Layout, LayoutObject, painted_places
from defectory.errors import ContentFilteredError, InputError
from tests.support.image_server import FILTERED_OUTPUT, INPAINT, SD35, ImageServer, Painting, repainted, sent_image


class Grey:
    """A place of one grey."""

    def draw(self, kind, size, view, room, rng):
        return np.full((size[1], size[0], 3), 120, np.uint8)


def thing(*box: float, label: str = "safety_cone", **changes) -> LayoutObject:
    return LayoutObject(label=label, box=box, **changes)


def layout(*objects: LayoutObject, **changes) -> Layout:
    return Layout(**{"image_id": "a", "size": (512, 384), "objects": objects, "background": "hall", **changes})


@pytest.fixture
def painter(image_models: ImageServer) -> BedrockPainter:
    return BedrockPainter(create_image_model(INPAINT), Grey())


def test_each_object_is_one_call_from_the_back_to_the_front(painter, image_models):
    worker = thing(50, 100, 80, 200, label="person", wears=("hard_hat",))
    hat = thing(70, 100, 30, 20, label="hard_hat", worn_by=1)
    asked = layout(thing(300, 200, 60, 90), worker, hat, conditions={"light": "dim"})
    painter.paint(asked)

    assert painted_places(asked) == [0, 1]
    assert [request.body["prompt"] for request in image_models.requests] == [
        "A photo of a safety cone in a hall, dim light, whole, in the middle",
        "A photo of a person wearing a hard hat in a hall, dim light, whole, in the middle",
    ]
    # Whoever is to wear no vest is not given one.
    assert [word in image_models.requests[1].body["negative_prompt"] for word in ("safety vest", "hard hat")] == [
        True, False,
    ]  # fmt: skip
    assert painter.model.usage == Usage(pictures=2)


def test_the_mask_is_the_box_a_little_grown_and_cut_to_the_canvas():
    # Grown by 5 % of 100 to all sides; the left edge is the canvas's.
    mask = mask_of(layout(thing(-20, 60, 80, 100)), 0)

    rows, columns = np.nonzero(mask)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (0, 64, 55, 164)
    assert set(np.unique(mask)) == {0, 255}


def test_the_model_sees_what_is_around_and_paints_in_the_box(painter, image_models):
    painter.paint(layout(thing(400, 100, 80, 120)))

    # A window of twice the grown box's 132 pixels, at the canvas's right edge, enlarged to what the model works with.
    image, mask = sent_image(image_models.requests[0]), repainted(image_models.requests[0])
    assert image.shape == (512, 512, 3)
    scale = 512 / 264
    rows, columns = np.nonzero(mask)
    assert columns.min() / scale == pytest.approx(394 - (512 - 264), abs=1)
    assert (np.ptp(columns) + 1) / scale == pytest.approx(92, abs=1)
    assert (np.ptp(rows) + 1) / scale == pytest.approx(132, abs=1)


def test_only_the_box_is_taken_over(image_models, monkeypatch):
    monkeypatch.setattr("defectory.detection.generative.bedrock.expose", lambda image, conditions, rng: image)
    # All that the model returns is 30 levels lighter; what it paints is 90 darker.
    image_models.responder = lambda request: Painting(tint=(30, 30, 30), quality=95)
    asked = layout(thing(200, 100, 80, 120))
    image = BedrockPainter(create_image_model(INPAINT), Grey()).paint(asked).astype(int)

    assert image[160, 240].mean() == pytest.approx(60, abs=4)
    changed = np.abs(image - 120).max(axis=2) > 2
    rows, columns = np.nonzero(changed)
    # Beyond the grown box a passage of some pixels.
    assert columns.min() >= 200 - 6 - 7
    assert columns.max() <= 280 + 6 + 7
    assert rows.min() >= 100 - 6 - 7
    assert rows.max() <= 220 + 6 + 7


def test_the_same_layout_asks_the_same_of_the_model_and_another_seed_does_not(painter, image_models):
    for seed in (1, 1, 2):
        painter.paint(layout(thing(200, 100, 80, 120), seed=seed))

    seeds = [request.body["seed"] for request in image_models.requests]
    assert seeds[0] == seeds[1] != seeds[2]


def test_a_layout_whose_object_is_withheld_is_given_up_and_counted(painter, image_models):
    image_models.replies.extend([Painting(), FILTERED_OUTPUT])

    with pytest.raises(ContentFilteredError):
        painter.paint(layout(thing(20, 100, 80, 120), thing(200, 100, 80, 120), thing(350, 100, 80, 120)))
    assert painter.model.usage == Usage(pictures=1, filtered=1)


def test_a_layout_without_objects_asks_for_nothing(painter, image_models):
    assert painter.paint(layout()).shape == (384, 512, 3)
    assert image_models.requests == []


def test_a_model_that_cannot_inpaint_is_refused(image_models):
    with pytest.raises(InputError, match="a model that inpaints"):
        BedrockPainter(create_image_model(SD35), Grey())
