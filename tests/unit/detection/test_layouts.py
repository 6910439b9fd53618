"""Layouts: what is no layout, and what the sampler keeps to."""

from __future__ import annotations

import contextlib
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defectory.detection.layouts.draws import BLOCK
from defectory.detection.layouts.presets import Preset, load_preset, preset_names
from defectory.detection.layouts.records import Layout, layout_line, layout_schema, parse_layout
from defectory.detection.layouts.sampler import sample_chunks, sample_layouts
from defectory.errors import InputError

CONE = {"label": "safety_cone", "box": [10, 10, 20, 30]}


def lines_of(preset: Preset, count: int, **options: object) -> bytes:
    return b"".join(chunk.lines for chunk in sample_chunks(preset, count, **options))


def line(**changes: object) -> str:
    return json.dumps({"image_id": "a", "size": [100, 80], "objects": [CONE], **changes})


def test_a_layout_comes_back_from_its_line():
    layout = parse_layout(line(seed=7, prompt="a cone", background="hall"), "line 1")

    assert parse_layout(layout_line(layout), "line 1") == layout
    assert layout.objects[0].box == (10, 10, 20, 30)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"objects": [{**CONE, "box": [100, 10, 20, 30]}]}, "meets the canvas"),
        ({"objects": [{**CONE, "box": [-20, 10, 20, 30]}]}, "meets the canvas"),
        ({"objects": [{**CONE, "box": [30, 10, -20, 30]}]}, "above 0"),
        ({"objects": [{**CONE, "box": [30, 10, 0, 30]}]}, "above 0"),
        ({"objects": [{**CONE, "box": [30, 10, 20]}]}, "objects.0.box"),
        ({"objects": [CONE, CONE]}, "twice"),
        ({"objects": [CONE] * 1001}, "1000"),
        ({"objects": [{**CONE, "label": ""}]}, "label"),
        ({"objects": [{**CONE, "worn_by": 0}]}, "worn_by"),
        ({"objects": [{**CONE, "colour": "red"}]}, "colour"),
        ({"image_id": "../a"}, "image_id"),
        ({"size": [10, 80]}, "size"),
        ({"conditions": {"light": "purple"}}, "conditions.light"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_is_no_layout_is_refused_by_its_place(changes, told):
    with pytest.raises(InputError) as refused:
        parse_layout(line(**changes), "line 3")

    assert str(refused.value).startswith("line 3: ")
    assert told in str(refused.value)


def test_infinite_boxes_are_refused():
    with pytest.raises(InputError):
        parse_layout(line().replace("[10, 10, 20, 30]", "[10, 10, 1e999, 30]"), "line 1")


def test_boxes_that_touch_or_reach_beyond_the_canvas_are_right():
    touching = {"label": "safety_cone", "box": [30, 10, 20, 30]}
    beyond = {"label": "tote", "box": [-10, 60, 40, 60]}

    assert len(parse_layout(line(objects=[CONE, touching, beyond]), "line 1").objects) == 3


def test_the_schema_is_that_of_a_line():
    schema = layout_schema()

    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {"image_id", "size", "objects", "background", "prompt", "seed", "conditions"} <= set(schema["properties"])


def test_the_presets_have_the_classes_that_are_promised():
    assert {name: load_preset(name).labels for name in preset_names()} == {
        "ppe": ("person", "hard_hat", "safety_vest"),
        "housekeeping": ("pallet_jack", "go_cart", "step_ladder", "trash_can", "safety_cone", "tote", "pallet"),
        "floor": ("spill", "debris"),
    }


@pytest.mark.parametrize("name", ["ppe", "housekeeping", "floor"])
def test_all_that_is_sampled_is_a_layout(name):
    preset = load_preset(name)

    layouts = list(sample_layouts(preset, 300, seed=1))

    assert len({layout.image_id for layout in layouts}) == 300
    assert {item.label for layout in layouts for item in layout.objects} == set(preset.drawn)
    assert {layout.background for layout in layouts} == set(preset.backgrounds)


def test_the_nth_layout_hangs_neither_on_the_number_nor_on_the_workers():
    preset = load_preset("floor")

    many = lines_of(preset, BLOCK + 20, seed=3)
    few = lines_of(preset, 10, seed=3)

    assert many.startswith(few)
    assert many == lines_of(preset, BLOCK + 20, seed=3, workers=2)
    assert few != lines_of(preset, 10, seed=4)
    assert few.replace(b"floor-train", b"floor-test") != lines_of(preset, 10, seed=3, split="test")


def test_things_stand_on_the_floor_as_large_as_they_are_there():
    for layout in sample_layouts(load_preset("housekeeping"), 200, seed=2):
        for item in layout.objects:
            _, top, _, height = item.box
            scale = (top + height - layout.view.horizon) / layout.view.height_m
            assert item.px_per_m == pytest.approx(scale, rel=0.05, abs=0.5)


def test_what_stands_nearer_is_drawn_later_and_what_lies_is_below_all():
    for layout in sample_layouts(load_preset("floor"), 200, seed=2):
        lies = [item.label in ("spill", "debris") for item in layout.objects]
        assert lies == sorted(lies, reverse=True)
        feet = [item.box[1] + item.box[3] for item in layout.objects if item.label == "safety_cone"]
        assert feet == sorted(feet)


def test_what_is_worn_lies_within_its_wearer():
    worn = 0
    for layout in sample_layouts(load_preset("ppe"), 200, seed=2):
        for item in layout.objects:
            if item.worn_by is None:
                continue
            wearer = layout.objects[item.worn_by]
            worn += 1
            assert wearer.label == "person"
            assert item.label in wearer.wears
            assert wearer.box[0] - 1 <= item.box[0]
            assert item.box[1] + item.box[3] <= wearer.box[1] + wearer.box[3] + 1
    assert worn > 200


def test_a_cone_stands_beside_some_spills():
    layouts = list(sample_layouts(load_preset("floor"), 600, seed=5))

    def share(has_spill: bool) -> float:
        chosen = [layout for layout in layouts if any(i.label == "spill" for i in layout.objects) == has_spill]
        return float(np.mean([any(i.label == "safety_cone" for i in layout.objects) for layout in chosen]))

    assert share(True) > share(False) + 0.15


def test_rare_events_come_at_their_rate_and_say_so():
    layouts = list(sample_layouts(load_preset("ppe"), 4000, seed=1))

    events = Counter(layout.conditions.event for layout in layouts)

    # Binomial: 2 % of 4000 are 80 with a spread of 9.
    assert 45 <= events["crowd"] <= 115
    for layout in layouts:
        persons = [item for item in layout.objects if item.label == "person"]
        if layout.conditions.event == "nobody-protected":
            assert not any(item.wears for item in persons)
        if layout.conditions.event == "at-night":
            assert (layout.conditions.light, layout.conditions.camera) == ("dim", "noisy")


def test_without_occlusion_boxes_stand_apart_where_there_is_room():
    world = {
        "classes": {
            "tote": {"share": 1, "number": {3: 1}, "height_m": [0.4, 0.4], "aspect": [1, 1], "size": [0.1, 0.12]}
        },
        "backgrounds": {"hall": 1},
    }
    apart = 0
    for layout in sample_layouts(Preset.model_validate(world), 200, seed=1):
        boxes = np.array([item.box for item in layout.objects])
        first, second = boxes[:, None], boxes[None]
        low, high = (
            np.maximum(first, second),
            np.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:]),
        )
        common = np.clip(high - low[..., :2], 0, None).prod(axis=2)
        apart += (common - np.diag(np.diag(common)) <= 0.06 * boxes[0, 2] * boxes[0, 3]).all()
    assert apart >= 190


