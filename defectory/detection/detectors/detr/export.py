"""From a trained network to the ONNX model of a bundle."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import onnx
import torch

from defectory.detection.detectors.card import InputSpec, OutputSpec

SCORES, BOXES = "logits", "boxes"
# The library's checks of shapes are no part of a model.
_NO_CHECKS = "TRANSFORMERS_DISABLE_TORCH_CHECK"


class _RawHeads(torch.nn.Module):  # type: ignore[misc]
    """The network as `OutputSpec` has ``queries``."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.model = model

    def forward(self, image: Any) -> tuple[Any, Any]:  # noqa: ANN401
        output = self.model(pixel_values=image)
        return output.logits, output.pred_boxes


def describe_output(classes: Iterable[str]) -> OutputSpec:
    """How the exported model is read."""
    return OutputSpec(decoding="queries", scores=SCORES, boxes=BOXES, slots=tuple(classes))


def export(model: Any, spec: InputSpec) -> bytes:  # noqa: ANN401
    """The model as ONNX with its weights inside, for one image of the size that ``spec`` says.

    Nothing in it tells of the machine that it was made on.
    """
    heads = _RawHeads(model).cpu().eval()
    image = torch.zeros(1, 3, spec.height, spec.width)
    with _without_checks(), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            heads, (image,), input_names=[spec.name], output_names=[SCORES, BOXES], dynamo=True, verbose=False
        )
    exported = onnx.ModelProto.FromString(program.model_proto.SerializeToString())
    _forget(exported.graph)
    for function in exported.functions:
        _forget(function)
    return bytes(exported.SerializeToString(deterministic=True))


@contextmanager
def _without_checks() -> Iterator[None]:
    before = os.environ.get(_NO_CHECKS)
    os.environ[_NO_CHECKS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_NO_CHECKS]
        else:
            os.environ[_NO_CHECKS] = before


def _forget(graph: Any) -> None:  # noqa: ANN401
    """Leave out from which line of which file each part comes."""
    parts = [graph, *graph.node, *graph.value_info]
    if isinstance(graph, onnx.GraphProto):
        parts += [*graph.input, *graph.output, *graph.initializer]
    for part in parts:
        del part.metadata_props[:]
        part.doc_string = ""
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    _forget(inner)
