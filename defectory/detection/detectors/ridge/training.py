"""Train the ridge detector: heads one after the other, each a closed-form solution, and a calibration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from defectory.datasets.boxes import BoxProblem, refuse
from defectory.detection.detectors.card import DetectorCard, InputSpec, OutputSpec, Scale
from defectory.detection.detectors.detector import Detector, assemble
from defectory.detection.detectors.held_out import calibrate_detector, describe_images, split_images
from defectory.detection.detectors.ridge.graph import BOXES, IMAGE, SCORES, DetectorGraph, FeatureMap, RegionOptions
from defectory.detection.detectors.ridge.regression import RidgeSums, Standardiser
from defectory.detection.detectors.ridge.seen import SeenImage, SeenImages
from defectory.detection.detectors.ridge.targets import Targets, place_targets, proposal_targets
from defectory.detection.detectors.samples import TrainingImages, draw_samples
from defectory.detection.labelled import LabelledSet
from defectory.inspection.backbone import Backbone, BackboneName, embedded_backbone
from defectory.inspection.backbone.session import open_session
from defectory.inspection.numerics import one_thread
from defectory.progress import OnProgress, Progress, ignore_progress
from defectory.validation import FrozenModel

MAPS: dict[BackboneName, tuple[FeatureMap, ...]] = {
    "efficientnet_lite0": (FeatureMap("block5", 40, 8), FeatureMap("block11", 112, 16), FeatureMap("block16", 320, 32)),
    "mobilenet_v2": (FeatureMap("block6", 32, 8), FeatureMap("block13", 96, 16), FeatureMap("block17", 320, 32)),
}
"""The last outputs at the strides 8, 16 and 32."""

# How many rows without an object are learned from, an image, by stride.
_BACKGROUND_ROWS = {8: 500, 16: 300, 32: 150}
_MOST_FOR_ONE = 20.0
_HEAT_FROM = 0.05
_PLACE_WEIGHT, _REGION_WEIGHT = 8.0, 4.0
# Strengths of the penalties, chosen on scenes that no benchmark tests on: features are many and objects few.
_SCORE_STRENGTH, _BOX_STRENGTH = 2e-2, 2e-1
_REGION_FACTOR = 10.0
_PROJECTED = 64
_SAMPLE_IMAGES = 16


class RidgeOptions(FrozenModel):
    """How to train.

    Args:
        backbone: the network whose features are used.
        side: pixels of the longer side of what the detector sees.
        scales: the image pyramid that the detector looks at, in multiples of ``side``; more of them find more sizes,
            and take their time.
        refinements: how often regions are looked at; each time makes boxes finer and reads the images once more.
        most_images: learn from so many at most, drawn at random: some 5,000 numbers a class are soon known.
        precision: choose thresholds for this precision on held-out images; by default the best F1.
        seed: the same seed and images give the same detector.
    """

    backbone: BackboneName = "efficientnet_lite0"
    side: int = Field(default=512, ge=128, le=2048)
    scales: tuple[Scale, ...] = Field(default=(1.0,), min_length=1, max_length=8)
    refinements: int = Field(default=2, ge=1, le=4)
    most_images: int = Field(default=3000, ge=1)
    precision: float | None = Field(default=None, gt=0, le=1)
    seed: int = Field(default=0, ge=0)


def train_ridge(
    sets: Sequence[LabelledSet],
    options: RidgeOptions | None = None,
    *,
    on_problem: Callable[[BoxProblem], None] = refuse,
    on_progress: OnProgress = ignore_progress,
) -> Detector:
    """Train a detector on labelled images, on one thread and in the memory of a few images.

    A sixth of the images is held out to calibrate scores and thresholds on.  Images are read three times.

    Args:
        sets: what to learn from; their classes are joined.
        options: how.
        on_problem: hears of each image that cannot be read, and which is left out; by default it is an error.
        on_progress: hears of each image.

    Raises:
        InputError: there is nothing to learn from, or an image cannot be read.
        WeightsError: the backbone's weights are missing.
    """
    options = options or RidgeOptions()
    images = TrainingImages.read(sets)
    with one_thread():
        return _Training(images, options, on_problem, on_progress).run(
            ", ".join(labelled.root.name for labelled in sets)
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """What one image gives one head to learn: features ``(n, inputs)``, their targets, and how much each counts."""

    key: int
    features: NDArray[np.float32]
    targets: Targets
    weights: NDArray[np.float32]


class _Training:
    def __init__(
        self,
        images: TrainingImages,
        options: RidgeOptions,
        on_problem: Callable[[BoxProblem], None],
        on_progress: OnProgress,
    ) -> None:
        self.images, self.options = images, options
        self.on_problem, self.on_progress = on_problem, on_progress
        self.rng = np.random.default_rng(options.seed)
        self.split = split_images(len(images), self.rng, most=options.most_images)
        maps = MAPS[options.backbone]
        self.backbone: Backbone = embedded_backbone(options.backbone, features=[item.name for item in maps])
        self.graph = DetectorGraph(self.backbone.content, maps)
        self.regions = RegionOptions()
        self.input = InputSpec(
            name=IMAGE,
            height=options.side,
            width=options.side,
            resize="fit",
            mean=tuple(self.backbone.mean.tolist()),
            std=tuple(self.backbone.std.tolist()),
            fill=round(255 * float(self.backbone.mean.mean())),
            multiple=maps[-1].stride,
        )

    @property
    def classes(self) -> int:
        return len(self.images.classes)

    def run(self, dataset: str) -> Detector:
        with SeenImages() as seen:
            heads, projections = self._learn_places(seen)
            corners, scores = self.graph.add_proposals(heads, self.classes, self.regions)
            projection = self.graph.add_projection(projections)
            for turn in range(self.options.refinements):
                features = self.graph.add_regions(projection, corners, scores, self.regions)
                weights = self._learn_regions(seen, corners, features, f"learning what, {turn + 1}")
                corners, scores = self.graph.add_region_head(features, corners, weights, self.classes)
        answer = self.graph.add_answer(corners, scores)
        detector = assemble(self._card(dataset), self.graph.serialise(answer, {}))
        return calibrate_detector(
            detector,
            self.images,
            self.split,
            self.options.precision,
            on_problem=self.on_problem,
            on_progress=self.on_progress,
        )

    def _look(self, seen: SeenImages) -> Iterator[SeenImage]:
        """The images through the frozen network, each kept in ``seen``."""
        names = [item.name for item in self.graph.maps]
        session = open_session(self.graph.serialise({f"{name}.seen": name for name in names}))
        for sample in draw_samples(self.images, self.split.learned, self.input, self.rng, self.on_problem):
            if sample is not None:
                maps = dict(zip(names, session.run(None, {IMAGE: sample.prepared.tensor}), strict=True))
                image = SeenImage(maps, sample.boxes, sample.labels)
                seen.add(image)
                yield image

    def _learn_places(self, seen: SeenImages) -> tuple[dict[int, NDArray[np.float32]], list[NDArray[np.float32]]]:
        """Heads by stride, and the projections of the maps: the main axes of what is seen at the finest stride."""
        graph, strides = self.graph, list(self.graph.pyramid)
        levels = {str(stride): graph.pyramid[stride] for stride in strides}
        session = open_session(graph.serialise(levels, from_maps=True))
        scorers = {stride: RidgeSums(graph.width, self.classes) for stride in strides}
        boxers = {stride: RidgeSums(graph.width, 4) for stride in strides}

        def rows(image: SeenImage) -> Iterator[_Rows]:
            for stride, level in zip(strides, session.run(None, image.maps), strict=True):
                height, width = level.shape[2:]
                targets = place_targets(image.boxes, image.labels, self.classes, stride, height, width)
                yield self._choose(stride, level[0].reshape(graph.width, -1), targets)

        standards = self._gather("learning where", self._look(seen), rows, scorers, boxers, _PLACE_WEIGHT)
        heads = {
            stride: standards[stride].fold(
                np.concatenate([scorers[stride].solve(_SCORE_STRENGTH), boxers[stride].solve(_BOX_STRENGTH)], axis=1)
            )
            for stride in strides
        }
        return heads, self._project(scorers[strides[0]].gram, standards[strides[0]])

    def _learn_regions(self, seen: SeenImages, corners: str, features: str, stage: str) -> NDArray[np.float32]:
        """The region head: what was proposed wrongly is what it learns to refuse."""
        session = open_session(self.graph.serialise({"corners": corners, "features": features}, from_maps=True))
        width = self.graph.region_width(_PROJECTED, self.classes, self.regions)
        scorers, boxers = {0: RidgeSums(width, self.classes)}, {0: RidgeSums(width, 4)}

        def rows(image: SeenImage) -> Iterator[_Rows]:
            proposals, pooled = session.run(None, image.maps)
            targets = proposal_targets(proposals, image.boxes, image.labels, self.classes)
            yield _Rows(0, pooled, targets, np.ones(len(pooled), np.float32))

        standards = self._gather(stage, seen, rows, scorers, boxers, _REGION_WEIGHT)
        strengths = _SCORE_STRENGTH * _REGION_FACTOR, _BOX_STRENGTH * _REGION_FACTOR
        solved = [sums[0].solve(strength) for sums, strength in zip((scorers, boxers), strengths, strict=True)]
        return standards[0].fold(np.concatenate(solved, axis=1))

    def _gather(
        self,
        stage: str,
        images: Iterable[SeenImage],
        rows_of: Callable[[SeenImage], Iterable[_Rows]],
        scorers: dict[int, RidgeSums],
        boxers: dict[int, RidgeSums],
        weight: float,
    ) -> dict[int, Standardiser]:
        """Add up all images' rows, standardised as the first images' rows have it."""
        standards: dict[int, Standardiser] = {}
        waiting: list[_Rows] = []

        def add(rows: _Rows) -> None:
            features = standards[rows.key].apply(rows.features)
            peaks = rows.targets.scores.max(axis=1, initial=0)
            scorers[rows.key].add(features, rows.targets.scores, rows.weights * (1 + weight * peaks))
            boxed = rows.targets.has_box
            boxers[rows.key].add(features[boxed], rows.targets.shifts[boxed])

        def begin() -> None:
            for key in scorers:
                standards[key] = Standardiser(np.concatenate([rows.features for rows in waiting if rows.key == key]))
            for rows in waiting:
                add(rows)
            waiting.clear()

        for done, image in enumerate(images, 1):
            for rows in rows_of(image):
                if standards:
                    add(rows)
                else:
                    waiting.append(rows)
            if done == _SAMPLE_IMAGES:
                begin()
            self.on_progress(Progress(stage, done, len(self.split.learned)))
        if waiting:
            begin()
        return standards

    def _choose(self, stride: int, features: NDArray[np.float32], targets: Targets) -> _Rows:
        """The rows with an object, and some of those without, which count for the others; of ``(inputs, places)``."""
        has_heat = (targets.scores.max(axis=1) > _HEAT_FROM) & ~targets.ignored
        background = ~has_heat & ~targets.ignored
        share = min(1.0, _BACKGROUND_ROWS[stride] / max(int(background.sum()), 1))
        chosen = np.flatnonzero(has_heat | (background & (self.rng.random(len(targets.scores)) < share)))
        weights = np.where(has_heat[chosen], 1.0, min(1 / share, _MOST_FOR_ONE)).astype(np.float32)
        part = Targets(targets.scores[chosen], targets.shifts[chosen], targets.has_box[chosen], targets.ignored[chosen])
        return _Rows(stride, np.ascontiguousarray(features[:, chosen].T), part, weights)

    def _project(self, gram: NDArray[np.float64], standard: Standardiser) -> list[NDArray[np.float32]]:
        places = self.graph.own_channels()
        moments = gram / gram[-1, -1]
        mean = moments[-1, :-1]
        spread = (moments[:-1, :-1] - np.outer(mean, mean))[np.ix_(places, places)]
        values, axes = np.linalg.eigh(spread)
        # Half-whitened: minor axes are not drowned, and noise is not blown up.
        axes = axes[:, ::-1][:, :_PROJECTED] / np.maximum(values[::-1][:_PROJECTED], 1e-6) ** 0.25
        axes /= standard.spread[places, None]
        centre = (standard.mean + mean * standard.spread)[places]
        begins = np.cumsum([0, *(item.channels for item in self.graph.maps)])
        return [
            np.concatenate([axes[begin:end], -(centre[begin:end] @ axes[begin:end])[None]]).astype(np.float32)
            for begin, end in pairwise(begins)
        ]

    def _card(self, dataset: str) -> DetectorCard:
        return DetectorCard(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            kind="ridge",
            **describe_images(self.images, self.split),
            input=self.input,
            output=OutputSpec(decoding="queries", scores=SCORES, boxes=BOXES, slots=self.images.classes),
            scales=self.options.scales,
            nms_iou=0.5,
            backbone=self.backbone.name,
            license=self.backbone.license,
            dataset=dataset,
            seed=self.options.seed,
        )
