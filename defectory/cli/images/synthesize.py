"""``defectory images synthesize``: make pictures of defects from photos of good parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from defectory.cli.images import options as given
from defectory.cli.images.printing import describe_synthesized, show_preparation, show_synthesized
from defectory.cli.options import JsonOption, named_as_options
from defectory.cli.output import print_json, progress_bars
from defectory.errors import InputError
from defectory.images.defaults import BUDGET, WORKERS

if TYPE_CHECKING:
    from defectory.datasets.records import Dataset
    from defectory.images.plan import Plan


def synthesize(
    out: given.PicturesOutOption,
    good: given.GoodOption = None,
    defect: given.MadeKindsOption = None,
    count: given.CountOption = None,
    plan_file: given.PlanFileOption = None,
    renderer: given.RendererChoiceOption = None,
    mode: given.ModeChoice = None,
    defects: given.DefectsOption = None,
    masks: given.MasksOption = None,
    dataset: given.DatasetOption = None,
    normal: given.NormalOption = None,
    mask: given.MaskOption = None,
    within: given.WithinOption = None,
    prompt: given.PromptOption = "",
    part: given.PartOption = "",
    prompts: given.PromptsOption = None,
    model: given.ModelOption = "",
    region: given.RegionOption = "",
    budget: given.BudgetOption = BUDGET,
    seed: given.SeedOption = 0,
    workers: given.WorkersOption = WORKERS,
    as_json: JsonOption = False,
) -> None:
    """Make pictures of defects from photos of good parts: images, masks, labels for COCO and YOLO, a contact sheet.

    Run again, it goes on where it was interrupted; a larger count adds to what is there, and so does another kind.
    Defects nobody could see and near-duplicates are left out and counted.

    Exit code 1 if a picture could not be made; the others are.

    Examples:

        defectory images synthesize --good photos/normal --defect scratch --count 20 --out scratches

        defectory images synthesize --good normal --defects cracked --masks masks --renderer transplant --defect crack
        --count 50 --out cracks

        defectory images synthesize --dataset split/train.json --plan plan.json --out made --json
    """
    from defectory.images.jobs import prepare_synthesis
    from defectory.images.selection import BedrockOptions
    from defectory.images.sources import SourceFiles

    bedrock = BedrockOptions(model, region, prompts, part, budget)
    with named_as_options("mode", "defect", "count", "good", "defects", "masks", "mask", "part", "budget"):
        plan = _plan(plan_file, defect or (), count, renderer, mode, prompt)
        files = SourceFiles(good, defects, masks, _load(dataset, normal, good or defects or masks), mask, within)
        job = prepare_synthesis(plan, files, out, bedrock=bedrock, seed=seed)
        show_preparation(job.selection, job.estimate)
        with progress_bars(transient=True) as show:
            summary = job.run(workers=workers, on_progress=show)
    if as_json:
        print_json(describe_synthesized(job, summary))
    else:
        show_synthesized(job, summary)
    if summary.count("failed") or summary.stopped or not summary.made:
        raise typer.Exit(1)


def _plan(
    file: Path | None,
    kinds: Sequence[str],
    count: int | None,
    renderer: given.RendererOption | None,
    mode: given.ModeOption | None,
    prompt: str,
) -> Plan:
    """The plan in ``file``, or that of the kinds."""
    from defectory.images.plan import load_plan, plan_kinds
    from defectory.images.renderers.names import renderer_name

    if file and (kinds or count or renderer or mode or prompt):
        raise InputError("--plan", "given without --defect, --count, --renderer, --mode and --prompt, which it has")
    name = renderer_name((renderer or given.RendererOption.procedural).value, mode.value if mode else None)
    if file:
        return load_plan(file)
    if not kinds or count is None:
        raise InputError("synthesize", "given --defect and --count, or a --plan")
    return plan_kinds(kinds, count, name, prompt)


def _load(dataset: Path | None, normal: str | None, folder: Path | None) -> Dataset | None:
    from defectory.datasets.sources import load_dataset

    if dataset is None:
        return None
    if folder:
        raise InputError("--dataset", "given without --good, --defects and --masks, which it has")
    return load_dataset(dataset, normal=normal)
