"""The Bedrock renderers, against a server that speaks InvokeModel: defects in their place, and nothing else changed."""

from __future__ import annotations

from functools import cache

import boto3
import cv2
import numpy as np
import pytest
from botocore.config import Config

from defectory.aws.image_models import StabilityModel
from defectory.aws.image_usage import Usage
from defectory.errors import ContentFilteredError, InputError, RenderError, ServiceError
from defectory.images.filters import visibility_failure
from defectory.images.items import Item
from defectory.images.placement import Placement
from defectory.images.prompts import load_prompts
from defectory.images.renderers import MAX_SEED, RenderRequest
from defectory.images.renderers.bedrock import BedrockRenderer
from defectory.images.synthesis import make_item, request_of
from defectory.vision.photos import Photo
from tests.support.bedrock_server import DENIED
from tests.support.image_server import (
    CORE,
    FILTERED_PROMPT,
    INPAINT,
    NO_IMAGES,
    SD35,
    ImageServer,
    Painting,
    repainted,
    sent_image,
)


@pytest.fixture(scope="module")
def serving():
    with ImageServer() as server:
        yield server


@pytest.fixture(scope="module")
def client(serving):
    return boto3.client(
        "bedrock-runtime",
        region_name="us-west-2",
        endpoint_url=serving.endpoint,
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"mode": "standard", "total_max_attempts": 1}),
    )


@pytest.fixture
def server(serving):
    """The server, as if new."""
    serving.replies.clear()
    serving.requests.clear()
    serving.responder = lambda request: Painting(quality=85, shift=(2, 1), tint=(6, 3, -4))
    return serving


@pytest.fixture
def model(server, client):
    """The model of an id, whose pauses are over at once."""

    @cache
    def made(model_id):
        return StabilityModel(client, model_id, sleep=lambda seconds: None)

    return made


@pytest.fixture
def renderer(model):
    def made(mode, model_id=None, **options):
        default = INPAINT if mode == "inpaint" else SD35
        return BedrockRenderer(mode, model(model_id or default), **options)

    return made


