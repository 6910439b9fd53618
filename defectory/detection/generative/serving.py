"""Serving a model that paints layouts, by the contract of SageMaker's Batch Transform.

GET  /ping                  200 once the model is loaded, 503 before
GET  /execution-parameters  how the transform is to send lines: one at a time, one to a request
POST /invocations           lines of `gligen.TransformRequest` -> as many of `gligen.TransformAnswer`
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import ClassVar

from defectory.errors import require_extra

require_extra("serve")

from defectory.detection.generative.gligen import GroundedModel, answer_lines  # noqa: E402
from defectory.door.models import LIMITS, ModelServer  # noqa: E402
from defectory.door.server import Answer, Head, Limits, Work  # noqa: E402

EXECUTION_PARAMETERS = {"MaxConcurrentTransforms": 1, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 6}
"""A picture at a time: more would wait for the same GPU, and seeds are drawn from one source."""


class TransformServer(ModelServer[GroundedModel]):
    """An HTTP server of one model that paints; the arguments are those of ``ModelServer``."""

    command = "models/gligen/inference.py"
    media_types = ("application/jsonlines", "application/json", "application/x-ndjson")
    # A picture takes seconds on a GPU and minutes without one.
    default_limits = Limits(body_bytes=LIMITS.body_bytes, request_seconds=None)
    _painting: ClassVar[threading.Lock] = threading.Lock()

    def route(self, head: Head) -> Answer | Work:
        """As any model's; and how a transform is to send its lines."""
        if head.path == "/execution-parameters" and head.method == "GET":
            return Answer(HTTPStatus.OK, json.dumps(EXECUTION_PARAMETERS).encode())
        return super().route(head)

    def answering(self, head: Head) -> Callable[[GroundedModel, bytes], bytes]:
        """The answers to the lines of a body, one body at a time."""
        return self._paint

    def _paint(self, model: GroundedModel, body: bytes) -> bytes:
        with self._painting:
            return answer_lines(body, model)
