"""How much synthetic defects lift models that have 0, 1, 5 or 20 real ones: heads alone, and the whole model.

The photos are those of `benchmarks.inspection`, found by DEFECTORY_PHOTOS.  Of each seed, test parts are drawn first;
real defects, donors and the photos that defects are put on come from the others.  The heads are the inspection
model's: an image head (logistic regression on an image's mean and deviation of features) and a patch head.  The
transplant's peer adds a defect's difference to its blurred surroundings anywhere on the part.
"""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from benchmarks.inspection import VARIABLE
from benchmarks.measure import table
from benchmarks.peers.plain_transplant import PlainTransplant
from defectory.datasets import Dataset, ImageRecord, load_dataset, read_mask
from defectory.errors import RenderError
from defectory.images.renderers import Renderer, RenderRequest
from defectory.images.renderers.procedural import KINDS, ProceduralRenderer
from defectory.images.renderers.transplant import TransplantRenderer, donors_of
from defectory.inspection.backbone import embedded_backbone
from defectory.inspection.candidates import CandidateSearch, Sample
from defectory.inspection.candidates import Trial as Candidate
from defectory.inspection.detectors import Patches
from defectory.inspection.detectors.image_head import ImageHead
from defectory.inspection.detectors.patch_head import PatchHead
from defectory.inspection.model import Scorer, smooth_map, top_mean
from defectory.inspection.preparation import Preparation, patches_of
from defectory.inspection.thresholds import MIN_LABELLED
from defectory.inspection.training import MARKED_SHARE
from defectory.progress import ignore_progress
from defectory.vision.images import load_image
from defectory.vision.photos import Photo

REAL = (0, 1, 5, 20)
MADE = 100
GOOD, TESTED_GOOD, TESTED_BAD = 150, 150, 150
COMPARED_SIDE = 64
FIGURES = ("image head", "patch head", "patch head, pixels", "model", "model, pixels", "model by default")


@dataclass(frozen=True, slots=True)
class Parts:
    """Photos to learn from, and photos of other parts to test on."""

    dataset: Dataset
    good: list[ImageRecord]
    bad: list[ImageRecord]
    tested_good: list[ImageRecord]
    tested_bad: list[ImageRecord]


