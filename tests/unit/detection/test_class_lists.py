"""Worlds of classes that somebody lists."""

from __future__ import annotations

import pytest

from defectory.detection.layouts.class_lists import preset_of_classes
from defectory.detection.layouts.presets import load_preset, preset_names
from defectory.detection.layouts.sampler import sample_layouts
from defectory.errors import InputError


def test_a_list_shows_its_classes_and_what_goes_with_them():
    world = preset_of_classes(["safety_cone", "step_ladder", "pallet"])
    housekeeping = load_preset("housekeeping")

    assert world.labels == ("safety_cone", "step_ladder", "pallet")
    assert world.classes["pallet"] == housekeeping.classes["pallet"]
    assert [(rule.label, rule.of) for rule in world.beside] == [("safety_cone", "step_ladder")]
    assert world.together == ()
    assert (world.view, world.light) == (housekeeping.view, housekeeping.light)
    events = {event.name: event for event in world.events}
    assert events["fallen-over"].tilted == ("safety_cone",)
    assert events["blocked-aisle"].number == {"pallet": 3}
    assert {item.label for layout in sample_layouts(world, 40, seed=1) for item in layout.objects} == {*world.labels}


def test_who_wears_what_is_asked_for_is_drawn_and_not_labelled():
    world = preset_of_classes(["hard_hat"])

    assert world.labels == ("hard_hat",)
    assert world.drawn == ("person", "hard_hat")
    assert {event.name: event.wears for event in world.events}["nobody-protected"] == {"hard_hat": 0.0}
    assert preset_of_classes(["hard_hat", "person"]).labels == ("person", "hard_hat")


def test_events_of_other_things_are_left_out():
    assert {event.name for event in load_preset("floor").events} == {"flood", "faint", "far-away", "fallen-cone"}
    assert [event.name for event in preset_of_classes(["debris"]).events] == ["far-away"]


@pytest.mark.parametrize("name", preset_names())
def test_all_classes_of_a_preset_are_that_preset(name: str):
    preset = load_preset(name)
    world = preset_of_classes(preset.labels)

    assert (world.labels, world.wears, world.view, world.empty) == (
        preset.labels, preset.wears, preset.view, preset.empty,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("names", "got"), [([], ""), (["tote", "tote"], "tote, tote"), (["tote", "forklift"], "forklift")]
)
def test_lists_that_cannot_be_are_refused(names: list[str], got: str):
    with pytest.raises(InputError) as refused:
        preset_of_classes(names)

    assert (refused.value.field, refused.value.got) == ("classes", got)
