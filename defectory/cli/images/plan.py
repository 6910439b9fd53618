"""``defectory images plan``: how many pictures of which defect would balance a dataset."""

from __future__ import annotations

import typer

from defectory.cli.images import options as given
from defectory.cli.images.printing import show_plan
from defectory.cli.options import JsonOption, named_as_options
from defectory.cli.output import print_json


def plan(
    dataset: given.DatasetArgument,
    target: given.TargetOption = None,
    normal: given.NormalOption = None,
    defect: given.KindsOption = None,
    renderer: given.PlannedRendererOption = given.PlannedRenderer.auto,
    mode: given.ModeChoice = None,
    out: given.PlanOutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how many pictures of which defect would balance a dataset.

    Give it the part that is trained on: of what is tested on, nothing may be learnt. The file can be changed by hand;
    `defectory images synthesize --plan` makes what it says.

    Examples:

        defectory images plan split/train.json --out plan.json

        defectory images plan parts --defect scratch --defect oil --target 50
    """
    from defectory.datasets.sources import load_dataset
    from defectory.images.plan import choose_renderer, plan_balance, save_plan

    with named_as_options("mode"):
        renderer_name = choose_renderer(renderer.value, mode.value if mode else None)
    balanced = plan_balance(load_dataset(dataset, normal=normal), target, renderer=renderer_name, defects=defect or ())
    if out:
        save_plan(balanced, out)
    if as_json:
        print_json(balanced.model_dump(mode="json"))
        return
    show_plan(balanced)
    if out:
        typer.echo(f"{out}: make it with `defectory images synthesize --plan {out} --dataset {dataset} --out DIR`")
