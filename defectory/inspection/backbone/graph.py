"""Convolutional networks of inverted residual blocks as ONNX graphs, made from a state dict without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from defectory import __version__
from defectory.inspection.backbone.weights import WeightsError, WeightsSource

_OPSET, _IR_VERSION = 17, 8

Padding = Literal["symmetric", "same"]
"""Zeros around a convolution's input: as many on each side, as torch has it; or as many in all as make the output
``ceil(size / stride)``, the odd one at the right and lower edge, as TensorFlow has it.
"""


class ConvolutionGraph:
    """An ONNX graph under construction: one float32 NCHW input ``image`` and named outputs.

    Batch norms are folded into the convolutions; weights are kept in half precision and widened on load.  ``outputs``
    are the features that can be asked for, each with the name of its tensor and its channels.

    Args:
        weights: the state dict.
        source: whose weights they are, for messages and the model's metadata.
        epsilon: what the batch norms add to a variance.
        padding: how convolutions are padded.
    """

    def __init__(
        self, weights: Mapping[str, NDArray[Any]], source: WeightsSource, *, epsilon: float, padding: Padding
    ) -> None:
        self.outputs: dict[str, tuple[str, int]] = {}
        self._weights = weights
        self._source = source
        self._epsilon = epsilon
        self._padding = padding
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        for bound, value in (("low", 0.0), ("high", 6.0)):
            self._initializers[bound] = numpy_helper.from_array(np.array(value, np.float32), bound)

    def convolve(
        self,
        tensor: str,
        weight: str,
        norm: str,
        channels: tuple[int, int],
        *,
        kernel: int = 1,
        stride: int = 1,
        depthwise: bool = False,
        clip: bool = False,
    ) -> str:
        """A convolution of ``tensor`` with its batch norm folded in, and a ReLU6 where ``clip``.

        Args:
            tensor: the name of its input.
            weight: what its parameter is called in the state dict, without ``.weight``.
            norm: what the batch norm after it is called there.
            channels: of input and output.
            kernel: the side of its kernel.
            stride: its stride.
            depthwise: whether each channel is convolved by itself.
            clip: whether the output is limited to 0..6.

        Returns:
            the name of the tensor that it gives.

        Raises:
            WeightsError: a parameter is missing or of the wrong shape.
        """
        before, after = channels
        kernels = self._parameter(f"{weight}.weight", (after, 1 if depthwise else before, kernel, kernel))
        mean, variance, scale, shift = (
            self._parameter(f"{norm}.{part}", (after,)) for part in ("running_mean", "running_var", "weight", "bias")
        )
        gain = scale / np.sqrt(variance + self._epsilon)
        inputs = [
            tensor,
            self._keep(f"{weight}.weight", kernels * gain[:, None, None, None]),
            self._keep(f"{weight}.bias", shift - mean * gain),
        ]
        pads: dict[str, Any] = {"pads": [(kernel - 1) // 2] * 4}
        if self._padding == "same":
            pads = {"auto_pad": "SAME_UPPER"}
        groups = before if depthwise else 1
        output = self._add(
            "Conv", inputs, weight, kernel_shape=[kernel, kernel], strides=[stride, stride], group=groups, **pads
        )
        return self._add("Clip", [output, "low", "high"], f"{weight}.clipped") if clip else output

    def add(self, first: str, second: str, name: str) -> str:
        """The sum of two tensors, as a tensor called after ``name``."""
        return self._add("Add", [first, second], name)

    def serialise(self, features: tuple[str, ...], *, mean: tuple[float, ...], std: tuple[float, ...]) -> bytes:
        """The model with what ``features`` need, and nothing else, as a serialised ONNX model.

        Its metadata name the network, its features, the ``mean`` and ``std`` of RGB in 0..1 that its input is
        normalised by, and the licence of its weights.

        Raises:
            ValueError: there is no such feature.
        """
        unknown = [feature for feature in features if feature not in self.outputs]
        if unknown:
            raise ValueError(f"no feature {', '.join(unknown)} among {sorted(self.outputs)}")
        outputs = {feature: self.outputs[feature] for feature in features}
        needed = {tensor for tensor, _ in outputs.values()}
        nodes: list[onnx.NodeProto] = []
        for node in reversed(self._nodes):
            if needed & set(node.output):
                needed |= set(node.input)
                nodes.insert(0, node)
        nodes += [helper.make_node("Identity", [tensor], [feature]) for feature, (tensor, _) in outputs.items()]
        graph = helper.make_graph(
            nodes,
            self._source.name,
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
                "name": self._source.name,
                "mean": ",".join(map(str, mean)),
                "std": ",".join(map(str, std)),
                "features": ",".join(outputs),
                "license": self._source.license,
                "notice": self._source.notice,
            },
        )
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))

    def _parameter(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        if name not in self._weights:
            raise self._foreign(f"they lack {name}")
        values = self._weights[name]
        if values.shape != shape:
            raise self._foreign(f"{name} has shape {values.shape} instead of {shape}")
        return values.astype(np.float64)

    def _foreign(self, reason: str) -> WeightsError:
        return WeightsError(f"The weights are not those of {self._source.title}: {reason}.")

    def _keep(self, name: str, values: NDArray[np.float64]) -> str:
        stored = f"{name}.half"
        self._initializers[stored] = numpy_helper.from_array(values.astype(np.float16), stored)
        return self._add("Cast", [stored], name, to=TensorProto.FLOAT)

    def _add(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:  # noqa: ANN401
        output = name if operator == "Cast" else f"{name}.out"
        self._nodes.append(helper.make_node(operator, inputs, [output], name=f"{operator}.{name}", **attributes))
        return output