def magnetic_tiles(folder: Path, rng: np.random.Generator) -> Parts:
    """Half the tiles to test on, all exposures of one on one side; of these photos a random choice, for time."""
    dataset = load_dataset(folder / "magnetic-tiles", group_pattern=r"num_(\d+)", group_gap=100)
    tiles = _shuffled(sorted({record.group for record in dataset.records}), rng)
    tested = set(tiles[: len(tiles) // 2])
    good, bad = _shuffled(dataset.normal, rng), _shuffled(dataset.anomalous, rng)
    return Parts(
        dataset,
        [record for record in good if record.group not in tested][:GOOD],
        [record for record in bad if record.group not in tested],
        [record for record in good if record.group in tested][:TESTED_GOOD],
        [record for record in bad if record.group in tested][:TESTED_BAD],
    )


def cookies(folder: Path, rng: np.random.Generator) -> Parts:
    """The published training images, which have masks; of them 16 good and 20 broken ones to learn from."""
    dataset = load_dataset(folder / "cookies" / "train_segmentation.manifest")
    good, bad = _shuffled(dataset.normal, rng), _shuffled(dataset.anomalous, rng)
    return Parts(dataset, good[:16], bad[:20], good[16:], bad[20:])


SETS = {"magnetic tiles, split by tile": magnetic_tiles, "cookies": cookies}


class Trial:
    """One seed on one set."""

    def __init__(self, parts: Parts, seed: int) -> None:
        self._parts, self._seed = parts, seed
        self._backbone = embedded_backbone()
        photos = [load_image(record.path) for record in parts.good]
        self._preparation = Preparation.fitting([photo.shape[:2] for photo in photos], self._backbone)
        self._photos = [
            Photo(record.path.name, photo, parts.dataset.digest(record.path))
            for record, photo in zip(parts.good, photos, strict=True)
        ]
        self._good = [
            Sample(self._patches(photo.image), group=record.group or photo.digest)
            for photo, record in zip(self._photos, parts.good, strict=True)
        ]
        self._valid = np.ones(self._good[0].patches.shape[:2], np.bool_)
        self._group_of = {
            parts.dataset.digest(record.path): record.group or parts.dataset.digest(record.path)
            for record in (*parts.good, *parts.bad)
        }
        self._real = [self._sample(record) for record in parts.bad[: max(REAL)]]
        self._tests = [
            [self._patches(load_image(record.path)) for record in records]
            for records in (parts.tested_good, parts.tested_bad)
        ]
        self._truth = [_small(mask) if (mask := read_mask(record)) is not None else None for record in parts.tested_bad]
        self._good_only: dict[str, float] = {}

    def figures(self) -> Iterator[tuple[int, str, dict[str, float]]]:
        """For each number of real defects and each kind of synthetic ones, the figures."""
        procedural = self._make(ProceduralRenderer(), sorted(KINDS))
        for count in REAL:
            real = self._real[:count]
            added = {"none": [], "procedural": procedural}
            if count:
                donors = donors_of(self._parts.dataset.select(self._parts.bad[:count]))
                renderer = TransplantRenderer(donors)
                added["transplant"] = self._make(renderer, renderer.kinds)
                added["plain transplant"] = self._make(PlainTransplant(donors), renderer.kinds)
                added["procedural, transplant"] = [*procedural, *added["transplant"]]
            models = self._models(real, {name: added[name] for name in ("procedural", "transplant") if name in added})
            for name, synthetic in added.items():
                heads = self._heads(real, synthetic) if real or synthetic else {}
                yield count, name, heads | models.get(name, {})

    def _heads(self, real: Sequence[Sample], synthetic: Sequence[Sample]) -> dict[str, float]:
        good = [sample.patches for sample in self._good]
        image = ImageHead.fit(
            good,
            [sample.patches for sample in real],
            [sample.patches for sample in synthetic],
            self._valid,
            blend_weight=1.0,
        )
        marked = [(sample.patches, sample.marks) for sample in (*real, *synthetic) if sample.marks is not None]
        patch = PatchHead.fit(good, marked, self._valid, 1, unit=1.0, seed=self._seed)
        # Nothing but the head's own probability is in the map.
        nothing = np.zeros(self._valid.shape, np.float32)
        maps = [
            [smooth_map(patch.correct(nothing, patches), self._valid) for patches in tests] for tests in self._tests
        ]
        scores = [[image.probability(patches, self._valid) for patches in tests] for tests in self._tests]
        return {
            "image head": _auroc(*scores),
            "patch head": _auroc(*([top_mean(anomaly_map, self._valid) for anomaly_map in group] for group in maps)),
            "patch head, pixels": self._pixels(maps),
        }

    def _models(
        self, real: Sequence[Sample], synthetic_sets: Mapping[str, Sequence[Sample]]
    ) -> dict[str, dict[str, float]]:
        """What training makes of it, without and with synthetic defects: learned from always, and (by default) only
        where they help by figures held out from the training side.
        """
        if len(real) < MIN_LABELLED:
            # Training has nothing to measure on and leaves synthetic defects alone.
            self._good_only = self._good_only or self._figures(self._search((), (), self._good), None)
            return dict.fromkeys(("none", *synthetic_sets), self._good_only)
        figures = {}
        for name, synthetic in synthetic_sets.items():
            search = self._search(real, synthetic, ())
            trials = search.trials(("patchcore",))
            without = search.best([trial for trial in trials if not trial.recipe.heads.synthetic])
            always, measured = search.best(trials, synthetic="always"), search.best(trials)
            figures.setdefault("none", self._figures(search, without))
            figures[name] = self._figures(search, always)
            default = figures["none"] if measured is without else figures[name]
            figures[name]["model by default"] = default["model"]
        return figures

    def _search(
        self, real: Sequence[Sample], synthetic: Sequence[Sample], damaged: Sequence[Sample]
    ) -> CandidateSearch:
        return CandidateSearch(
            good=self._good,
            defects=real,
            damaged=[sample.patches for sample in damaged],
            valid=self._valid,
            kinds=1,
            seed=self._seed,
            on_progress=ignore_progress,
            synthetic=synthetic,
        )

    def _figures(self, search: CandidateSearch, trial: Candidate | None) -> dict[str, float]:
        """The figures of a candidate; None is the first there is."""
        trial = trial or search.trials(("patchcore",))[0]
        image, pixels = self._judged(search.fit(trial, self._good))
        return {"model": image, "model, pixels": pixels, "model by default": image}

    def _judged(self, scorer: Scorer) -> tuple[float, float]:
        maps = [[scorer.map(patches) for patches in tests] for tests in self._tests]
        scores = [
            [scorer.score(anomaly_map, patches) for anomaly_map, patches in zip(group, tests, strict=True)]
            for group, tests in zip(maps, self._tests, strict=True)
        ]
        return _auroc(*scores), self._pixels(maps)

    def _pixels(self, maps: Sequence[Sequence[NDArray[np.float32]]]) -> float:
        pairs = [
            (anomaly_map, truth) for anomaly_map, truth in zip(maps[1], self._truth, strict=True) if truth is not None
        ]
        pairs += [(anomaly_map, np.zeros((COMPARED_SIDE, COMPARED_SIDE), bool)) for anomaly_map in maps[0]]
        heat = np.concatenate(
            [cv2.resize(anomaly_map, (COMPARED_SIDE, COMPARED_SIDE)).ravel() for anomaly_map, _ in pairs]
        )
        return float(roc_auc_score(np.concatenate([truth.ravel() for _, truth in pairs]), heat))

    def _make(self, renderer: Renderer, kinds: Sequence[str]) -> list[Sample]:
        rng = np.random.default_rng(self._seed)
        samples: list[Sample] = []
        for _ in range(10 * MADE):
            photo = self._photos[int(rng.integers(len(self._photos)))]
            request = RenderRequest(kinds[int(rng.integers(len(kinds)))], int(rng.integers(2**31)))
            try:
                rendered = renderer.render(photo, request)
            except RenderError:
                continue
            donor = str(rendered.parameters.get("donor", ""))
            sources = {self._group_of[digest] for digest in (photo.digest, donor) if digest}
            assert rendered.mask is not None
            samples.append(
                Sample(self._patches(rendered.image), 1, self._marks(rendered.mask), sources=frozenset(sources))
            )
            if len(samples) == MADE:
                break
        return samples

    def _sample(self, record: ImageRecord) -> Sample:
        mask = read_mask(record)
        assert mask is not None
        digest = self._parts.dataset.digest(record.path)
        return Sample(self._patches(load_image(record.path)), 1, self._marks(mask), record.group or digest)

    def _patches(self, image: NDArray[np.uint8]) -> Patches:
        return patches_of(self._preparation.apply(image), self._preparation, self._backbone)

    def _marks(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        shares = cv2.resize((mask > 0).astype(np.float32), self._valid.shape[::-1], interpolation=cv2.INTER_AREA)
        return ((shares >= MARKED_SHARE) | ((shares > 0) & (shares == shares.max()))).astype(np.uint8)


def report(runs: int = 3, folder: Path | None = None) -> str:
    """AUROC on parts never trained on, mean ± standard deviation over ``runs`` seeds."""
    folder = folder or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if folder is None or not folder.is_dir():
        raise SystemExit(f"synthetic_lift: set {VARIABLE} to the folder of the photos (see benchmarks/inspection.py)")
    tables = []
    with threadpool_limits(1):
        for name in SETS:
            tables.append(tabulate(name, [measure(name, folder, seed) for seed in range(runs)]))
    return "\n\n".join(
        [*tables, f"{MADE} synthetic defects of each sort; AUROC, {runs} seeds, mean ± standard deviation."]
    )


def measure(name: str, folder: Path, seed: int) -> list[tuple[int, str, dict[str, float]]]:
    """One seed on one set: real defects, synthetic ones, figures."""
    return list(Trial(SETS[name](folder, np.random.default_rng(seed)), seed).figures())


def tabulate(name: str, seeds: Sequence[Sequence[tuple[int, str, dict[str, float]]]]) -> str:
    """The table of a set."""
    collected: dict[tuple[int, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for count, added, figures in chain.from_iterable(seeds):
        for figure, value in figures.items():
            collected[count, added][figure].append(value)
    rows = [
        (str(count), added, *(_spread(values[figure]) if figure in values else "" for figure in FIGURES))
        for (count, added), values in collected.items()
    ]
    return f"{name}\n\n{table(('real defects', 'synthetic', *FIGURES), rows)}"


def _small(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return cv2.resize(mask, (COMPARED_SIDE, COMPARED_SIDE), interpolation=cv2.INTER_NEAREST) > 0


def _auroc(good: Sequence[float], bad: Sequence[float]) -> float:
    return float(roc_auc_score(np.repeat([0, 1], [len(good), len(bad)]), [*good, *bad]))


def _shuffled(items, rng: np.random.Generator) -> list:  # noqa: ANN001
    return [items[index] for index in rng.permutation(len(items))]


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.3f} ± {statistics.pstdev(values):.3f}"
