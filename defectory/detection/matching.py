"""Matching: which detection found which object, and the average precision that follows, as COCO has them.

Source: Lin et al., "Microsoft COCO: Common Objects in Context" (2014) and its evaluation code, whose figures these are,
ties included; crowds are no part of it.  All images, classes, thresholds and ranges of size are gone through at once.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

COCO_IOUS = tuple(float(iou) for iou in np.linspace(0.5, 0.95, 10))
"""The overlaps from which on a detection counts, over which COCO's mean average precision is taken."""

COCO_AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""COCO's ranges of an object's area in square pixels, both ends included."""

MOST_DETECTIONS = 100
"""So many detections count for an image and a class, those of the highest score."""

_RECALLS = np.linspace(0, 1, 101)
_ALMOST_ALL = 1 - 1e-10


@dataclass(frozen=True, slots=True, eq=False)
class BoxTable:
    """Boxes of many images, a row each: objects, or detections.

    ``images`` and ``labels`` are numbers, intp ``(n,)``; ``boxes`` are float64 ``(n, 4)``: left, top, width, height in
    pixels; ``areas`` are float64 ``(n,)``, an object's visible pixels where they are known and its box's else;
    ``scores`` are float64 ``(n,)``, of detections alone.
    """

    images: NDArray[np.intp]
    labels: NDArray[np.intp]
    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def of(
        cls,
        images: Sequence[int] | NDArray[np.intp],
        labels: Sequence[int] | NDArray[np.intp],
        boxes: Sequence[Sequence[float]] | NDArray[np.float64],
        *,
        areas: Sequence[float] | NDArray[np.float64] | None = None,
        scores: Sequence[float] | NDArray[np.float64] | None = None,
    ) -> BoxTable:
        """Of rows; areas are the boxes' by default, and scores 0."""
        table = np.asarray(boxes, np.float64).reshape(-1, 4)
        return cls(
            np.asarray(images, np.intp),
            np.asarray(labels, np.intp),
            table,
            table[:, 2] * table[:, 3] if areas is None else np.asarray(areas, np.float64),
            np.zeros(len(table)) if scores is None else np.asarray(scores, np.float64),
        )

    def select(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> BoxTable:
        """Only some of the rows."""
        return BoxTable(self.images[rows], self.labels[rows], self.boxes[rows], self.areas[rows], self.scores[rows])


@dataclass(slots=True)
class BoxRows:
    """A `BoxTable` that is being filled, row by row."""

    images: array[int] = field(default_factory=lambda: array("l"))
    labels: array[int] = field(default_factory=lambda: array("l"))
    numbers: array[float] = field(default_factory=lambda: array("d"))

    def add(self, image: int, label: int, box: Sequence[float], *, area: float | None = None, score: float = 0) -> None:
        """Add a box (left, top, width, height); its area is its own by default."""
        self.images.append(image)
        self.labels.append(label)
        self.numbers.extend([*box, box[2] * box[3] if area is None else area, score])

    def table(self) -> BoxTable:
        """All rows so far."""
        numbers = np.array(self.numbers, np.float64).reshape(-1, 6)
        return BoxTable.of(
            np.array(self.images, np.intp), np.array(self.labels, np.intp), numbers[:, :4],
            areas=numbers[:, 4], scores=numbers[:, 5],
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Which object each detection found.

    ``detections`` are those that count, by falling score; ``truth`` is intp ``(areas, ious, detections)``, the object's
    row or -1; ``ignored``, bool of the same shape, marks those that count neither for nor against; ``in_range``, bool
    ``(areas, objects)``, the objects that are to be found.
    """

    detections: BoxTable
    truth: NDArray[np.intp]
    ignored: NDArray[np.bool_]
    in_range: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class AveragePrecision:
    """Average precision, float64 ``(classes, areas, ious)``, not a number where there is no such object."""

    values: NDArray[np.float64]

    def mean(self, *, area: int = 0, ious: slice | int = slice(None)) -> float:
        """The mean over the classes that have objects (and over the overlaps); nan where none has."""
        values = self.values[:, area, ious]
        return float(values[~np.isnan(values)].mean()) if (~np.isnan(values)).any() else float("nan")


def box_overlaps(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of boxes (left, top, width, height), row by row: ``(n, 4)`` and ``(n, 4)`` to ``(n,)``.

    Shapes broadcast but for the last axis; boxes without area overlap nothing.
    """
    sides = np.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    sides = sides - np.maximum(first[..., :2], second[..., :2])
    inside = np.where((sides > 0).all(axis=-1), sides[..., 0] * sides[..., 1], 0)
    union = first[..., 2] * first[..., 3] + second[..., 2] * second[..., 3] - inside
    return np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)


def match(
    objects: BoxTable,
    detections: BoxTable,
    *,
    ious: Sequence[float] = COCO_IOUS,
    areas: Sequence[tuple[float, float]] = (COCO_AREAS["all"],),
    most: int = MOST_DETECTIONS,
) -> Matches:
    """Give each detection, by falling score, the free object of its image and class that it overlaps most.

    Objects outside a range of areas are found last, and what finds them is ignored, as are detections outside it that
    find nothing.

    Args:
        objects: what there is.
        detections: what was detected.
        ious: a detection finds only what it overlaps by at least so much.
        areas: ranges of area; all else is ignored.
        most: detections that count for an image and a class.
    """
    order = _ranked(detections, most)
    ranked, ranks = detections.select(order.rows), order.ranks
    limits = np.minimum(np.asarray(ious, np.float64), _ALMOST_ALL)
    low, high = np.asarray(areas, np.float64).reshape(-1, 2).T
    in_range = (objects.areas >= low[:, None]) & (objects.areas <= high[:, None])
    shape = (len(low), len(limits))
    truth = np.full((*shape, len(ranked)), -1, np.intp)
    pairs = _pairs(objects, ranked, float(limits.min(initial=_ALMOST_ALL)))
    taken = np.zeros((*shape, len(objects)), np.bool_)
    for rank in range(int(ranks.max(initial=-1)) + 1):
        # One detection of each image and class at a time, so that no two of them want the same object.
        here = ranks[pairs.detection] == rank
        if here.any():
            _give(pairs.select(here), in_range, limits, taken, truth)
    missed_range = (ranked.areas < low[:, None]) | (ranked.areas > high[:, None])
    is_found = truth >= 0
    found_ignored = ~np.take_along_axis(
        np.repeat(in_range[:, None], len(limits), axis=1) if len(objects) else np.ones((*shape, 1), np.bool_),
        np.maximum(truth, 0),
        axis=2,
    )
    ignored = np.where(is_found, found_ignored, missed_range[:, None])
    return Matches(ranked, truth, ignored, in_range)


def average_precision(
    objects: BoxTable,
    detections: BoxTable,
    classes: int,
    *,
    ious: Sequence[float] = COCO_IOUS,
    areas: Sequence[tuple[float, float]] = tuple(COCO_AREAS.values()),
) -> AveragePrecision:
    """Average precision of each class: the mean of the highest precision at 101 recalls or beyond.

    Args:
        objects: what there is; ``labels`` below ``classes``.
        detections: what was detected, whatever its score.
        classes: how many classes there are.
        ious: overlaps from which on an object counts as found.
        areas: ranges of area.

    >>> objects = BoxTable.of([0, 1], [0, 0], [[10, 10, 20, 20], [40, 8, 12, 30]])
    >>> detections = BoxTable.of([0, 1], [0, 0], [[10, 10, 20, 20], [0, 0, 9, 9]], scores=[0.9, 0.8])
    >>> round(average_precision(objects, detections, 1, ious=[0.5]).mean(), 3)
    0.505
    """
    matches = match(objects, detections, ious=ious, areas=areas)
    values = np.full((classes, len(areas), len(ious)), np.nan)
    for label in range(classes):
        columns = np.flatnonzero(matches.detections.labels == label)
        # By falling score over all images; equal scores stay in the order of their images.
        columns = columns[np.lexsort((matches.detections.images[columns], -matches.detections.scores[columns]))]
        counts = (matches.in_range & (objects.labels == label)).sum(axis=1)
        for area in np.flatnonzero(counts):
            ignored = matches.ignored[area][:, columns]
            hits = (matches.truth[area][:, columns] >= 0) & ~ignored
            values[label, area] = _area_under(hits, ignored, int(counts[area]))
    return AveragePrecision(values)


def _area_under(hits: NDArray[np.bool_], ignored: NDArray[np.bool_], objects: int) -> NDArray[np.float64]:
    """``hits`` and ``ignored`` are ``(ious, detections)``, by falling score."""
    found = np.cumsum(hits, axis=1, dtype=np.float64)
    counted = np.cumsum(~ignored, axis=1, dtype=np.float64)
    precision = found / (counted + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    padded = np.concatenate([envelope, np.zeros((len(hits), 1))], axis=1)
    recall = found / objects
    return np.array([row[np.searchsorted(at, _RECALLS)].mean() for row, at in zip(padded, recall, strict=True)])


@dataclass(frozen=True, slots=True, eq=False)
class _Ranking:
    rows: NDArray[np.intp]
    ranks: NDArray[np.intp]


def _ranked(detections: BoxTable, most: int) -> _Ranking:
    """The detections by image, class and falling score, and each one's rank among those of its image and class."""
    rows = np.lexsort((-detections.scores, detections.labels, detections.images))
    if not rows.size:
        return _Ranking(rows, rows)
    images, labels = detections.images[rows], detections.labels[rows]
    is_first = np.concatenate([[True], (np.diff(images) != 0) | (np.diff(labels) != 0)])
    places = np.arange(len(rows))
    ranks = places - np.maximum.accumulate(np.where(is_first, places, 0))
    counts = ranks < most
    return _Ranking(rows[counts], ranks[counts])


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Detections and objects of one image and class that overlap; by detection, then by object."""

    detection: NDArray[np.intp]
    truth: NDArray[np.intp]
    iou: NDArray[np.float64]

    def select(self, rows: NDArray[np.bool_]) -> _Pairs:
        return _Pairs(self.detection[rows], self.truth[rows], self.iou[rows])


def _pairs(objects: BoxTable, detections: BoxTable, lowest: float) -> _Pairs:
    width = max(int(objects.labels.max(initial=0)), int(detections.labels.max(initial=0))) + 1
    keys, wanted = (table.images * width + table.labels for table in (objects, detections))
    order = np.argsort(keys, kind="stable")
    begin, end = (np.searchsorted(keys[order], wanted, side=side) for side in ("left", "right"))
    counts = end - begin
    detection = np.repeat(np.arange(len(detections)), counts)
    offsets = np.arange(len(detection)) - np.repeat(np.cumsum(counts) - counts, counts)
    truth = order[np.repeat(begin, counts) + offsets] if len(order) else np.empty(0, np.intp)
    iou = box_overlaps(detections.boxes[detection], objects.boxes[truth])
    return _Pairs(detection, truth, iou).select(iou >= lowest)


def _give(
    pairs: _Pairs,
    in_range: NDArray[np.bool_],
    limits: NDArray[np.float64],
    taken: NDArray[np.bool_],
    truth: NDArray[np.intp],
) -> None:
    """Give the detections of ``pairs`` their objects, in ``taken`` and ``truth``."""
    starts = np.flatnonzero(np.concatenate([[True], np.diff(pairs.detection) != 0]))
    lengths = np.diff(np.append(starts, len(pairs.detection)))
    free = (pairs.iou >= limits[:, None]) & ~taken[:, :, pairs.truth]
    is_wanted = in_range[:, None, pairs.truth]
    chosen = _best(np.where(free & is_wanted, pairs.iou, -1), starts, lengths)
    second = _best(np.where(free & ~is_wanted, pairs.iou, -1), starts, lengths)
    chosen = np.where(chosen >= 0, chosen, second)
    area, iou, place = np.nonzero(chosen >= 0)
    rows = pairs.truth[chosen[area, iou, place]]
    taken[area, iou, rows] = True
    truth[area, iou, pairs.detection[starts][place]] = rows


def _best(values: NDArray[np.float64], starts: NDArray[np.intp], lengths: NDArray[np.intp]) -> NDArray[np.intp]:
    """In each run of the last axis, the place of the highest value, of equal ones the last; -1 if all are negative."""
    highest = np.maximum.reduceat(values, starts, axis=-1)
    is_highest = (values == np.repeat(highest, lengths, axis=-1)) & (values >= 0)
    places = np.where(is_highest, np.arange(values.shape[-1]), -1)
    return cast(NDArray[np.intp], np.maximum.reduceat(places, starts, axis=-1))
