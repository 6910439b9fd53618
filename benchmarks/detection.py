"""The ridge detector on scenes of cut-outs, backgrounds and seeds that it never saw, and what all of it costs.

Real photos are reported apart where DEFECTORY_DETECTION names a folder of YOLO sets: ``tracon-cones``,
``css-construction-site-safety``, ``pallet-forklift`` and ``spill-rohand``: of the detector that was trained on scenes
alone, and of one that was trained on some real images as well.  Things that others modelled are reported where
DEFECTORY_CUTOUTS names a folder of cut-outs that ``python -m tools.cutouts.models`` has rendered.
"""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from threadpoolctl import threadpool_limits

from benchmarks.measure import mean_with_interval, table
from defectory.datasets.boxes import BoxProblem
from defectory.detection.cutouts.library import CutOutLibrary
from defectory.detection.detectors.detector import Detector
from defectory.detection.detectors.ridge.training import RidgeOptions, train_ridge
from defectory.detection.evaluation.evaluate import Examination, examine
from defectory.detection.labelled import LabelledSet, open_labelled
from defectory.detection.layouts.presets import load_preset
from defectory.detection.layouts.sampler import Split
from defectory.detection.matching import COCO_AREAS, AveragePrecision, BoxTable, average_precision
from defectory.detection.scenes.compose import SceneSources, compose_scenes
from defectory.detection.scenes.plans import plan_preset

VARIABLE, MODELS_VARIABLE = "DEFECTORY_DETECTION", "DEFECTORY_CUTOUTS"
PRESETS = ("housekeeping", "ppe", "floor")
Result = TypeVar("Result")

SEEDS = (1, 2, 3)
SIDE, TRAINED, TESTED = 512, 320, 150
# From and to of the share of an object that is seen.
VISIBLE = ((0.25, 0.6), (0.6, 0.9), (0.9, 1.0))
# Real images that are trained on beside the scenes, and the fewest that have to be left to test on.
REAL, FEWEST_PHOTOS = (0, 10, 50), 8


@dataclass(frozen=True, slots=True)
class Photos:
    """A set of photos: its folder, which preset's detector looks at it, what its classes are called here (others are
    left out), the overlap that counts, and whether a class counts only on images where it is labelled.
    """

    name: str
    preset: str
    classes: Mapping[str, str]
    iou: float = 0.5
    only_labelled: bool = False


PHOTOS: Mapping[str, Photos] = {
    photos.name: photos
    for photos in (
        Photos("tracon-cones", "housekeeping", {"traffic cone": "safety_cone"}),
        Photos(
            "css-construction-site-safety",
            "ppe",
            {"Person": "person", "Hardhat": "hard_hat", "Safety Vest": "safety_vest"},
        ),
        Photos("pallet-forklift", "housekeeping", {"pallet": "pallet"}, 0.3, True),
        Photos("spill-rohand", "floor", {"spill": "spill"}),
    )
}


def report(folder: Path | None = None, cutouts: Path | None = None) -> str:
    """Average precision and costs by preset; of photos by set; and of the evaluation beside pycocotools'."""
    place = os.environ.get(VARIABLE)
    folder = folder or (Path(place) if place else None)
    models = os.environ.get(MODELS_VARIABLE)
    rows: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    with threadpool_limits(1), tempfile.TemporaryDirectory() as name:
        for preset in PRESETS:
            runs = [_run(preset, seed, Path(name), cutouts) for seed in SEEDS]
            rows["synthetic"].append(_synthetic_row(preset, runs))
            rows["bands"] += _band_rows(preset, runs)
            if models and preset == PRESETS[0]:
                rows["models"] = _model_rows(runs, Path(models), Path(name))
            for photos in PHOTOS.values() if folder else ():
                if photos.preset == preset:
                    rows["photos"] += _photo_rows(runs, folder / photos.name, photos)  # type: ignore[operator]
    tables = [
        ((f"unseen variants, {SIDE}x{SIDE}", "mAP@50", "mAP@50:95", "AP@50 by class", "CPU s: compose", "train",
          "evaluate", "in all", "ms an image"), rows["synthetic"]),
        (("AP@50 of a part of the objects", "visible 25-60 %", "60-90 %", "over 90 %", "below 32x32 pixels",
          "to 96x96", "larger"), rows["bands"]),
        (("objects that others modelled, on scenes", "variants", "objects", "AP@50"), rows["models"]),
        (("real photos, IoU", "class", "images tested", "objects",
          *(f"AP with {count or 'no'} real images" for count in REAL)), rows["photos"]),
        ((f"evaluation of {_IMAGES:,} images", "s", "pycocotools / ours"), _compare_evaluations()),
    ]  # fmt: skip
    return "\n\n".join(table(header, cells) for header, cells in tables if cells)