def test_a_preset_of_ones_own(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "classes:\n  drum: {share: 1.0, height_m: [0.9, 0.9], aspect: [0.6, 0.7], size: [0.2, 0.4]}\n"
        "backgrounds: {hall: 1}\n"
    )

    [layout] = sample_layouts(load_preset(file), 1)

    assert layout.image_id == "mine-train-0-000000"
    assert [item.label for item in layout.objects] == ["drum"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("classes: {}\nbackgrounds: {hall: 1}\n", "classes"),
        ("[1, 2]", "preset"),
        ("a: [", "YAML"),
        (
            "classes: {drum: {share: 1, height_m: [1, 1], aspect: [1, 1], size: [0.2, 0.4]}}\nbackgrounds: {hall: 1}\n"
            "together: [{label: lid, present: drum, share: 1}]\n",
            "lid",
        ),
    ],
)
def test_what_is_no_preset_is_refused(tmp_path, text, told):
    (tmp_path / "mine.yaml").write_text(text)

    with pytest.raises(InputError, match=told):
        load_preset(tmp_path / "mine.yaml")


def test_a_preset_that_there_is_not_is_refused_with_those_there_are():
    with pytest.raises(InputError, match="ppe, housekeeping, floor"):
        load_preset("cars")


@given(st.binary(max_size=60))
def test_any_bytes_are_a_layout_or_refused(content):
    with contextlib.suppress(InputError):
        assert isinstance(parse_layout(content, "line 1"), Layout)
