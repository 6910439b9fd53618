"""Which renderer a choice comes to, what it needs and what it may cost, for commands and functions alike."""

from __future__ import annotations

from typing import get_args

import pytest

from defectory.config import Config
from defectory.errors import InputError
from defectory.images.batch.models import ImageModels
from defectory.images.costs import check_budget, estimate_cost
from defectory.images.defaults import DRAWN_KINDS, MODEL_IDS
from defectory.images.items import Item
from defectory.images.plan import Plan, Want, choose_renderer, plan_kinds
from defectory.images.prompts import MODES, load_prompts, with_part
from defectory.images.renderers import RendererName
from defectory.images.renderers.names import MODEL_SETTINGS, mode_of, needs_photo, renderer_name
from defectory.images.renderers.procedural import KINDS
from defectory.images.selection import BedrockOptions, select_renderers


@pytest.mark.parametrize(
    ("family", "mode", "name"),
    [
        ("procedural", None, "procedural"),
        ("transplant", None, "transplant"),
        ("bedrock", None, "bedrock-inpaint"),
        ("bedrock", "inpaint", "bedrock-inpaint"),
        ("bedrock", "image-to-image", "bedrock-image-to-image"),
        ("bedrock", "zero-shot", "bedrock-zero-shot"),
        ("auto", None, "auto"),
    ],
)
def test_a_family_and_a_mode_come_to_a_renderer(family, mode, name):
    assert choose_renderer(family, mode) == name
    if mode:
        assert mode_of(name) == mode


@pytest.mark.parametrize("family", ["auto", "procedural", "transplant"])
def test_only_models_have_modes(family):
    with pytest.raises(InputError, match="mode: must be given with --renderer bedrock, got 'inpaint'"):
        choose_renderer(family, "inpaint")
    if family != "auto":
        with pytest.raises(InputError, match="renderer: must be one of bedrock-"):
            mode_of(family)


def test_every_renderer_of_a_model_has_a_setting_and_a_default():
    assert set(MODEL_SETTINGS) == {renderer_name("bedrock", mode) for mode in MODES}
    assert {Config.model_fields[name].default for name in MODEL_SETTINGS.values()} == set(MODEL_IDS.values())
    models = ImageModels("us-west-2", image_model_id="text", inpaint_model_id="")
    assert models.by_renderer == {"bedrock-zero-shot": "text", "bedrock-image-to-image": "text"}
    with pytest.raises(InputError, match="has no inpaint_model_id"):
        models.check("bedrock-inpaint")
    models.check("procedural")


def test_a_text_alone_needs_no_photo():
    assert [name for name in get_args(RendererName) if not needs_photo(name)] == ["bedrock-zero-shot"]


def test_the_kinds_that_help_names_are_those_that_can_be_drawn():
    assert sorted(DRAWN_KINDS) == sorted(KINDS)


def test_a_plan_of_kinds_has_each_once():
    plan = plan_kinds(["dent", "oil", "dent"], 3, "procedural", "words")
    assert [(want.defect, want.count, want.prompt) for want in plan.wants] == [
        ("dent", 3, "words"),
        ("oil", 3, "words"),
    ]
    with pytest.raises(InputError, match="defect: must be a name of lower-case letters, digits and _, a letter first"):
        plan_kinds(["Dent!"], 3, "procedural")
    with pytest.raises(InputError, match="count: must be a number of pictures from 1 to 75000, got 75001"):
        plan_kinds(["dent"], 75_001, "procedural")


def test_a_budget_is_enough_to_its_last_cent():
    # Given 12 pictures by the default model, whose price stands in prices.yaml
    items = [Item(renderer="bedrock-inpaint", defect="dent", seed=seed, source="1.png") for seed in range(12)]
    cost = estimate_cost(items, {"bedrock-inpaint": MODEL_IDS["inpaint_model_id"]})
    assert cost.total == pytest.approx(12 * cost.lines[0].price)
    # Then so much is enough, and a cent less is not
    check_budget(cost, cost.total)
    with pytest.raises(InputError, match=r"budget: must be enough for all pictures.*Raise it, or make fewer"):
        check_budget(cost, cost.total - 0.01)


@pytest.mark.parametrize(("part", "named"), [("a Grey plate", "Grey plate"), ("The plate ", "plate"), ("", None)])
def test_a_part_loses_its_article_and_none_leaves_the_prompts_as_they_are(part, named):
    prompts = load_prompts()
    assert with_part(prompts, part).part == (named or prompts.part)


def test_renderers_are_refused_what_they_cannot_make():
    for want, rule in (
        (Want(renderer="procedural", defect="rust", count=1), "defect: must be one of scratch, .*for procedural"),
        (Want(renderer="transplant", defect="rust", count=1), "transplant: must be given photos of real defects"),
    ):
        with pytest.raises(InputError, match=rule):
            select_renderers(Plan(wants=(want,)))


def test_what_draws_costs_nothing_and_one_model_serves_two_renderers():
    drawn = select_renderers(plan_kinds(["dent"], 2, "procedural"))
    assert (drawn.estimate([]), drawn.actual_cost(), list(drawn.renderers)) == (None, None, ["procedural"])
    wants = tuple(Want(renderer=f"bedrock-{mode}", defect="x", count=1) for mode in ("zero-shot", "image-to-image"))
    painted = select_renderers(Plan(wants=wants), bedrock=BedrockOptions(region="us-west-2", budget=1))
    assert painted.models["bedrock-zero-shot"] is painted.models["bedrock-image-to-image"]
    assert painted.budget == 1
