"""The ridge detector on scenes of cut-outs, backgrounds and seeds that it never saw, and what all of it costs.

Real photos are reported apart where DEFECTORY_DETECTION names a folder of YOLO sets: ``tracon-cones``,
``css-construction-site-safety``, ``pallet-forklift`` and ``spill-rohand``.  No real image is trained on.
"""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from threadpoolctl import threadpool_limits

from benchmarks.measure import table
from defectory.datasets.boxes import BoxProblem
from defectory.detection.detectors.detector import Detector
from defectory.detection.detectors.ridge.training import RidgeOptions, train_ridge
from defectory.detection.evaluation.evaluate import evaluate_detector
from defectory.detection.evaluation.results import DetectionEvaluation
from defectory.detection.labelled import open_labelled
from defectory.detection.layouts.presets import load_preset
from defectory.detection.layouts.sampler import Split
from defectory.detection.matching import COCO_AREAS, BoxTable, average_precision
from defectory.detection.scenes.compose import SceneSources, compose_scenes
from defectory.detection.scenes.plans import plan_preset

VARIABLE = "DEFECTORY_DETECTION"
PRESETS = ("housekeeping", "ppe", "floor")
Result = TypeVar("Result")

SIDE, TRAINED, TESTED = 512, 200, 150
# Each set, what its classes are called here ("" leaves one out), the overlap that counts, and whether a class counts
# only on images where it is labelled.
PHOTOS: Mapping[str, tuple[dict[str, str], float, bool]] = {
    "tracon-cones": ({"traffic cone": "safety_cone"}, 0.5, False),
    "css-construction-site-safety": (
        {"Person": "person", "Hardhat": "hard_hat", "Safety Vest": "safety_vest", "Safety Cone": "safety_cone"},
        0.5,
        False,
    ),
    "pallet-forklift": ({}, 0.3, True),
    "spill-rohand": ({}, 0.5, False),
}


def report(folder: Path | None = None, cutouts: Path | None = None) -> str:
    """Average precision and costs by preset; of photos by set; and of the evaluation beside pycocotools'."""
    place = os.environ.get(VARIABLE)
    folder = folder or (Path(place) if place else None)
    synthetic, real = [], []
    options = RidgeOptions(most_images=TRAINED * 4 // 5)
    with threadpool_limits(1), tempfile.TemporaryDirectory() as name:
        work = Path(name)
        detectors = []
        for preset in PRESETS:
            composed, sets = _timed(lambda preset=preset: _compose(preset, work, cutouts))  # type: ignore[misc]
            trained, detector = _timed(lambda train=sets["train"]: train_ridge([open_labelled(train)], options))  # type: ignore[misc]
            evaluated, evaluation = _timed(
                lambda detector=detector, test=sets["test"], preset=preset: evaluate_detector(  # type: ignore[misc]
                    detector, open_labelled(test), work / f"{preset}-evaluation"
                )
            )
            detectors.append(detector)
            synthetic.append(_synthetic_row(preset, evaluation, (composed, trained, evaluated)))
        for name in PHOTOS if folder else ():
            real += [row for detector in detectors for row in _real_rows(detector, folder / name, work)]
    parts = [
        table(
            (f"unseen variants, {SIDE}x{SIDE}", "mAP@50", "mAP@50:95", "AP@50 by class", "CPU s: compose", "train",
             "evaluate", "in all", "ms an image"),
            synthetic,
        ),
        table((f"evaluation of {_IMAGES:,} images", "s", "pycocotools / ours"), _compare_evaluations()),
    ]  # fmt: skip
    if real:
        header = ("real photos, none trained on", "images", "class", "objects", "IoU", "AP")
        parts.insert(1, table(header, real))
    return "\n\n".join(parts)


def _compose(preset: str, work: Path, cutouts: Path | None) -> dict[str, Path]:
    counts: tuple[tuple[Split, int], ...] = (("train", TRAINED), ("test", TESTED))
    folders = {}
    for split, count in counts:
        plan = plan_preset(load_preset(preset), count, seed=1, split=split, size=(SIDE, SIDE))
        sources = SceneSources(plan.classes, split, cutouts, None, cutouts is None, 0.25, plan.sizes)
        folders[split] = work / f"{preset}-{split}"
        compose_scenes(plan, sources, folders[split], form="jpg", workers=1)
    return folders


def _synthetic_row(
    preset: str, evaluation: DetectionEvaluation, seconds: tuple[float, float, float]
) -> tuple[str, ...]:
    by_class = ", ".join(f"{name} {value:.2f}" for name, value in evaluation.by_class().items() if value is not None)
    costs = [f"{each:.0f}" for each in (*seconds, sum(seconds))]
    figures = f"{evaluation.map50 or 0:.3f}", f"{evaluation.map50_95 or 0:.3f}"
    return preset, *figures, by_class, *costs, f"{evaluation.cpu_ms_per_image:.0f}"


def _real_rows(detector: Detector, folder: Path, work: Path) -> list[tuple[str, ...]]:
    """A row for each class that both know; none of an unlabelled set's other classes."""
    names, iou, only_labelled = PHOTOS[folder.name]

    def ignore(problem: BoxProblem) -> None:
        """Such sets have a few."""

    labelled = open_labelled(folder, on_problem=ignore)
    labelled = labelled.rename({name: names.get(name, name) for name in labelled.classes})
    if not set(labelled.classes) & set(detector.card.names):
        return []
    out = work / f"{folder.name}-{detector.card.version}"
    evaluation = evaluate_detector(detector, labelled, out, iou=iou, only_labelled=only_labelled)
    return [
        (folder.name, str(evaluation.images), item.name, str(item.objects), f"{iou:g}", f"{item.ap or 0:.3f}")
        for item in evaluation.classes
    ]


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
