"""GLIGEN's transform: a line a layout goes in, a line with its picture comes out, whatever becomes of the others.

Source: Li et al., "GLIGEN: Open-Set Grounded Text-to-Image Generation" (CVPR 2023).  All of it that needs no torch is
here; ``models/gligen/inference.py`` is the container that paints.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import math
from dataclasses import dataclass
from typing import Annotated, Protocol, Self

from pydantic import Field, ValidationError, model_validator

from defectory.detection.generative.prompts import describe_scene, name_object
from defectory.detection.layouts.records import BoxOfFloats, Layout, clip_box
from defectory.errors import DefectoryError, ImageError, InputError, shorten
from defectory.validation import FrozenModel, explain
from defectory.vision.arrays import Image
from defectory.vision.framing import Frame, ModelLimits
from defectory.vision.images import encode_png, is_blank, load_image

logger = logging.getLogger(__name__)

MOST_OBJECTS = 30
"""Objects that a model of GLIGEN takes; its pipeline forgets the others with a warning."""

SIDE = 512
"""Shorter side of what it paints, in pixels: what Stable Diffusion 1.4, which it is made of, was trained on."""

MAX_SIDE = 2048
"""Longest side of a layout's canvas in pixels: larger pictures would only be larger answers."""

MOST_ERROR = 500
"""Characters of an error in an answer."""

MAX_RATIO = 2.0
"""Longer by shorter side of what it paints; longer layouts are widened."""

STEPS, GUIDANCE = 50, 7.5
"""How pictures are painted unless told otherwise, as GLIGEN's authors do."""

PlaceInLayout = Annotated[int, Field(ge=0)]


class TransformRequest(FrozenModel):
    """A line of a transform's input.

    Args:
        image_id: of the layout; by it the answer is found again.
        layout: what to paint; its seed decides the picture.
        steps: of denoising.
        guidance: how closely the picture keeps to the words; 1 not at all.
        background: a picture to paint into, PNG or JPEG as base64, of the layout's size; the model has to be one that
            inpaints.  None paints all of the picture.
    """

    image_id: str
    layout: Layout
    steps: int = Field(default=STEPS, ge=1, le=500)
    guidance: float = Field(default=GUIDANCE, ge=1, le=50)
    background: str | None = None

    @model_validator(mode="after")
    def _is_of_its_layout(self) -> Self:
        if self.image_id != self.layout.image_id:
            raise ValueError(f"image_id: that of the layout, {self.layout.image_id}")
        return self


class TransformAnswer(FrozenModel):
    """A line of a transform's output: a picture, or why there is none.

    Args:
        image_id: of the request; "" where the line could not be read.
        image: PNG as base64, of the layout's size.
        withheld: whether the safety checker kept the picture back.
        error: why the picture could not be painted.
        dropped: places in the layout of objects that were not asked for, because a model takes no more than 30.
    """

    image_id: str
    image: str | None = None
    withheld: bool = False
    error: str | None = None
    dropped: tuple[PlaceInLayout, ...] = ()

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if (self.image is not None) + self.withheld + (self.error is not None) != 1:
            raise ValueError("one of image, withheld and error")
        return self

    @classmethod
    def of_picture(cls, image_id: str, image: Image, dropped: tuple[int, ...] = ()) -> TransformAnswer:
        """The answer that brings a picture, uint8 RGB."""
        return cls(image_id=image_id, image=base64.b64encode(encode_png(image)).decode(), dropped=dropped)

    def picture(self, layout: Layout) -> Image | None:
        """The picture of ``layout``, uint8 RGB of its size; None where there is none.

        Raises:
            ImageError: it is no picture, or of another size.
        """
        if self.image is None:
            return None
        return decode_picture(self.image, f"picture of {self.image_id}", layout.size)


@dataclass(frozen=True, slots=True)
class Grounding:
    """A layout as the pipeline takes it.

    Args:
        prompt: the scene in words.
        phrases: what each box holds.
        boxes: left, top, right, bottom of each in 0..1 of the picture that is painted.
        dropped: places in the layout of what is not asked for.
        frame: how the canvas is laid out in that picture: widened to an aspect that the model takes, then scaled.
    """

    prompt: str
    phrases: tuple[str, ...]
    boxes: tuple[tuple[float, float, float, float], ...]
    dropped: tuple[int, ...]
    frame: Frame


def ground(layout: Layout, *, side: int = SIDE, is_square: bool = False) -> Grounding:
    """What to ask of the pipeline for ``layout``.

    Of more than `MOST_OBJECTS` the largest on the canvas are asked for; whoever wears something goes with it, or it
    would be painted for nobody to label.

    Args:
        layout: one; a call has one list of boxes, whatever it is called with.
        side: shorter side of what is painted, in pixels, a multiple of 8.
        is_square: whether a picture is to be painted into: pipelines cut from that what is not square.
    """
    ratio = 1.0 if is_square else min(max(layout.size) / min(layout.size), MAX_RATIO)
    longer = math.ceil(side * ratio)
    limits = ModelLimits(longer, longer * longer, max_ratio=ratio, multiple=8, working_side=side)
    frame = Frame.of(layout.size, limits)
    asked = _largest(layout)
    return Grounding(
        prompt=describe_scene(layout, asked),
        phrases=tuple(name_object(layout, place) for place in asked),
        boxes=tuple(_in_frame(clip_box(layout.objects[place].box, layout.size), frame) for place in asked),
        dropped=tuple(place for place in range(len(layout.objects)) if place not in set(asked)),
        frame=frame,
    )


