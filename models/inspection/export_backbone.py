"""Export a vision transformer of the DINOv2 family as a backbone: a larger one than the embedded, for the same bundle.

    python models/inspection/export_backbone.py dinov2_vits14_pretrain.pth --out models/inspection/backbone.onnx

The checkpoint is a state dict in DINOv2's naming: ``.npz``, or what torch saves, for which torch has to be installed
(any version, a GPU is not needed).  ViT-S, B and L with or without registers are known; the graph takes images of any
size divisible by the patch.  ``--backbone`` of ``defectory inspect train`` takes the result, and where it lies beside
this script, it goes into SageMaker's containers in place of the embedded one.

Source: Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision" (2023).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from defectory.archives import ArchiveError, Limits
from defectory.errors import DefectoryError, InputError
from defectory.inspection.backbone import Backbone
from defectory.inspection.bundle import read_arrays

HEAD_WIDTH = 64
# ViT-L in float32 has 1.2 GB.
LARGEST_CHECKPOINT = Limits(8 * 1024**3)
IMAGENET_MEAN, IMAGENET_STD = "0.485,0.456,0.406", "0.229,0.224,0.225"
_EPSILON = 1e-6
_OPSET, _IR_VERSION = 17, 8
# torch's bicubic interpolation, with which DINOv2 fits its position embedding to an image.
_CUBIC = -0.75

Weights = Mapping[str, NDArray[Any]]


def build_vit(weights: Weights, features: Sequence[int], *, name: str, head_width: int = HEAD_WIDTH) -> bytes:
    """The transformer as a serialised ONNX model with the tokens of patches after some blocks as its outputs.

    Args:
        weights: DINOv2's state dict.
        features: numbers of blocks, 1 for the first; each becomes an output ``block<n>`` of shape ``(n, width, h, w)``,
            passed through the final norm as DINOv2's own intermediate layers are.
        name: what model cards call it.
        head_width: width of an attention head.

    Raises:
        InputError: a parameter is missing or of the wrong shape, or a block does not exist.
    """
    return _Transformer(weights, head_width).export(features, name)


class _Transformer:
    def __init__(self, weights: Weights, head_width: int) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        patch = self._parameter("patch_embed.proj.weight", 4)
        self._width, self._patch = patch.shape[0], patch.shape[2]
        self._heads, rest = divmod(self._width, head_width)
        if rest or not self._heads:
            raise InputError("head_width", f"a divisor of the transformer's width, {self._width}", head_width)
        self._head_width = head_width
        self._depth = len({key.split(".")[1] for key in weights if key.startswith("blocks.")})

    def export(self, features: Sequence[int], name: str) -> bytes:
        for feature in features:
            if not 1 <= feature <= self._depth:
                raise InputError("features", f"numbers of blocks from 1 to {self._depth}", feature)
        grid = self._add(
            "Conv",
            "image",
            self._keep("patch_embed.proj.weight"),
            self._keep("patch_embed.proj.bias"),
            strides=[self._patch, self._patch],
        )
        shape = self._add("Shape", grid)
        tokens, leading = self._embed(grid, shape)
        outputs = []
        for block in range(1, max(features) + 1):
            tokens = self._block(tokens, f"blocks.{block - 1}")
            if block in features:
                patches = self._add(
                    "Slice", tokens, self._integers([leading]), self._integers([2**31]), self._integers([1])
                )
                columns = self._add("Transpose", self._norm(patches, "norm"), perm=[0, 2, 1])
                self._nodes.append(helper.make_node("Reshape", [columns, shape], [f"block{block}"]))
                outputs.append(f"block{block}")
        return self._serialise(outputs, name)

    def _embed(self, grid: str, shape: str) -> tuple[str, int]:
        """Tokens of the patches with their positions, class token and registers first, and how many those are."""
        positions = self._parameter("pos_embed", 3)[0]
        side = round((len(positions) - 1) ** 0.5)
        if side * side != len(positions) - 1 or positions.shape[1] != self._width:
            raise InputError("pos_embed", "one position for the class token and a square of them", positions.shape)
        square = positions[1:].T.reshape(1, self._width, side, side)
        size = self._add("Slice", shape, self._integers([2]), self._integers([4]))
        sizes = self._add("Concat", self._integers([1, self._width]), size, axis=0)
        fitted = self._add(
            "Resize",
            self._constant("positions", square),
            "",
            "",
            sizes,
            mode="cubic",
            coordinate_transformation_mode="half_pixel",
            cubic_coeff_a=_CUBIC,
        )
        placed = self._add("Add", grid, fitted)
        flat = self._add("Reshape", placed, self._integers([0, self._width, -1]))
        patches = self._add("Transpose", flat, perm=[0, 2, 1])
        first = [self._parameter("cls_token", 3)[0] + positions[:1]]
        if "register_tokens" in self._weights:
            first.append(self._parameter("register_tokens", 3)[0])
        extra = np.concatenate(first)[None]
        images = self._add("Slice", shape, self._integers([0]), self._integers([1]))
        repeats = self._add("Concat", images, self._integers(list(extra.shape[1:])), axis=0)
        leading = self._add("Expand", self._constant("leading", extra), repeats)
        return self._add("Concat", leading, patches, axis=1), extra.shape[1]

    def _block(self, tokens: str, block: str) -> str:
        attended = self._attention(self._norm(tokens, f"{block}.norm1"), block)
        tokens = self._add("Add", tokens, self._scale(attended, f"{block}.ls1.gamma"))
        hidden = self._gelu(self._linear(self._norm(tokens, f"{block}.norm2"), f"{block}.mlp.fc1"))
        return self._add("Add", tokens, self._scale(self._linear(hidden, f"{block}.mlp.fc2"), f"{block}.ls2.gamma"))

    def _attention(self, tokens: str, block: str) -> str:
        joint = self._linear(tokens, f"{block}.attn.qkv")
        split = self._add("Reshape", joint, self._integers([0, 0, 3, self._heads, self._head_width]))
        apart = self._add("Transpose", split, perm=[2, 0, 3, 1, 4])
        query, key, value = (self._add("Gather", apart, self._integer(index), axis=0) for index in range(3))
        scaled = self._add("Mul", query, self._constant("scale", np.float32(self._head_width**-0.5)))
        alike = self._add("MatMul", scaled, self._add("Transpose", key, perm=[0, 1, 3, 2]))
        mixed = self._add("MatMul", self._add("Softmax", alike, axis=-1), value)
        joined = self._add(
            "Reshape", self._add("Transpose", mixed, perm=[0, 2, 1, 3]), self._integers([0, 0, self._width])
        )
        return self._linear(joined, f"{block}.attn.proj")

    def _gelu(self, source: str) -> str:
        scaled = self._add("Mul", source, self._constant("root", np.float32(0.5**0.5)))
        raised = self._add("Add", self._add("Erf", scaled), self._constant("one", np.float32(1)))
        return self._add("Mul", self._add("Mul", source, raised), self._constant("half", np.float32(0.5)))

    def _norm(self, source: str, name: str) -> str:
        weight, bias = self._keep(f"{name}.weight"), self._keep(f"{name}.bias")
        return self._add("LayerNormalization", source, weight, bias, epsilon=_EPSILON, axis=-1)

    def _linear(self, source: str, name: str) -> str:
        product = self._add("MatMul", source, self._keep(f"{name}.weight", transposed=True))
        return self._add("Add", product, self._keep(f"{name}.bias"))

    def _scale(self, source: str, name: str) -> str:
        return self._add("Mul", source, self._keep(name)) if name in self._weights else source

    def _parameter(self, name: str, dimensions: int) -> NDArray[np.float32]:
        try:
            values = np.asarray(self._weights[name], np.float32)
        except KeyError:
            raise InputError("checkpoint", f"a state dict of DINOv2, with {name}") from None
        if values.ndim != dimensions:
            raise InputError(f"checkpoint, {name}", f"of {dimensions} dimensions", values.shape)
        return values

    def _keep(self, name: str, *, transposed: bool = False) -> str:
        if name not in self._weights:
            raise InputError("checkpoint", f"a state dict of DINOv2, with {name}")
        values = np.asarray(self._weights[name], np.float32)
        return self._constant(name, values.T if transposed else values)

    def _constant(self, name: str, values: NDArray[np.float32] | np.float32) -> str:
        """A parameter in half precision, widened on load."""
        if f"{name}.half" not in self._initializers:
            half = np.ascontiguousarray(values).reshape(np.shape(values)).astype(np.float16)
            if not np.isfinite(half).all():
                raise InputError(f"checkpoint, {name}", "numbers that half precision holds")
            self._initializers[f"{name}.half"] = numpy_helper.from_array(half, f"{name}.half")
            self._nodes.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
        return name

    def _integers(self, values: Sequence[int]) -> str:
        name = f"integers {' '.join(map(str, values))}"
        self._initializers[name] = numpy_helper.from_array(np.array(values, np.int64), name)
        return name

    def _integer(self, value: int) -> str:
        name = f"integer {value}"
        self._initializers[name] = numpy_helper.from_array(np.int64(value), name)
        return name

    def _add(self, operator: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401
        output = f"{operator}.{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def _serialise(self, outputs: Sequence[str], name: str) -> bytes:
        graph = helper.make_graph(
            self._nodes,
            "vision_transformer",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "height", "width"])],
            [
                helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", self._width, None, None])
                for output in outputs
            ],
            list(self._initializers.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="defectory")
        model.ir_version = _IR_VERSION
        properties = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "multiple": str(self._patch)}
        helper.set_model_props(model, {"name": name, "features": ",".join(outputs), **properties})
        onnx.checker.check_model(model)
        return model.SerializeToString(deterministic=True)


def read_checkpoint(path: Path) -> dict[str, NDArray[Any]]:
    """The state dict in ``path``, by parameter name.

    Raises:
        InputError: it cannot be read, or torch would be needed and is not installed.
    """
    try:
        if path.suffix == ".npz":
            with path.open("rb") as file:
                return read_arrays(file, LARGEST_CHECKPOINT)
        import torch
    except ImportError:
        fix = "Install torch, or save the state dict as .npz where torch is."
        raise InputError("checkpoint", "an .npz file where torch is not installed", str(path), fix) from None
    except (OSError, ArchiveError) as error:
        raise InputError("checkpoint", f"a state dict that can be read ({error})", str(path)) from error
    try:
        # Nothing but tensors: a checkpoint is a stranger's file.
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name: values.float().numpy() for name, values in state.items()}
    except Exception as error:  # torch meets broken files with many kinds
        raise InputError("checkpoint", f"a state dict that can be read ({error})", str(path)) from error


def main() -> int:
    parser = argparse.ArgumentParser(description="Export a vision transformer of the DINOv2 family as a backbone.")
    parser.add_argument("checkpoint", type=Path, help="its state dict: .pth (needs torch) or .npz")
    parser.add_argument("--out", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--features", type=int, nargs="+", default=None, help="blocks to use; the last by default")
    parser.add_argument("--head-width", type=int, default=HEAD_WIDTH, help="width of an attention head")
    arguments = parser.parse_args()
    try:
        weights = read_checkpoint(arguments.checkpoint)
        blocks = [int(key.split(".")[1]) + 1 for key in weights if key.startswith("blocks.")]
        features = arguments.features or [max(blocks, default=1)]
        name = arguments.checkpoint.stem
        content = build_vit(weights, features, name=name, head_width=arguments.head_width)
        backbone = Backbone(content)
        arguments.out.write_bytes(content)
    except OSError as error:
        print(f"{arguments.out}: cannot be written ({error.strerror})", file=sys.stderr)
        return 1
    except DefectoryError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return error.exit_code
    outputs = ", ".join(backbone.feature_names)
    print(f"{arguments.out}: {name}, {len(content) / 1e6:.1f} MB, {outputs}, sizes divisible by {backbone.multiple}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
