"""Entry point of hosting a detector: the functions that SageMaker's scikit-learn container calls, and a server.

As ``models/inspection/inference.py``: the toolkit calls ``model_fn`` once and the other three for each request, an
image or JSON lines of images (``defectory.door.lines``), and ``python inference.py`` serves the same by HTTP, for
containers without that toolkit.
"""

from __future__ import annotations

import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
sys.path[:0] = [str(SOURCE / "packages"), str(SOURCE)]

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from defectory.detection.detectors.detector import DetectionReply, Detector, load_detector  # noqa: E402
from defectory.door.containers import ImageLines, read_request, run_server  # noqa: E402
from defectory.door.lines import JSON_LINES, answer_lines  # noqa: E402
from defectory.vision.images import load_image  # noqa: E402


def model_fn(model_dir: str) -> Detector:
    """The detector that was unpacked to ``model_dir``."""
    return load_detector(Path(model_dir))


def input_fn(body: bytes | bytearray | str, content_type: str) -> NDArray[np.uint8] | ImageLines:
    """The image of a request, or the lines of a transform job."""
    return read_request(body, content_type)


def predict_fn(request: NDArray[np.uint8] | ImageLines, detector: Detector) -> DetectionReply | bytes:
    """The objects on the image, or a line of them for each image."""
    if isinstance(request, ImageLines):
        return answer_lines(request.body, lambda file: _answer(detector, file))
    return detector.reply(request)


def output_fn(reply: DetectionReply | bytes, accept: str) -> tuple[str, str]:
    """The answer and its type: JSON, or lines of it, whatever ``accept`` asks for."""
    if isinstance(reply, bytes):
        return reply.decode(), JSON_LINES
    return reply.model_dump_json(), "application/json"


def _answer(detector: Detector, file: bytes) -> bytes:
    return detector.reply(load_image(file, name="image")).model_dump_json().encode()


def main() -> int:
    # SageMaker's toolkit brings a server of its own.
    from defectory.detection.serving import DetectionServer

    return run_server(DetectionServer, model_fn)


if __name__ == "__main__":
    sys.exit(main())
