"""Targeted against random additional scenes, at equal numbers, on the same frozen set: three seeds a preset."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks.measure import table
from defectory.detection.curation.compare import PlanComparison, SceneSettings, compare_plans
from defectory.detection.curation.results import WeakSpots
from defectory.detection.curation.weak_spots import find_weak_spots
from defectory.detection.detectors.ridge.training import RidgeOptions, train_ridge
from defectory.detection.labelled import open_labelled
from defectory.detection.layouts.presets import load_preset
from defectory.detection.layouts.records import Split
from defectory.detection.scenes.compose import SceneSources, compose_scenes
from defectory.detection.scenes.plans import plan_preset
from defectory.metrics.estimates import Difference

PRESETS = ("housekeeping", "ppe")
SIDE, SEEDS = 384, (0, 1, 2)
# Scenes of each set: what is trained on, what weak spots are looked for in, what is measured on, and what is added.
BASE, CURATION, FROZEN, ADDED = 100, 150, 150, 100


def report(cutouts: Path | None = None) -> str:
    """What was found and what came of it, by preset."""
    found, compared = [], []
    with threadpool_limits(1), tempfile.TemporaryDirectory() as name:
        for preset in PRESETS:
            started = time.process_time()
            weak, comparison = _compare(preset, Path(name) / preset, cutouts)
            seconds = time.process_time() - started
            worst = "; ".join(f"{spot.kind}: {spot.name}" for spot in weak.spots[:5])
            found.append((preset, str(weak.compared), str(len(weak.spots)), worst or "none"))
            compared += _rows(preset, comparison, seconds) if comparison else []
    header = (
        f"{BASE} scenes and {ADDED} more", "measure", "base", "random", "targeted", "targeted less random", "objects",
        "CPU s",
    )  # fmt: skip
    return "\n\n".join(
        [table((f"{CURATION} scenes looked at", "groups", "weak spots", "the worst"), found), table(header, compared)]
    )


def _compare(preset: str, work: Path, cutouts: Path | None) -> tuple[WeakSpots, PlanComparison | None]:
    base = _compose(preset, work / "base", BASE, 1, "train", cutouts)
    curation = _compose(preset, work / "curation", CURATION, 2, "train", cutouts)
    frozen = _compose(preset, work / "frozen", FROZEN, 1, "test", cutouts)
    options = RidgeOptions(side=SIDE)
    weak, _ = find_weak_spots(train_ridge([open_labelled(base)], options), open_labelled(curation))
    if not weak.spots:
        return weak, None
    settings = SceneSettings(load_preset(preset), (SIDE, SIDE), cutouts, embedded=cutouts is None)
    return weak, compare_plans(weak, base, frozen, work, settings, count=ADDED, seeds=SEEDS, options=options)


def _compose(preset: str, folder: Path, count: int, seed: int, split: Split, cutouts: Path | None) -> Path:
    plan = plan_preset(load_preset(preset), count, seed=seed, split=split, size=(SIDE, SIDE))
    sources = SceneSources(plan.classes, split, cutouts, None, cutouts is None, sizes=plan.sizes)
    compose_scenes(plan, sources, folder, workers=1)
    return folder


def _rows(preset: str, result: PlanComparison, seconds: float) -> list[tuple[str, ...]]:
    def mean(values: list[float | None]) -> str:
        known = [value for value in values if value is not None]
        return f"{sum(known) / len(known):.3f}" if known else "–"

    def difference(value: Difference | None) -> str:
        return f"{value.value:+.3f} ({value.low:+.3f} to {value.high:+.3f})" if value else "–"

    random, targeted = (
        sum(getattr(run, field) for run in result.runs) // len(result.runs)
        for field in ("random_objects", "targeted_objects")
    )
    objects = f"{random} random, {targeted} targeted"
    return [
        (
            preset,
            title,
            mean([getattr(result.base, field)]),
            mean([getattr(run.random, field) for run in result.runs]),
            mean([getattr(run.targeted, field) for run in result.runs]),
            difference(getattr(result, field)),
            objects,
            f"{seconds:.0f}",
        )
        for title, field in (("mAP@50", "map50"), ("recall at weak spots", "weak_recall"))
    ]
