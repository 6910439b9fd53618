"""Attributes by measure: four figures of each object, from the pixels alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from defectory.detection.curation.attributes import FIGURES, QUARTERS, Description, View
from defectory.detection.curation.results import AttributeSource
from defectory.detection.labelled import FloatBox
from defectory.progress import OnProgress, Progress, ignore_progress
from defectory.vision.images import load_image


class MeasuredAttributes:
    """Four figures of each object, by the quarters of all that are described together.

    ``contrast``: distance of the mean colours of object and surroundings in CIELAB.  ``brightness``: mean lightness.
    ``sharpness``: how much of the object's variation is fine (variance of its Laplacian over its own).  ``clutter``:
    mean gradient around it.  Quarters, because no absolute bound holds from one camera to the next.
    """

    def describe(self, views: Sequence[View], *, on_progress: OnProgress = ignore_progress) -> Description:
        """See `Describer.describe`; boxes of less than two pixels have no attributes."""
        by_picture: dict[Path, list[int]] = defaultdict(list)
        for place, view in enumerate(views):
            by_picture[view.path].append(place)
        figures = np.full((len(views), len(FIGURES)), np.nan)
        for number, (path, places) in enumerate(by_picture.items(), 1):
            picture = _Picture(load_image(path))
            for place in places:
                figures[place] = picture.measure(views[place].box)
            on_progress(Progress("looking at images", number, len(by_picture)))
        known = ~np.isnan(figures).any(axis=1)
        groups = np.full(figures.shape, -1)
        if known.any():
            for column, values in enumerate(figures.T):
                # The bounds themselves belong to the middle: where all are alike, none is lowest.
                low, high = np.quantile(values[known], (0.25, 0.75))
                groups[known, column] = 1 + (values[known] > high) - (values[known] < low)
        attributes = [
            {name: QUARTERS[group] for name, group in zip(FIGURES, row, strict=True) if group >= 0}
            for row in groups.tolist()
        ]
        count = int(known.sum())
        return Description(attributes, AttributeSource(name="measured", described=count, left=len(views) - count))


# So far beyond its box, in shares of its longer side, lie an object's surroundings.
_AROUND = 0.35
_LEAST_AROUND = 4


@dataclass(frozen=True)
class _Picture:
    """One picture, and what is computed of it once for all of its objects."""

    image: NDArray[np.uint8]

    @cached_property
    def lab(self) -> NDArray[np.float32]:
        lab = cv2.cvtColor((self.image / np.float32(255)).astype(np.float32), cv2.COLOR_RGB2LAB)
        return np.asarray(lab, np.float32)

    @cached_property
    def gradient(self) -> NDArray[np.float32]:
        lightness = np.ascontiguousarray(self.lab[..., 0])
        across, down = cv2.Sobel(lightness, cv2.CV_32F, 1, 0), cv2.Sobel(lightness, cv2.CV_32F, 0, 1)
        return np.asarray(np.hypot(across, down), np.float32)

    @cached_property
    def laplacian(self) -> NDArray[np.float32]:
        return np.asarray(cv2.Laplacian(np.ascontiguousarray(self.lab[..., 0]), cv2.CV_32F), np.float32)

    def measure(self, box: FloatBox) -> tuple[float, float, float, float]:
        """The figures in the order of `FIGURES`; not a number where the box has no pixels or no surroundings."""
        height, width = self.image.shape[:2]
        reach = max(_LEAST_AROUND, round(_AROUND * max(box[2:])))
        left, top, right, bottom = _pixels(box, 0, width, height)
        outer = _pixels(box, reach, width, height)
        if right - left < 2 or bottom - top < 2 or outer == (left, top, right, bottom):
            return (float("nan"),) * 4
        ring = np.ones((outer[3] - outer[1], outer[2] - outer[0]), np.bool_)
        ring[top - outer[1] : bottom - outer[1], left - outer[0] : right - outer[0]] = False
        around = np.s_[outer[1] : outer[3], outer[0] : outer[2]]
        # The corners of a box are mostly background: its middle is the object.
        across, down = (right - left) // 6, (bottom - top) // 6
        inside = np.s_[top + down : bottom - down, left + across : right - across]
        inner = self.lab[inside].reshape(-1, 3)
        variance = float(inner[:, 0].var())
        return (
            float(np.linalg.norm(inner.mean(axis=0) - self.lab[around][ring].mean(axis=0))),
            float(inner[:, 0].mean()),
            float(self.laplacian[inside].var()) / (variance + 1.0),
            float(self.gradient[around][ring].mean()),
        )


def _pixels(box: FloatBox, reach: int, width: int, height: int) -> tuple[int, int, int, int]:
    left, top = max(0, int(box[0]) - reach), max(0, int(box[1]) - reach)
    right, bottom = (round(box[axis] + box[axis + 2]) + reach for axis in (0, 1))
    return left, top, min(width, right), min(height, bottom)
