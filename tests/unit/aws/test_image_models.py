"""The adapter of Bedrock's image models, over the wire: what is sent, what is waited for, and what is told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import boto3
import numpy as np
import pytest
from botocore.config import Config

from defectory.aws.bedrock_runtime import ModelBusyError, ModelRefusedError
from defectory.aws.image_models import ImageRequest, StabilityModel, create_image_model
from defectory.aws.image_usage import Usage
from defectory.errors import ContentFilteredError, InputError, ServiceError
from tests.support.bedrock_server import (
    DENIED,
    EXPIRED,
    INTERNAL,
    MODEL_ERROR,
    MODEL_TIMEOUT,
    NOT_READY,
    NOT_SUBSCRIBED,
    THROTTLED,
    THROTTLED_TODAY,
    UNAVAILABLE,
    Dropped,
    Failure,
    Garbage,
)
from tests.support.image_server import (
    CORE,
    EMPTY,
    FILTERED_INPUT,
    FILTERED_OUTPUT,
    FILTERED_PROMPT,
    INFERENCE_ERROR,
    INPAINT,
    NO_IMAGES,
    NOT_A_PICTURE,
    NOT_BASE64,
    PICTURE,
    SD35,
    ULTRA,
    ImageServer,
    Painting,
    repainted,
)


@pytest.fixture(scope="module")
def serving():
    """One server for all, because making a client takes boto3 longer than most of these tests."""
    with ImageServer() as server:
        yield server


@pytest.fixture(scope="module")
def client_in(serving):
    """A client for each region."""
    # Standard mode, because adaptive mode paces threads by the real clock.
    config = Config(retries={"mode": "standard", "total_max_attempts": 1}, read_timeout=5)
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    return cache(
        lambda region: boto3.client(
            "bedrock-runtime", region_name=region, endpoint_url=serving.endpoint, config=config, **keys
        )
    )


@pytest.fixture
def image_models(serving):
    """The server, as if new."""
    serving.replies.clear()
    serving.requests.clear()
    serving.responder = lambda request: Painting()
    return serving


@pytest.fixture
def connect(image_models, client_in, nap):
    """Connects to a model whose pauses are over at once."""

    def made(model_id, region="us-west-2"):
        return StabilityModel(client_in(region), model_id, sleep=nap.sleep, clock=nap)

    return made


@pytest.fixture
def in_environment(image_models, monkeypatch):
    """The server as a process finds it that is configured for another region."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", image_models.endpoint)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return image_models


def photo(width=96, height=64):
    ramp = np.linspace(60, 180, width)[None, :, None] + np.linspace(0, 40, height)[:, None, None]
    return np.repeat(ramp, 3, axis=2).astype(np.uint8)


