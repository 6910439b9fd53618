"""Entry point of hosting: the functions that SageMaker's scikit-learn container calls, and a server of its own.

In the container its toolkit imports this module and calls ``model_fn`` once and the other three for each image
(https://github.com/aws/sagemaker-scikit-learn-container, ``serving.py``); so does the local cloud.  The container has
its own numpy loaded by then, of the same ABI as ours.

``python inference.py`` serves the same by HTTP, for containers without that toolkit.  There it asks for no token,
because SageMaker has authenticated whoever calls and sends none, and takes any ``Host``, because it knows the container
by a name of its own; only a container listens on more than loopback here.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from http import HTTPStatus
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
sys.path[:0] = [str(SOURCE / "packages"), str(SOURCE)]

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from defectory.door import TOKEN_VARIABLE, is_loopback  # noqa: E402
from defectory.errors import DefectoryError, ImageError  # noqa: E402
from defectory.inspection.lookout import LOOKOUT_MEDIA_TYPE, detect_anomalies_answer  # noqa: E402
from defectory.inspection.model import Model, load_model  # noqa: E402
from defectory.inspection.verdicts import Inspection, InspectionReply  # noqa: E402
from defectory.vision.images import MEDIA_TYPES, load_image  # noqa: E402

try:
    # The container answers by Flask, which takes these for answers; of any other error it makes a 500.
    from werkzeug.exceptions import HTTPException
    from werkzeug.wrappers import Response
except ImportError:  # outside of the container
    HTTPException = Exception  # type: ignore[assignment,misc]
    Response = None  # type: ignore[assignment,misc]


class Refusal(HTTPException):
    """An image that is none, with its HTTP status; callers find in the message what our own server answers."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        self.status_code, self.message = status, json.dumps({"error": {"code": code, "message": message}})
        if Response is None:
            super().__init__(self.message)
        else:
            super().__init__(self.message, Response(self.message, status, mimetype="application/json"))


def model_fn(model_dir: str) -> Model:
    """The model that was unpacked to ``model_dir``."""
    return load_model(Path(model_dir))


def input_fn(body: bytes | bytearray, content_type: str) -> NDArray[np.uint8]:
    """The image of a request."""
    if content_type.partition(";")[0].strip().lower() not in MEDIA_TYPES:
        message = f"Content-Type must be {' or '.join(MEDIA_TYPES)}, got {content_type!r}."
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    try:
        return load_image(bytes(body), name="request body")
    except ImageError as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, error.code, str(error)) from error


def predict_fn(image: NDArray[np.uint8], model: Model) -> Inspection:
    """What the model says of the image."""
    return model.inspect(image)


def output_fn(inspection: Inspection, accept: str) -> tuple[str, str]:
    """The answer and its type; in Lookout for Vision's shape where ``accept`` asks for it."""
    if LOOKOUT_MEDIA_TYPE in (accept or ""):
        return json.dumps(detect_anomalies_answer(inspection)), LOOKOUT_MEDIA_TYPE
    return InspectionReply.of(inspection).model_dump_json(), "application/json"


def main() -> int:
    parser = argparse.ArgumentParser(description="Serve the model in SM_MODEL_DIR by HTTP.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")))
    arguments = parser.parse_args()
    # SageMaker's toolkit brings a server of its own.
    from defectory.inspection.serving import InspectionServer

    try:
        # Who tries it out may give one.
        token = os.environ.get(TOKEN_VARIABLE) or None
        names = () if is_loopback(arguments.host) else None
        with InspectionServer(arguments.host, arguments.port, token=token, names=names) as server:
            server.load(lambda: model_fn(os.environ.get("SM_MODEL_DIR", "/opt/ml/model")))
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


if __name__ == "__main__":
    sys.exit(main())
