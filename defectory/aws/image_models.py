"""Amazon Bedrock's image models through InvokeModel: one request in, one picture out.

Stability AI's models speak here; Amazon's own ended in 2026.  The rest of Defectory knows no family of models: request
shapes, which colour of a mask is repainted, sizes, seeds and how a filter answers end in this module.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import json
import logging
import math
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol

from botocore.exceptions import ClientError

from defectory.aws.bedrock_runtime import AnswerError, BedrockRuntime, Trouble, identify
from defectory.aws.clients import read_bounded
from defectory.aws.image_usage import Usage
from defectory.aws.inference_profiles import bare_model_id, check_not_ended, profile_of
from defectory.errors import ContentFilteredError, ImageError, InputError, ServiceError, shorten
from defectory.vision.arrays import Image, Mask
from defectory.vision.framing import Frame, ModelLimits
from defectory.vision.images import encode_png, load_image

logger = logging.getLogger(__name__)

REPLY_LIMIT = 64 * 1024 * 1024
"""Bytes of a reply: a picture of some megapixels takes a tenth."""

Task = Literal["text-to-image", "image-to-image", "inpaint"]

DEFAULT_REGION = "us-west-2"
"""Where image models are called unless a region is named: the only region that has all of Stability AI's."""

READ_TIMEOUT = 150.0
"""Seconds that one picture may take; 10 to 60 are common."""

PATIENCE = 300.0
"""Seconds after which no further attempt is begun, unless told otherwise."""

STABILITY_LARGEST_SEED = 4_294_967_294

STABILITY_GROWS_MASK = 5
"""Pixels by which Stability AI's inpainting is told to grow the mask, for a smooth edge."""


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """What a picture is to show.

    Attributes:
        task: what is made of what; ``image`` belongs to all but text-to-image, ``mask`` to inpainting.
        prompt, negative_prompt: what it is to show, and what not.
        seed: from 0; models that take smaller seeds get the remainder.
        image: uint8 RGB of any size.
        mask: of the image's size; 255 where the picture is to be repainted.
        strength: how far an image-to-image picture may leave its image: 0 (not at all) to 1 (altogether).
        aspect: width by height of a picture from text; the nearest that the model has is made.
    """

    task: Task
    prompt: str
    negative_prompt: str = ""
    seed: int = 0
    image: Image | None = None
    mask: Mask | None = None
    strength: float = 0.5
    aspect: float = 1.0


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """A picture, uint8 RGB, of the size of the request's image where it had one, and the seed that the model used."""

    image: Image
    seed: int


class ImageModel(Protocol):
    """Makes one picture at a time; safe to share between threads."""

    @property
    def model_id(self) -> str:
        """The id that it is called by."""

    @property
    def region(self) -> str:
        """The region that it is called in."""

    @property
    def tasks(self) -> frozenset[Task]:
        """What it can do."""

    @property
    def usage(self) -> Usage:
        """What it has done since it was made: the count that costs follow from."""

    def generate(self, request: ImageRequest) -> GeneratedImage:
        """Make a picture.

        Raises:
            InputError: the model cannot do this task, or not with this prompt or image.
            ContentFilteredError: a content filter withheld the picture, or refused the prompt or the image.
            ModelBusyError: throttled or in trouble, even after bounded retries; later it may work.
            ServiceError: refused or failed otherwise; the message says what to do.
        """


def create_image_model(model_id: str, region: str | None = None, *, patience: float = PATIENCE) -> ImageModel:
    """Make a client of the image model ``model_id``; nothing is sent yet.

    Args:
        model_id: id of a model or an inference profile, such as ``us.stability.stable-image-inpaint-v1:0``.
        region: where it is called; ``DEFAULT_REGION`` when None, because few regions have image models.
        patience: seconds after which no further attempt is begun.

    Raises:
        InputError: the id names no image model that is known here, one that Bedrock has ended, or a profile that this
            region cannot call.
    """
    region = region or DEFAULT_REGION
    profile = profile_of(model_id, "model_id")
    check_not_ended(model_id, datetime.date.today())
    if profile and not profile.callable_from(region):
        fix = f"Profiles of {profile.geography} are called from its own regions: set the image region, or the model."
        raise InputError("model_id", f"a profile that can be called from {region}", model_id, fix)
    if StabilityModel.tasks_of(bare_model_id(model_id)):
        model = StabilityModel.connect(model_id, region=region, read_timeout=READ_TIMEOUT)
        model.patience = patience
        return model
    raise InputError(
        "model_id",
        "the id of an image model of Stability AI that makes pictures or inpaints",
        model_id,
        "Such as stability.sd3-5-large-v1:0 or us.stability.stable-image-inpaint-v1:0.",
    )


