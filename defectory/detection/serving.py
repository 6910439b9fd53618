"""Serving a detector by HTTP, by the contract of SageMaker's containers (see ``defectory.door.models``).

GET  /ping          200 once the detector is loaded, 503 before
POST /invocations   image -> DetectionReply as JSON; ``?min_score=0.3`` in place of the classes' thresholds;
                    JSON lines of images (``defectory.door.lines``) -> a line for each
GET  /execution-parameters   how a transform job of SageMaker is to ask
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Protocol
from urllib.parse import parse_qs

import numpy as np
from numpy.typing import NDArray

from defectory.door import Refused
from defectory.errors import require_extra

require_extra("serve")

from defectory.detection.detectors.detector import DetectionReply  # noqa: E402
from defectory.door.models import ModelServer  # noqa: E402
from defectory.door.server import Head  # noqa: E402
from defectory.vision.images import load_image  # noqa: E402


class ObjectDetector(Protocol):
    """What is served: ``Detector``, or what answers as it does."""

    def reply(self, image: NDArray[np.uint8], *, min_score: float | None = None) -> DetectionReply:
        """The objects on one image, uint8 RGB ``(height, width, 3)``, by falling score."""


class DetectionServer(ModelServer[ObjectDetector]):
    """An HTTP server of one detector; the arguments are those of ``ModelServer``."""

    command = "detect serve"

    def answering(self, head: Head) -> Callable[[ObjectDetector, bytes], bytes]:
        """The objects on the image, from the classes' thresholds on or from the ``min_score`` that is asked for."""
        return partial(answer_invocation, min_score=_min_score(head))


def answer_invocation(detector: ObjectDetector, body: bytes, *, min_score: float | None = None) -> bytes:
    """What ``/invocations`` answers to an image: a ``DetectionReply`` as JSON.

    Args:
        detector: finds the objects.
        body: PNG or JPEG.
        min_score: see ``Detector.detect``.

    Raises:
        ImageError: ``body`` is no image that can be looked at.
    """
    image = load_image(body, name="request body")
    return detector.reply(image, min_score=min_score).model_dump_json().encode()


def _min_score(head: Head) -> float | None:
    given = parse_qs(head.query, keep_blank_values=True).get("min_score")
    if given is None:
        return None
    try:
        score = float(given[-1])
    except ValueError:
        score = -1.0
    if not 0 <= score <= 1:
        message = f"min_score must be a number from 0 to 1, got {given[-1][:60]!r}. Send one, or none for thresholds."
        raise Refused(message, status=HTTPStatus.BAD_REQUEST, code="BadScore")
    return score
