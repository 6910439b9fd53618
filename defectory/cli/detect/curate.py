"""``defectory detect curate``: what a detector is weak at, and the plan of the scenes it lacks.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.detect import options as given
from defectory.cli.detect.labels import MapOption, SkipBadOption, open_labels, tell_problems
from defectory.cli.options import JsonOption, ModelArgument, named_as_options, out_folder
from defectory.cli.output import print_json, print_table, progress_bars, remark
from defectory.errors import InputError

if TYPE_CHECKING:
    from defectory.detection.curation.compare import PlanComparison
    from defectory.detection.curation.plan import LayoutPlan
    from defectory.detection.curation.results import WeakSpots
    from defectory.detection.evaluation.evaluate import Examination

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
RandomOption = Annotated[bool, typer.Option("--random", help="Write random-layouts.jsonl, too: as many of the pool.")]


IouOption = Annotated[float, typer.Option(min=0.05, max=1, help="Overlap from which on an object is found.")]
ModelIdOption = Annotated[str | None, typer.Option(help="Inference profile id, for bedrock.")]
BaseModelOption = Annotated[str | None, typer.Option(help="Model behind the profile, where its id does not tell.")]
RegionOption = Annotated[str | None, typer.Option(help="AWS region of the model.", show_default="from AWS_REGION")]
MostOption = Annotated[
    int, typer.Option(min=16, max=10_000, help="For bedrock: objects that the model is shown, drawn at random.")
]


BaseOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="With --frozen: what the detector was trained on, to compare plans with."),
]
FrozenOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Test set on which targeted and random scenes are compared: trains seven detectors on --base and more.",
    ),
]


class DescriberChoice(StrEnum):
    """Who says what is seen of the objects."""

    measured = "measured"
    bedrock = "bedrock"
    none = "none"


DescribeOption = Annotated[
    DescriberChoice,
    typer.Option(help="Who says what is seen of each object: measured figures, a model that looks, or nobody."),
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
    base: BaseOption = None,
    frozen: FrozenOption = None,
    iou: IouOption = 0.5,
    describe: DescribeOption = DescriberChoice.measured,
    model_id: ModelIdOption = None,
    base_model_id: BaseModelOption = None,
    region: RegionOption = None,
    most_described: MostOption = 200,
    names: MapOption = None,
    skip_bad: SkipBadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find what a detector is weak at, by class and condition, and plan the scenes that it lacks.

    Conditions are those of composed scenes, and what is seen of each object. Writes weak-spots.json, weak-spots.html,
    and layouts.jsonl, of which `defectory detect compose` makes scenes. Exit code 1 if labels or images had to be left
    out.

    Examples:

        defectory detect curate detector.tar.gz scenes/curation --count 100 --out curation

        defectory detect compose curation/layouts.jsonl --out scenes/more
    """
    from defectory.claims import claim
    from defectory.detection.curation.describers import create_describer
    from defectory.detection.curation.plan import LayoutPlan, preset_of
    from defectory.detection.curation.weak_spots import find_weak_spots
    from defectory.detection.detectors.detector import load_detector
    from defectory.detection.evaluation.evaluate import Problems

    if (base is None) != (frozen is None):
        raise InputError("--base and --frozen", "both or neither")
    who = {"model_id": model_id, "base_model_id": base_model_id, "region": region}
    with named_as_options("model-id"):
        describer = create_describer(describe.value, **who, most=most_described)
    detector = load_detector(model)
    world, problems = preset_of(detector.card.names, preset), Problems()
    labelled = open_labels(folder, names, problems=problems if skip_bad else None)
    claim(out, "defectory detect curate")
    with progress_bars(hidden=as_json) as show:
        weak, examination = find_weak_spots(
            detector, labelled, iou=iou, describer=describer, problems=problems, on_progress=show
        )
    plan = LayoutPlan(world, count, weak.spots, seed, (size, size))
    comparison = _compare(weak, plan, base, frozen, out, hidden=as_json)
    page, files = _write(weak, examination, plan, out, comparison, random=random)
    tell_problems(problems)
    (_print if as_json else _show)(weak, plan, page, files, comparison)
    if problems.counts:
        raise typer.Exit(1)


def _compare(
    weak: WeakSpots, plan: LayoutPlan, base: Path | None, frozen: Path | None, out: Path, *, hidden: bool
) -> PlanComparison | None:
    """Whether the plan's scenes help more than as many random ones, where that is asked for and there is a plan."""
    from defectory.detection.curation.compare import SceneSettings, compare_plans
    from defectory.detection.detectors.ridge.training import RidgeOptions

    if base is None or frozen is None or not weak.spots:
        return None
    settings = SceneSettings(plan.preset, plan.size)
    options = RidgeOptions(side=min(plan.size))
    with progress_bars(hidden=hidden) as show:
        return compare_plans(
            weak, base, frozen, out / "compared", settings, count=plan.count, options=options, on_progress=show
        )


def _write(
    weak: WeakSpots,
    examination: Examination,
    plan: LayoutPlan,
    out: Path,
    comparison: PlanComparison | None,
    *,
    random: bool,
) -> tuple[Path, list[Path]]:
    """The page and the files of the plans, the targeted one first."""
    from defectory.detection.curation.plan import LAYOUTS, RANDOM_LAYOUTS, write_plan
    from defectory.detection.curation.report import write_weak_spots_report
    from defectory.detection.curation.results import write_weak_spots

    write_weak_spots(weak, out)
    page = write_weak_spots_report(weak, examination.paths(), out, comparison)
    files = [write_plan(plan, out / LAYOUTS)]
    if random:
        files.append(write_plan(replace(plan, spots=()), out / RANDOM_LAYOUTS))
    return page, files


def _print(weak: WeakSpots, plan: LayoutPlan, page: Path, files: list[Path], comparison: PlanComparison | None) -> None:
    told = {"preset": plan.preset.name, "count": plan.count, "files": [str(file) for file in files]}
    helped = comparison and comparison.model_dump(mode="json")
    print_json({**weak.model_dump(mode="json"), "report": str(page), "plan": told, "comparison": helped})


def _show(weak: WeakSpots, plan: LayoutPlan, page: Path, files: list[Path], comparison: PlanComparison | None) -> None:
    from defectory.detection.curation.plan import plannable

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
    if unplanned := len(weak.spots) - len(plannable(weak.spots)):
        remark(f"{unplanned} of them no layout shows, such as a low contrast: take photos of these.")
    if weak.attributes and weak.attributes.name == "bedrock":
        typer.echo(f"{weak.attributes.model_id} described {weak.attributes.described} objects.")
    if weak.suspected:
        typer.echo(f"{weak.suspected} labels are in doubt.")
    if comparison:
        gain = comparison.map50
        typer.echo(
            f"{comparison.count} targeted less as many random scenes, {len(comparison.runs)} seeds: mAP@50 "
            f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
        )
    typer.echo(f"See them: {page}")
    typer.echo(f"{files[0]}: {plan.count} layouts; `defectory detect compose {files[0]} --out SCENES` makes them")
