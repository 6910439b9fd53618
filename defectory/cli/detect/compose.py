"""``defectory detect compose``: scenes with true boxes and masks, from cut-outs, or painted and checked."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.detect import options as given
from defectory.cli.detect import painting
from defectory.cli.options import JsonOption, out_folder
from defectory.cli.output import complain, print_json, print_table, progress_bars, remark
from defectory.errors import InputError
from defectory.images.defaults import BUDGET

if TYPE_CHECKING:
    from defectory.detection.generative.sources import PaintedSources
    from defectory.detection.layouts.presets import Preset
    from defectory.detection.layouts.records import Split
    from defectory.detection.scenes.compose import ComposeSummary, SceneMaker
    from defectory.detection.scenes.plans import ScenePlan
    from defectory.vision.arrays import PictureFormat

MOST_LINES = 10


class RendererOption(StrEnum):
    """What makes scenes."""

    compositor = "compositor"
    bedrock = "bedrock"
    gligen = "gligen"


LayoutsArgument = Annotated[
    Path | None, typer.Argument(metavar="LAYOUTS", help="File of layouts, in place of a preset.", dir_okay=False)
]
ScenesOption = Annotated[Path, out_folder("New folder, or one of an earlier run to go on with or add to.")]
SceneCountOption = Annotated[
    int | None, typer.Option(min=1, help="Scenes in all.", show_default="100, or every line of LAYOUTS")
]
CutoutsOption = Annotated[
    Path | None, typer.Option(help="Folder of your own cut-outs, used beside the embedded ones.", file_okay=False)
]
OnlyOwnOption = Annotated[bool, typer.Option("--only-own", help="Use no embedded cut-outs.")]
BackgroundsOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder of photos without any object of the classes; smaller than half the canvas are refused.",
        file_okay=False,
        show_default="places are drawn",
    ),
]
VisibleOption = Annotated[
    float, typer.Option(min=0, max=1, help="Share of an object that has to be seen, or it is left out.")
]
RendererChoice = Annotated[
    RendererOption,
    typer.Option("--renderer", help="compositor: from cut-outs, here. bedrock: painted, checked by --check, paid for."),
]
PictureChoice = Annotated[given.PictureOption, typer.Option("--format", help="What pictures are written as.")]


def compose(
    out: ScenesOption,
    layouts: LayoutsArgument = None,
    preset: given.PresetOption = None,
    classes: given.ClassesOption = None,
    count: SceneCountOption = None,
    split: given.SplitChoice = given.SplitOption.train,
    seed: given.SeedOption = 0,
    cutouts: CutoutsOption = None,
    only_own: OnlyOwnOption = False,
    backgrounds: BackgroundsOption = None,
    size: given.SizeOption = 512,
    min_visible: VisibleOption = 0.25,
    form: PictureChoice = given.PictureOption.jpg,
    renderer: RendererChoice = RendererOption.compositor,
    check: painting.CheckOption = None,
    min_iou: painting.MinIouOption = 0.5,
    model: painting.ModelOption = "",
    region: painting.RegionOption = "",
    budget: painting.BudgetOption = BUDGET,
    workers: given.WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compose scenes from cut-outs: pictures with the boxes and masks of what is really seen on them.

    OUT has images, labels for YOLO, coco.json, scenes.jsonl and a contact sheet. Interrupted, the same command goes on;
    a larger count adds to what is there. Exit code 1 if a scene could not be made; the others are.

    With --renderer bedrock an image model paints each object into its box (one call each), and a detector checks it: a
    scene is used only where it sees all that was asked for and nothing else. Cost is told before and after.

    Examples:

        defectory detect compose --preset ppe --count 200 --split train --seed 1 --out scenes

        defectory detect compose --classes safety_cone,tote --out scenes

        defectory detect compose layouts.jsonl --backgrounds photos --out scenes --json
    """
    from defectory.detection.scenes.compose import SceneSources

    if renderer is RendererOption.gligen:
        fix = "Deploy it (docs/detection.md, Generative renderers); here there are compositor and bedrock."
        raise InputError("--renderer", "one that works on this machine: gligen is a Batch Transform in AWS", None, fix)
    plan = _plan(layouts, given.choose_world(preset, classes), count, split.value, seed, size)
    options = painting.PaintingOptions(check, min_iou, model, region, budget)
    if renderer is RendererOption.bedrock:
        _refuse_cutouts(cutouts, only_own)
        _paint(plan, options.open(plan, out, backgrounds, split.value), options, out, form.value, as_json=as_json)
        return
    options.refuse_for_compositor()
    sources = SceneSources(plan.classes, split.value, cutouts, backgrounds, not only_own, min_visible, plan.sizes)
    _compose(plan, sources, out, form.value, as_json=as_json, workers=workers or given.choose_workers(plan.count))