@dataclass(frozen=True, slots=True)
class _Run:
    """What one seed gave: the scenes that were trained on, the detector, what it did with the tested ones, CPU s."""

    seed: int
    trained: Path
    detector: Detector
    examination: Examination
    seconds: tuple[float, float, float]


def _run(preset: str, seed: int, work: Path, cutouts: Path | None) -> _Run:
    composed, sets = _timed(lambda: _compose(preset, seed, work, cutouts))
    trained, detector = _timed(lambda: _train([open_labelled(sets["train"])], seed))
    evaluated, examination = _timed(lambda: examine(detector, open_labelled(sets["test"])))
    return _Run(seed, sets["train"], detector, examination, (composed, trained, evaluated))


def _train(sets: list[LabelledSet], seed: int) -> Detector:
    return train_ridge(sets, RidgeOptions(seed=seed))


def _compose(preset: str, seed: int, work: Path, cutouts: Path | None) -> dict[str, Path]:
    counts: tuple[tuple[Split, int], ...] = (("train", TRAINED), ("test", TESTED))
    folders = {}
    for split, count in counts:
        plan = plan_preset(load_preset(preset), count, seed=seed, split=split, size=(SIDE, SIDE))
        sources = SceneSources(plan.classes, split, cutouts, None, cutouts is None, 0.25, plan.sizes)
        folders[split] = work / f"{preset}-{split}-{seed}"
        compose_scenes(plan, sources, folders[split], form="jpg", workers=1)
    return folders


def _synthetic_row(preset: str, runs: list[_Run]) -> tuple[str, ...]:
    precisions = [_precision(run.examination) for run in runs]
    names = runs[0].examination.classes
    by_class = ", ".join(
        f"{name} {np.nanmean([item.values[place, 0, 0] for item in precisions]):.2f}"
        for place, name in enumerate(names)
    )
    costs = [statistics.mean(run.seconds[part] for run in runs) for part in range(3)]
    looked = statistics.mean(1000 * run.examination.seen.cpu_seconds / TESTED for run in runs)
    figures = [mean_with_interval([item.mean(ious=ious) for item in precisions]) for ious in (0, slice(None))]
    return preset, *figures, by_class, *(f"{cost:.0f}" for cost in (*costs, sum(costs))), f"{looked:.0f}"


def _precision(x: Examination) -> AveragePrecision:
    return average_precision(x.objects, x.detections, len(x.classes))


def _band_rows(preset: str, runs: list[_Run]) -> list[tuple[str, ...]]:
    """Of objects by how much of them is seen, and by size; the others are passed over, as COCO does by area."""
    cells = []
    for low, high in VISIBLE:
        values = []
        for run in runs:
            x = run.examination
            shares = np.array([1.0 if item.visible is None else item.visible for item in x.items()])
            objects = replace(x.objects, areas=shares)
            detections = replace(x.detections, areas=np.full(len(x.detections), (low + high) / 2))
            found = average_precision(objects, detections, len(x.classes), ious=[0.5], areas=[(low, high)])
            values.append(found.mean())
        cells.append(mean_with_interval(values))
    precisions = [_precision(run.examination) for run in runs]
    cells += [mean_with_interval([item.mean(area=area, ious=0) for item in precisions]) for area in (1, 2, 3)]
    return [(preset, *cells)]


def _model_rows(runs: list[_Run], cutouts: Path, work: Path) -> list[tuple[str, ...]]:
    """AP of the classes that there are such cut-outs of, on scenes that show no others."""
    library = CutOutLibrary.open(cutouts)
    whole = load_preset(PRESETS[0])
    classes = {name: plan for name, plan in whole.classes.items() if name in library.labels("test")}
    preset = whole.model_copy(update={"classes": classes, "together": (), "beside": (), "events": ()})
    results = []
    for run in runs:
        plan = plan_preset(preset, TESTED, seed=run.seed, split="test", size=(SIDE, SIDE))
        sources = SceneSources(plan.classes, "test", cutouts, None, False, 0.25, plan.sizes)
        scenes = work / f"models-{run.seed}"
        compose_scenes(plan, sources, scenes, form="jpg", workers=1)
        results.append(examine(run.detector, open_labelled(scenes)))
    precisions = [_precision(x) for x in results]
    return [
        (
            name,
            ", ".join(sorted({cutout.variant for cutout in library.select(name, "test")})),
            f"{statistics.mean(int((x.objects.labels == place).sum()) for x in results):.0f}",
            mean_with_interval([float(item.values[place, 0, 0]) for item in precisions]),
        )
        for place, name in enumerate(results[0].classes)
    ]


