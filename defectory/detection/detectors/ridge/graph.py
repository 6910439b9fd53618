"""The ridge detector's network: a frozen backbone's graph, on which heads are grown.

It works as a two-stage detector does (Ren et al., "Faster R-CNN", 2015), with linear heads:

- a *pyramid*: at each stride the maps of all strides side by side, each also averaged over 3x3 places for context;
- *proposals*: at each place of each stride a score a class and a box, decoded; the best that do not overlap;
- a *region* head: projected maps pooled within each proposal (RoIAlign), from which come scores and a finer box.

The same graph gives the features that a head is trained on and then, once the head is in it, what the head answers: so
nothing can differ between training and use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

IMAGE = "image"
SCORES, BOXES = "scores", "boxes"

ANCHORS = {8: 36.0, 16: 90.0, 32: 220.0}
"""By stride, the side in pixels that boxes are told in multiples of."""

_EXPONENTS = 3.0
_SMALLEST_REGION = 4.0
_TYPICAL_SIDE = 64.0


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """One of the backbone's outputs: its name, channels and stride."""

    name: str
    channels: int
    stride: int


@dataclass(frozen=True, slots=True)
class RegionOptions:
    """How regions are looked at: the projected maps at ``grid`` x ``grid`` places, for where and what they are, and the
    coarser maps with all their channels at ``summary`` x ``summary``, for what they are; with a margin so that they are
    ``context`` times as large as the proposal; at most ``proposals`` of them, of which no two overlap by more than
    ``overlap``.
    """

    grid: int = 6
    summary: int = 1
    context: float = 1.5
    proposals: int = 96
    overlap: float = 0.75