def _plan(
    layouts: Path | None, world: Preset | None, count: int | None, split: Split, seed: int, size: int
) -> ScenePlan:
    from defectory.detection.scenes.plans import plan_file, plan_preset

    if world is not None and layouts is None:
        return plan_preset(world, count or 100, seed=seed, split=split, size=(size, size))
    if layouts is not None and world is None:
        return plan_file(layouts, count)
    raise InputError("compose", "given one of LAYOUTS, --preset and --classes")


def _refuse_cutouts(cutouts: Path | None, only_own: bool) -> None:
    for name, value in {"--cutouts": cutouts, "--only-own": only_own}.items():
        if value:
            raise InputError(name, "left out, as painted scenes have no cut-outs", None, "Or --renderer compositor.")


def _paint(
    plan: ScenePlan,
    sources: PaintedSources,
    options: painting.PaintingOptions,
    out: Path,
    form: PictureFormat,
    *,
    as_json: bool,
) -> None:
    options.check_costs(plan, sources)
    try:
        _compose(plan, sources, out, form, as_json=as_json, threads=painting.CALLS_AT_A_TIME)
    finally:
        typer.echo(f"Cost: {painting.actual_cost(sources)}.", err=True)


def _compose(
    plan: ScenePlan,
    sources: SceneMaker,
    out: Path,
    form: PictureFormat,
    *,
    as_json: bool,
    workers: int = 1,
    threads: int = 1,
) -> None:
    from defectory.detection.scenes.compose import compose_scenes

    with progress_bars(transient=True, hidden=as_json) as show:
        summary = compose_scenes(plan, sources, out, form=form, workers=workers, threads=threads, on_progress=show)
    if as_json:
        print_json(_describe(summary, sources, out))
    else:
        _show(summary, sources, out)
    if summary.failed or (summary.rejected and not summary.made + summary.done):
        raise typer.Exit(1)


def _describe(summary: ComposeSummary, sources: SceneMaker, out: Path) -> dict[str, object]:
    return {
        "folder": str(out),
        "split": sources.split,
        "classes": list(sources.classes),
        "made": summary.made,
        "done_before": summary.done,
        "repeated": summary.repeated,
        "failed": summary.failed,
        "rejected": dict(summary.rejected),
        "objects": {name: summary.objects[name] for name in sources.classes},
        "left_out": dict(summary.dropped),
        "failures": summary.failures,
    }


def _show(summary: ComposeSummary, sources: SceneMaker, out: Path) -> None:
    from defectory.detection.scenes.contact_sheet import CONTACT_SHEET

    rows = [
        {"class": name, "objects": summary.objects[name], "left out": summary.dropped[name]} for name in sources.classes
    ]
    before = f", {summary.done} were there" if summary.done else ""
    print_table(f"{summary.made} scenes made{before}", ("class", "objects", "left out"), rows)
    for failure in summary.failures[:MOST_LINES]:
        complain(f"{failure['name']}: {failure['reason']}")
    if (others := summary.failed + summary.rejected.total() - MOST_LINES) > 0:
        complain(f"And {others} more: failures.jsonl names them.")
    if summary.rejected:
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(summary.rejected.items()))
        remark(f"Painted and not used: {counts}. acceptance.json has the rates.")
    if summary.repeated:
        remark(f"{summary.repeated} layouts were given twice and made once.")
    if summary.made:
        for name in sources.classes:
            if not summary.objects[name]:
                remark(f"No {name} can be seen on any of them.")
    typer.echo(f"{out / CONTACT_SHEET}: look at them")
