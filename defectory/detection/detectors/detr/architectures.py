"""The networks: D-FINE and RF-DETR as the library transformers has them, with random or with given weights.

Sources: Peng et al., "D-FINE: Redefine Regression Task in DETRs as Fine-grained Distribution Refinement" (2024);
Robinson et al., "RF-DETR: Neural Architecture Search for Real-Time Detection Transformers" (2025).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Nothing is fetched from anywhere, whatever a configuration names.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from transformers import (
    DFineConfig,
    DFineForObjectDetection,
    HGNetV2Config,
    RfDetrConfig,
    RfDetrDinov2Config,
    RfDetrForObjectDetection,
)

from defectory.detection.detectors.card import InputSpec
from defectory.detection.detectors.detr.options import DetrKind, DetrOptions, Size
from defectory.errors import InputError, shorten

IMAGE = "image"
WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"
_MOST_CONFIG_BYTES = 1_000_000
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

_HGNET_B0 = {
    "stem_channels": [3, 16, 16],
    "stage_in_channels": [16, 64, 256, 512],
    "stage_mid_channels": [16, 32, 64, 128],
    "stage_out_channels": [64, 256, 512, 1024],
    "hidden_sizes": [64, 256, 512, 1024],
    "stage_num_blocks": [1, 1, 2, 1],
    "stage_numb_of_layers": [3, 3, 3, 3],
    "use_learnable_affine_block": True,
}
# Of the published checkpoints; what is not named is as the library has it.
_DFINE: Mapping[Size, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "tiny": (
        {
            "stem_channels": [3, 8, 8],
            "stage_in_channels": [8, 16, 32, 64],
            "stage_mid_channels": [8, 8, 16, 16],
            "stage_out_channels": [16, 32, 64, 128],
            "hidden_sizes": [16, 32, 64, 128],
            "stage_num_blocks": [1, 1, 1, 1],
            "stage_numb_of_layers": [2, 2, 2, 2],
            "use_learnable_affine_block": True,
        },
        {
            "encoder_hidden_dim": 64,
            "encoder_in_channels": [32, 64, 128],
            "encoder_ffn_dim": 128,
            "encoder_attention_heads": 4,
            "d_model": 64,
            "num_queries": 40,
            "decoder_in_channels": [64, 64, 64],
            "decoder_ffn_dim": 128,
            "decoder_layers": 2,
            "decoder_attention_heads": 4,
            "num_denoising": 40,
            "hidden_expansion": 0.5,
            "depth_mult": 0.34,
        },
    ),
    "nano": (
        {**_HGNET_B0, "out_indices": [3, 4]},
        {
            "num_feature_levels": 2,
            "encoder_ffn_dim": 512,
            "encode_proj_layers": [1],
            "d_model": 128,
            "encoder_hidden_dim": 128,
            "decoder_ffn_dim": 512,
            "encoder_in_channels": [512, 1024],
            "decoder_n_points": [6, 6],
            "decoder_in_channels": [128, 128],
            "feat_strides": [16, 32],
            "depth_mult": 0.5,
            "decoder_layers": 3,
            "hidden_expansion": 0.34,
        },
    ),
    "small": (
        _HGNET_B0,
        {
            "decoder_layers": 3,
            "hidden_expansion": 0.5,
            "depth_mult": 0.34,
            "decoder_n_points": [3, 6, 3],
            "encoder_in_channels": [256, 512, 1024],
        },
    ),
    "medium": (
        {
            "stem_channels": [3, 24, 32],
            "stage_in_channels": [32, 96, 384, 768],
            "stage_mid_channels": [32, 64, 128, 256],
            "stage_out_channels": [96, 384, 768, 1536],
            "hidden_sizes": [96, 384, 768, 1536],
            "stage_num_blocks": [1, 1, 3, 1],
            "stage_numb_of_layers": [4, 4, 4, 4],
            "use_learnable_affine_block": True,
        },
        {
            "decoder_layers": 4,
            "decoder_n_points": [3, 6, 3],
            "encoder_in_channels": [384, 768, 1536],
            "depth_mult": 0.67,
        },
    ),
    "large": (
        {
            "stem_channels": [3, 32, 48],
            "stage_in_channels": [48, 128, 512, 1024],
            "stage_mid_channels": [48, 96, 192, 384],
            "stage_out_channels": [128, 512, 1024, 2048],
            "hidden_sizes": [128, 512, 1024, 2048],
            "stage_num_blocks": [1, 1, 3, 1],
            "stage_numb_of_layers": [6, 6, 6, 6],
        },
        {"decoder_n_points": [3, 6, 3], "encoder_in_channels": [512, 1024, 2048]},
    ),
}
_DINO_SMALL = {
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "patch_size": 16,
    "num_windows": 2,
    "out_features": ["stage3", "stage6", "stage9", "stage12"],
}


def _rfdetr(side: int, layers: int) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    fields = {"d_model": 256, "num_queries": 300, "decoder_n_points": 2, "decoder_layers": layers}
    return {**_DINO_SMALL, "image_size": side}, fields


_RFDETR: Mapping[Size, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "tiny": (
        {
            "hidden_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "patch_size": 16,
            "num_windows": 2,
            "out_features": ["stage1", "stage3"],
            "image_size": 128,
        },
        {
            "d_model": 64,
            "num_queries": 40,
            "decoder_layers": 2,
            "decoder_self_attention_heads": 4,
            "decoder_cross_attention_heads": 4,
            "decoder_n_points": 2,
            "decoder_ffn_dim": 128,
            "group_detr": 3,
        },
    ),
    "nano": _rfdetr(384, 2),
    "small": _rfdetr(512, 3),
    "medium": _rfdetr(576, 4),
    "large": _rfdetr(704, 4),
}


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A network to train.

    Args:
        model: a module of torch that gives ``logits``, ``pred_boxes`` and, of labels, ``loss``.
        input: how it is fed.
        backbone: what the card says of it.
        weights: SHA-256 of the file of weights it starts from; "" where it starts at random.
        warnings: what of the weights was not taken.
    """

    model: Any
    input: InputSpec
    backbone: str
    weights: str = ""
    warnings: tuple[str, ...] = ()

    def is_backbone(self, name: str) -> bool:
        """Whether a parameter of that name belongs to the backbone."""
        return name.startswith("model.backbone.")