class InferenceError(AnswerError):
    """The model answered that it broke down."""


class NoPictureError(AnswerError):
    """The reply holds no picture, and does not say why."""


_FILTER = re.compile(r"filter reason|content (?:filter|moderation)|responsible ai|blocked by", re.IGNORECASE)
_OTHER_SERVICES = "erase|remove|search|recolor|outpaint|control|style|upscale"
_ASPECTS = {
    name: int(name.partition(":")[0]) / int(name.partition(":")[2])
    for name in ("1:1", "16:9", "21:9", "2:3", "3:2", "4:5", "5:4", "9:16", "9:21")
}


class _InvokedModel(BedrockRuntime, ABC):
    """What all families share: sizes, sending, reading the reply, counting."""

    troubles: ClassVar[tuple[Trouble, ...]] = (
        Trouble("InferenceError", "", 3, "The model broke down over this picture: try another seed, or later."),
        Trouble("NoPictureError", "", 2, "Check that the model id names an image model, and what lies in between."),
        Trouble(
            "ValidationException|ParamValidationError",
            "identifier|modelId",
            1,
            "Few regions have image models: Stability AI's for text are called in us-west-2, its edit services by "
            "their us. profile from us-east-1, us-east-2 or us-west-2. Check the model id and the image region.",
        ),
        Trouble(
            "ValidationException",
            "invalid field|required key|extraneous key|malformed",
            1,
            "The model takes requests of another shape: choose one that is made for this task.",
        ),
        Trouble("ValidationException", "pixel|dimension|size", 1, "The model takes no image of this size: resize it."),
    )

    _largest_seed: ClassVar[int] = STABILITY_LARGEST_SEED

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - boto3 makes its classes at run time
        model_id: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(client, model_id, sleep=sleep, clock=clock)
        self.patience = PATIENCE
        self._bare = bare_model_id(model_id)
        self._usage, self._lock = Usage(), threading.Lock()

    @classmethod
    @abstractmethod
    def tasks_of(cls, model: str) -> frozenset[Task]:
        """What the model of this id, without a profile's prefix, can do; nothing if it is not of this family."""

    @property
    def tasks(self) -> frozenset[Task]:
        return self.tasks_of(self._bare)

    @property
    def usage(self) -> Usage:
        return self._usage

    @property
    @abstractmethod
    def _limits(self) -> ModelLimits: ...

    @property
    @abstractmethod
    def _longest_prompt(self) -> int: ...

    @abstractmethod
    def _body(self, request: ImageRequest) -> dict[str, Any]:
        """The request in the family's words; sizes and seed suit it already."""

    @abstractmethod
    def _refusal(self, reply: Mapping[str, Any]) -> str:
        """What the reply says against its picture; empty if nothing."""

    def generate(self, request: ImageRequest) -> GeneratedImage:
        """Make a picture; see `ImageModel`."""
        self._check(request)
        frame = None if request.image is None else Frame.of(_size(request.image), self._limits)
        sent = replace(request, seed=request.seed % (self._largest_seed + 1))
        if frame and request.image is not None:
            mask = None if request.mask is None else frame.lay_out_mask(request.mask)
            sent = replace(sent, image=frame.lay_out(request.image), mask=mask)
        content = json.dumps(self._body(sent)).encode()
        try:
            generated = self._call(lambda client: self._invoke(client, content, sent.seed), self.patience)
        except ContentFilteredError:
            self._count(filtered=1)
            raise
        except ServiceError:
            self._count(failed=1)
            raise
        self._count(pictures=1)
        return generated if frame is None else replace(generated, image=frame.restore(generated.image))

    def _check(self, request: ImageRequest) -> None:
        if request.task not in self.tasks:
            fix = f"This one is for {', '.join(sorted(self.tasks))}."
            raise InputError("model_id", f"a model for {request.task}", self.model_id, fix)
        if not request.prompt.strip():
            raise InputError("prompt", "a text that says what the picture is to show", request.prompt)
        for name, text in (("prompt", request.prompt), ("negative_prompt", request.negative_prompt)):
            if len(text) > self._longest_prompt:
                rule = f"at most {self._longest_prompt} characters for {self.model_id}"
                raise InputError(name, rule, f"{len(text)} characters")
        if (request.image is None) != (request.task == "text-to-image"):
            raise InputError("image", f"{'left out' if request.image is not None else 'given'} for {request.task}")
        if (request.mask is None) != (request.task != "inpaint"):
            raise InputError("mask", f"{'left out' if request.mask is not None else 'given'} for {request.task}")

    def _invoke(self, client: Any, content: bytes, seed: int) -> GeneratedImage:  # noqa: ANN401
        started = time.monotonic()
        try:
            response = client.invoke_model(
                modelId=self.model_id, body=content, accept="application/json", contentType="application/json"
            )
        except ClientError as error:
            _, message = identify(error)
            if _FILTER.search(message):
                raise self._withheld(message) from error
            raise
        body = read_bounded(response["body"], REPLY_LIMIT)
        if len(body) > REPLY_LIMIT:
            raise NoPictureError(f"The reply is longer than {REPLY_LIMIT:,} bytes")
        reply = _parsed(body)
        refusal = self._refusal(reply)
        if _FILTER.search(refusal):
            raise self._withheld(refusal)
        pictures = reply.get("images")
        if not isinstance(pictures, list) or not pictures:
            if refusal:
                raise InferenceError(shorten(refusal, 300))
            raise NoPictureError(f"The reply holds no picture, but {shorten(', '.join(reply) or 'nothing')}")
        picture = _decoded(pictures[0])
        logger.info("%s: a picture in %.1f s", self.model_id, time.monotonic() - started)
        match reply.get("seeds"):
            case [int(used), *_]:
                seed = used
        return GeneratedImage(picture, seed)

    def _withheld(self, reason: str) -> ContentFilteredError:
        reason = shorten(reason, 300).rstrip(".")
        return ContentFilteredError(
            f"{self.model_id} in {self.region} withheld the picture: {reason}. Say in plain technical words what "
            "it is to show, or use another photo or seed."
        )

    def _count(self, *, pictures: int = 0, filtered: int = 0, failed: int = 0) -> None:
        with self._lock:
            was = self._usage
            self._usage = Usage(was.pictures + pictures, was.filtered + filtered, was.failed + failed)


