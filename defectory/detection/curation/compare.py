"""Compare plans: whether targeted scenes help a detector more than as many random ones, on the same frozen set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from defectory.detection.curation.plan import LAYOUTS, RANDOM_LAYOUTS, LayoutPlan, write_plan
from defectory.detection.curation.results import WeakSpot, WeakSpots
from defectory.detection.detectors.detector import Detector
from defectory.detection.detectors.ridge.training import RidgeOptions, train_ridge
from defectory.detection.evaluation.conditions import object_groups
from defectory.detection.evaluation.evaluate import Examination, examine
from defectory.detection.labelled import open_labelled
from defectory.detection.layouts.presets import Preset
from defectory.detection.matching import average_precision
from defectory.detection.scenes.compose import SceneSources, compose_scenes
from defectory.detection.scenes.plans import plan_file
from defectory.errors import InputError
from defectory.metrics.estimates import Difference, paired_difference
from defectory.progress import OnProgress, Progress, ignore_progress
from defectory.validation import FrozenModel

FEWEST_SEEDS = 3


class PlanFigures(FrozenModel):
    """A detector on the frozen set: mean average precision at IoU 0.5, and recall of the objects at the weak spots.

    ``weak_recall`` is over the classes and conditions where objects were missed or found with low scores; None where
    the frozen set has no such object.
    """

    map50: float
    weak_recall: float | None


class PlanRun(FrozenModel):
    """The two detectors of one seed, and how many labelled objects the scenes gave each: scenes are equal in number."""

    seed: int
    targeted: PlanFigures
    random: PlanFigures
    targeted_objects: int
    random_objects: int


class PlanComparison(FrozenModel):
    """What targeted scenes gave beyond as many random ones.

    ``base`` is the detector of the base alone; the differences are targeted less random, with Student's 95 % interval
    over the seeds, each of which draws its own scenes and trains its own detectors.  The frozen set stays the same: how
    much another set of images would differ is not in the intervals.
    """

    count: int
    base: PlanFigures
    runs: tuple[PlanRun, ...]
    map50: Difference
    weak_recall: Difference | None


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """How the scenes of both plans are made.

    Args:
        preset: what layouts are drawn from.
        size: of the canvases.
        cutouts, backgrounds, embedded: see `SceneSources`.
        workers: processes that compose.
    """

    preset: Preset
    size: tuple[int, int] = (512, 512)
    cutouts: Path | None = None
    backgrounds: Path | None = None
    embedded: bool = True
    workers: int = 1


def compare_plans(
    weak: WeakSpots,
    base: Path,
    frozen: Path,
    work: Path,
    settings: SceneSettings,
    *,
    count: int,
    seeds: Sequence[int] = (0, 1, 2),
    options: RidgeOptions | None = None,
    on_progress: OnProgress = ignore_progress,
) -> PlanComparison:
    """Train on ``base`` with targeted, and with as many random scenes, and measure both on ``frozen``.

    Args:
        weak: what the detector of ``base`` is weak at, on a curation set of its own.
        base: the labelled images that it was trained on.
        frozen: the test set: neither trained on nor looked for weak spots in.
        work: folder for the scenes, a pair of folders a seed.
        settings: how scenes are made.
        count: scenes that are added.
        seeds: three or more, of plans and trainings.
        options: how detectors are trained; their seed is that of the run.
        on_progress: hears of each detector.

    Raises:
        InputError: there is no weak spot, there are fewer than three seeds, or a set cannot be used.
    """
    if not weak.spots:
        raise InputError("weak spots", "at least one, for the two plans to differ")
    if len(set(seeds)) < FEWEST_SEEDS or len(set(seeds)) < len(seeds):
        raise InputError("seeds", f"{FEWEST_SEEDS} different ones at least", list(seeds))
    options = options or RidgeOptions()
    detector = train_ridge([open_labelled(base)], options)
    alone = _measure(detector, frozen, weak.spots)
    runs, total = [], 1 + 2 * len(seeds)
    on_progress(Progress("training", 1, total))
    for place, seed in enumerate(seeds):
        pair, objects = [], []
        for name, spots in ((LAYOUTS, weak.spots), (RANDOM_LAYOUTS, ())):
            scenes = _compose(LayoutPlan(settings.preset, count, spots, seed, settings.size), name, work, settings)
            sets = [open_labelled(base), open_labelled(scenes)]
            objects.append(sum(len(image.objects) for image in sets[1]))
            detector = train_ridge(sets, options.model_copy(update={"seed": seed}))
            pair.append(_measure(detector, frozen, weak.spots))
            on_progress(Progress("training", 1 + 2 * place + len(pair), total))
        figures = {"targeted": pair[0], "random": pair[1]}
        runs.append(PlanRun(seed=seed, **figures, targeted_objects=objects[0], random_objects=objects[1]))
    return PlanComparison(
        count=count,
        base=alone,
        runs=tuple(runs),
        map50=paired_difference([run.targeted.map50 for run in runs], [run.random.map50 for run in runs]),
        weak_recall=_difference_of_recalls(runs),
    )


def _difference_of_recalls(runs: Sequence[PlanRun]) -> Difference | None:
    pairs = [(run.targeted.weak_recall, run.random.weak_recall) for run in runs]
    known = [(first, second) for first, second in pairs if first is not None and second is not None]
    return paired_difference(*zip(*known, strict=True)) if len(known) == len(runs) else None


def _compose(plan: LayoutPlan, name: str, work: Path, settings: SceneSettings) -> Path:
    """The scenes of a plan, in a folder of its own."""
    folder = work / f"seed-{plan.seed}"
    file = write_plan(plan, folder / name)
    # Things that belong to a scene and are no class stay unlabelled, as in the base.
    sources = SceneSources(
        settings.preset.labels, "train", settings.cutouts, settings.backgrounds, settings.embedded, sizes=(plan.size,)
    )
    scenes = folder / file.stem
    summary = compose_scenes(plan_file(file), sources, scenes, workers=settings.workers)
    if summary.failed:
        raise InputError("layouts", "that can all be composed, or numbers are not equal", summary.failures[0]["reason"])
    return scenes


def _measure(detector: Detector, frozen: Path, spots: Sequence[WeakSpot]) -> PlanFigures:
    examination = examine(detector, open_labelled(frozen))
    precision = average_precision(examination.objects, examination.detections, len(examination.classes), ious=[0.5])
    weak = _at_weak_spots(examination, spots)
    recall = float(examination.is_found[weak].mean()) if weak.any() else None
    return PlanFigures(map50=precision.mean(), weak_recall=recall)


def _at_weak_spots(x: Examination, spots: Sequence[WeakSpot]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which objects are of a class and under a condition where objects were missed or found with low scores."""
    kept = [spot for spot in spots if spot.kind in ("missed", "low confidence")]
    rows = []
    for row, item in enumerate(x.items()):
        groups = {**object_groups(item), **x.seen.images[int(x.objects.images[row])].conditions}
        rows.append(
            any(
                spot.label in ("", item.label) and (not spot.condition or groups.get(spot.condition) == spot.group)
                for spot in kept
            )
        )
    return np.array(rows, np.bool_)
