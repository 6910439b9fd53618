"""Inspecting an upload: read it, ask the model, write what the model saw, and tell what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from defectory.errors import InputError
from defectory.inspection.line.records import FoundDefect, InspectionRecord
from defectory.inspection.verdicts import InspectionReply, decode_grey
from defectory.line.buckets import ResultsBucket, StoredFile
from defectory.line.endpoint import EndpointAnswerError
from defectory.line.opening import Unusable, open_upload
from defectory.line.payload import OVERLAY_SIDE, fit_payload, fitted
from defectory.line.uploads import Upload
from defectory.vision.images import encode_jpeg, encode_png, heatmap_overlay

HEATMAP, OVERLAY, RESULT = "heatmap.png", "overlay.jpg", "result.json"


class Endpoint(Protocol):
    """Where a model answers."""

    def inspect(self, content: bytes, content_type: str) -> InspectionReply:
        """Inspect one image, given as the content of its file."""


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
        opened = open_upload(upload, self.read)
        if isinstance(opened, Unusable):
            return self._record(upload, status=opened.status, reason=opened.reason)
        image = opened.image
        payload = fit_payload(opened.content, image)
        reply = self.endpoint.inspect(payload.content, payload.content_type)
        keys = self.results.write(upload, [*_pictures(image, reply), _result(reply)])
        return self._record(
            upload,
            status="INSPECTED",
            **reply.model_dump(exclude={"heatmap", "mask", "defects", "width", "height"}),
            defects=tuple(FoundDefect(**defect.model_dump()) for defect in reply.defects),
            width=image.shape[1],
            height=image.shape[0],
            shrunk=payload.shrunk,
            result_key=keys[RESULT],
            heatmap_key=keys.get(HEATMAP, ""),
            overlay_key=keys.get(OVERLAY, ""),
        )

    def _record(self, upload: Upload, **fields: object) -> InspectionRecord:
        now = datetime.now(UTC)
        return InspectionRecord.of(upload, now=now, retention=self.retention, **fields)


def _pictures(image: NDArray[np.uint8], reply: InspectionReply) -> list[StoredFile]:
    if not reply.heatmap:
        return []
    try:
        heatmap = decode_grey(reply.heatmap)
    except InputError as error:
        raise EndpointAnswerError(f"The model's heatmap is none: {error}") from None
    overlay = heatmap_overlay(fitted(image, OVERLAY_SIDE), heatmap.astype(np.float32) / 255)
    return [
        StoredFile(HEATMAP, encode_png(heatmap), "image/png"),
        StoredFile(OVERLAY, encode_jpeg(overlay), "image/jpeg"),
    ]


def _result(reply: InspectionReply) -> StoredFile:
    return StoredFile(RESULT, reply.model_dump_json(indent=2).encode(), "application/json")