class StabilityModel(_InvokedModel):
    """Stability AI's models: Stable Diffusion 3.5, Stable Image Core and Ultra, and the edit service that inpaints.

    White is what its masks repaint, as ours do.
    """

    @classmethod
    def tasks_of(cls, model: str) -> frozenset[Task]:
        """What a model of Stability AI's can do; nothing if it is another's, or one of their other services."""
        if not model.startswith("stability.") or re.search(_OTHER_SERVICES, model):
            return frozenset()
        if "inpaint" in model:
            return frozenset({"inpaint"})
        if "stable-image-core" in model or "stable-image-ultra" in model:
            return frozenset({"text-to-image"})
        return frozenset({"text-to-image", "image-to-image"})

    @property
    def _limits(self) -> ModelLimits:
        # The service takes 9,437,184 pixels, but as PNG in base64 those may exceed the 25 MB of a request.
        return ModelLimits(max_side=4096, max_pixels=4_194_304, max_ratio=2.5, multiple=1)

    @property
    def _longest_prompt(self) -> int:
        return 10_000

    def _body(self, request: ImageRequest) -> dict[str, Any]:
        # Seed 0 would stand for a random one.
        body = {"prompt": request.prompt, "seed": request.seed or STABILITY_LARGEST_SEED, "output_format": "png"}
        if request.negative_prompt:
            body["negative_prompt"] = request.negative_prompt
        if request.task == "inpaint":
            return body | {
                "image": _encoded(request.image),
                "mask": _encoded(request.mask),
                "grow_mask": STABILITY_GROWS_MASK,
            }
        if request.task == "image-to-image":
            return body | {
                "mode": request.task,
                "image": _encoded(request.image),
                "strength": round(request.strength, 4),
            }
        body["aspect_ratio"] = min(_ASPECTS, key=lambda name: abs(math.log(_ASPECTS[name] / request.aspect)))
        # Only models that have both modes know the field.
        return body | ({"mode": request.task} if "image-to-image" in self.tasks else {})

    def _refusal(self, reply: Mapping[str, Any]) -> str:
        reasons = reply.get("finish_reasons")
        return str(reasons[0] or "") if isinstance(reasons, list) and reasons else ""


def _size(image: Image) -> tuple[int, int]:
    height, width = image.shape[:2]
    return width, height


def _encoded(image: Image | None) -> str:
    return "" if image is None else base64.b64encode(encode_png(image)).decode()


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        reply = json.loads(content)
    except ValueError as error:
        raise NoPictureError(f"The answer is no JSON ({error})") from error
    if not isinstance(reply, dict):
        raise NoPictureError(f"The answer is no object, but a {type(reply).__name__}")
    return reply


def _decoded(picture: object) -> Image:
    try:
        return load_image(base64.b64decode(str(picture), validate=True), name="the model's picture")
    except (binascii.Error, ImageError) as error:
        raise NoPictureError(f"What the reply has for a picture is none: {error}") from error
