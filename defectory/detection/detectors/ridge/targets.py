"""What the heads are to answer: at each place of the pyramid, and for each proposal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from defectory.detection.detectors.boxes import Corners, overlaps
from defectory.detection.detectors.ridge.graph import ANCHORS

SIZES = {8: (0.0, 60.0), 16: (44.0, 150.0), 32: (110.0, float("inf"))}
"""By stride, the sides (square roots of areas, in pixels) of the boxes that are looked for there; they overlap, so that
none falls between two.
"""

_HEAT_WIDTH = 0.18
_CORE = 0.25
_AROUND = 0.3
_WORST_IOU, _BEST_IOU = 0.35, 0.75
_REFINED_FROM = 0.4
_SMALLEST = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """For each row: ``scores`` ``(n, classes)`` in 0..1, ``shifts`` ``(n, 4)`` as the graph decodes them, whether the
    row has a box to learn (``has_box``), and whether it says nothing (``ignored``).
    """

    scores: NDArray[np.float32]
    shifts: NDArray[np.float32]
    has_box: NDArray[np.bool_]
    ignored: NDArray[np.bool_]


def place_targets(
    boxes: Corners, labels: NDArray[np.intp], classes: int, stride: int, height: int, width: int
) -> Targets:
    """The targets of a level of ``height`` x ``width`` places: a bell around each box's centre, and the box in it."""
    rows, columns = np.mgrid[:height, :width].reshape(2, -1)
    places = (np.stack([columns, rows], axis=1) + 0.5).astype(np.float32) * stride
    count = len(places)
    scores, shifts = np.zeros((count, classes), np.float32), np.zeros((count, 4), np.float32)
    has_box, ignored = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    nearest = np.full(count, np.inf, np.float32)
    low, high = SIZES[stride]
    for box, label in zip(boxes, labels, strict=True):
        sides, centre = np.maximum(box[2:] - box[:2], 1e-3), (box[:2] + box[2:]) / 2
        away = np.abs(places - centre) / sides
        farther = away.max(axis=1)
        if not low <= float(np.sqrt(sides.prod())) < high:
            ignored |= farther < _AROUND
            continue
        core = farther < _CORE
        core[farther.argmin()] = True
        heat = np.exp(-(away**2).sum(axis=1) / (2 * _HEAT_WIDTH**2))
        heat[farther.argmin()] = 1
        scores[:, label] = np.maximum(scores[:, label], heat)
        core &= farther < nearest
        anchor = ANCHORS[stride]
        shifts[core] = np.concatenate(
            [(centre - places[core]) / anchor, np.broadcast_to(np.log(sides / anchor), (int(core.sum()), 2))], axis=1
        )
        has_box |= core
        nearest[core] = farther[core]
    return Targets(scores, shifts, has_box, ignored & ~has_box)


def proposal_targets(proposals: Corners, boxes: Corners, labels: NDArray[np.intp], classes: int) -> Targets:
    """The targets of proposals: how well each covers the box that it overlaps most, and the way to it."""
    count = len(proposals)
    scores, shifts = np.zeros((count, classes), np.float32), np.zeros((count, 4), np.float32)
    has_box = np.zeros(count, np.bool_)
    if len(boxes) and count:
        shared = overlaps(proposals, boxes)
        nearest, best = shared.argmax(axis=1), shared.max(axis=1)
        scores[np.arange(count), labels[nearest]] = np.clip((best - _WORST_IOU) / (_BEST_IOU - _WORST_IOU), 0, 1)
        has_box = best > _REFINED_FROM
        target = boxes[nearest]
        own = np.maximum(proposals[:, 2:] - proposals[:, :2], _SMALLEST)
        sides = np.maximum(target[:, 2:] - target[:, :2], 1e-3)
        shift = (target[:, :2] + target[:, 2:] - proposals[:, :2] - proposals[:, 2:]) / 2 / own
        shifts = np.concatenate([shift, np.log(sides / own)], axis=1).astype(np.float32)
    return Targets(scores, shifts, has_box, np.zeros(count, np.bool_))
