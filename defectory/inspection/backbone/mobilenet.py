"""MobileNetV2, cut off after the last features used, as an ONNX graph.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018), weights by torchvision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from defectory.inspection.backbone.graph import ConvolutionGraph
from defectory.inspection.backbone.weights import MOBILENET_V2

# (expansion, channels, blocks, stride of the first) of each stage, as in table 2 of the paper
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_BATCH_NORM_EPSILON = 1e-5

FEATURES = ("block10", "block13")
"""Outputs at stride 16, of 64 and 96 channels: earlier ones mark a surface's noise, later ones miss small defects."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def build_backbone(weights: Mapping[str, NDArray[Any]], features: Sequence[str] = FEATURES) -> bytes:
    """MobileNetV2 up to the last of ``features``, as a serialised ONNX model of dynamic batch, height and width.

    The input ``image`` is float32 NCHW, RGB, normalised by the mean and deviation in the model's metadata.
    ``features`` are ``block<n>``, the output of residual block n (1..17), or ``expand<n>``, what block n expands its
    input to.

    Raises:
        WeightsError: ``weights`` lack a parameter, or one has the wrong shape.
        ValueError: there is no such feature.
    """
    graph = ConvolutionGraph(weights, MOBILENET_V2, epsilon=_BATCH_NORM_EPSILON, padding="symmetric")
    tensor = graph.convolve("image", "features.0.0", "features.0.1", (3, 32), kernel=3, stride=2, clip=True)
    channels, block = 32, 0
    for expansion, width, repeats, first_stride in _STAGES:
        for repeat in range(repeats):
            block += 1
            tensor = _add_block(graph, tensor, block, channels, width, expansion, first_stride if repeat == 0 else 1)
            channels = width
    return graph.serialise(tuple(features), mean=IMAGENET_MEAN, std=IMAGENET_STD)


def _add_block(
    graph: ConvolutionGraph, tensor: str, block: int, channels: int, width: int, expansion: int, stride: int
) -> str:
    """An inverted residual block; returns the name of its output."""
    prefix, step, hidden = f"features.{block}.conv", 0, channels * expansion
    output = tensor
    if expansion > 1:
        output = graph.convolve(output, f"{prefix}.0.0", f"{prefix}.0.1", (channels, hidden), clip=True)
        graph.outputs[f"expand{block}"] = (output, hidden)
        step = 1
    depthwise = f"{prefix}.{step}"
    output = graph.convolve(
        output,
        f"{depthwise}.0",
        f"{depthwise}.1",
        (hidden, hidden),
        kernel=3,
        stride=stride,
        depthwise=True,
        clip=True,
    )
    output = graph.convolve(output, f"{prefix}.{step + 1}", f"{prefix}.{step + 2}", (hidden, width))
    if stride == 1 and channels == width:
        output = graph.add(tensor, output, f"block{block}")
    graph.outputs[f"block{block}"] = (output, width)
    return output
