"""A stand-in for Amazon Bedrock's image models that speaks InvokeModel over HTTP, with failures as a test scripts them.

>>> with ImageServer(THROTTLED, FILTERED_PROMPT) as bedrock:
...     model = create_image_model(INPAINT)   # AWS_ENDPOINT_URL_BEDROCK_RUNTIME = bedrock.endpoint

It refuses what Bedrock refuses, in its words: unknown and bare ids, wrong regions, fields that a model does not know,
images that are none, too small or too large, masks of another size.  What it lets through gets the next scripted
answer, or else a real picture: painted where the mask says, on top of what generators do to all of it.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tests.support.bedrock_server import UNKNOWN_MODEL, Answer, BedrockServer, Failure, Request

SD35 = "stability.sd3-5-large-v1:0"
CORE = "stability.stable-image-core-v1:1"
ULTRA = "stability.stable-image-ultra-v1:1"
INPAINT = "us.stability.stable-image-inpaint-v1:0"

_TEXT_REGIONS = frozenset({"us-west-2"})
_EDIT_REGIONS = frozenset({"us-east-1", "us-east-2", "us-west-2"})
_REGIONS = {SD35: _TEXT_REGIONS, CORE: _TEXT_REGIONS, ULTRA: _TEXT_REGIONS, INPAINT: _EDIT_REGIONS}
_RETIRED = frozenset(
    {"stability.stable-diffusion-xl-v1", "stability.sd3-large-v1:0", "stability.stable-image-core-v1:0"}
)
_FIELDS = {
    SD35: "prompt, negative_prompt, mode, strength, seed, output_format, image, aspect_ratio",
    CORE: "prompt, negative_prompt, seed, output_format, aspect_ratio",
    ULTRA: "prompt, negative_prompt, seed, output_format, aspect_ratio",
    INPAINT: "image, prompt, mask, grow_mask, negative_prompt, seed, output_format, style_preset",
}
_ASPECTS = {
    "1:1": (1024, 1024),
    "16:9": (1344, 768),
    "21:9": (1536, 640),
    "2:3": (832, 1216),
    "3:2": (1216, 832),
    "4:5": (896, 1088),
    "5:4": (1088, 896),
    "9:16": (768, 1344),
    "9:21": (640, 1536),
}
_MAX_PIXELS = 9_437_184


@dataclass(frozen=True, slots=True)
class Body:
    """A reply of status 200 with exactly this body."""

    content: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def body(self, request: Request) -> dict[str, Any]:
        return self.content


FILTERED_PROMPT = Body({"finish_reasons": ["Filter reason: prompt"]})
FILTERED_INPUT = Body({"finish_reasons": ["Filter reason: input image"]})
FILTERED_OUTPUT = Body({"seeds": [7], "finish_reasons": ["Filter reason: output image"], "images": []})
INFERENCE_ERROR = Body({"finish_reasons": ["Inference error"]})
NO_IMAGES = Body({"seeds": [7], "finish_reasons": [None]})
EMPTY = Body({})
NOT_BASE64 = Body({"seeds": [7], "finish_reasons": [None], "images": ["*** no base64 ***"]})
NOT_A_PICTURE = Body({"seeds": [7], "finish_reasons": [None], "images": [base64.b64encode(b"no picture").decode()]})
PICTURE = Body(
    {
        "seeds": [7],
        "finish_reasons": [None],
        "images": [
            "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAEElEQVR4nGNsYIAAJgaKGAAmCACQXTClHgAAAABJRU5ErkJggg=="
        ],
    }
)
"""The same small picture for any request, where a test does not look at it."""


@dataclass(frozen=True, slots=True)
class Painting:
    """A picture made of the request.

    ``defect`` is how much darker the defect gets (0: none that can be seen) and ``reach`` how far it goes from its
    middle, as a share of the picture or of the mask; all of the picture is moved by ``shift`` pixels (right, down),
    tinted by ``tint``, scaled by ``scale``, and goes through JPEG of ``quality``; ``alpha`` adds an alpha channel.
    """

    defect: int = 90
    reach: float | None = None
    shift: tuple[int, int] = (0, 0)
    tint: tuple[int, int, int] = (0, 0, 0)
    scale: float = 1.0
    quality: int = 90
    alpha: bool = False
    seconds: float = 0.0

    def body(self, request: Request) -> dict[str, Any]:
        picture = Image.fromarray(_painted(_asked(request), self))
        if self.scale != 1:
            picture = picture.resize([round(side * self.scale) for side in picture.size], Image.Resampling.LANCZOS)
        if self.alpha:
            picture.putalpha(255)
        content = io.BytesIO()
        picture.save(content, "PNG", compress_level=1)
        images = [base64.b64encode(content.getvalue()).decode()]
        return {"seeds": [request.body.get("seed", 0)], "finish_reasons": [None], "images": images}


class ImageServer(BedrockServer):
    """Serves ``POST /model/{modelId}/invoke``; whatever no test scripted is answered by ``Painting()``."""

    operation: ClassVar[str] = "invoke"

    def __init__(self, *replies: Answer | Body | Painting, responder: Callable[[Request], Any] | None = None) -> None:
        super().__init__(*replies, responder=responder or (lambda request: Painting()))  # type: ignore[arg-type]

    def refusal(self, request: Request) -> Failure | None:
        model = request.model_id
        if model in _RETIRED:
            return Failure("ResourceNotFoundException", 404, "This model version has reached the end of its life.")
        if model == INPAINT.removeprefix("us."):
            return Failure(
                "ValidationException",
                400,
                f"Invocation of model ID {model} with on-demand throughput isn’t supported. Retry your request with "
                "the ID or ARN of an inference profile that contains this model.",
            )
        if request.region not in _REGIONS.get(model, frozenset()):
            return UNKNOWN_MODEL
        try:
            _check_stability(request.body, model)
        except ValueError as error:
            return Failure("ValidationException", 400, str(error))
        return None


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request: what to start from, and where to change it."""

    image: NDArray[np.uint8] | None
    where: NDArray[np.bool_] | None
    size: tuple[int, int]
    seed: int


