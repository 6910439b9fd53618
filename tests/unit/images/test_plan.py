"""Plans: what is missing, what makes it, and the items that it comes to."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from defectory.datasets import Dataset, ImageRecord
from defectory.errors import InputError
from defectory.images.items import Item, item_id
from defectory.images.plan import Plan, Want, choose_renderer, expand, load_plan, plan_balance, plan_kinds, save_plan
from defectory.images.renderers import MAX_SEED


def dataset(good: int, *, masked: bool = True, synthetic: bool = False, **kinds: int) -> Dataset:
    """Good parts and so many defects of each class."""
    named = [("normal", ())] * good + [("anomaly", (kind,)) for kind, count in kinds.items() for _ in range(count)]
    paths = [Path(f"/parts/{number}.png") for number in range(len(named))]
    records = tuple(
        ImageRecord(path, label, classes, path if masked and classes else None, synthetic=synthetic and bool(classes))
        for path, (label, classes) in zip(paths, named, strict=True)
    )
    return Dataset(records, Path("/parts"), digests={path: f"{path.stem:0>64}" for path in paths})


def wanted(plan: Plan) -> dict[str, tuple[str, int]]:
    return {want.defect: (want.renderer, want.count) for want in plan.wants}


def test_every_kind_gets_as_many_as_make_defects_equal_to_good_parts():
    plan = plan_balance(dataset(30, scratch=4, crack=1))
    assert plan.target == 15
    assert wanted(plan) == {"scratch": ("transplant", 11), "crack": ("transplant", 14)}
    assert (plan.good, plan.have) == (30, {"scratch": 4, "crack": 1})


@pytest.mark.parametrize(
    ("good", "kinds", "target"),
    [
        # Ten good parts and three kinds: four of each are twelve.
        (10, {"a": 1, "b": 1, "c": 1}, 4),
        (9, {"a": 1, "b": 1, "c": 1}, 3),
        (9, {"a": 1, "b": 5, "c": 1}, 5),
        (1, {"a": 1, "b": 1}, 1),
    ],
)
def test_without_a_target_defects_are_at_least_as_many_as_good_parts(good, kinds, target):
    assert plan_balance(dataset(good, **kinds)).target == target


@pytest.mark.parametrize(("count", "fits"), [(0, False), (1, True), (75_000, True), (75_001, False)])
def test_of_one_kind_one_to_75_000_pictures_can_be_wanted(count, fits):
    def taken(make: Callable[[], object]) -> bool:
        try:
            make()
        except (InputError, ValidationError):
            return False
        return True

    assert taken(lambda: Want(renderer="procedural", defect="scratch", count=count)) is fits
    assert taken(lambda: plan_kinds(["scratch"], count, "procedural")) is fits
    assert taken(lambda: plan_balance(dataset(4, scratch=1), count)) is fits


def test_the_target_that_is_planned_by_default_is_bounded_too():
    assert plan_balance(dataset(75_002, scratch=1)).target == 75_000


def test_a_plan_counts_its_pictures_and_a_kind_named_twice_is_one():
    plan = plan_kinds(["scratch", "dent", "scratch"], 3, "procedural")

    assert [(want.defect, want.count) for want in plan.wants] == [("scratch", 3), ("dent", 3)]
    assert plan.count == 6


@pytest.mark.parametrize(("masked", "why"), [(1, "1 real one is masked"), (2, "2 real ones are masked")])
def test_a_plan_says_why_each_renderer_was_chosen(masked, why):
    assert plan_balance(dataset(8, blowhole=masked), 5).wants[0].why == why


@pytest.mark.parametrize(
    ("family", "mode", "chosen"),
    [
        ("auto", None, "auto"),
        ("procedural", None, "procedural"),
        ("transplant", None, "transplant"),
        ("bedrock", "inpaint", "bedrock-inpaint"),
    ],
)
def test_a_family_and_a_mode_make_a_renderer(family, mode, chosen):
    assert choose_renderer(family, mode) == chosen


def test_what_chooses_by_itself_has_no_mode():
    with pytest.raises(InputError, match="mode"):
        choose_renderer("auto", "inpaint")


@pytest.mark.parametrize("field", ["good", "target"])
def test_a_plan_counts_from_0(field):
    assert getattr(Plan(**{field: 0}), field) == 0
    with pytest.raises(ValidationError, match=field):
        Plan(**{field: -1})


def test_kinds_that_are_asked_for_are_called_so():
    assert plan_balance(dataset(8), 5, defects=["oil"]).classes == {"oil": "oil"}


def test_the_seed_of_a_picture_is_the_beginning_of_a_digest():
    # Eight bytes of the SHA-256 of seed, turn, renderer, defect, mask, prompt and place.
    number = int.from_bytes(hashlib.sha256(b"3:0:procedural:scratch:::0").digest()[:8], "big")

    assert expand(plan_of(("scratch", 1)), PHOTOS, 3)[0].seed == number % (MAX_SEED + 1)


def test_a_plan_is_stored_in_folders_that_are_not_there_yet(tmp_path):
    plan = plan_of(("scratch", 1))

    assert load_plan(save_plan(plan, tmp_path / "a/b/plan.json")) == plan


def test_a_kind_that_has_its_target_gets_no_more():
    plan = plan_balance(dataset(8, scratch=5, crack=4), 5)

    assert wanted(plan) == {"crack": ("transplant", 1)}


@pytest.mark.parametrize(("seed", "fits"), [(-1, False), (0, True), (MAX_SEED, True), (MAX_SEED + 1, False)])
def test_seeds_go_from_0_to_the_highest(seed, fits):
    if fits:
        assert all(0 <= item.seed <= MAX_SEED for item in expand(plan_of(("scratch", 2)), PHOTOS, seed))
    else:
        with pytest.raises(InputError, match="seed"):
            expand(plan_of(("scratch", 2)), PHOTOS, seed)


def test_no_kind_is_left_behind_the_most_frequent():
    assert wanted(plan_balance(dataset(4, scratch=9, crack=2))) == {"crack": ("transplant", 7)}


def test_a_kind_without_a_masked_example_is_drawn_or_left_out_with_the_reason():
    plan = plan_balance(dataset(10, masked=False, scratch=2, blowhole=2), 5)
    assert wanted(plan) == {"scratch": ("procedural", 3)}
    assert "mask a real one" in plan.left_out["blowhole"]


def test_synthetic_defects_are_no_examples_to_transplant():
    plan = plan_balance(dataset(10, synthetic=True, blowhole=2), 5)
    assert plan.wants == ()
    assert "blowhole" in plan.left_out


def test_the_renderer_that_is_asked_for_is_taken():
    assert wanted(plan_balance(dataset(9, crack=2), 3, renderer="procedural"))["crack"] == ("procedural", 1)
    assert wanted(plan_balance(dataset(9, rust=2), 3, renderer="bedrock-inpaint"))["rust"] == ("bedrock-inpaint", 1)
    assert plan_balance(dataset(9, masked=False, crack=2), 3, renderer="transplant").left_out.keys() == {"crack"}


def test_kinds_that_the_dataset_lacks_can_be_asked_for():
    assert wanted(plan_balance(dataset(8), 5, defects=["oil"])) == {"oil": ("procedural", 5)}


def test_classes_keep_their_names():
    plan = plan_balance(dataset(8, **{"Deep scratch": 2}), 5)
    assert plan.wants[0].defect == "deep_scratch"
    assert plan.classes == {"deep_scratch": "Deep scratch"}


@pytest.mark.parametrize(
    ("told", "arguments", "message"),
    [
        (dataset(0, scratch=3), {}, "good parts"),
        (dataset(9), {}, "at least one labelled defect"),
        (dataset(9, scratch=1), {"target": 0}, "from 1 to"),
        (dataset(9, scratch=1), {"defects": ["Oil Spot"]}, "lower-case"),
        (dataset(9, Crack=1, crack=1), {}, "Rename one"),
    ],
)
def test_what_cannot_be_planned_is_said(told, arguments, message):
    with pytest.raises(InputError, match=message):
        plan_balance(told, **arguments)


PHOTOS = ["a.png", "b.png", "c.png"]


def plan_of(*wants: tuple[str, int]) -> Plan:
    return Plan(wants=tuple(Want(renderer="procedural", defect=defect, count=count) for defect, count in wants))


@given(count=st.integers(1, 40), more=st.integers(0, 20), seed=st.integers(0, MAX_SEED))
def test_items_use_all_photos_evenly_and_a_larger_count_only_adds(count, more, seed):
    items = expand(plan_of(("scratch", count)), PHOTOS, seed)
    assert len({item_id(item) for item in items}) == count
    uses = Counter(item.source for item in items)
    assert max(uses.values()) - min(uses[name] for name in PHOTOS) <= 1
    assert expand(plan_of(("scratch", count + more)), PHOTOS[::-1], seed)[:count] == items


def test_the_same_wanted_twice_gives_other_pictures():
    items = expand(plan_of(("scratch", 4), ("scratch", 4)), PHOTOS)
    assert len({item_id(item) for item in items}) == 8
    assert expand(plan_of(("scratch", 4)), PHOTOS, 1)[0] != items[0]


def test_pictures_from_a_text_need_no_photo_and_others_do():
    plan = Plan(wants=(Want(renderer="bedrock-zero-shot", defect="rust", count=2, prompt="rust"),))
    assert [(item.source, item.prompt) for item in expand(plan, [])] == [("", "rust")] * 2
    with pytest.raises(InputError, match="at least one photo"):
        expand(plan_of(("scratch", 1)), [])
    with pytest.raises(InputError, match="seed"):
        expand(plan_of(("scratch", 1)), PHOTOS, MAX_SEED + 1)


def test_ids_are_the_same_for_ever():
    # Resumed folders and repeated messages are known again by it.
    assert item_id(Item(renderer="procedural", defect="oil", seed=7, source="a.png")) == "oil-a03aa47f797f7d54"


def test_a_plan_is_stored_and_may_be_changed_by_hand(tmp_path):
    plan = plan_balance(dataset(30, scratch=4), 10)
    file = save_plan(plan, tmp_path / "plans/plan.json")
    assert load_plan(file) == plan
    file.write_text(file.read_text().replace('"count": 6', '"count": "many"'))
    with pytest.raises(InputError, match=r"plan\.json, wants\.0\.count.*many"):
        load_plan(file)
    with pytest.raises(InputError, match="No such file"):
        load_plan(tmp_path / "none.json")
