"""How detection transformers are trained; read without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from defectory.validation import FrozenModel

DetrKind = Literal["dfine", "rfdetr"]
Size = Literal["tiny", "nano", "small", "medium", "large"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Part = Annotated[float, Field(ge=0, lt=1)]


class DetrOptions(FrozenModel):
    """How to train.

    Args:
        size: of a network that starts at random; where weights are given, they say it. ``tiny`` is for trying things
            out, the others are those that were published (small by default).
        side: pixels of both sides of what the detector sees; by default what the network was made for.
        epochs: how often each image is learned from.
        batch: images a step.
        learning_rate: the highest, of AdamW; it rises to it and falls to nothing along a cosine.
        backbone_factor: of the learning rate, for the backbone of given weights.
        warmup: share of the steps over which the learning rate rises.
        weight_decay: of AdamW, for weights of more than one dimension.
        clip_norm: gradients longer than this are cut to it.
        ema_decay: of the moving average of the weights, which is what the detector gets; less in the first steps.
        augment: whether images are shown nearer, in other colours and mirrored, by chance.
        checkpoint_steps: write a checkpoint after so many steps, and after each epoch.
        precision: choose thresholds for this precision on held-out images; by default the best F1.
        workers: processes that read images; by default one for each core but one beside a GPU, and none without.
        weights_license: what given weights are licensed under, an SPDX identifier, for the card.
        seed: the same seed, images and machine give the same detector.
    """

    size: Size | None = None
    side: int | None = Field(default=None, ge=32, le=2048)
    epochs: int = Field(default=50, ge=1, le=10_000)
    batch: int = Field(default=8, ge=1, le=1024)
    learning_rate: Positive = 2e-4
    backbone_factor: Annotated[float, Field(ge=0, le=1)] = 0.1
    warmup: Part = 0.05
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-4
    clip_norm: Positive = 0.1
    ema_decay: Part = 0.9998
    augment: bool = True
    checkpoint_steps: int = Field(default=500, ge=1)
    precision: float | None = Field(default=None, gt=0, le=1)
    workers: int | None = Field(default=None, ge=0, le=64)
    weights_license: str = Field(default="", max_length=100)
    seed: int = Field(default=0, ge=0, lt=2**31)
