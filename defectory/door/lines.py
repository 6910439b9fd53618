"""Many images in one request: JSON lines in, a line of JSON for each out, as transform jobs of SageMaker send them.

A line is ``{"image_id": "a-17", "image": "<base64 of a PNG or JPEG>"}``.  Its answer is what one image is answered
with, and the id beside it; or, where there is none, ``{"image_id": "a-17", "error": {"code", "message"}}``: one image
that is none does not take the others with it.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Callable

from pydantic import Field, ValidationError

from defectory.errors import DefectoryError, ImageError, InputError, shorten
from defectory.validation import FrozenModel

logger = logging.getLogger(__name__)

JSON_LINES = "application/jsonlines"
"""The type of such a request and of its answer."""

ID_LIMIT = 1024


class ImageLine(FrozenModel):
    """One image of a request of many; ``image`` is the base64 of its file."""

    image_id: str = Field(min_length=1, max_length=ID_LIMIT)
    image: str

    def content(self) -> bytes:
        """The image's file.

        Raises:
            ImageError: ``image`` is no base64.
        """
        try:
            return base64.b64decode(self.image, validate=True)
        except (binascii.Error, ValueError):
            raise ImageError(f"image of {shorten(self.image_id)}", "base64 of a PNG or JPEG") from None


def answer_lines(body: bytes, answer: Callable[[bytes], bytes]) -> bytes:
    """The answers to the lines of ``body``, one after the other, without an end of line behind the last.

    Args:
        body: lines of JSON in UTF-8; empty ones are passed over.
        answer: what one image's file is answered with, a JSON object.
    """
    return b"\n".join(_answer_line(line, answer) for line in body.splitlines() if line.strip())


def _answer_line(line: bytes, answer: Callable[[bytes], bytes]) -> bytes:
    image_id: str | None = None
    try:
        parsed = _parse(line)
        image_id = parsed.image_id
        fields = json.loads(answer(parsed.content()))
    except DefectoryError as error:
        fields = _error(error.code, str(error))
    except Exception as error:
        logger.exception("The model failed")
        fields = _error("ModelFailed", f"The model failed: {type(error).__name__}. The server's log says more.")
    return json.dumps({"image_id": image_id, **fields}, separators=(",", ":")).encode()


def _parse(line: bytes) -> ImageLine:
    try:
        return ImageLine.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "line"
        raise InputError(where, f'as {{"image_id": "...", "image": "<base64>"}} ({shorten(first["msg"])})') from None


def _error(code: str, message: str) -> dict[str, object]:
    return {"error": {"code": code, "message": message}}
