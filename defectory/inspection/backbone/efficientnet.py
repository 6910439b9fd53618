"""EfficientNet-Lite0, cut off after the last features used, as an ONNX graph.

Source: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (2019), in the variant of
TensorFlow's authors for small devices: no squeeze and excitation, ReLU6 in place of swish.  The weights are theirs,
converted to torch's format by ML Illustrated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from defectory.inspection.backbone.graph import ConvolutionGraph
from defectory.inspection.backbone.weights import EFFICIENTNET_LITE0

# (expansion, channels, blocks, stride of the first, kernel) of each stage, as in table 1 of the paper
_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
_BATCH_NORM_EPSILON = 1e-3

FEATURES = ("block9",)
"""The output at stride 16, of 112 channels, after the first of the 5x5 kernels there: earlier ones mark a surface's
noise, later ones miss small defects.  Chosen on photos that no benchmark tests on.
"""

MEAN = (127 / 255,) * 3
STD = (128 / 255,) * 3


def build_backbone(weights: Mapping[str, NDArray[Any]], features: Sequence[str] = FEATURES) -> bytes:
    """EfficientNet-Lite0 up to the last of ``features``, as a serialised ONNX model of dynamic batch, height and width.

    The input ``image`` is float32 NCHW, RGB, normalised by the mean and deviation in the model's metadata.
    ``features`` are ``block<n>``, the output of residual block n (1..16), or ``expand<n>``, what block n expands its
    input to.

    Raises:
        WeightsError: ``weights`` lack a parameter, or one has the wrong shape.
        ValueError: there is no such feature.
    """
    graph = ConvolutionGraph(weights, EFFICIENTNET_LITE0, epsilon=_BATCH_NORM_EPSILON, padding="same")
    tensor = graph.convolve("image", "_conv_stem", "_bn0", (3, 32), kernel=3, stride=2, clip=True)
    channels, block = 32, 0
    for expansion, width, repeats, first_stride, kernel in _STAGES:
        for repeat in range(repeats):
            block += 1
            stride = first_stride if repeat == 0 else 1
            tensor = _add_block(graph, tensor, block, (channels, width), expansion, kernel, stride)
            channels = width
    return graph.serialise(tuple(features), mean=MEAN, std=STD)


def _add_block(
    graph: ConvolutionGraph,
    tensor: str,
    block: int,
    channels: tuple[int, int],
    expansion: int,
    kernel: int,
    stride: int,
) -> str:
    """An inverted residual block; returns the name of its output."""
    # Features count from 1, as MobileNetV2's do; the weights' own names from 0.
    prefix = f"_blocks.{block - 1}"
    before, after = channels
    hidden = before * expansion
    output = tensor
    if expansion > 1:
        output = graph.convolve(output, f"{prefix}._expand_conv", f"{prefix}._bn0", (before, hidden), clip=True)
        graph.outputs[f"expand{block}"] = (output, hidden)
    output = graph.convolve(
        output,
        f"{prefix}._depthwise_conv",
        f"{prefix}._bn1",
        (hidden, hidden),
        kernel=kernel,
        stride=stride,
        depthwise=True,
        clip=True,
    )
    output = graph.convolve(output, f"{prefix}._project_conv", f"{prefix}._bn2", (hidden, after))
    if stride == 1 and before == after:
        output = graph.add(tensor, output, f"block{block}")
    graph.outputs[f"block{block}"] = (output, after)
    return output
