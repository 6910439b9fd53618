"""What ``defectory detect compose --renderer bedrock`` does besides: costs before and after, and what was accepted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.options import named_as_options
from defectory.errors import InputError
from defectory.images.defaults import BUDGET, MODEL_IDS

if TYPE_CHECKING:
    from defectory.detection.generative.sources import PaintedSources
    from defectory.detection.layouts.records import Split
    from defectory.detection.scenes.plans import ScenePlan
    from defectory.images.costs import Cost

CALLS_AT_A_TIME = 4
"""Scenes that are painted at the same time: more only meet Bedrock's quota."""

CheckOption = Annotated[
    Path | None,
    typer.Option("--check", help="Detector that each painted object has to pass: bedrock's scenes need one."),
]
MinIouOption = Annotated[
    float, typer.Option(min=0.05, max=1, help="IoU of the boxes asked for and seen from which on an object passes.")
]
ModelOption = Annotated[
    str, typer.Option("--model", help="Bedrock's image model; it has to inpaint.", show_default="Stable Image Inpaint")
]
RegionOption = Annotated[str, typer.Option("--region", help="AWS region of the image model.", show_default="us-west-2")]
BudgetOption = Annotated[float, typer.Option(min=0, help="US dollars that Bedrock may cost; more is not begun.")]


@dataclass(frozen=True, slots=True)
class PaintingOptions:
    """The options of painting as they were given."""

    check: Path | None = None
    min_iou: float = 0.5
    model: str = ""
    region: str = ""
    budget: float = BUDGET

    def refuse_for_compositor(self) -> None:
        """Raise `InputError` if one was given that composed scenes have no use for."""
        given = {"--check": self.check, "--model": self.model, "--region": self.region}
        for name, value in given.items():
            if value:
                fix = "Or --renderer bedrock."
                raise InputError(name, "left out, as the compositor's scenes need none", str(value), fix)

    def open(self, plan: ScenePlan, out: Path, backgrounds: Path | None, split: Split) -> PaintedSources:
        """What paints and checks; a detector is read, nothing is sent.

        Raises:
            InputError: there is no detector, it lacks a class, or the model cannot be called so.
        """
        from defectory.aws.image_models import create_image_model
        from defectory.detection.detectors.detector import load_detector
        from defectory.detection.generative.sources import PaintedSources

        if self.check is None:
            fix = "Train one on composed scenes (`detect compose`, then `detect train`)."
            rule = "given with --renderer bedrock: boxes that a model was asked for are a request, not a label"
            raise InputError("--check", rule, None, fix)
        model = create_image_model(self.model or MODEL_IDS["inpaint_model_id"], self.region or None)
        detector = load_detector(self.check)
        return PaintedSources(plan.classes, model, detector, out, split, backgrounds, plan.sizes, self.min_iou)

    def check_costs(self, plan: ScenePlan, sources: PaintedSources) -> None:
        """Say what it will cost at most; raise `InputError` if that is more than the budget."""
        from defectory.images.costs import check_budget, estimate_calls

        calls = sources.count_calls(plan.lines())
        estimate = estimate_calls(sources.model.model_id, calls, at_a_time=CALLS_AT_A_TIME)
        typer.echo(f"Estimate: {estimate}.", err=True)
        with named_as_options("budget"):
            check_budget(estimate, self.budget)


def actual_cost(sources: PaintedSources) -> Cost:
    """What the model did cost."""
    from defectory.images import costs

    return costs.actual_cost({sources.model.model_id: sources.model.usage})
