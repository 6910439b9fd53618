"""Renderers: what makes a picture of a defective part, and the values that all of them share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

Image = NDArray[np.uint8]
"""RGB of shape ``(height, width, 3)``, upright."""

Mask = NDArray[np.uint8]
"""Shape ``(height, width)``: 255 = defect, 0 = none.  Services that think otherwise are converted at their edge."""

RendererName = Literal["procedural", "transplant", "bedrock-zero-shot", "bedrock-image-to-image", "bedrock-inpaint"]

MAX_SEED = 4_294_967_294
"""The largest seed that every renderer takes."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo of a good part.

    ``name`` is how the user knows it and ``digest`` the SHA-256 of its file.  ``region`` is 255 where defects may be;
    None leaves it to the renderer to find the part.
    """

    name: str
    image: Image
    digest: str
    region: Mask | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What one picture is to show.

    ``seed`` is 0..`MAX_SEED`; the same order on the same photo gives the same picture, where the renderer is
    deterministic.  ``mask``, of the photo's size, says where the defect is to be; None leaves that to the renderer.
    ``prompt`` replaces the one that belongs to the kind of defect, for renderers that take one.
    """

    defect: str
    seed: int
    mask: Mask | None = None
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class Rendered:
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

    def render(self, photo: Photo | None, order: Order) -> Rendered:
        """Make the picture.

        Raises:
            InputError: the photo or the order cannot be worked with; the message names the field, the rule, the fix.
            RenderError: no believable defect could be made of this order; another seed or photo may do.
            ContentFilteredError: a content filter withheld the picture.
            ServiceError: a service failed after bounded retries.
        """