def _photo_rows(runs: list[_Run], folder: Path, photos: Photos) -> list[tuple[str, ...]]:
    """AP by class with none, some and more real images among those trained on; each seed splits the files anew."""

    def ignore(problem: BoxProblem) -> None:
        """Such sets have a few."""

    labelled = open_labelled(folder, on_problem=ignore)
    labelled = labelled.rename({name: photos.classes.get(name, "") for name in labelled.classes})
    names = [image.name for image in labelled]
    counts = [count for count in REAL if count <= len(names) - FEWEST_PHOTOS]
    results: dict[int, list[Examination]] = {count: [] for count in counts}
    for run in runs:
        order = [names[place] for place in np.random.default_rng(run.seed).permutation(len(names))]
        tested = _only(labelled, frozenset(order[counts[-1] :]))
        for count in counts:
            real = _only(labelled, frozenset(order[:count]))
            detector = _train([open_labelled(run.trained), real], run.seed) if count else run.detector
            results[count].append(examine(detector, tested, iou=photos.iou, only_labelled=photos.only_labelled))
    rows = []
    for place, name in enumerate(results[0][0].classes):
        cells = [
            mean_with_interval([
                float(average_precision(x.objects, x.detections, len(x.classes), ious=[photos.iou]).values[place, 0, 0])
                for x in results[count]
            ])
            for count in counts
        ]  # fmt: skip
        objects = statistics.mean(int((x.objects.labels == place).sum()) for x in results[0])
        tested_images = str(len(names) - counts[-1])
        rows.append((f"{photos.name}, {photos.iou:g}", name, tested_images, f"{objects:.0f}", *cells,
                     *["–"] * (len(REAL) - len(cells))))  # fmt: skip
    return rows


def _only(labelled: LabelledSet, names: frozenset[str]) -> LabelledSet:
    return replace(labelled, read=lambda: (image for image in labelled.read() if image.name in names))


_IMAGES, _CLASSES = 5000, 10


def _compare_evaluations() -> list[tuple[str, ...]]:
    """COCO's figures of the same boxes by ours and by pycocotools, medians of three turns."""
    rng = np.random.default_rng(0)
    objects, detections = _boxes(rng, 3 * _IMAGES), _boxes(rng, 20 * _IMAGES)
    areas = tuple(COCO_AREAS.values())
    seconds: dict[str, list[float]] = {"ours": [], "pycocotools": []}
    ours = theirs = 0.0
    for _ in range(3):
        spent, ours = _timed(lambda: average_precision(objects, detections, _CLASSES, areas=areas).mean())
        seconds["ours"].append(spent)
        spent, theirs = _timed(lambda: _by_pycocotools(objects, detections))
        seconds["pycocotools"].append(spent)
    if abs(ours - theirs) > 1e-6:
        raise SystemExit(f"detection: mAP {ours} is not pycocotools' {theirs}")
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return [(name, f"{value:.2f}", f"{medians['pycocotools'] / value:.1f}x") for name, value in medians.items()]


def _boxes(rng: np.random.Generator, count: int) -> BoxTable:
    boxes: NDArray[np.float64] = np.concatenate([rng.uniform(0, 300, (count, 2)), rng.uniform(10, 200, (count, 2))], 1)
    images, labels = rng.integers(0, _IMAGES, count), rng.integers(0, _CLASSES, count)
    return BoxTable.of(images, labels, boxes, scores=rng.uniform(0, 1, count))


def _by_pycocotools(objects: BoxTable, detections: BoxTable) -> float:
    def rows(boxes: BoxTable) -> list[dict[str, object]]:
        return [
            {
                "id": row + 1,
                "image_id": int(boxes.images[row]) + 1,
                "category_id": int(boxes.labels[row]) + 1,
                "bbox": boxes.boxes[row].tolist(),
                "area": float(boxes.areas[row]),
                "score": float(boxes.scores[row]),
                "iscrowd": 0,
            }
            for row in range(len(boxes))
        ]

    coco = COCO()
    coco.dataset = {
        "images": [{"id": number + 1} for number in range(_IMAGES)],
        "categories": [{"id": number + 1, "name": str(number)} for number in range(_CLASSES)],
        "annotations": rows(objects),
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(rows(detections)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """CPU seconds, and what came of it."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result
