"""Entry point of hosting: the functions that SageMaker's scikit-learn container calls, and a server of its own.

In the container its toolkit imports this module and calls ``model_fn`` once and the other three for each request, an
image or JSON lines of images (``defectory.door.containers``, ``defectory.door.lines``).  The container has its own
numpy loaded by then, of the same ABI as ours.

``python inference.py`` serves the same by HTTP, for containers without that toolkit.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
sys.path[:0] = [str(SOURCE / "packages"), str(SOURCE)]

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from defectory.door.containers import ImageLines, read_request, run_server  # noqa: E402
from defectory.door.lines import JSON_LINES, answer_lines  # noqa: E402
from defectory.inspection.lookout import LOOKOUT_MEDIA_TYPE, detect_anomalies_answer  # noqa: E402
from defectory.inspection.model import Model, load_model  # noqa: E402
from defectory.inspection.verdicts import Inspection, InspectionReply  # noqa: E402
from defectory.vision.images import load_image  # noqa: E402


def model_fn(model_dir: str) -> Model:
    """The model that was unpacked to ``model_dir``."""
    return load_model(Path(model_dir))


def input_fn(body: bytes | bytearray | str, content_type: str) -> NDArray[np.uint8] | ImageLines:
    """The image of a request, or the lines of a transform job."""
    return read_request(body, content_type)


def predict_fn(request: NDArray[np.uint8] | ImageLines, model: Model) -> Inspection | bytes:
    """What the model says of the image, or a line of that for each image."""
    if isinstance(request, ImageLines):
        return answer_lines(request.body, lambda file: _answer(model, file))
    return model.inspect(request)


def output_fn(inspection: Inspection | bytes, accept: str) -> tuple[str, str]:
    """The answer and its type; that of one image in Lookout for Vision's shape where ``accept`` asks for it."""
    if isinstance(inspection, bytes):
        return inspection.decode(), JSON_LINES
    if LOOKOUT_MEDIA_TYPE in (accept or ""):
        return json.dumps(detect_anomalies_answer(inspection)), LOOKOUT_MEDIA_TYPE
    return InspectionReply.of(inspection).model_dump_json(), "application/json"


def _answer(model: Model, file: bytes) -> bytes:
    return InspectionReply.of(model.inspect(load_image(file, name="image"))).model_dump_json().encode()


def main() -> int:
    # SageMaker's toolkit brings a server of its own.
    from defectory.inspection.serving import InspectionServer

    return run_server(InspectionServer, model_fn)


if __name__ == "__main__":
    sys.exit(main())
