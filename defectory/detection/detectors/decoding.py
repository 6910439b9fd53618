"""From an image to a model's input, and from its outputs to boxes, classes and scores in the image's pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from defectory.detection.detectors.boxes import Corners
from defectory.detection.detectors.card import DetectorCard, InputSpec
from defectory.errors import InputError
from defectory.metrics.logistic import sigmoid

_SMALLEST = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class PreparedImage:
    """A model's input, float32 ``(1, 3, h, w)``, and how many of its pixels a pixel of the image takes."""

    tensor: NDArray[np.float32]
    scale_x: float
    scale_y: float


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Boxes, each with a class and a score, before anything is left out: ``(n, 4)``, ``(n,)`` and ``(n,)``."""

    boxes: Corners
    labels: NDArray[np.intp]
    scores: NDArray[np.float32]


def prepare(image: NDArray[np.uint8], spec: InputSpec) -> PreparedImage:
    """The model's input for an image, uint8 RGB ``(h, w, 3)``."""
    height, width = image.shape[:2]
    inner_height, inner_width = spec.height, spec.width
    if spec.resize == "fit":
        scale = min(spec.height / height, spec.width / width)
        inner_height, inner_width = (max(1, round(side * scale)) for side in (height, width))
    shrinks = inner_height * inner_width < height * width
    resized = cv2.resize(
        image, (inner_width, inner_height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    if spec.resize == "fit":
        below, beside = (-side % spec.multiple for side in (inner_height, inner_width))
        resized = cv2.copyMakeBorder(resized, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=(spec.fill,) * 3)
    mean, std = (np.asarray(values, np.float32) for values in (spec.mean, spec.std))
    tensor = (resized.astype(np.float32) / 255 - mean) / std
    return PreparedImage(
        np.ascontiguousarray(tensor.transpose(2, 0, 1)[None]), inner_width / width, inner_height / height
    )


def decode(
    outputs: Mapping[str, NDArray[Any]], card: DetectorCard, prepared: PreparedImage, width: int, height: int
) -> Candidates:
    """Boxes within an image of that width and height, with calibrated scores.

    Raises:
        InputError: the outputs are not as the card says.
    """
    spec = card.output
    boxes, raw = (np.asarray(outputs[name], np.float32) for name in (spec.boxes, spec.scores))
    _check(boxes.ndim == 3 and boxes.shape[0] == 1 and boxes.shape[2] == 4, spec.boxes, "(1, n, 4)", boxes)
    number = {name: place for place, name in enumerate(card.names)}
    places = np.array([number.get(slot, -1) for slot in spec.slots], np.intp)
    if spec.decoding == "queries":
        _check(raw.shape == (1, boxes.shape[1], len(places)), spec.scores, f"(1, n, {len(places)})", raw)
        columns = np.flatnonzero(places >= 0)
        logits, labels = raw[0][:, columns].ravel(), np.tile(places[columns], len(raw[0]))
        shares = np.repeat(boxes[0], len(columns), axis=0)
        sides = np.array(prepared.tensor.shape[:1:-1], np.float32)
        scale = np.array([prepared.scale_x, prepared.scale_y], np.float32)
        centres, halves = shares[:, :2] * sides / scale, shares[:, 2:] * sides / scale / 2
        corners = np.concatenate([centres - halves, centres + halves], axis=1)
    else:
        numbers = np.asarray(outputs[spec.labels])
        _check(raw.shape == numbers.shape == (1, boxes.shape[1]), spec.scores, "(1, n)", raw)
        labels = np.where((numbers[0] >= 0) & (numbers[0] < len(places)), numbers[0], -1).astype(np.intp)
        labels = np.where(labels >= 0, places[labels], -1)
        share = np.clip(raw[0].astype(np.float64), _SMALLEST, 1 - _SMALLEST)
        logits, corners = np.log(share / (1 - share)).astype(np.float32), boxes[0]
        if not card.input.size_name:
            corners = corners / np.array([prepared.scale_x, prepared.scale_y] * 2, np.float32)
    corners = np.clip(corners, 0, np.array([width, height] * 2, np.float32))
    slopes, intercepts = (np.array([getattr(item, part) for item in card.classes]) for part in ("slope", "intercept"))
    scores = sigmoid(slopes[labels] * logits + intercepts[labels]).astype(np.float32)
    usable = (labels >= 0) & np.isfinite(corners).all(axis=1) & np.isfinite(logits)
    usable &= (corners[:, 2:] > corners[:, :2]).all(axis=1)
    return Candidates(corners[usable], labels[usable], scores[usable])


def join(parts: Sequence[Candidates]) -> Candidates:
    """All of them, one after the other."""
    return Candidates(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )


def _check(is_right: bool, name: str, shape: str, values: NDArray[Any]) -> None:
    if not is_right:
        raise InputError("model", f"one whose output {name} has the shape {shape}, as its card says", values.shape)