def plate(width=160, height=120):
    """A brushed metal disc on a white table."""
    rng = np.random.default_rng(3)
    grain = cv2.GaussianBlur(rng.normal(0, 20, (height, width)), (0, 0), sigmaX=4, sigmaY=0.6)
    image = np.full((height, width, 3), 250, np.uint8)
    part = np.zeros((height, width), np.uint8)
    cv2.circle(part, (width // 2, height // 2), min(width, height) * 2 // 5, 255, -1)
    metal = np.clip(130 + grain[..., None] + np.array([4, 0, -6]), 0, 255)
    image[part > 0] = metal[part > 0].astype(np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 0.7)
    return Photo("plate.png", image, "ab" * 32), part


PHOTO, PART = plate()


def place(x=80, y=60, width=24, height=16):
    mask = np.zeros(PART.shape, np.uint8)
    mask[y - height // 2 : y + height // 2, x - width // 2 : x + width // 2] = 255
    return mask


def changed(rendered, photo=PHOTO):
    return np.abs(rendered.image.astype(int) - photo.image).max(axis=2)


# Inpainting


def test_inpainting_puts_the_defect_into_the_mask_and_leaves_the_rest_as_it_was(renderer):
    mask = place()

    rendered = renderer("inpaint").render(PHOTO, RenderRequest("stain", 5, mask))

    assert not changed(rendered)[mask == 0].any()
    assert not rendered.mask[mask == 0].any()
    middle = np.s_[57:63, 76:84]  # where the server paints, whatever it does elsewhere
    assert (rendered.mask[middle] == 255).all()
    assert changed(rendered)[middle].mean() > 40
    assert 0.1 < (rendered.mask[mask > 0] > 0).mean() < 0.8
    assert 0.2 < rendered.severity <= 1
    assert visibility_failure(rendered, PHOTO) == ""


def test_every_visibly_changed_pixel_is_marked(renderer):
    rendered = renderer("inpaint").render(PHOTO, RenderRequest("stain", 5, place()))

    assert not (changed(rendered)[rendered.mask == 0] >= 8).any()


def test_the_model_sees_the_surrounding_and_not_all_of_a_large_photo(server, renderer):
    image = np.tile(PHOTO.image, (8, 8, 1))
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[300:316, 1000:1024] = 255

    rendered = renderer("inpaint").render(Photo("large.png", image, "cd" * 32), RenderRequest("stain", 5, mask))

    assert rendered.parameters["window"] == [884, 180, 256, 256]
    assert rendered.mask[306:310, 1008:1016].all()
    assert rendered.image.shape == image.shape
    shown = cv2.resize(sent_image(server.requests[0]), (256, 256), interpolation=cv2.INTER_AREA)
    assert np.abs(shown.astype(int) - image[180:436, 884:1140]).mean() < 4


def test_without_a_mask_the_place_is_on_the_part_and_follows_the_seed(server, renderer):
    inpaint = renderer("inpaint")
    for seed in (1, 1, 2):
        inpaint.render(PHOTO, RenderRequest("scratch", seed))

    places = [cv2.resize(repainted(request).astype(np.uint8), PART.shape[::-1]) for request in server.requests]
    assert np.array_equal(places[0], places[1])
    assert not np.array_equal(places[0], places[2])
    assert all(each.any() and not each[cv2.dilate(PART, np.ones((7, 7))) == 0].any() for each in places)


def test_a_region_and_learnt_placements_say_where(server, renderer):
    region = np.zeros_like(PART)
    region[:, :70] = 255
    here = Placement(size=(0.1, 0.12), centres=((0.35, 0.5),), of_photo=True)

    rendered = renderer("inpaint", placements={"rust": here}).render(
        Photo(PHOTO.name, PHOTO.image, PHOTO.digest, region), RenderRequest("rust", 4)
    )

    assert not changed(rendered)[:, 70:].any()
    where = cv2.resize(repainted(server.requests[0]).astype(np.uint8), PART.shape[::-1])
    xs = np.nonzero(where)[1]
    assert 30 < xs.mean() < 72


def test_a_component_that_is_to_be_missing_is_looked_for(server, renderer):
    image = PHOTO.image.copy()
    cv2.rectangle(image, (70, 50), (88, 66), (20, 30, 60), -1)

    renderer("inpaint").render(Photo("board.png", image, "ef" * 32), RenderRequest("missing_component", 2))

    where = cv2.resize(repainted(server.requests[0]).astype(np.uint8), PART.shape[::-1])
    assert where[52:64, 72:86].mean() > 0.9
    assert where.sum() < 3 * 18 * 16


# Image to image and text to image


def test_image_to_image_keeps_the_defect_and_gives_the_photo_back_elsewhere(server, renderer):
    rendered = renderer("image-to-image", strength=0.4).render(PHOTO, RenderRequest("stain", 5))

    far = cv2.dilate(rendered.mask, np.ones((15, 15), np.uint8)) == 0
    assert rendered.mask.any()
    assert not changed(rendered)[far].any()
    assert not rendered.mask[cv2.dilate(PART, np.ones((9, 9), np.uint8)) == 0].any()
    assert changed(rendered)[rendered.mask > 0].mean() > 40
    assert server.requests[0].body["strength"] == 0.4
    assert rendered.parameters["strength"] == 0.4
    assert rendered.parameters["shift"] == pytest.approx([2 * 120 / 512, 120 / 512], abs=0.25)


def test_image_to_image_keeps_to_a_mask(renderer):
    mask = place(70, 50, 40, 30)

    rendered = renderer("image-to-image").render(PHOTO, RenderRequest("stain", 5, mask))

    assert not changed(rendered)[mask == 0].any()


def test_another_picture_is_no_defect(server, renderer):
    server.responder = lambda request: Painting(defect=0, shift=(200, 150), tint=(60, -60, 60))

    with pytest.raises(RenderError, match="made another picture"):
        renderer("image-to-image").render(PHOTO, RenderRequest("stain", 5))


def test_a_defect_that_takes_most_of_the_part_is_another_part(server, renderer):
    server.responder = lambda request: Painting(reach=0.34)

    with pytest.raises(RenderError, match=r"changed \d\d% of plate.png"):
        renderer("image-to-image").render(PHOTO, RenderRequest("stain", 5))


@pytest.mark.parametrize("mode", ["inpaint", "image-to-image"])
def test_where_nothing_can_be_seen_the_mask_is_empty_and_the_photo_as_it_was(server, renderer, mode):
    server.responder = lambda request: Painting(defect=0, tint=(5, 5, 5))

    rendered = renderer(mode).render(PHOTO, RenderRequest("stain", 5, place() if mode == "inpaint" else None))

    assert not rendered.mask.any()
    assert rendered.severity == 0
    assert np.array_equal(rendered.image, PHOTO.image)
    assert visibility_failure(rendered, PHOTO)


def test_a_picture_from_text_has_no_mask(server, renderer):
    rendered = renderer("zero-shot", CORE).render(None, RenderRequest("dent", 5))

    assert rendered.mask is None
    assert rendered.severity == 0
    assert rendered.image.shape == (1024, 1024, 3)
    assert "dent" in server.requests[0].body["prompt"]


# What is told


def test_what_a_picture_was_made_with_is_told(server, renderer):
    rendered = renderer("inpaint").render(PHOTO, RenderRequest("oil", 0, place()))

    told, body = rendered.parameters, server.requests[0].body
    assert (told["model_id"], told["region"]) == (INPAINT, "us-west-2")
    assert (told["prompt"], told["negative_prompt"]) == (body["prompt"], body["negative_prompt"])
    assert told["model_seed"] == body["seed"] == MAX_SEED  # 0 would leave it to chance


def test_prompts_are_the_kinds_the_files_or_the_orders(server, renderer, tmp_path):
    file = tmp_path / "prompts.yaml"
    file.write_text("part: glass bottle")
    mask = place()

    renderer("inpaint").render(PHOTO, RenderRequest("crack", 1, mask))
    renderer("inpaint", prompts=load_prompts(file)).render(PHOTO, RenderRequest("crack", 1, mask))
    renderer("inpaint").render(PHOTO, RenderRequest("crack", 1, mask, "a chipped rim"))

    texts = [request.body["prompt"] for request in server.requests]
    assert "hairline crack" in texts[0]
    assert "glass bottle" in texts[1]
    assert texts[2] == "a chipped rim"


def test_names_and_needs(renderer):
    made = {mode: renderer(mode) for mode in ("zero-shot", "image-to-image", "inpaint")}

    assert {mode: each.name for mode, each in made.items()} == {mode: f"bedrock-{mode}" for mode in made}
    assert [each.needs_photo for each in made.values()] == [False, True, True]


# Bad input and bad luck


@pytest.mark.parametrize(
    ("mode", "photo", "order", "field"),
    [
        ("inpaint", None, RenderRequest("stain", 1), "source"),
        ("inpaint", PHOTO, RenderRequest("stain", 1, place()[:-1]), "mask"),
        ("inpaint", PHOTO, RenderRequest("stain", 1, np.zeros_like(PART)), "mask"),
        ("image-to-image", PHOTO, RenderRequest("stain", 1, np.full_like(PART, 255)), "mask"),
        ("inpaint", Photo("s", PHOTO.image[:40], "s"), RenderRequest("stain", 1), "source"),
        ("zero-shot", None, RenderRequest("stain", 1, place()), "mask"),
        ("inpaint", PHOTO, RenderRequest("stain", 1, place(), "x" * 10_001), "prompt"),
    ],
)
def test_what_cannot_be_worked_with_is_refused_before_any_call(server, renderer, mode, photo, order, field):
    with pytest.raises(InputError) as caught:
        renderer(mode).render(photo, order)

    assert caught.value.field == field
    assert server.requests == []


def test_a_model_has_to_be_able_to_do_it(model):
    with pytest.raises(InputError, match="a model for inpaint"):
        BedrockRenderer("inpaint", model(SD35))
    with pytest.raises(InputError, match="one of zero-shot, image-to-image, inpaint"):
        BedrockRenderer("repaint", model(SD35))
    with pytest.raises(InputError, match="strength"):
        BedrockRenderer("image-to-image", model(SD35), strength=0)


def test_every_outcome_of_an_item_is_counted_and_only_pictures_have_files(server, model, renderer):
    inpaint = renderer("inpaint")
    outcomes = {}
    for seed, answer in enumerate([Painting(), FILTERED_PROMPT, Painting(defect=0)]):
        server.replies.append(answer)
        item = Item(renderer="bedrock-inpaint", defect="stain", seed=seed, source="plate.png")
        made = make_item(item, inpaint, PHOTO, request_of(item, place()))
        outcomes[made.record.outcome] = {name.partition("/")[0] for name in made.files}

    assert set(outcomes) == {"made", "filtered", "invisible"}
    assert outcomes["made"] >= {"images", "masks", "records"}
    assert outcomes["filtered"] == outcomes["invisible"] == {"records"}
    assert model(INPAINT).usage == Usage(pictures=2, filtered=1)
    assert len(server.requests) == 3  # a call costs money: none is made twice


@pytest.mark.parametrize(
    ("answers", "kind", "message"),
    [
        ([FILTERED_PROMPT], ContentFilteredError, "Filter reason: prompt"),
        ([DENIED], ServiceError, "Allow bedrock:InvokeModel"),
        ([NO_IMAGES, NO_IMAGES], ServiceError, "holds no picture"),
    ],
)
def test_failures_of_the_service_come_through_in_its_words(server, renderer, answers, kind, message):
    server.replies += answers

    with pytest.raises(kind, match=message):
        renderer("inpaint").render(PHOTO, RenderRequest("stain", 1, place()))
