"""``defectory detect curate``: what a detector is weak at, and the plan of the scenes it lacks.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.detect import options as given
from defectory.cli.detect.labels import MapOption, SkipBadOption, open_labels, tell_problems
from defectory.cli.options import JsonOption, ModelArgument, out_folder
from defectory.cli.output import print_json, print_table, progress_bars, remark

if TYPE_CHECKING:
    from defectory.detection.curation.plan import LayoutPlan
    from defectory.detection.curation.results import WeakSpots

MOST_ROWS = 20

CurationArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="Labelled images of their own: neither those it was trained on nor the frozen test set."
    ),
]
PresetOption = Annotated[
    str | None,
    typer.Option(
        help="What layouts are sampled from.", metavar="NAME", show_default="the embedded one with its classes"
    ),
]
RandomOption = Annotated[
    bool,
    typer.Option("--random", help="Write random-layouts.jsonl besides: as many of the same pool, to compare with."),
]


def curate(
    model: ModelArgument,
    folder: CurationArgument,
    out: Annotated[Path, out_folder("Folder for the weak spots and the plan.")],
    count: given.CountOption = 100,
    preset: PresetOption = None,
    seed: given.SeedOption = 0,
    size: given.SizeOption = 512,
    random: RandomOption = False,
    iou: Annotated[float, typer.Option(min=0.05, max=1, help="Overlap from which on an object is found.")] = 0.5,
    names: MapOption = None,
    skip_bad: SkipBadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find what a detector is weak at, by class and condition, and plan the scenes that it lacks.

    Writes weak-spots.json, weak-spots.html, and layouts.jsonl, of which `defectory detect compose` makes scenes. Exit
    code 1 if labels or images had to be left out.

    Examples:

        defectory detect curate detector.tar.gz scenes/curation --count 100 --out curation

        defectory detect compose curation/layouts.jsonl --out scenes/more
    """
    from defectory.claims import claim
    from defectory.detection.curation.plan import LAYOUTS, RANDOM_LAYOUTS, LayoutPlan, preset_of, write_plan
    from defectory.detection.curation.report import write_weak_spots_report
    from defectory.detection.curation.results import write_weak_spots
    from defectory.detection.curation.weak_spots import find_weak_spots
    from defectory.detection.detectors.detector import load_detector
    from defectory.detection.evaluation.evaluate import Problems

    detector = load_detector(model)
    world = preset_of(detector.card.names, preset)
    problems = Problems()
    labelled = open_labels(folder, names, problems=problems if skip_bad else None)
    claim(out, "defectory detect curate")
    with progress_bars(hidden=as_json) as show:
        weak, examination = find_weak_spots(detector, labelled, iou=iou, problems=problems, on_progress=show)
    write_weak_spots(weak, out)
    page = write_weak_spots_report(weak, examination.paths(), out)
    plans = {LAYOUTS: LayoutPlan(world, count, weak.spots, seed, (size, size))}
    if random:
        plans[RANDOM_LAYOUTS] = LayoutPlan(world, count, (), seed, (size, size))
    files = [write_plan(plan, out / name) for name, plan in plans.items()]
    tell_problems(problems)
    if as_json:
        plan = {"preset": world.name, "count": count, "files": [str(file) for file in files]}
        print_json({**weak.model_dump(mode="json"), "report": str(page), "plan": plan})
    else:
        _show(weak, plans[LAYOUTS], page, files)
    if problems.counts:
        raise typer.Exit(1)


def _show(weak: WeakSpots, plan: LayoutPlan, page: Path, files: list[Path]) -> None:
    rows = [
        {
            "kind": spot.kind,
            "where": spot.name,
            "failures": f"{spot.count} of {spot.cases}",
            "rate": f"{spot.rate.value:.2f}",
            "rest": f"{spot.rest.value:.2f}",
            "difference": f"{spot.difference.low:.2f} to {spot.difference.high:.2f}",
        }
        for spot in weak.spots[:MOST_ROWS]
    ]
    if rows:
        print_table(f"Weak spots on {weak.images} {weak.origin} images", tuple(rows[0]), rows)
    else:
        remark(f"No weak spot that chance would not explain on {weak.images} images: the plan is random.")
    if len(weak.spots) > MOST_ROWS:
        typer.echo(f"And {len(weak.spots) - MOST_ROWS} more.")
    if weak.suspected:
        typer.echo(f"{weak.suspected} labels are in doubt.")
    typer.echo(f"See them: {page}")
    typer.echo(f"{files[0]}: {plan.count} layouts; `defectory detect compose {files[0]} --out SCENES` makes them")
