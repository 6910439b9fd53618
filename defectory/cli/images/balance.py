"""``defectory images balance``: a dataset to train on, in one go."""

from __future__ import annotations

from functools import partial

import typer

from defectory.cli.images import options as given
from defectory.cli.images.printing import describe_balanced, show_balanced, show_plan, show_preparation
from defectory.cli.options import FormChoice, JsonOption, OutOption, ValidationOption, named_as_options
from defectory.cli.output import print_json, progress_bars
from defectory.images.defaults import BUDGET, TRIALS, VALIDATION_SHARE, WORKERS


def balance(
    dataset: given.DatasetArgument,
    out: OutOption,
    target: given.TargetOption = None,
    normal: given.NormalOption = None,
    defect: given.KindsOption = None,
    renderer: given.PlannedRendererOption = given.PlannedRenderer.auto,
    mode: given.ModeChoice = None,
    form: given.FormOption = FormChoice.manifest,
    keep_all: given.KeepAllOption = False,
    trials: given.TrialsOption = TRIALS,
    val: ValidationOption = VALIDATION_SHARE,
    skip_unmasked: given.SkipUnmaskedOption = False,
    part: given.PartOption = "",
    prompts: given.PromptsOption = None,
    model: given.ModelOption = "",
    region: given.RegionOption = "",
    budget: given.BudgetOption = BUDGET,
    seed: given.SeedOption = 0,
    workers: given.WorkersOption = WORKERS,
    as_json: JsonOption = False,
) -> None:
    """Write a dataset to train on, in one go: plan, make pictures of defects, keep them only if they help, export.

    The gate trains with and without the synthetic images and compares both on real defects that neither has seen;
    with too few of those nobody knows, and the images are not kept. OUT/synthetic has them in any case, with a contact
    sheet; OUT/dataset is the result, and its dataset.json says what the gate found.

    Examples:

        defectory images balance split/train.json --out balanced

        defectory images balance parts --defect scratch --target 50 --keep-all --format yolo --val 0 --out balanced
    """
    from defectory.datasets.sources import load_dataset
    from defectory.images.gate import run_gate
    from defectory.images.jobs import BalanceOptions, plan_to_balance, prepare_balance
    from defectory.images.plan import choose_renderer
    from defectory.images.selection import BedrockOptions

    real = load_dataset(dataset, normal=normal)
    options = BalanceOptions(form.value, val, skip_unmasked, seed, workers)
    with named_as_options("mode", "part", "budget"):
        renderer_name = choose_renderer(renderer.value, mode.value if mode else None)
        plan = plan_to_balance(real, target, renderer=renderer_name, defects=defect or (), options=options)
        if not as_json:
            show_plan(plan)
        bedrock = BedrockOptions(model, region, prompts, part, budget)
        job = prepare_balance(real, plan, out, bedrock=bedrock, options=options)
        show_preparation(job.selection, job.estimate)
        with progress_bars(transient=True) as show:
            gate = None if keep_all else partial(run_gate, seeds=trials, on_progress=show)
            balanced = job.run(gate=gate, on_progress=show)
    if as_json:
        print_json(describe_balanced(balanced, job.selection.actual_cost()))
    else:
        show_balanced(balanced, out, job.selection.actual_cost())
    if balanced.summary.count("failed") or not balanced.summary.made:
        raise typer.Exit(1)
