"""Entry point of hosting: the functions that SageMaker's scikit-learn container calls, and a server of its own.

In the container its toolkit imports this module and calls ``model_fn`` once and the other three for each image
(``defectory.door.containers``).  The container has its own numpy loaded by then, of the same ABI as ours.

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

from defectory.door.containers import read_image, run_server  # noqa: E402
from defectory.inspection.lookout import LOOKOUT_MEDIA_TYPE, detect_anomalies_answer  # noqa: E402
from defectory.inspection.model import Model, load_model  # noqa: E402
from defectory.inspection.verdicts import Inspection, InspectionReply  # noqa: E402


def model_fn(model_dir: str) -> Model:
    """The model that was unpacked to ``model_dir``."""
    return load_model(Path(model_dir))


def input_fn(body: bytes | bytearray, content_type: str) -> NDArray[np.uint8]:
    """The image of a request."""
    return read_image(body, content_type)


def predict_fn(image: NDArray[np.uint8], model: Model) -> Inspection:
    """What the model says of the image."""
    return model.inspect(image)


def output_fn(inspection: Inspection, accept: str) -> tuple[str, str]:
    """The answer and its type; in Lookout for Vision's shape where ``accept`` asks for it."""
    if LOOKOUT_MEDIA_TYPE in (accept or ""):
        return json.dumps(detect_anomalies_answer(inspection)), LOOKOUT_MEDIA_TYPE
    return InspectionReply.of(inspection).model_dump_json(), "application/json"


def main() -> int:
    # SageMaker's toolkit brings a server of its own.
    from defectory.inspection.serving import InspectionServer

    return run_server(InspectionServer, model_fn)


if __name__ == "__main__":
    sys.exit(main())
