"""Pixels: how well heatmaps and masks meet the true masks, tallied image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from defectory.inspection.evaluation.results import PixelClass, PixelMetrics
from defectory.inspection.verdicts import Inspection
from defectory.metrics.estimates import mean
from defectory.metrics.ranking import PixelRanks

COMPARED_SIDE = 1024
ANY = "anomaly"
"""What the one class of a model is called that does not know the classes' names."""


@dataclass(slots=True)
class _Tally:
    """Pixels and overlaps of one class over all images."""

    hits: int = 0
    false_alarms: int = 0
    misses: int = 0
    overlaps: list[float] = field(default_factory=list)

    def add(self, predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> None:
        hits, all_predicted, all_true = int((predicted & truth).sum()), int(predicted.sum()), int(truth.sum())
        self.hits += hits
        self.false_alarms += all_predicted - hits
        self.misses += all_true - hits
        if all_predicted or all_true:
            self.overlaps.append(hits / (all_predicted + all_true - hits))

    def result(self, name: str) -> PixelClass:
        return PixelClass(
            name=name,
            precision=_share(self.hits, self.hits + self.false_alarms),
            recall=_share(self.hits, self.hits + self.misses),
            f1=_share(2 * self.hits, 2 * self.hits + self.false_alarms + self.misses),
            iou=sum(self.overlaps) / len(self.overlaps) if self.overlaps else 0.0,
        )


class PixelTally:
    """Gathers what inspections say of pixels.

    Heatmaps and masks are compared at the size of the true mask, at most 1024 pixels a side.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._names = tuple(classes)
        self._ranks = PixelRanks()
        self._any = _Tally()
        self._classes: dict[str, _Tally] = {}
        self._predicted_names: set[str] = set()
        self._true_names: set[str] = set()
        self._overlaps: list[float] = []

    def add(self, inspection: Inspection, truth: NDArray[np.uint8] | None) -> float | None:
        """Count one image.

        Args:
            inspection: what the model says.
            truth: the class of each pixel, 0 = none, n = the n-th of the tally's classes, more = a defect of no known
                class; None for an image without any defect.

        Returns:
            The overlap of the mask found with the true one (intersection over union); None for ``truth`` None.
        """
        good = truth is None
        truth = np.zeros(inspection.mask.shape, np.uint8) if truth is None else truth
        height, width = truth.shape
        scale = min(1.0, COMPARED_SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        # The nearest pixel keeps the share of a thin scratch, which averages would wash away.
        truth, mask, classes = (_nearest(layer, size) for layer in (truth, inspection.mask, inspection.classes))
        self._ranks.add(_smooth(inspection.heatmap, size), truth > 0)
        self._any.add(mask > 0, truth > 0)
        for number, area in enumerate(inspection.defects, 1):
            self._count(area.name, classes == number, truth, is_named=True)
        predicted_names = {area.name for area in inspection.defects}
        for name in self._names:
            if name not in predicted_names:
                self._count(name, np.zeros(truth.shape, bool), truth, is_named=False)
        if good:
            return None
        overlap = _share(int(((mask > 0) & (truth > 0)).sum()), int(((mask > 0) | (truth > 0)).sum()))
        self._overlaps.append(overlap)
        return overlap

    def result(self) -> PixelMetrics | None:
        """The figures; None while no image has a true mask."""
        if not self._overlaps:
            return None
        overall = self._any.result(ANY)
        # A model that was not taught the names cannot be blamed for not using them.
        knows_names = bool(self._predicted_names & self._true_names)
        classes = (
            [self._classes[name].result(name) for name in sorted(self._predicted_names | self._true_names)]
            if knows_names
            else []
        )
        return PixelMetrics(
            masks=len(self._overlaps),
            auroc=self._ranks.auroc(),
            iou=mean(self._overlaps),
            precision=overall.precision,
            recall=overall.recall,
            f1=overall.f1,
            classes=tuple(classes) or (overall,),
        )

    def _count(self, name: str, predicted: NDArray[np.bool_], truth: NDArray[np.uint8], *, is_named: bool) -> None:
        number = self._names.index(name) + 1 if name in self._names else 0
        true_mask = truth == number if number else np.zeros(truth.shape, bool)
        if is_named and predicted.any():
            self._predicted_names.add(name)
        if true_mask.any():
            self._true_names.add(name)
        self._classes.setdefault(name, _Tally()).add(predicted, true_mask)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _nearest(values: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.NEAREST))


def _smooth(heatmap: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(heatmap.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
