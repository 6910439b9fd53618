"""``defectory detect compose``: scenes with true boxes and masks, from cut-outs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.detect import options as given
from defectory.cli.options import JsonOption, out_folder
from defectory.cli.output import complain, print_json, print_table, progress_bars, remark
from defectory.errors import InputError

if TYPE_CHECKING:
    from defectory.detection.scenes.compose import ComposeSummary, SceneSources

MOST_LINES = 10

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
    workers: given.WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compose scenes from cut-outs: pictures with the boxes and masks of what is really seen on them.

    OUT has images, labels for YOLO, coco.json, scenes.jsonl and a contact sheet. Interrupted, the same command goes on;
    a larger count adds to what is there. Exit code 1 if a scene could not be made; the others are.

    Examples:

        defectory detect compose --preset ppe --count 200 --split train --seed 1 --out scenes

        defectory detect compose --classes safety_cone,tote --out scenes

        defectory detect compose layouts.jsonl --backgrounds photos --out scenes --json
    """
    from defectory.detection.scenes.compose import SceneSources, compose_scenes
    from defectory.detection.scenes.plans import plan_file, plan_preset

    world = given.choose_world(preset, classes)
    if world is not None and layouts is None:
        plan = plan_preset(world, count or 100, seed=seed, split=split.value, size=(size, size))
    elif layouts is not None and world is None:
        plan = plan_file(layouts, count)
    else:
        raise InputError("compose", "given one of LAYOUTS, --preset and --classes")
    sources = SceneSources(plan.classes, split.value, cutouts, backgrounds, not only_own, min_visible, plan.sizes)
    workers = workers or given.choose_workers(plan.count)
    with progress_bars(transient=True, hidden=as_json) as show:
        summary = compose_scenes(plan, sources, out, form=form.value, workers=workers, on_progress=show)
    if as_json:
        print_json(_describe(summary, sources, out))
    else:
        _show(summary, sources, out)
    if summary.failed:
        raise typer.Exit(1)


def _describe(summary: ComposeSummary, sources: SceneSources, out: Path) -> dict[str, object]:
    return {
        "folder": str(out),
        "split": sources.split,
        "classes": list(sources.classes),
        "made": summary.made,
        "done_before": summary.done,
        "repeated": summary.repeated,
        "failed": summary.failed,
        "objects": {name: summary.objects[name] for name in sources.classes},
        "left_out": dict(summary.dropped),
        "failures": summary.failures,
    }


def _show(summary: ComposeSummary, sources: SceneSources, out: Path) -> None:
    from defectory.detection.scenes.contact_sheet import CONTACT_SHEET

    rows = [
        {"class": name, "objects": summary.objects[name], "left out": summary.dropped[name]} for name in sources.classes
    ]
    before = f", {summary.done} were there" if summary.done else ""
    print_table(f"{summary.made} scenes made{before}", ("class", "objects", "left out"), rows)
    for failure in summary.failures[:MOST_LINES]:
        complain(f"{failure['name']}: {failure['reason']}")
    if summary.failed > MOST_LINES:
        complain(f"And {summary.failed - MOST_LINES} more: failures.jsonl names them.")
    if summary.repeated:
        remark(f"{summary.repeated} layouts were given twice and made once.")
    if summary.made:
        for name in sources.classes:
            if not summary.objects[name]:
                remark(f"No {name} can be seen on any of them.")
    typer.echo(f"{out / CONTACT_SHEET}: look at them")
