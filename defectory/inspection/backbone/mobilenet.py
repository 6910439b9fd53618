"""The embedded backbone: MobileNetV2, cut off after the last features used, as an ONNX graph.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018), weights by torchvision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from defectory import __version__
from defectory.inspection.backbone.weights import WeightsError

# (expansion, channels, blocks, stride of the first) of each stage, as in table 2 of the paper
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_BATCH_NORM_EPSILON = 1e-5
_OPSET, _IR_VERSION = 17, 8

FEATURES = ("block10", "block13")
"""Outputs at stride 16, of 64 and 96 channels: earlier ones mark a surface's noise, later ones miss small defects."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def build_backbone(weights: Mapping[str, NDArray[Any]], features: Sequence[str] = FEATURES) -> bytes:
    """MobileNetV2 up to the last of ``features``, as a serialised ONNX model of dynamic batch, height and width.

    Batch norms are folded into the convolutions; weights are kept in half precision and widened on load.  The input
    ``image`` is float32 NCHW, RGB, normalised by the mean and deviation in the model's metadata.  ``features`` are
    ``block<n>``, the output of residual block n (1..17), or ``expand<n>``, what block n expands its input to.

    Raises:
        WeightsError: ``weights`` lack a parameter, or one has the wrong shape.
    """
    graph = _Graph(weights)
    name = graph.convolve("image", "features.0.0", "features.0.1", stride=2, clip=True)
    channels, block = 32, 0
    for expansion, width, repeats, first_stride in _STAGES:
        for repeat in range(repeats):
            block += 1
            name = graph.add_block(name, block, channels, width, expansion, first_stride if repeat == 0 else 1)
            channels = width
    try:
        outputs = {feature: graph.outputs[feature] for feature in features}
    except KeyError as error:
        raise ValueError(f"no feature {error} among {sorted(graph.outputs)}") from None
    return graph.serialise(outputs)


class _Graph:
    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self.outputs: dict[str, tuple[str, int]] = {}
        for bound, value in (("low", 0.0), ("high", 6.0)):
            self._initializers[bound] = numpy_helper.from_array(np.array(value, np.float32), bound)

    def add_block(self, source: str, block: int, channels: int, width: int, expansion: int, stride: int) -> str:
        """An inverted residual block; returns the name of its output."""
        prefix, step, hidden = f"features.{block}.conv", 0, channels * expansion
        name = source
        if expansion > 1:
            name = self.convolve(name, f"{prefix}.0.0", f"{prefix}.0.1", clip=True)
            self.outputs[f"expand{block}"] = (name, hidden)
            step = 1
        name = self.convolve(name, f"{prefix}.{step}.0", f"{prefix}.{step}.1", stride=stride, groups=hidden, clip=True)
        name = self.convolve(name, f"{prefix}.{step + 1}", f"{prefix}.{step + 2}")
        if stride == 1 and channels == width:
            name = self._add("Add", [source, name], f"block{block}")
        self.outputs[f"block{block}"] = (name, width)
        return name

    def convolve(
        self, source: str, weight: str, norm: str, *, stride: int = 1, groups: int = 1, clip: bool = False
    ) -> str:
        """A convolution with its batch norm folded in, and a ReLU6 where ``clip``."""
        kernel = self._parameter(f"{weight}.weight").astype(np.float64)
        mean, variance, scale, shift = (
            self._parameter(f"{norm}.{part}").astype(np.float64)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        if kernel.ndim != 4 or mean.shape != kernel.shape[:1]:
            raise WeightsError(f"The weights are not MobileNetV2's: {weight}.weight has shape {kernel.shape}.")
        gain = scale / np.sqrt(variance + _BATCH_NORM_EPSILON)
        inputs = [
            source,
            self._keep(f"{weight}.weight", kernel * gain[:, None, None, None]),
            self._keep(f"{weight}.bias", shift - mean * gain),
        ]
        size = kernel.shape[-1]
        padding = (size - 1) // 2
        name = self._add(
            "Conv",
            inputs,
            weight,
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[padding] * 4,
            group=groups,
        )
        return self._add("Clip", [name, "low", "high"], f"{weight}.clipped") if clip else name

    def serialise(self, outputs: Mapping[str, tuple[str, int]]) -> bytes:
        """The model with what its outputs need, and nothing else."""
        needed = {name for name, _ in outputs.values()}
        nodes: list[onnx.NodeProto] = []
        for node in reversed(self._nodes):
            if needed & set(node.output):
                needed |= set(node.input)
                nodes.insert(0, node)
        nodes += [helper.make_node("Identity", [name], [feature]) for feature, (name, _) in outputs.items()]
        graph = helper.make_graph(
            nodes,
            "mobilenet_v2",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "height", "width"])],
            [
                helper.make_tensor_value_info(feature, TensorProto.FLOAT, ["n", channels, None, None])
                for feature, (_, channels) in outputs.items()
            ],
            [tensor for name, tensor in self._initializers.items() if name in needed],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="defectory")
        model.producer_version = __version__
        model.ir_version = _IR_VERSION
        helper.set_model_props(
            model,
            {
                "name": "mobilenet_v2",
                "mean": ",".join(map(str, IMAGENET_MEAN)),
                "std": ",".join(map(str, IMAGENET_STD)),
                "features": ",".join(outputs),
            },
        )
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))

    def _parameter(self, name: str) -> NDArray[Any]:
        try:
            return self._weights[name]
        except KeyError:
            raise WeightsError(f"The weights are not MobileNetV2's: they lack {name}.") from None

    def _keep(self, name: str, values: NDArray[np.float64]) -> str:
        stored = f"{name}.half"
        self._initializers[stored] = numpy_helper.from_array(values.astype(np.float16), stored)
        return self._add("Cast", [stored], name, to=TensorProto.FLOAT)

    def _add(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:  # noqa: ANN401
        output = name if operator == "Cast" else f"{name}.out"
        self._nodes.append(helper.make_node(operator, inputs, [output], name=f"{operator}.{name}", **attributes))
        return output
