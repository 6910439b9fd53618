"""Serving a model that paints layouts, by the contract of SageMaker's Batch Transform.

GET  /ping                  200 once the model is loaded, 503 before
GET  /execution-parameters  how the transform is to send lines: one at a time, one to a request
POST /invocations           lines of `gligen.TransformRequest` -> as many of `gligen.TransformAnswer`
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import ClassVar

from defectory.errors import require_extra

require_extra("serve")

from defectory.detection.generative.gligen import GroundedModel, answer_lines  # noqa: E402
from defectory.door.models import LIMITS, ModelServer  # noqa: E402
from defectory.door.server import Head, Limits  # noqa: E402


class TransformServer(ModelServer[GroundedModel]):
    """An HTTP server of one model that paints; the arguments are those of ``ModelServer``."""

    command = "models/gligen/inference.py"
    media_types = ("application/jsonlines", "application/json", "application/x-ndjson")
    # A picture takes seconds on a GPU and minutes without one.
    default_limits = Limits(body_bytes=LIMITS.body_bytes, request_seconds=None)
    _painting: ClassVar[threading.Lock] = threading.Lock()

    def execution_parameters(self) -> dict[str, object]:
        """A picture at a time: more would wait for the same GPU, and seeds are drawn from one source."""
        return {"MaxConcurrentTransforms": 1, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 6}

    def answering(self, head: Head) -> Callable[[GroundedModel, bytes], bytes]:
        """The answers to the lines of a body, one body at a time."""
        return self._paint

    def _paint(self, model: GroundedModel, body: bytes) -> bytes:
        with self._painting:
            return answer_lines(body, model)
