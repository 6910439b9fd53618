"""Verdicts: what the inspection of one image says, and its form on the wire."""

from __future__ import annotations

import base64
import binascii
import io
import json
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, ValidationError

from defectory.errors import InputError, shorten
from defectory.validation import FrozenModel
from defectory.vision.images import MAX_PIXELS, encode_png

Verdict = Literal["PASS", "REVIEW", "FAIL"]

WORDS_LIMIT = 100_000
"""Bytes of an answer without its pictures, as ASCII JSON.  All of it goes into a row (400 kB in DynamoDB) by way of a
state machine, which ends without a word at a state of more than 256 kB."""

GREATEST = 1e100
"""Scores and thresholds are below it; DynamoDB has numbers up to 1e126."""

PICTURE_LIMIT = 100_000_000
"""Pixels of a heatmap or mask, as of the images themselves."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Scores from ``review`` on are REVIEW, from ``fail`` on FAIL; ``review <= fail``."""

    review: float
    fail: float

    def verdict(self, score: float) -> Verdict:
        """The verdict of ``score``."""
        return "FAIL" if score >= self.fail else "REVIEW" if score >= self.review else "PASS"


class DefectArea(FrozenModel):
    """One class of defect found: its share of the image (0..1), the number of separate regions, its colour in masks."""

    name: str = Field(min_length=1, max_length=255)
    area: float = Field(ge=0, le=1)
    regions: int = Field(ge=0, le=1_000_000_000)
    color: str = Field(pattern=r"^#[0-9A-Fa-f]{6}$")


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a model says of one image.

    ``score`` is >= 0, higher is more anomalous, comparable between images of one model.  ``confidence`` is the
    certainty of the predicted class, 0.5..1: normal below ``thresholds.fail``, anomalous from there on.  ``heatmap`` is
    float32 of shape ``(h, w)``, 0..1, where 0.5 is the level of ``thresholds.fail``, with the image's aspect and at
    most its size; ``mask`` is uint8 of the same shape, 255 = defect.  ``classes`` is uint8 of that shape as well:
    0 = none, n = ``defects[n - 1]``.  ``width`` and ``height`` are the image's, in pixels, as shown upright.
    ``reasons`` tell which rule decided where not the score alone did.
    """

    verdict: Verdict
    score: float
    confidence: float
    thresholds: Thresholds
    model_version: str
    heatmap: NDArray[np.float32]
    mask: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    defects: tuple[DefectArea, ...]
    width: int
    height: int
    reasons: tuple[str, ...] = ()

    @property
    def is_anomalous(self) -> bool:
        """Whether the predicted class is anomaly: from ``thresholds.fail`` on, or where a rule says FAIL."""
        return self.verdict == "FAIL"


class ImageInspector(Protocol):
    """What inspects images: a model, or a client of one that is hosted."""

    def inspect(self, image: NDArray[np.uint8], /) -> Inspection:
        """What it says of ``image``, uint8 RGB ``(h, w, 3)``; called from several threads at once."""
        ...


class InspectionReply(FrozenModel):
    """An inspection as JSON: what an endpoint answers and ``defectory inspect predict --json`` prints.

    ``heatmap`` and ``mask`` are base64 of 8-bit grey PNGs; the mask holds 0 and 255.
    """

    verdict: Verdict
    score: float = Field(ge=0)
    confidence: float = Field(ge=0.5, le=1)
    review_threshold: float
    fail_threshold: float
    model_version: str
    width: int = Field(ge=1, le=1_000_000)
    height: int = Field(ge=1, le=1_000_000)
    defects: tuple[DefectArea, ...] = ()
    reasons: tuple[str, ...] = ()
    heatmap: str = ""
    mask: str = ""

    @classmethod
    def of(cls, inspection: Inspection, *, images: bool = True) -> InspectionReply:
        """``inspection`` in its form for the wire; without ``images`` the heatmap and the mask stay out."""
        return cls(
            verdict=inspection.verdict,
            score=inspection.score,
            confidence=inspection.confidence,
            review_threshold=inspection.thresholds.review,
            fail_threshold=inspection.thresholds.fail,
            model_version=inspection.model_version,
            width=inspection.width,
            height=inspection.height,
            defects=inspection.defects,
            reasons=inspection.reasons,
            heatmap=_png(np.rint(inspection.heatmap * 255).astype(np.uint8)) if images else "",
            mask=_png(inspection.mask) if images else "",
        )


def parse_reply(content: bytes | str) -> InspectionReply:
    """Read an endpoint's answer.

    Raises:
        InputError: it is not one; the message names the first field that is wrong.
    """
    try:
        reply = InspectionReply.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = shorten(".".join(map(str, first["loc"])) or "answer")
        raise InputError(f"the model's answer, {field}", f"an inspection ({shorten(first['msg'])})") from None
    for field in ("score", "review_threshold", "fail_threshold"):
        if not abs(number := getattr(reply, field)) < GREATEST:  # nor for what is no number
            raise InputError(f"the model's answer, {field}", f"a number below {GREATEST:g}", number)
    words = len(json.dumps(reply.model_dump(mode="json", exclude={"heatmap", "mask"})))
    if words > WORDS_LIMIT:
        raise InputError("the model's answer", f"at most {WORDS_LIMIT:,} bytes without its pictures", words)
    return reply


def decode_grey(text: str) -> NDArray[np.uint8]:
    """The 8-bit grey image in a base64 PNG of a reply, shape ``(h, w)``.

    Raises:
        InputError: it is no such image.
    """
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=["PNG"]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError("too large")
            return np.asarray(image.convert("L"))
    except (binascii.Error, ValueError, OSError, Image.DecompressionBombError):
        raise InputError("heatmap or mask", "a grey PNG in base64", text) from None


def _png(grey: NDArray[np.uint8]) -> str:
    # More effort takes longer than reading the photo, and saves a third of few bytes.
    return base64.b64encode(encode_png(grey, effort=1)).decode()
