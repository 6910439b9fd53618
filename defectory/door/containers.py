"""What models have in common in SageMaker's containers: images as requests bring them, and a server of our own.

In its container for scikit-learn SageMaker's toolkit imports a program and calls functions of it for each image
(https://github.com/aws/sagemaker-scikit-learn-container, ``serving.py``); so does the local cloud.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from defectory.door import TOKEN_VARIABLE, is_loopback
from defectory.door.lines import JSON_LINES
from defectory.errors import DefectoryError, ImageError
from defectory.vision.images import MEDIA_TYPES, load_image

if TYPE_CHECKING:
    from defectory.door.models import ModelServer

try:
    # The container answers by Flask, which takes these for answers; of any other error it makes a 500.
    from werkzeug.exceptions import HTTPException
    from werkzeug.wrappers import Response
except ImportError:  # outside of the container
    HTTPException = Exception  # type: ignore[assignment,misc]
    Response = None  # type: ignore[assignment,misc]

Model = TypeVar("Model")


class Refusal(HTTPException):
    """An image that is none, with its HTTP status; callers find in the message what our own server answers."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        self.status_code, self.message = status, json.dumps({"error": {"code": code, "message": message}})
        if Response is None:
            super().__init__(self.message)
        else:
            super().__init__(self.message, Response(self.message, status, mimetype="application/json"))


@dataclass(frozen=True, slots=True)
class ImageLines:
    """A request of many images, as a transform job sends it: ``body`` is for `answer_lines`."""

    body: bytes


def read_request(body: bytes | bytearray | str, content_type: str) -> NDArray[np.uint8] | ImageLines:
    """What is in a request that the toolkit took: an image, uint8 RGB ``(height, width, 3)``, or lines of images.

    Raises:
        Refusal: it is of another type, or no image.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == JSON_LINES:
        return ImageLines(body.encode() if isinstance(body, str) else bytes(body))
    if kind not in MEDIA_TYPES or isinstance(body, str):
        message = f"Content-Type must be {' or '.join((*MEDIA_TYPES, JSON_LINES))}, got {content_type!r}."
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    try:
        return load_image(bytes(body), name="request body")
    except ImageError as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, error.code, str(error)) from error


def run_server(server_class: type[ModelServer[Model]], load_model: Callable[[str], Model]) -> int:
    """The program of a container without the toolkit: serve the model in SM_MODEL_DIR.  Returns the exit code.

    It asks for no token, because SageMaker has authenticated whoever calls and sends none, and takes any ``Host``,
    because it knows the container by a name of its own; only a container listens on more than loopback here.

    Args:
        server_class: what serves it.
        load_model: reads the model from a folder.
    """
    parser = argparse.ArgumentParser(description="Serve the model in SM_MODEL_DIR by HTTP.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")))
    arguments = parser.parse_args()
    try:
        # Who tries it out may give one.
        token = os.environ.get(TOKEN_VARIABLE) or None
        names = () if is_loopback(arguments.host) else None
        with server_class(arguments.host, arguments.port, token=token, names=names) as server:
            server.load(lambda: load_model(os.environ.get("SM_MODEL_DIR", "/opt/ml/model")))
            print(f"serving {server.url}", flush=True)
            server.serve_forever()
            if server.failure:
                raise server.failure
    except DefectoryError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 0
    return 0
