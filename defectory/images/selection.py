"""Selection: the renderers that a plan asks for, checked against its kinds, and what those of Bedrock cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from defectory.datasets.records import Dataset
from defectory.errors import InputError
from defectory.images.costs import Cost, actual_cost, check_budget, estimate_cost
from defectory.images.defaults import BUDGET, MODEL_IDS
from defectory.images.items import Item
from defectory.images.plan import Plan, Want
from defectory.images.prompts import load_prompts, with_part
from defectory.images.renderers import Renderer, RendererName
from defectory.images.renderers.creation import create_offline_renderer
from defectory.images.renderers.names import MODEL_SETTINGS, mode_of
from defectory.images.renderers.procedural import check_drawable
from defectory.images.renderers.transplant import TransplantRenderer

if TYPE_CHECKING:
    from defectory.aws.image_models import ImageModel


@dataclass(frozen=True, slots=True)
class BedrockOptions:
    """What Bedrock's renderers are to work with; "" is the default.

    ``model_id`` is for all of them, in ``region``; ``prompts`` is a file, and ``part`` what the photos show.  They may
    cost ``budget`` US dollars in one run.
    """

    model_id: str = ""
    region: str = ""
    prompts: Path | None = None
    part: str = ""
    budget: float = BUDGET


@dataclass(frozen=True, slots=True)
class Selection:
    """The renderers of a plan, by name; the models that some of them call; the real defects that cannot be moved, as
    ``unusable`` says, each with the reason.
    """

    renderers: Mapping[RendererName, Renderer]
    models: Mapping[RendererName, ImageModel] = field(default_factory=dict)
    unusable: tuple[str, ...] = ()
    budget: float = BUDGET

    def estimate(self, items: Sequence[Item]) -> Cost | None:
        """What ``items`` will cost; None where no model is asked."""
        if not self.models:
            return None
        return estimate_cost(items, {name: model.model_id for name, model in self.models.items()})

    def check_budget(self, estimate: Cost | None) -> None:
        """Raise `InputError` if the estimate is more than the budget."""
        if estimate is not None:
            check_budget(estimate, self.budget)

    def actual_cost(self) -> Cost | None:
        """What it did cost; None where no model was asked."""
        return actual_cost({model.model_id: model.usage for model in self.models.values()}) if self.models else None


def select_renderers(plan: Plan, examples: Dataset | None = None, bedrock: BedrockOptions | None = None) -> Selection:
    """Create the renderers that ``plan`` asks for.  Nothing is sent yet.

    Args:
        plan: what is wanted.
        examples: real defects, for ``transplant`` to move, and for ``procedural`` to see where its own are to be.
        bedrock: what Bedrock's renderers work with.

    Raises:
        InputError: a renderer cannot make a kind, or lacks what it works with.
        ImageError: an example cannot be read.
    """
    bedrock = bedrock or BedrockOptions()
    renderers: dict[RendererName, Renderer] = {}
    models: dict[RendererName, ImageModel] = {}
    unusable: list[str] = []
    for want in plan.wants:
        if want.renderer == "procedural":
            check_drawable(want.defect, fix="Others need --renderer transplant or bedrock.")
        if want.renderer == "transplant" and examples is None:
            fix = "Or draw it: --renderer procedural."
            raise InputError("transplant", "given photos of real defects: --defects and --masks", None, fix)
        if want.renderer not in renderers:
            if want.renderer in MODEL_SETTINGS:
                models[want.renderer] = _find_model(want.renderer, bedrock, models)
                renderers[want.renderer] = _create_bedrock_renderer(want.renderer, bedrock, models[want.renderer])
            else:
                renderer = renderers[want.renderer] = create_offline_renderer(want.renderer, examples)
                unusable += renderer.unusable if isinstance(renderer, TransplantRenderer) else ()
        _check_movable(want, renderers[want.renderer])
    return Selection(renderers, models, tuple(unusable), bedrock.budget)


def _find_model(name: RendererName, bedrock: BedrockOptions, models: Mapping[RendererName, ImageModel]) -> ImageModel:
    # Whoever draws needs no client of Bedrock.
    from defectory.aws.image_models import create_image_model

    model_id = bedrock.model_id or MODEL_IDS[MODEL_SETTINGS[name]]
    # One for all renderers of it, which counts what they ask together.
    same = (model for model in models.values() if model.model_id == model_id)
    return next(same, None) or create_image_model(model_id, bedrock.region or None)


def _create_bedrock_renderer(name: RendererName, bedrock: BedrockOptions, model: ImageModel) -> Renderer:
    from defectory.images.renderers.bedrock import BedrockRenderer

    return BedrockRenderer(mode_of(name), model, with_part(load_prompts(bedrock.prompts), bedrock.part))


def _check_movable(want: Want, renderer: Renderer) -> None:
    if isinstance(renderer, TransplantRenderer) and want.defect not in renderer.kinds:
        rule = f"a kind whose real defects can be moved ({', '.join(renderer.kinds)})"
        raise InputError("defect", rule, want.defect, "Mask one, or draw it: --renderer procedural.")
