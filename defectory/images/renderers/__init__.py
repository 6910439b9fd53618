"""Renderers: what makes a picture of a defective part, and the values that all of them share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydantic import JsonValue

from defectory.vision.arrays import Image, Mask
from defectory.vision.photos import Photo

RendererName = Literal["procedural", "transplant", "bedrock-zero-shot", "bedrock-image-to-image", "bedrock-inpaint"]

MAX_SEED = 4_294_967_294
"""The largest seed that every renderer takes."""


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """What one picture is to show.

    ``seed`` is 0..`MAX_SEED`; the same request on the same photo gives the same picture, where the renderer is
    deterministic.  ``mask``, of the photo's size, says where the defect is to be; None leaves that to the renderer.
    ``prompt`` replaces the one that belongs to the kind of defect, for renderers that take one.
    """

    defect: str
    seed: int
    mask: Mask | None = None
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class RenderResult:
    """A picture of a defective part.

    ``mask`` has the picture's size and marks every pixel that the defect visibly changes; it is None only where nothing
    tells where the defect is (a picture from a text alone).  ``severity`` is 0 (can hardly be seen) to 1 (strikes the
    eye).  ``parameters`` are what the picture was made with: drawn values, model id, prompt, region, as JSON.
    """

    image: Image
    mask: Mask | None
    severity: float
    parameters: Mapping[str, JsonValue] = field(default_factory=dict)


class Renderer(Protocol):
    """Makes one picture at a time; safe to share between threads."""

    @property
    def name(self) -> RendererName:
        """What it is called in plans, records and commands."""

    @property
    def needs_photo(self) -> bool:
        """Whether it changes a photo of a good part, or makes a picture from nothing."""

    def render(self, photo: Photo | None, request: RenderRequest) -> RenderResult:
        """Make the picture.

        Raises:
            InputError: the photo or the request cannot be worked with; the message names the field, the rule, the fix.
            RenderError: no believable defect could be made of this request; another seed or photo may do.
            ContentFilteredError: a content filter withheld the picture.
            ServiceError: a service failed after bounded retries.
        """
