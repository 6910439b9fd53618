"""Layouts: what a scene is to show and where, one JSON object a line."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from defectory.errors import InputError
from defectory.validation import FrozenModel, explain

Light = Literal["even", "bright", "dim", "warm", "cold", "backlit"]
CameraQuality = Literal["sharp", "soft", "noisy", "motion"]
Occlusion = Literal["none", "partial", "heavy"]
Split = Literal["train", "test"]
"""The two sides of a split: nothing stands on both."""

MOST_OBJECTS = 1000
"""Objects of one layout."""

MAX_SIDE = 8192
"""Pixels of a canvas, each side."""

ClassName = Annotated[str, Field(pattern=r"^[^\W\d][\w \-]{0,63}$")]
BoxOfFloats = tuple[float, float, float, float]
"""Left, top, width, height in pixels."""


class View(FrozenModel):
    """Where the camera stands: it looks level, so that upright things are upright in the picture.

    A thing that stands on the floor at row ``y`` is ``(y - horizon) / height_m`` pixels high a metre.

    Args:
        horizon: row of the horizon, in pixels from the top; negative above the picture.
        height_m: of the camera over the floor, in metres.
        fov: angle that the picture's width spans, in degrees.
    """

    horizon: float = Field(allow_inf_nan=False)
    height_m: float = Field(gt=0.2, le=100)
    fov: float = Field(default=60, ge=10, le=150)


class Conditions(FrozenModel):
    """Under what a scene is seen; ``event`` names the rare event that it shows, if any."""

    light: Light = "even"
    camera: CameraQuality = "sharp"
    occlusion: Occlusion = "none"
    event: str = Field(default="", max_length=64)


class LayoutObject(FrozenModel):
    """One object asked for.

    Args:
        label: its class.
        box: left, top, width, height in pixels; it may reach beyond the canvas.
        variant: kind within the class; "" for any.
        wears: classes of what a person wears.
        worn_by: place in the layout of whoever wears this object.
        px_per_m: pixels that a metre takes where it stands: it is drawn as large as it is, from the middle of the box's
            lower edge.  None fits it into the box.
        tilt: degrees that it is turned by: 90 for what has fallen over.
    """

    label: ClassName
    box: BoxOfFloats
    variant: str = Field(default="", max_length=64)
    wears: tuple[ClassName, ...] = ()
    worn_by: int | None = Field(default=None, ge=0)
    px_per_m: float | None = Field(default=None, gt=0, le=100_000)
    tilt: float = Field(default=0, ge=-180, le=180)

    @field_validator("box")
    @classmethod
    def _is_a_box(cls, box: BoxOfFloats) -> BoxOfFloats:
        if not all(-1e6 < value < 1e6 for value in box):
            raise ValueError("finite numbers")
        if box[2] <= 0 or box[3] <= 0:
            raise ValueError("left, top, width, height with a width and a height above 0")
        return box


class Layout(FrozenModel):
    """What one scene is to show; objects from the back to the front.

    Args:
        image_id: the scene's name, and that of its files.
        size: width and height of the canvas in pixels.
        objects: at most 1,000; one whose box lies beside the canvas is refused, and so is the same one twice.
        background: kind of place; "" leaves it to the renderer.
        prompt: the scene in words, for models that paint from text.
        seed: decides all that the layout leaves open.
        conditions: light, camera, occlusion.
        view: where the camera stands; None leaves it to the renderer.
    """

    image_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    size: tuple[Annotated[int, Field(ge=64, le=MAX_SIDE)], Annotated[int, Field(ge=64, le=MAX_SIDE)]]
    objects: tuple[LayoutObject, ...] = Field(default=(), max_length=MOST_OBJECTS)
    background: str = Field(default="", max_length=64)
    prompt: str = Field(default="", max_length=4000)
    seed: int = Field(default=0, ge=0, lt=2**63)
    conditions: Conditions = Conditions()
    view: View | None = None

    @model_validator(mode="after")
    def _objects_are_drawable(self) -> Self:
        width, height = self.size
        seen: set[tuple[str, BoxOfFloats]] = set()
        for place, item in enumerate(self.objects):
            left, top, box_width, box_height = item.box
            if left >= width or top >= height or left + box_width <= 0 or top + box_height <= 0:
                raise ValueError(f"objects.{place}: a box that meets the canvas of {width} x {height}")
            if (item.label, item.box) in seen:
                raise ValueError(f"objects.{place}: the same {item.label} in the same box twice")
            seen.add((item.label, item.box))
            if item.worn_by is not None and not (item.worn_by < place and self.objects[item.worn_by].worn_by is None):
                raise ValueError(f"objects.{place}: worn_by, the place of an earlier object that is worn by nobody")
        return self


def clip_box(box: BoxOfFloats, size: tuple[int, int]) -> BoxOfFloats:
    """The part of a box (left, top, width, height) that lies on a canvas of ``size`` (width, height), in pixels."""
    left, top = max(box[0], 0.0), max(box[1], 0.0)
    return left, top, min(box[0] + box[2], size[0]) - left, min(box[1] + box[3], size[1]) - top


def layout_schema() -> dict[str, Any]:
    """The JSON schema of one line of a file of layouts."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Layout.model_json_schema()}


def parse_layout(line: str | bytes, name: str) -> Layout:
    """A layout from its line; ``name`` is what messages call it.

    Raises:
        InputError: it is none.
    """
    try:
        return Layout.model_validate_json(line)
    except ValidationError as error:
        told = explain(error)
        raise InputError(f"{name}: {told.field}", told.rule, told.got, told.fix) from None


def read_layout_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file of layouts with their numbers from 1, one at a time; empty ones are passed by.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield number, line
    except OSError as error:
        raise InputError("layouts", f"a file that can be read ({error.strerror})", str(file)) from None


def layout_line(layout: Layout) -> str:
    """A layout as its line, without the line's end."""
    return json.dumps(layout.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":"))


def layout_digest(layout: Layout) -> int:
    """By which it is known whether two layouts of one name are the same."""
    return zlib.crc32(layout_line(layout).encode())


def painted_places(layout: Layout) -> list[int]:
    """The places in a layout of what is painted by a call of its own: what is worn comes with its wearer."""
    return [place for place, item in enumerate(layout.objects) if item.worn_by is None]