def sent_image(request: Request) -> NDArray[np.uint8]:
    """The image in the request, as the model sees it."""
    image = _asked(request).image
    assert image is not None
    return image


def repainted(request: Request) -> NDArray[np.bool_]:
    """Where the request's mask has the model change the image."""
    where = _asked(request).where
    assert where is not None
    return where


def _asked(request: Request) -> _Asked:
    body = request.body
    image = _decode(body["image"]) if "image" in body else None
    where = None if "mask" not in body else _decode(body["mask"])[..., 0] > 127
    size = _ASPECTS[body.get("aspect_ratio", "1:1")] if image is None else image.shape[1::-1]
    return _Asked(image, where, size, int(body.get("seed", 0)))


def _painted(asked: _Asked, painting: Painting) -> NDArray[np.uint8]:
    width, height = asked.size
    if asked.image is None:
        ramp = np.linspace(90, 200, width)[None, :, None] + np.linspace(-20, 20, height)[:, None, None]
        canvas = np.repeat(np.clip(ramp, 0, 255), 3, axis=2)
    else:
        canvas = np.asarray(Image.fromarray(asked.image).resize((width, height)), np.float64)
    rng = np.random.default_rng(asked.seed)
    blot = Image.new("L", (width, height))
    if asked.where is None:
        x, y = rng.uniform(0.35, 0.65, 2) * (width, height)
        reach = np.array((width, height)) * (painting.reach or 0.08)
    else:
        ys, xs = np.nonzero(asked.where)
        x, y = (xs.min() + xs.max()) / 2, (ys.min() + ys.max()) / 2
        reach = np.array((np.ptp(xs) + 1, np.ptp(ys) + 1)) * (painting.reach or 0.3)
    ImageDraw.Draw(blot).ellipse((x - reach[0], y - reach[1], x + reach[0], y + reach[1]), fill=255)
    inside = np.asarray(blot) > 0
    if asked.where is not None:
        inside &= asked.where
        # The place is made anew, not only the defect in it.
        canvas = canvas + rng.normal(0, 2, canvas.shape) * asked.where[..., None]
    canvas = canvas - painting.defect * inside[..., None]
    canvas = np.roll(canvas, (painting.shift[1], painting.shift[0]), (0, 1)) + np.array(painting.tint)
    content = io.BytesIO()
    Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8)).save(content, "JPEG", quality=painting.quality)
    return np.asarray(Image.open(content).convert("RGB"))


def _check_stability(body: dict[str, Any], model: str) -> None:
    """Refuse what Stability AI's models refuse.

    Raises:
        ValueError: the message as Bedrock words it.
    """
    fields = _FIELDS[model].split(", ")
    for name in body:
        if name not in fields:
            raise ValueError(
                f'{{"detail":"Invalid field \'{name}\' in request. Available fields are: {_FIELDS[model]}"}}'
            )
    for name in ["prompt"] + ["image"] * (model == INPAINT):
        if name not in body:
            raise ValueError(
                f"Malformed input request: #: required key [{name}] not found, please reformat your input and try "
                "again."
            )
    for name in ("prompt", "negative_prompt"):
        if not 1 <= len(body.get(name, "x")) <= 10_000:
            raise ValueError(f'{{"detail":"{name}: must be 1 to 10000 characters"}}')
    if not 0 <= body.get("seed", 0) <= 4_294_967_294:
        raise ValueError('{"detail":"seed: must be 0 to 4294967294"}')
    if not 0 <= body.get("grow_mask", 5) <= 20:
        raise ValueError('{"detail":"grow_mask: must be 0 to 20"}')
    if body.get("output_format", "png") not in ("png", "jpeg", "webp"):
        raise ValueError('{"detail":"output_format: must be png, jpeg or webp"}')
    if body.get("aspect_ratio", "1:1") not in _ASPECTS:
        raise ValueError('{"detail":"aspect_ratio: is not one of the allowed values"}')
    if "image" in body and model == SD35:
        if body.get("mode") != "image-to-image" or not 0 <= body.get("strength", -1) <= 1:
            raise ValueError('{"detail":"image: needs mode image-to-image and a strength from 0 to 1"}')
        if "aspect_ratio" in body:
            raise ValueError('{"detail":"aspect_ratio: is for text-to-image only"}')
    image = _checked_image(body, "image", 64, _MAX_PIXELS)
    mask = _checked_image(body, "mask", 64, _MAX_PIXELS)
    if mask is not None and image is not None and mask.shape != image.shape:
        raise ValueError('{"detail":"mask: must have the image\'s dimensions"}')


def _checked_image(body: dict[str, Any], name: str, side: int, pixels: int) -> NDArray[np.uint8] | None:
    if name not in body:
        return None
    try:
        image = _decode(body[name])
    except (binascii.Error, OSError, TypeError):
        raise ValueError(f'{{"detail":"{name}: is no base64 of a PNG, JPEG or WebP"}}') from None
    height, width = image.shape[:2]
    if min(width, height) < side or width * height > pixels or max(width, height) > 2.5 * min(width, height):
        raise ValueError(f'{{"detail":"{name}: dimensions {width}x{height} are not supported"}}')
    return image


def _decode(text: str) -> NDArray[np.uint8]:
    if not re.fullmatch(r"[A-Za-z0-9+/]+=*", text):
        raise binascii.Error("no base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text, validate=True))).convert("RGB"))
