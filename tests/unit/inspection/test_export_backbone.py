"""A vision transformer as a backbone: the same numbers as its definition, and accepted by the same bundle."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from defectory.errors import InputError
from defectory.inspection.backbone import Backbone
from defectory.inspection.model import load_model
from defectory.inspection.samples import write_samples
from defectory.inspection.training import TrainingOptions, train
from defectory.vision.images import load_image

SCRIPT = Path(__file__).parents[3] / "models" / "inspection" / "export_backbone.py"
WIDTH, HEADS, DEPTH, PATCH, SIDE = 16, 2, 3, 14, 5
State = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("export_backbone", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def random_state(*, registers: int = 0, seed: int = 0) -> State:
    """A state dict in DINOv2's naming, of a very small transformer with random weights that half precision holds."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int, around: float = 0.0) -> NDArray[np.float32]:
        return (around + 0.2 * rng.standard_normal(shape)).astype(np.float16).astype(np.float32)

    state = {
        "cls_token": draw(1, 1, WIDTH),
        "pos_embed": draw(1, 1 + SIDE * SIDE, WIDTH),
        "mask_token": draw(1, WIDTH),
        "patch_embed.proj.weight": draw(WIDTH, 3, PATCH, PATCH),
        "patch_embed.proj.bias": draw(WIDTH),
        "norm.weight": draw(WIDTH, around=1),
        "norm.bias": draw(WIDTH),
    }
    if registers:
        state["register_tokens"] = draw(1, registers, WIDTH)
    for block in (f"blocks.{number}" for number in range(DEPTH)):
        for norm in ("norm1", "norm2"):
            state |= {f"{block}.{norm}.weight": draw(WIDTH, around=1), f"{block}.{norm}.bias": draw(WIDTH)}
        shapes = {"attn.qkv": (3, 1), "attn.proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
        for layer, (out, of) in shapes.items():
            state[f"{block}.{layer}.weight"] = draw(out * WIDTH, of * WIDTH)
            state[f"{block}.{layer}.bias"] = draw(out * WIDTH)
        state |= {f"{block}.ls1.gamma": draw(WIDTH, around=1), f"{block}.ls2.gamma": draw(WIDTH, around=1)}
    return state


def reference(state: State, image: NDArray[np.uint8], block: int) -> NDArray[np.float64]:
    """The transformer by its definition, in numpy: tokens of the patches after ``block``, as a map."""
    weights = {name: values.astype(np.float64) for name, values in state.items()}
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    pixels = (image / 255 - mean) / std
    cells = pixels.reshape(SIDE, PATCH, SIDE, PATCH, 3).transpose(0, 2, 4, 1, 3).reshape(SIDE * SIDE, -1)
    patches = cells @ weights["patch_embed.proj.weight"].reshape(WIDTH, -1).T + weights["patch_embed.proj.bias"]
    positions = weights["pos_embed"][0]
    registers = weights.get("register_tokens", np.empty((1, 0, WIDTH)))[0]
    tokens = np.concatenate([weights["cls_token"][0] + positions[:1], registers, patches + positions[1:]])

    def norm(values: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        centred = values - values.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(values: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    for name in (f"blocks.{number}" for number in range(block)):
        joint = linear(norm(tokens, f"{name}.norm1"), f"{name}.attn.qkv")
        query, key, value = joint.reshape(len(tokens), 3, HEADS, WIDTH // HEADS).transpose(1, 2, 0, 3)
        alike = query @ key.transpose(0, 2, 1) / math.sqrt(WIDTH // HEADS)
        shares = np.exp(alike - alike.max(-1, keepdims=True))
        mixed = (shares / shares.sum(-1, keepdims=True)) @ value
        attended = linear(mixed.transpose(1, 0, 2).reshape(len(tokens), WIDTH), f"{name}.attn.proj")
        tokens = tokens + attended * weights[f"{name}.ls1.gamma"]
        hidden = linear(norm(tokens, f"{name}.norm2"), f"{name}.mlp.fc1")
        hidden = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
        tokens = tokens + linear(hidden, f"{name}.mlp.fc2") * weights[f"{name}.ls2.gamma"]
    return norm(tokens, "norm")[-SIDE * SIDE :].T.reshape(WIDTH, SIDE, SIDE)


def picture(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("registers", [0, 4])
def test_features_are_those_of_the_transformers_definition(script: ModuleType, registers: int) -> None:
    state = random_state(registers=registers)
    backbone = Backbone(script.build_vit(state, [2, 3], name="tiny", head_width=WIDTH // HEADS))
    image = picture(PATCH * SIDE, PATCH * SIDE)

    features = backbone.features([image])

    assert backbone.feature_names == ("block2", "block3")
    assert backbone.multiple == PATCH
    for block, found in zip((2, 3), features, strict=True):
        np.testing.assert_allclose(found[0], reference(state, image, block), atol=2e-4)


def test_images_of_other_sizes_are_taken_with_positions_fitted_to_them(script: ModuleType) -> None:
    backbone = Backbone(script.build_vit(random_state(), [DEPTH], name="tiny", head_width=WIDTH // HEADS))
    [features] = backbone.features([picture(PATCH * 7, PATCH * 9)] * 2)
    assert features.shape == (2, WIDTH, 7, 9)
    assert np.isfinite(features).all()


def test_the_bundle_accepts_it_and_gives_the_same_numbers_after_saving(script: ModuleType, tmp_path: Path) -> None:
    # Given the script, run as a user does
    np.savez(tmp_path / "tiny.npz", **random_state())
    command = [sys.executable, str(SCRIPT), str(tmp_path / "tiny.npz"), "--out", str(tmp_path / "tiny.onnx")]
    done = subprocess.run([*command, "--head-width", "8"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "block3" in done.stdout

    # When a model is trained with what it wrote
    write_samples(tmp_path, good=6, defective=1, seed=4)
    good = sorted((tmp_path / "normal").glob("*.png"))
    options = TrainingOptions(resolution=70, detector="patchcore", backbone=tmp_path / "tiny.onnx")
    model = train(good, options=options)

    # Then the bundle is like any other
    [defect] = (tmp_path / "anomaly").glob("*.png")
    loaded = load_model(model.save(tmp_path / "model.tar.gz"))
    assert loaded.card.backbone == "tiny"
    assert loaded.card.version == model.card.version
    image = load_image(defect)
    assert loaded.inspect(image).score == pytest.approx(model.inspect(image).score, abs=1e-5)


@pytest.mark.parametrize("missing", ["cls_token", "blocks.1.attn.qkv.weight", "norm.bias", "patch_embed.proj.weight"])
def test_another_networks_state_dict_is_refused_with_what_it_lacks(script: ModuleType, missing: str) -> None:
    state = random_state()
    del state[missing]
    with pytest.raises(InputError, match=missing):
        script.build_vit(state, [DEPTH], name="tiny", head_width=WIDTH // HEADS)


@pytest.mark.parametrize(
    ("features", "head_width", "field"), [([0], 8, "features"), ([DEPTH + 1], 8, "features"), ([1], 64, "head_width")]
)
def test_wrong_choices_are_refused(script: ModuleType, features: list[int], head_width: int, field: str) -> None:
    with pytest.raises(InputError) as refusal:
        script.build_vit(random_state(), features, name="tiny", head_width=head_width)
    assert refusal.value.field == field


def test_a_file_that_is_no_checkpoint_is_refused(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04")
    (tmp_path / "broken.pth").write_bytes(b"\x80\x02.")
    for name in ("broken.npz", "broken.pth", "absent.npz"):
        with pytest.raises(InputError, match="checkpoint"):
            script.read_checkpoint(tmp_path / name)
