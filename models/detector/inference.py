"""Entry point of hosting a detector: the functions that SageMaker's scikit-learn container calls, and a server.

As ``models/inspection/inference.py``: the toolkit calls ``model_fn`` once and the other three for each image, and
``python inference.py`` serves the same by HTTP, for containers without that toolkit.
"""

from __future__ import annotations

import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
sys.path[:0] = [str(SOURCE / "packages"), str(SOURCE)]

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from defectory.detection.detectors.detector import DetectionReply, Detector, load_detector  # noqa: E402
from defectory.door.containers import read_image, run_server  # noqa: E402


def model_fn(model_dir: str) -> Detector:
    """The detector that was unpacked to ``model_dir``."""
    return load_detector(Path(model_dir))


def input_fn(body: bytes | bytearray, content_type: str) -> NDArray[np.uint8]:
    """The image of a request."""
    return read_image(body, content_type)


def predict_fn(image: NDArray[np.uint8], detector: Detector) -> DetectionReply:
    """The objects on the image."""
    return detector.reply(image)


def output_fn(reply: DetectionReply, accept: str) -> tuple[str, str]:
    """The answer and its type: JSON, whatever ``accept`` asks for."""
    return reply.model_dump_json(), "application/json"


def main() -> int:
    # SageMaker's toolkit brings a server of its own.
    from defectory.detection.serving import DetectionServer

    return run_server(DetectionServer, model_fn)


if __name__ == "__main__":
    sys.exit(main())