def spot(width=96, height=64):
    mask = np.zeros((height, width), np.uint8)
    mask[height // 2 - 8 : height // 2 + 8, width // 4 - 6 : width // 4 + 6] = 255
    return mask


def inpainting(**changes):
    return ImageRequest(**{"task": "inpaint", "prompt": "a scratch", "image": photo(), "mask": spot(), **changes})


def darker(picture, image, where):
    """By how much a place of the picture is darker than the image."""
    return float((image.astype(float) - picture)[where].mean())


# What is sent


def test_inpainting_paints_where_the_mask_is_white_and_gives_the_photos_size_back(image_models, connect):
    picture = connect(INPAINT).generate(inpainting()).image

    assert picture.shape == photo().shape
    assert darker(picture, photo(), spot() > 0) > 20
    assert abs(darker(picture, photo(), spot() == 0)) < 5


def test_a_stability_request_holds_what_the_model_knows_and_no_more(image_models, connect):
    connect(INPAINT).generate(inpainting(negative_prompt="text", seed=7))

    body = image_models.requests[0].body
    assert {name: body[name] for name in ("prompt", "negative_prompt", "seed", "grow_mask", "output_format")} == {
        "prompt": "a scratch",
        "negative_prompt": "text",
        "seed": 7,
        "grow_mask": 5,
        "output_format": "png",
    }
    assert set(body) == {"prompt", "negative_prompt", "seed", "grow_mask", "output_format", "image", "mask"}


def test_the_mask_is_white_where_the_model_repaints(image_models, connect):
    connect(INPAINT).generate(inpainting())

    where = repainted(image_models.requests[0])
    height, width = where.shape
    assert where[height // 2, width // 4]
    assert not where[height // 8, width // 8]
    assert 0.02 < where.mean() < 0.1


def test_image_to_image_says_how_far_it_may_go(image_models, connect):
    connect(SD35).generate(ImageRequest("image-to-image", "a dent", image=photo(), strength=0.35))

    body = image_models.requests[0].body
    assert (body["mode"], body["strength"]) == ("image-to-image", 0.35)
    assert "aspect_ratio" not in body


@pytest.mark.parametrize(("aspect", "name"), [(1, "1:1"), (1.6, "3:2"), (2, "16:9"), (9, "21:9"), (0.6, "9:16")])
def test_a_picture_from_text_gets_the_nearest_aspect(image_models, connect, aspect, name):
    picture = connect(CORE).generate(ImageRequest("text-to-image", "a dented can", aspect=aspect)).image

    body = image_models.requests[0].body
    assert (body["aspect_ratio"], body.get("mode")) == (name, None)
    assert picture.shape[2] == 3


def test_only_models_with_two_modes_are_told_the_mode(image_models, connect):
    for model_id in (SD35, ULTRA):
        connect(model_id).generate(ImageRequest("text-to-image", "a dented can", aspect=0.43))

    assert [request.body.get("mode") for request in image_models.requests] == ["text-to-image", None]


def test_any_seed_is_one_that_the_model_takes_and_zero_is_not_left_to_chance(image_models, connect):
    model = connect(INPAINT)
    seeds = [model.generate(inpainting(seed=seed)).seed for seed in (0, 1, 4_294_967_294)]

    assert all(0 <= seed <= 4_294_967_294 for seed in seeds)
    assert len(set(seeds[:2])) == 2
    assert 0 not in seeds  # which would stand for a random one


@pytest.mark.parametrize("shape", [(64, 400), (700, 90)])
def test_a_long_photo_is_widened_by_its_mirror_image_and_cut_back(image_models, connect, shape):
    height, width = shape
    request = inpainting(image=photo(width, height), mask=spot(width, height))

    picture = connect(INPAINT).generate(request).image

    assert picture.shape == request.image.shape
    assert darker(picture, request.image, request.mask > 0) > 20
    assert abs(darker(picture, request.image, request.mask == 0)) < 5


def test_a_picture_with_an_alpha_channel_or_of_another_size_is_taken(image_models, connect):
    image_models.replies += [Painting(alpha=True), Painting(scale=0.5)]
    model = connect(INPAINT)

    for _ in range(2):
        assert model.generate(inpainting()).image.shape == photo().shape


# What is waited for, and what is told


PASSING = [THROTTLED, NOT_READY, UNAVAILABLE, INTERNAL, MODEL_ERROR, MODEL_TIMEOUT, Dropped(), Garbage(status=502)]
PASSING += [
    Garbage(),
    Garbage(b'{"images": [', missing=500),
    INFERENCE_ERROR,
    NO_IMAGES,
    EMPTY,
    NOT_BASE64,
    NOT_A_PICTURE,
]


def test_what_passes_is_tried_again_after_a_pause(image_models, connect, nap):
    image_models.responder = lambda request: PICTURE
    model = connect(INPAINT)
    for trouble in PASSING:
        image_models.replies.append(trouble)
        model.generate(inpainting())

    assert len(image_models.requests) == 2 * len(PASSING)
    assert len(nap.waits) == len(PASSING)
    assert all(1 <= wait <= 2 for wait in nap.waits)
    assert model.usage == Usage(pictures=len(PASSING))


REPORTS = [
    (THROTTLED, 8, ModelBusyError, "Ask for higher quotas"),
    (THROTTLED_TODAY, 1, ModelRefusedError, "The day's quota is used up"),
    (NOT_READY, 8, ModelBusyError, "being made ready"),
    (UNAVAILABLE, 4, ModelBusyError, "on Bedrock's side"),
    (MODEL_TIMEOUT, 2, ModelBusyError, "took too long"),
    (Dropped(), 3, ServiceError, "Check the network"),
    (DENIED, 1, ModelRefusedError, "Allow bedrock:InvokeModel"),
    (NOT_SUBSCRIBED, 1, ModelRefusedError, "aws-marketplace:Subscribe"),
    (EXPIRED, 1, ModelRefusedError, "Renew the AWS credentials"),
    (INFERENCE_ERROR, 3, ServiceError, "broke down over this picture"),
    (NO_IMAGES, 2, ServiceError, "The reply holds no picture, but seeds, finish_reasons"),
    (EMPTY, 2, ServiceError, "The reply holds no picture, but nothing"),
    (Garbage(), 2, ServiceError, "The answer is no JSON"),
    (Garbage(missing=100), 3, ServiceError, "Check the network (or"),
    (NOT_A_PICTURE, 2, ServiceError, "What the reply has for a picture is none"),
    (Failure("TeapotException", 418, "I am\na teapot"), 1, ServiceError, "TeapotException: I am a teapot. See"),
]


@pytest.mark.parametrize(("trouble", "attempts", "kind", "cure"), REPORTS, ids=[cure for *_, cure in REPORTS])
def test_giving_up_names_model_region_cause_and_cure(image_models, connect, trouble, attempts, kind, cure):
    image_models.responder = lambda request: trouble
    model = connect(INPAINT)

    with pytest.raises(ServiceError) as caught:
        model.generate(inpainting())

    assert type(caught.value) is kind
    assert str(caught.value).startswith(f"Bedrock model {INPAINT} in us-west-2 failed")
    assert cure in str(caught.value)
    assert len(image_models.requests) == attempts
    assert model.usage == Usage(failed=1)


@pytest.mark.parametrize(
    ("model_id", "region", "cure"),
    [
        (SD35, "us-east-1", "are called in us-west-2"),
        (INPAINT, "eu-central-1", "us. profile from us-east-1"),
        ("stability.stable-image-inpaint-v1:0", "us-west-2", "Name an inference profile"),
        ("stability.stable-image-core-v1:0", "us-west-2", "retired"),
        ("stability.sd9-small-v1:0", "us-west-2", "Check the model id"),
    ],
)
def test_a_wrong_region_or_id_says_which_is_right(image_models, connect, model_id, region, cure):
    request = inpainting() if "inpaint" in model_id else ImageRequest("text-to-image", "a can")

    with pytest.raises(ServiceError, match=cure):
        connect(model_id, region).generate(request)

    assert image_models.requests == []  # the service refused before the model saw it


FILTERED = [
    (INPAINT, FILTERED_PROMPT, "Filter reason: prompt"),
    (INPAINT, FILTERED_INPUT, "Filter reason: input image"),
    (INPAINT, FILTERED_OUTPUT, "Filter reason: output image"),
]


@pytest.mark.parametrize(("model_id", "reply", "reason"), FILTERED, ids=[reason for *_, reason in FILTERED])
def test_what_a_filter_withholds_is_told_and_counted_and_not_asked_for_again(
    image_models, connect, model_id, reply, reason
):
    image_models.replies.append(reply)
    model = connect(model_id)

    with pytest.raises(ContentFilteredError, match=reason):
        model.generate(inpainting())

    assert len(image_models.requests) == 1
    assert model.usage == Usage(filtered=1)


def test_patience_bounds_the_pauses(image_models, connect, nap):
    image_models.responder = lambda request: THROTTLED
    model = connect(INPAINT)
    model.patience = 10

    with pytest.raises(ModelBusyError):
        model.generate(inpainting())

    assert nap.now <= 10


# What is refused before it is sent


@pytest.mark.parametrize(
    ("model_id", "request_", "message"),
    [
        (SD35, inpainting(), "model_id: must be a model for inpaint"),
        (INPAINT, ImageRequest("text-to-image", "a can"), "model_id: must be a model for text-to-image"),
        (CORE, ImageRequest("image-to-image", "a can", image=photo()), "model_id: must be a model for image-to-image"),
        (INPAINT, inpainting(prompt=" "), "prompt: must be a text"),
        (INPAINT, inpainting(prompt="x" * 10_001), "prompt: must be at most 10000 characters"),
        (INPAINT, inpainting(negative_prompt="x" * 10_001), "negative_prompt: must be at most 10000 characters"),
        (INPAINT, inpainting(mask=None), "mask: must be given for inpaint"),
        (INPAINT, inpainting(image=None), "image: must be given for inpaint"),
        (SD35, ImageRequest("text-to-image", "a can", image=photo()), "image: must be left out for text-to-image"),
    ],
)
def test_requests_that_no_model_can_do_are_not_sent(image_models, connect, model_id, request_, message):
    with pytest.raises(InputError) as caught:
        connect(model_id).generate(request_)

    assert message in str(caught.value)
    assert image_models.requests == []


@pytest.mark.parametrize(
    "model_id",
    [
        "us.amazon.nova-pro-v1:0",
        "anthropic.claude-3-haiku-20240307-v1:0",
        "us.stability.stable-image-erase-object-v1:0",
        "us.stability.stable-outpaint-v1:0",
        "stable diffusion",
        "",
    ],
)
def test_ids_of_other_models_are_refused(model_id):
    with pytest.raises(InputError, match="model_id"):
        create_image_model(model_id)


def test_a_profile_of_another_geography_is_refused_before_any_call():
    with pytest.raises(InputError, match="can be called from eu-central-1"):
        create_image_model(INPAINT, "eu-central-1")


def test_the_factory_calls_in_the_image_region_not_in_the_environments(in_environment):
    model = create_image_model(INPAINT)

    model.generate(inpainting())

    assert (model.region, in_environment.requests[0].region) == ("us-west-2", "us-west-2")
    assert create_image_model(INPAINT, "us-east-2").region == "us-east-2"


@pytest.mark.parametrize(
    ("model_id", "day"),
    [("us.amazon.nova-canvas-v1:0", "2026-09-30"), ("amazon.titan-image-generator-v2:0", "2026-06-30")],
)
def test_a_model_that_bedrock_has_ended_is_refused_by_name_and_date(model_id, day):
    with pytest.raises(InputError, match=f"{model_id}.*ended it on {day}"):
        create_image_model(model_id, "us-east-1")


def test_one_model_serves_many_threads_and_counts_all(image_models, connect):
    image_models.replies.append(FILTERED_PROMPT)
    image_models.responder = lambda request: PICTURE
    model = connect(INPAINT)

    def make(seed):
        try:
            model.generate(inpainting(seed=seed))
        except ContentFilteredError:
            return "filtered"
        return "made"

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(make, range(8)))

    assert sorted(outcomes) == ["filtered", *["made"] * 7]
    assert model.usage == Usage(pictures=7, filtered=1)
