"""A detector of one person and a yellow hard hat in fixed places: small, at once, and a real bundle that looks.

`compose` makes the scenes that it is for.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper
from PIL import Image

from defectory.detection.cutouts.library import CutOutLibrary
from defectory.detection.detectors.card import DetectedClass, DetectorCard, InputSpec, OutputSpec
from defectory.detection.detectors.detector import Detector, assemble

SIDE = 256
# Left, top, right, bottom, in shares of the image: where the person and the hat are put, and where they are looked for.
PERSON, HAT = (0.375, 0.2, 0.625, 0.95), (0.43, 0.17, 0.57, 0.27)
BODY, CROWN = (0.44, 0.35, 0.56, 0.75), (0.46, 0.18, 0.54, 0.23)
_INPUT = 64


def compose(*, person: bool = True, hat: bool = False) -> bytes:
    """A scene of embedded cut-outs on a light floor, as a JPEG."""
    floor = np.linspace(210, 235, SIDE)[:, None, None].repeat(SIDE, 1).repeat(3, 2)
    scene = Image.fromarray(floor.astype(np.uint8))
    wanted = [("person", "bare", PERSON)] * person + [("hard_hat", "yellow", HAT)] * hat
    library = CutOutLibrary.embedded()
    for label, variant, box in wanted:
        cutout = next(item for item in library.cutouts if item.label == label and variant in item.variant)
        left, top, right, bottom = (round(side * SIDE) for side in box)
        picture = Image.fromarray(cutout.rgba).resize((right - left, bottom - top))
        scene.paste(picture, (left, top), picture)
    content = io.BytesIO()
    scene.save(content, "JPEG", quality=92)
    return content.getvalue()


def hat_detector() -> Detector:
    """A person is darker than the floor, a hat redder than blue."""
    nodes, tensors = [], []

    def constant(name: str, values: object, kind: type = np.float32) -> str:
        tensors.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def mean(name: str, region: Sequence[float], channels: tuple[int, int]) -> str:
        """The mean of a region of the input."""
        left, top, right, bottom = (round(side * _INPUT) for side in region)
        starts = constant(f"{name}.starts", [channels[0], top, left], np.int64)
        ends = constant(f"{name}.ends", [channels[1], bottom, right], np.int64)
        axes = constant(f"{name}.axes", [1, 2, 3], np.int64)
        nodes.append(node("Slice", ["image", starts, ends, axes], f"{name}.region"))
        nodes.append(helper.make_node("ReduceMean", [f"{name}.region"], [name], keepdims=1, axes=[1, 2, 3]))
        return name

    def node(kind: str, inputs: list[str], output: str) -> NodeProto:
        return helper.make_node(kind, inputs, [output], name=output)

    body, red, blue = mean("body", BODY, (0, 3)), mean("red", CROWN, (0, 1)), mean("blue", CROWN, (2, 3))
    nodes += [
        node("Sub", [constant("floor", 0.75), body], "darker"),
        node("Mul", ["darker", constant("steep", 40.0)], "person"),
        node("Sub", [red, blue], "yellow"),
        node("Sub", ["yellow", constant("least", 0.25)], "yellower"),
        node("Mul", ["yellower", "steep"], "hat"),
        # Each of the two answers has the logit of its own class.
        node("Mul", ["person", constant("first", [[[1, 0], [0, 0]]])], "of_person"),
        node("Mul", ["hat", constant("second", [[[0, 0], [0, 1]]])], "of_hat"),
        node("Sum", ["of_person", "of_hat", constant("none", [[[0, -20], [-20, 0]]])], "flat"),
        node("Reshape", ["flat", constant("shape", [1, 2, 2], np.int64)], "logits"),
        node("Identity", [constant("places", [[_centred(PERSON), _centred(HAT)]])], "boxes"),
    ]
    graph = helper.make_graph(
        nodes,
        "hats",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, _INPUT, _INPUT])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2, 2]),
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 2, 4]),
        ],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    names = ("person", "hard_hat")
    card = DetectorCard(
        created="2026-11-28",
        kind="onnx",
        classes=tuple(DetectedClass(name=name) for name in names),
        input=InputSpec(name="image", height=_INPUT, width=_INPUT),
        output=OutputSpec(decoding="queries", scores="logits", boxes="boxes", slots=names),
    )
    return assemble(card, model.SerializeToString())


def _centred(box: Sequence[float]) -> list[float]:
    left, top, right, bottom = box
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
