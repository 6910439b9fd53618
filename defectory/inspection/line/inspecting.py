"""Inspecting an upload: read it, ask the model, write what the model saw, and tell what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from defectory.errors import ImageError, InputError, shorten
from defectory.inspection.line.buckets import ResultsBucket, StoredFile
from defectory.inspection.line.endpoint import PAYLOAD_LIMIT, EndpointAnswerError
from defectory.inspection.line.records import REASON_LIMIT, FoundDefect, InspectionRecord
from defectory.inspection.line.uploads import Upload
from defectory.inspection.verdicts import InspectionReply, decode_grey
from defectory.vision.images import encode_jpeg, encode_png, heatmap_overlay, load_image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
"""What is inspected, in lower case; uploads may be in any."""

OVERLAY_SIDE = 1600
"""The longer side of an overlay, in pixels: enough to look at, small enough for a mail reader."""

HEATMAP, OVERLAY, RESULT = "heatmap.png", "overlay.jpg", "result.json"

_SIGNATURES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))


class Endpoint(Protocol):
    """Where a model answers."""

    def inspect(self, content: bytes, content_type: str) -> InspectionReply: ...


@dataclass(frozen=True, slots=True)
class UploadInspector:
    """Inspects one upload at a time; ``read`` gets an upload's content."""

    endpoint: Endpoint
    results: ResultsBucket
    read: Callable[[Upload], bytes]
    retention: timedelta

    def inspect(self, upload: Upload) -> InspectionRecord:
        """What became of ``upload``: a verdict with its files written, or why there is none.

        Raises:
            ServiceError: a service failed, which is to be tried again; the image is not to blame.
        """
        if PurePosixPath(upload.key).suffix.lower() not in SUFFIXES:
            suffixes = ", ".join(sorted(SUFFIXES))
            return self._record(upload, status="UNSUPPORTED", reason=f"Only {suffixes} files are inspected.")
        try:
            content = self.read(upload)
            image = load_image(content, name=PurePosixPath(upload.key).name)
        except ImageError as error:
            return self._record(upload, status="UNREADABLE", reason=shorten(str(error), REASON_LIMIT))
        payload, content_type, shrunk = _payload(content, image)
        reply = self.endpoint.inspect(payload, content_type)
        keys = self.results.write(upload, [*_pictures(image, reply), _result(reply)])
        return self._record(
            upload,
            status="INSPECTED",
            **reply.model_dump(exclude={"heatmap", "mask", "defects", "width", "height"}),
            defects=tuple(FoundDefect(**defect.model_dump()) for defect in reply.defects),
            width=image.shape[1],
            height=image.shape[0],
            shrunk=shrunk,
            result_key=keys[RESULT],
            heatmap_key=keys.get(HEATMAP, ""),
            overlay_key=keys.get(OVERLAY, ""),
        )

    def _record(self, upload: Upload, **fields: object) -> InspectionRecord:
        now = datetime.now(UTC)
        return InspectionRecord.of(upload, now=now, retention=self.retention, **fields)


def _payload(content: bytes, image: NDArray[np.uint8]) -> tuple[bytes, str, bool]:
    """The image as the endpoint takes it, its content type, and whether it had to be made smaller.

    What fits goes as it is, so that the verdict is the same as on any other machine.
    """
    kind = next((kind for signature, kind in _SIGNATURES if content.startswith(signature)), None)
    if kind and len(content) <= PAYLOAD_LIMIT:
        return content, kind, False
    if image.size <= 4 * PAYLOAD_LIMIT and len(lossless := encode_png(image)) <= PAYLOAD_LIMIT:
        return lossless, "image/png", False
    side, limit = max(image.shape[:2]), max(image.shape[:2])
    while len(lossy := encode_jpeg(_fitted(image, side), quality=95)) > PAYLOAD_LIMIT:
        side = int(side * 0.8)
    return lossy, "image/jpeg", side < limit


def _pictures(image: NDArray[np.uint8], reply: InspectionReply) -> list[StoredFile]:
    if not reply.heatmap:
        return []
    try:
        heatmap = decode_grey(reply.heatmap)
    except InputError as error:
        raise EndpointAnswerError(f"The model's heatmap is none: {error}") from None
    overlay = heatmap_overlay(_fitted(image, OVERLAY_SIDE), heatmap.astype(np.float32) / 255)
    return [
        StoredFile(HEATMAP, encode_png(heatmap), "image/png"),
        StoredFile(OVERLAY, encode_jpeg(overlay), "image/jpeg"),
    ]


def _result(reply: InspectionReply) -> StoredFile:
    return StoredFile(RESULT, reply.model_dump_json(indent=2).encode(), "application/json")


def _fitted(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """``image`` with its longer side at most ``side``."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
