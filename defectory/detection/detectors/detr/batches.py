"""Batches: what each step learns from; it hangs on the seed and the step alone, so that any step can be the first."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from defectory.datasets.boxes import BoxProblem
from defectory.detection.detectors.card import InputSpec
from defectory.detection.detectors.decoding import prepare
from defectory.detection.detectors.detr.options import DetrOptions
from defectory.detection.detectors.samples import Sample, TrainingImages, draw_samples
from defectory.errors import ImageError

Place = tuple[int, int]
"""An epoch, and the number of an image."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Images ``(n, 3, h, w)`` with their labels as the models take them, and what could not be read; n may be 0."""

    pixels: Any
    labels: list[dict[str, Any]]
    problems: list[BoxProblem]


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The places of each step's images, from the step ``begin`` on: each epoch all of them, in an order of its own."""

    numbers: NDArray[np.intp]
    options: DetrOptions
    begin: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """Of which the last may have fewer images."""
        return -(-len(self.numbers) // self.options.batch)

    def __len__(self) -> int:
        return self.options.epochs * self.steps_per_epoch - self.begin

    def __iter__(self) -> Iterator[list[Place]]:
        first, offset = divmod(self.begin, self.steps_per_epoch)
        for epoch in range(first, self.options.epochs):
            order = np.random.default_rng((self.options.seed, epoch)).permutation(self.numbers).tolist()
            for step in range(offset if epoch == first else 0, self.steps_per_epoch):
                part = order[step * self.options.batch : (step + 1) * self.options.batch]
                yield [(epoch, number) for number in part]


@dataclass(frozen=True, slots=True, eq=False)
class _Samples:
    """The images by their places; what torch calls a dataset."""

    images: TrainingImages
    spec: InputSpec
    options: DetrOptions

    def __getitem__(self, place: Place) -> tuple[Sample | None, list[BoxProblem]]:
        epoch, number = place
        problems: list[BoxProblem] = []
        if self.options.augment:
            rng = np.random.default_rng((self.options.seed, epoch, number))
            # One size: networks take it fixed, and `zoom` shows objects larger.
            samples = draw_samples(self.images, [number], self.spec, rng, problems.append, scales=(1.0, 1.0))
            return next(samples), problems
        try:
            prepared = prepare(self.images.load(number), self.spec)
        except ImageError as error:
            return None, [BoxProblem(self.images.paths[number], "missing image", str(error))]
        boxes, labels = self.images.boxes(number)
        scale = np.array([prepared.scale_x, prepared.scale_y] * 2, np.float32)
        return Sample(prepared, boxes * scale, labels), problems


def load_batches(images: TrainingImages, spec: InputSpec, plan: BatchPlan) -> Iterator[Batch]:
    """The batches of a plan; images are read by processes of their own where there are any."""
    workers = plan.options.workers
    if workers is None:
        workers = max((os.cpu_count() or 1) - 1, 1) if torch.cuda.is_available() else 0
    return iter(
        DataLoader(_Samples(images, spec, plan.options), batch_sampler=plan, collate_fn=_collate, num_workers=workers)
    )


def _collate(items: Sequence[tuple[Sample | None, list[BoxProblem]]]) -> Batch:
    samples = [sample for sample, _ in items if sample is not None]
    pixels = torch.from_numpy(np.concatenate([item.prepared.tensor for item in samples])) if samples else torch.empty(0)
    problems = [problem for _, found in items for problem in found]
    return Batch(pixels, [_labels(sample) for sample in samples], problems)


def _labels(sample: Sample) -> dict[str, Any]:
    """Centres and sides of boxes in shares of the input, and their classes; what lies beyond the image is cut off."""
    height, width = sample.prepared.tensor.shape[2:]
    corners = np.clip(sample.boxes / np.array([width, height] * 2, np.float32), 0, 1)
    sides = corners[:, 2:] - corners[:, :2]
    stays = (sides > 0).all(axis=1)
    boxes = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, sides], axis=1)[stays].astype(np.float32)
    return {
        "class_labels": torch.from_numpy(sample.labels[stays].astype(np.int64)),
        "boxes": torch.from_numpy(np.ascontiguousarray(boxes)),
    }
