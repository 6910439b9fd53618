"""Connected regions of a mask: taken apart, measured, chosen among."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Regions:
    """The connected regions of a mask of shape ``(h, w)``.

    Attributes:
        labels: int32 ``(h, w)``: 0 is no region, ``n`` the region ``n - 1``.
        areas: pixels of each region, shape ``(n,)``.
        boxes: left, top, width and height of each region, shape ``(n, 4)``.
    """

    labels: NDArray[np.int32]
    areas: NDArray[np.int32]
    boxes: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.areas)

    def __iter__(self) -> Iterator[NDArray[np.bool_]]:
        """Each region by itself, as ``(h, w)``."""
        return (self.labels == number for number in range(1, len(self) + 1))

    def select(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The mask of the regions that ``chosen``, of shape ``(n,)``, holds true for."""
        return np.asarray(np.append(False, chosen)[self.labels])

    def overlap(self, mask: NDArray[np.bool_]) -> NDArray[np.intp]:
        """How many pixels each region shares with ``mask``, shape ``(n,)``."""
        return np.bincount(self.labels[mask], minlength=len(self) + 1)[1:]


def find_regions(mask: NDArray[Any], *, connectivity: Literal[4, 8] = 8) -> Regions:
    """The regions of what is not 0 in ``mask``, ``(h, w)``; with 4, pixels that share only a corner are apart.

    >>> mask = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 0]], np.uint8)
    >>> len(find_regions(mask)), len(find_regions(mask, connectivity=4))
    (1, 2)
    >>> find_regions(mask).boxes.tolist()
    [[0, 0, 2, 2]]
    """
    marked = (mask > 0).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(marked, connectivity=connectivity)
    return Regions(
        labels=np.asarray(labels, np.int32),
        areas=np.asarray(stats[1:, cv2.CC_STAT_AREA], np.int32),
        boxes=np.asarray(stats[1:, : cv2.CC_STAT_HEIGHT + 1], np.int32),
    )