def _largest(layout: Layout) -> list[int]:
    """Places of the objects that are asked for, in the layout's order."""
    groups: dict[int, list[int]] = {}
    for place, item in enumerate(layout.objects):
        groups.setdefault(place if item.worn_by is None else item.worn_by, []).append(place)
    areas = {place: math.prod(clip_box(layout.objects[place].box, layout.size)[2:]) for place in groups}
    asked: list[int] = []
    for place in sorted(groups, key=lambda place: -areas[place]):
        if len(asked) + len(groups[place]) <= MOST_OBJECTS:
            asked += groups[place]
    return sorted(asked)


def _in_frame(box: BoxOfFloats, frame: Frame) -> tuple[float, float, float, float]:
    left, top = (box[0] + frame.left) / frame.widened[0], (box[1] + frame.top) / frame.widened[1]
    return left, top, left + box[2] / frame.widened[0], top + box[3] / frame.widened[1]


def decode_picture(text: str, name: str, size: tuple[int, int]) -> Image:
    """A picture from base64, uint8 RGB of ``size`` (width, height); ``name`` is what messages call it.

    Raises:
        ImageError: it is none, or of another size.
    """
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ImageError(name, f"base64 of a picture ({error})") from None
    image = load_image(content, name=name)
    if image.shape[1::-1] != size:
        got = f"{image.shape[1]} x {image.shape[0]}"
        raise ImageError(name, f"of the layout's size, {size[0]} x {size[1]}", got)
    return image


def parse_answer(line: str | bytes, name: str) -> TransformAnswer:
    """An answer from its line; ``name`` is what messages call it.

    Raises:
        InputError: it is none.
    """
    try:
        return TransformAnswer.model_validate_json(line)
    except ValidationError as error:
        told = explain(error)
        raise InputError(f"{name}: {told.field}", told.rule, told.got) from None


class GroundedModel(Protocol):
    """Paints groundings; `models/gligen/inference.py` makes one of GLIGEN's pipeline."""

    @property
    def side(self) -> int:
        """Shorter side of what it paints, in pixels."""
        ...

    @property
    def inpaints(self) -> bool:
        """Whether it paints into a picture, which it then needs, and not a picture of its own."""
        ...

    def paint(self, grounding: Grounding, request: TransformRequest, background: Image | None) -> Image | None:
        """A picture of ``grounding.frame.sent``, uint8 RGB, or None where the safety checker kept it back.

        Args:
            grounding: what is asked for, with one object at least or none.
            request: says how; its layout's seed decides the picture, whatever was painted before.
            background: what to paint into, of that size.
        """
        ...


def answer_lines(body: bytes, model: GroundedModel) -> bytes:
    """The answers to the lines of a transform's request, in their order, on lines of their own; empty ones have none.

    A line that fails gets an answer with its error: a transform that fails loses all that it had painted.
    """
    lines = [line for line in body.splitlines() if line.strip()]
    return b"\n".join(answer_line(line, model).model_dump_json().encode() for line in lines)


def answer_line(line: bytes, model: GroundedModel) -> TransformAnswer:
    """The answer to one line, whatever is wrong with it or happens to the model over it."""
    image_id, dropped = "", tuple[int, ...]()
    try:
        image_id = _name_in(line)
        request = _parse_request(line)
        grounding = ground(request.layout, side=model.side, is_square=model.inpaints)
        dropped = grounding.dropped
        picture = model.paint(grounding, request, _background(request, grounding.frame, model))
        if picture is None or is_blank(picture):
            return TransformAnswer(image_id=image_id, withheld=True, dropped=dropped)
        return TransformAnswer.of_picture(image_id, grounding.frame.restore(picture), dropped)
    except DefectoryError as error:
        reason = str(error)
    # A library may fail in any way over one record (memory of the GPU included), and others are to come.
    except Exception as error:
        logger.exception("%s could not be painted", image_id or "A line")
        reason = f"{type(error).__name__}: {error}"
    return TransformAnswer(image_id=image_id, error=shorten(reason, MOST_ERROR), dropped=dropped)


def _name_in(line: bytes) -> str:
    """The name that a line gives itself, however wrong the rest of it is."""
    try:
        name = json.loads(line)["image_id"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    return shorten(name) if isinstance(name, str) else ""


def _parse_request(line: bytes) -> TransformRequest:
    try:
        request = TransformRequest.model_validate_json(line)
    except ValidationError as error:
        told = explain(error)
        raise InputError(told.field, told.rule, told.got) from None
    if max(request.layout.size) > MAX_SIDE:
        got = " x ".join(map(str, request.layout.size))
        fix = "It paints some 512 pixels: make the layouts smaller."
        raise InputError("layout.size", f"at most {MAX_SIDE} pixels a side", got, fix)
    return request


def _background(request: TransformRequest, frame: Frame, model: GroundedModel) -> Image | None:
    if (request.background is None) == model.inpaints:
        rule = "given, as this model inpaints" if model.inpaints else "left out, as this model does not inpaint"
        raise InputError("background", rule)
    if request.background is None:
        return None
    return frame.lay_out(decode_picture(request.background, "background", request.layout.size))