def build_network(kind: DetrKind, classes: Sequence[str], options: DetrOptions, weights: Path | None = None) -> Network:
    """A network for these classes; random numbers are torch's.

    Args:
        kind: which one.
        classes: their names.
        options: its size and side.
        weights: a folder with ``config.json`` and ``model.safetensors`` as the library transformers writes them; heads
            of other classes start at random.

    Raises:
        InputError: the weights are none of such a network, or the side does not fit it.
    """
    if weights is None:
        config, side = _published(kind, options.size or "small")
    elif options.size is not None:
        raise InputError("size", "left out where weights are given, which have one", options.size)
    else:
        config, side = _read_config(kind, weights)
    multiple = 32
    if kind == "rfdetr":
        multiple = config.backbone_config.patch_size * config.backbone_config.num_windows
    side = options.side or side - side % multiple
    if side % multiple:
        raise InputError("side", f"a multiple of {multiple} for this network", side)
    config.id2label = dict(enumerate(classes))
    config.label2id = {name: number for number, name in enumerate(classes)}
    look = {} if kind == "dfine" else _IMAGENET
    spec = InputSpec(name=IMAGE, height=side, width=side, **look)
    model_class = DFineForObjectDetection if kind == "dfine" else RfDetrForObjectDetection
    if weights is None:
        return Network(model_class(config), spec, f"{kind} {options.size or 'small'}")
    model, warnings = _load(model_class, config, weights)
    digest = hashlib.sha256((weights / WEIGHTS_FILE).read_bytes()).hexdigest()
    return Network(model, spec, f"{kind} of {weights.name}", digest, warnings)


def _published(kind: DetrKind, size: Size) -> tuple[Any, int]:
    """The configuration of a size, and the side it is made for."""
    backbone, fields = (_DFINE if kind == "dfine" else _RFDETR)[size]
    if kind == "rfdetr":
        return RfDetrConfig(backbone_config=RfDetrDinov2Config(**backbone), **fields), int(backbone["image_size"])
    # Normalisation is learned where there is none to keep.
    backbone_config = HGNetV2Config(**{"out_indices": [2, 3, 4], **backbone})
    config = DFineConfig(backbone_config=backbone_config, freeze_backbone_batch_norms=False, **fields)
    return config, 128 if size == "tiny" else 640


def _read_config(kind: DetrKind, weights: Path) -> tuple[Any, int]:
    """The configuration beside the weights."""
    file = weights / CONFIG_FILE
    if missing := [name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (weights / name).is_file()]:
        raise InputError(
            "weights", f"a folder with {CONFIG_FILE} and {WEIGHTS_FILE}; it lacks {missing[0]}", str(weights)
        )
    config_class, model_type = (DFineConfig, "d_fine") if kind == "dfine" else (RfDetrConfig, "rf_detr")
    try:
        if file.stat().st_size > _MOST_CONFIG_BYTES:
            raise ValueError("too long")
        fields = json.loads(file.read_bytes())
        if fields.get("model_type") != model_type:
            raise ValueError(f"of model_type {model_type}, not {fields.get('model_type')}")
        config = config_class.from_dict(fields)
        side = config.backbone_config.image_size if kind == "rfdetr" else 640
    except Exception as error:  # the library raises whatever its classes do
        raise InputError(
            "weights", f"of {kind}, with a valid {CONFIG_FILE} ({shorten(str(error))})", str(weights)
        ) from None
    if kind == "dfine":
        # Positions are made for the side that is trained, not for another.
        config.eval_size = config.anchor_image_size = None
    return config, int(side)


def _load(model_class: Any, config: Any, weights: Path) -> tuple[Any, tuple[str, ...]]:  # noqa: ANN401
    try:
        model, report = model_class.from_pretrained(
            weights,
            config=config,
            use_safetensors=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:  # as above
        raise InputError("weights", f"a readable {WEIGHTS_FILE} ({shorten(str(error))})", str(weights)) from None
    if missing := sorted(report["missing_keys"]):
        rule = f"weights of the network that {CONFIG_FILE} describes; {len(missing)} are missing, such as {missing[0]}"
        raise InputError("weights", rule, str(weights))
    anew = sorted(name for name, *_ in report["mismatched_keys"])
    return model, (
        f"{len(anew)} weights have other shapes, as of other classes, and started at random.",
    ) if anew else ()
