"""A detector that finds one cone on every image, in the middle: small, at once, and a real bundle."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from defectory.detection.detectors.card import DetectedClass, DetectorCard, InputSpec, OutputSpec
from defectory.detection.detectors.detector import Detector, assemble


def constant_detector(logit: float = 2.0) -> Detector:
    """Its score is ``sigmoid(logit)``, and the box takes the middle half of width and height."""
    answers = {"logits": [[[logit]]], "boxes": [[[0.5, 0.5, 0.5, 0.5]]]}
    arrays = {name: np.asarray(values, np.float32) for name, values in answers.items()}
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"{name}.value"], [name]) for name in arrays],
        "constant",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, values.shape) for name, values in arrays.items()],
        [numpy_helper.from_array(values, f"{name}.value") for name, values in arrays.items()],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    card = DetectorCard(
        created="2026-11-28",
        kind="onnx",
        classes=(DetectedClass(name="cone"),),
        input=InputSpec(name="image", height=64, width=64),
        output=OutputSpec(decoding="queries", scores="logits", boxes="boxes", slots=("cone",)),
    )
    return assemble(card, content)