class DetectorGraph:
    """A backbone's graph that heads are added to.

    Args:
        backbone: the serialised model, whose input is ``image``.
        maps: its outputs to use, finest first, each of twice the stride of the one before.
    """

    def __init__(self, backbone: bytes, maps: Sequence[FeatureMap]) -> None:
        self._model = onnx.load_from_string(backbone)
        self._graph = self._model.graph
        self._names = 0
        self.maps = tuple(maps)
        self._contexts = self._add_contexts()
        self.pyramid = self._build_pyramid()

    @property
    def width(self) -> int:
        """Channels of each level of the pyramid: the maps' own, each with its averages after it."""
        return 2 * sum(item.channels for item in self.maps)

    def own_channels(self) -> NDArray[np.intp]:
        """The places, among a level's channels, of the maps' own."""
        offset, places = 0, []
        for item in self.maps:
            places.append(np.arange(offset, offset + item.channels))
            offset += 2 * item.channels
        return np.concatenate(places)

    def add_proposals(
        self, heads: Mapping[int, NDArray[np.float32]], classes: int, options: RegionOptions
    ) -> tuple[str, str]:
        """Add the first stage.

        Args:
            heads: by stride, weights ``(width + 1, classes + 4)`` from a level's channels and 1 to scores and a box.
            classes: how many.
            options: how many proposals.

        Returns:
            the names of their corners ``(n, 4)`` in the input's pixels and of their scores ``(n, classes)``.
        """
        boxes, scores = [], []
        for stride, level in self.pyramid.items():
            flat = self._answer_places(stride, heads[stride])
            flat = self._op("Transpose", self._op("Reshape", flat, self._ints([classes + 4, -1])), perm=[1, 0])
            score, shift = self._op2("Split", flat, self._ints([classes, 4]), axis=1)
            side = self._floats(ANCHORS[stride])
            boxes.append(self._decode(*self._centres(level, stride), shift, side, side))
            scores.append(score)
        corners = self._op("Concat", *boxes, axis=0)
        corners = self._op("Min", self._op("Max", corners, self._floats(0.0)), self._input_size())
        all_scores = self._op("Concat", *scores, axis=0)
        best = self._op("ReduceMax", all_scores, axes=[1], keepdims=0)
        chosen = self._op(
            "NonMaxSuppression",
            self._op("Unsqueeze", corners, self._ints([0])),
            self._op("Unsqueeze", best, self._ints([0, 1])),
            self._ints([options.proposals]),
            self._floats([options.overlap]),
        )
        rows = self._op("Gather", chosen, self._ints(2), axis=1)
        return self._op("Gather", corners, rows), self._op("Gather", all_scores, rows)

    def add_projection(self, projections: Sequence[NDArray[np.float32]]) -> str:
        """Add the map that regions are pooled from: at the finest stride, the sum of all maps' projections.

        Args:
            projections: for each map weights ``(channels + 1, depth)``, the last row added to each.
        """
        total = ""
        for item, weights in zip(self.maps, projections, strict=True):
            part = self._linear(item.name, weights)
            ratio = item.stride // self.maps[0].stride
            if ratio > 1:
                part = self._op(
                    "Resize", part, "", self._floats([1, 1, ratio, ratio]),
                    mode="linear", coordinate_transformation_mode="half_pixel",
                )  # fmt: skip
            total = self._op("Add", total, part) if total else part
        return total

    def add_regions(self, projection: str, corners: str, scores: str, options: RegionOptions) -> str:
        """Add what a region head sees of each proposal: its pooled map, its scores, and its size.

        Returns:
            the name of a tensor ``(n, region_width)``.
        """
        centre_x, centre_y, width, height = self._measure(corners)
        reach_x, reach_y = (self._op("Mul", side, self._floats(options.context / 2)) for side in (width, height))
        regions = self._op(
            "Concat",
            self._op("Sub", centre_x, reach_x), self._op("Sub", centre_y, reach_y),
            self._op("Add", centre_x, reach_x), self._op("Add", centre_y, reach_y),
            axis=1,
        )  # fmt: skip
        rows = self._op("Gather", self._op("Shape", corners), self._ints([0]))
        image = self._op("ConstantOfShape", rows, value=helper.make_tensor("zero", TensorProto.INT64, [1], [0]))
        fine = self._pool(projection, regions, image, self.maps[0].stride, options.grid)
        whole = [self._pool(item.name, regions, image, item.stride, options.summary) for item in self.maps[1:]]
        sizes = [self._op("Log", self._op("Div", side, self._floats(_TYPICAL_SIDE))) for side in (width, height)]
        return self._op("Concat", fine, *whole, scores, *sizes, axis=1)

    def _pool(self, tensor: str, regions: str, image: str, stride: int, grid: int) -> str:
        """A map at ``grid`` x ``grid`` places of each region, ``(n, channels * grid ** 2)``."""
        pooled = self._op(
            "RoiAlign", tensor, regions, image,
            output_height=grid, output_width=grid, sampling_ratio=2 if grid > 2 else 4,
            spatial_scale=1 / stride, coordinate_transformation_mode="half_pixel",
        )  # fmt: skip
        return self._op("Flatten", pooled, axis=1)

    def region_width(self, depth: int, classes: int, options: RegionOptions) -> int:
        """How many features `add_regions` gives for a projection of ``depth``."""
        coarse = sum(item.channels for item in self.maps[1:])
        return depth * options.grid**2 + coarse * options.summary**2 + classes + 2

    def add_region_head(
        self, features: str, corners: str, weights: NDArray[np.float32], classes: int
    ) -> tuple[str, str]:
        """Add the second stage: finer corners and scores, from weights ``(features + 1, classes + 4)``."""
        answer = self._op("Gemm", features, self._floats(weights[:-1]), self._floats(weights[-1]))
        scores, shift = self._op2("Split", answer, self._ints([classes, 4]), axis=1)
        return self._decode(*self._measure(corners)[:2], shift, *self._measure(corners)[2:]), scores

    def add_answer(self, corners: str, scores: str) -> dict[str, str]:
        """Add the outputs as `OutputSpec` has ``queries``: centres and sides in shares of the input, and scores."""
        centre_x, centre_y, width, height = self._measure(corners, smallest=0.0)
        shares = self._op("Div", self._op("Concat", centre_x, centre_y, width, height, axis=1), self._input_size())
        first = self._ints([0])
        return {BOXES: self._op("Unsqueeze", shares, first), SCORES: self._op("Unsqueeze", scores, first)}

    def serialise(
        self, outputs: Mapping[str, str], metadata: Mapping[str, str] | None = None, *, from_maps: bool = False
    ) -> bytes:
        """The model that gives ``outputs`` (tensors by the outputs' names) and has what they need, and nothing else.

        Args:
            outputs: see above.
            metadata: to be in it.
            from_maps: its inputs are the maps, as `maps` names them, in place of an image.
        """
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        given = {item.name for item in self.maps} if from_maps else set()
        if from_maps:
            del model.graph.input[:]
            for item in self.maps:
                shape = [1, item.channels, None, None]
                model.graph.input.append(helper.make_tensor_value_info(item.name, TensorProto.FLOAT, shape))
        needed = set(outputs.values())
        nodes: list[onnx.NodeProto] = []
        for node in reversed(model.graph.node):
            if needed & set(node.output) - given:
                needed |= set(node.input)
                nodes.insert(0, node)
        kept = [tensor for tensor in model.graph.initializer if tensor.name in needed]
        for part, values in (("node", nodes), ("initializer", kept), ("output", [])):
            copies = [type(value).FromString(value.SerializeToString()) for value in values]
            del getattr(model.graph, part)[:]
            getattr(model.graph, part).extend(copies)
        for name, tensor in outputs.items():
            model.graph.node.append(helper.make_node("Identity", [tensor], [name]))
            model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        if metadata is not None:
            helper.set_model_props(model, dict(metadata))
        return bytes(model.SerializeToString(deterministic=True))

    def _add_contexts(self) -> list[str]:
        """Each map with its averages over 3x3 places after it."""
        around = {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 0}
        return [
            self._op("Concat", item.name, self._op("AveragePool", item.name, **around), axis=1) for item in self.maps
        ]

    def _build_pyramid(self) -> dict[int, str]:
        return {
            target.stride: self._op(
                "Concat",
                *(
                    self._at(context, item.stride, target.stride)
                    for context, item in zip(self._contexts, self.maps, strict=True)
                ),
                axis=1,
            )
            for target in self.maps
        }

    def _answer_places(self, stride: int, weights: NDArray[np.float32]) -> str:
        """What weights ``(width + 1, outputs)`` make of a level, each map's share at the coarser of both strides."""
        total, row = "", 0
        for context, item in zip(self._contexts, self.maps, strict=True):
            own = weights[row : row + 2 * item.channels]
            row += 2 * item.channels
            intercept = np.zeros_like(weights[-1:]) if total else weights[-1:]
            linear = np.concatenate([own, intercept])
            if item.stride > stride:
                part = self._at(self._linear(context, linear), item.stride, stride)
            else:
                part = self._linear(self._at(context, item.stride, stride), linear)
            total = self._op("Add", total, part) if total else part
        return total

    def _input_size(self) -> str:
        """Width, height, width and height of the input in pixels."""
        finest = self.maps[0]
        sides = self._op("Gather", self._op("Shape", finest.name), self._ints([3, 2, 3, 2]))
        return self._op("Mul", self._op("Cast", sides, to=TensorProto.FLOAT), self._floats(float(finest.stride)))

    def _at(self, level: str, stride: int, target: int) -> str:
        if stride > target:
            scales = self._floats([1, 1, stride / target, stride / target])
            nearest = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            return self._op("Resize", level, "", scales, mode="nearest", **nearest)
        if stride < target:
            ratio = [target // stride] * 2
            return self._op("AveragePool", level, kernel_shape=ratio, strides=ratio)
        return level

    def _centres(self, level: str, stride: int) -> tuple[str, str]:
        """Columns ``(n, 1)`` of the places' centres in the input's pixels."""
        shape = self._op("Shape", level)
        sides = [self._op("Gather", shape, self._ints(axis)) for axis in (3, 2)]
        grid = self._op("Gather", shape, self._ints([2, 3]))
        columns = []
        for side, axis in zip(sides, (0, 1), strict=True):
            places = self._op("Cast", self._op("Range", self._ints(0), side, self._ints(1)), to=TensorProto.FLOAT)
            at = self._op("Mul", self._op("Add", places, self._floats(0.5)), self._floats(float(stride)))
            spread = self._op("Expand", self._op("Unsqueeze", at, self._ints([axis])), grid)
            columns.append(self._op("Reshape", spread, self._ints([-1, 1])))
        return columns[0], columns[1]

    def _decode(self, centre_x: str, centre_y: str, shift: str, width: str, height: str) -> str:
        """Corners of boxes told by how far their centres are off, in sides, and by the logarithms of their sides."""
        off_x, off_y, log_width, log_height = self._columns(shift)
        x = self._op("Add", centre_x, self._op("Mul", off_x, width))
        y = self._op("Add", centre_y, self._op("Mul", off_y, height))
        limits = self._floats(-_EXPONENTS), self._floats(_EXPONENTS)
        half = self._floats(0.5)
        reach_x, reach_y = (
            self._op("Mul", self._op("Mul", self._op("Exp", self._op("Clip", value, *limits)), side), half)
            for value, side in ((log_width, width), (log_height, height))
        )
        return self._op(
            "Concat",
            self._op("Sub", x, reach_x), self._op("Sub", y, reach_y),
            self._op("Add", x, reach_x), self._op("Add", y, reach_y),
            axis=1,
        )  # fmt: skip

    def _measure(self, corners: str, smallest: float = _SMALLEST_REGION) -> tuple[str, str, str, str]:
        """Columns of the boxes' centres, widths and heights."""
        left, top, right, bottom = self._columns(corners)
        half, least = self._floats(0.5), self._floats(smallest)
        return (
            self._op("Mul", self._op("Add", left, right), half),
            self._op("Mul", self._op("Add", top, bottom), half),
            self._op("Max", self._op("Sub", right, left), least),
            self._op("Max", self._op("Sub", bottom, top), least),
        )

    def _columns(self, tensor: str) -> list[str]:
        return self._node("Split", [tensor, self._ints([1, 1, 1, 1])], 4, axis=1)

    def _linear(self, tensor: str, weights: NDArray[np.float32]) -> str:
        """A 1x1 convolution by weights ``(channels + 1, outputs)``."""
        kernel = np.ascontiguousarray(weights[:-1].T[:, :, None, None])
        return self._op("Conv", tensor, self._floats(kernel), self._floats(weights[-1]))

    def _floats(self, values: Any) -> str:  # noqa: ANN401
        return self._constant(np.asarray(values, np.float32))

    def _ints(self, values: Any) -> str:  # noqa: ANN401
        return self._constant(np.asarray(values, np.int64))

    def _constant(self, values: NDArray[Any]) -> str:
        self._names += 1
        name = f"head.constant{self._names}"
        self._graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def _op(self, operator: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401
        return self._node(operator, list(inputs), 1, **attributes)[0]

    def _op2(self, operator: str, *inputs: str, **attributes: Any) -> tuple[str, str]:  # noqa: ANN401
        first, second = self._node(operator, list(inputs), 2, **attributes)
        return first, second

    def _node(self, operator: str, inputs: list[str], outputs: int, **attributes: Any) -> list[str]:  # noqa: ANN401
        self._names += 1
        names = [f"head.{operator}{self._names}.{number}" for number in range(outputs)]
        self._graph.node.append(helper.make_node(operator, inputs, names, **attributes))
        return names
