"""Boxes of detections: where they overlap, and which of them are the same object."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Corners = NDArray[np.float32]
"""Left, top, right, bottom in pixels, ``(n, 4)``."""


def overlaps(first: Corners, second: Corners) -> NDArray[np.float32]:
    """Intersection over union of each of ``first`` with each of ``second``, ``(n, m)``."""
    corner = np.maximum(first[:, None, :2], second[None, :, :2])
    sides = np.maximum(np.minimum(first[:, None, 2:], second[None, :, 2:]) - corner, 0)
    inside = sides[..., 0] * sides[..., 1]
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - inside
    return np.asarray(np.divide(inside, union, out=np.zeros_like(inside), where=union > 0), np.float32)


def suppress(boxes: Corners, scores: NDArray[np.float32], iou: float) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: the rows that stay, by falling score.

    Args:
        boxes: of one class.
        scores: of each; of equal ones the first stays first.
        iou: a box that overlaps a better one by more goes.
    """
    order = np.argsort(-scores, kind="stable")
    shared = overlaps(boxes[order], boxes[order]) > iou
    stays = np.ones(len(order), np.bool_)
    for place in range(len(order)):
        if stays[place]:
            stays[place + 1 :] &= ~shared[place, place + 1 :]
    return order[stays]
