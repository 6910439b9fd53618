"""The compositor: labels are what is seen, and what is not labelled is not there."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from defectory.datasets.annotations import box_of, decode_runs
from defectory.detection.cutouts.library import CutOutLibrary
from defectory.detection.layouts.presets import load_preset
from defectory.detection.layouts.records import Conditions, Layout, LayoutObject, View
from defectory.detection.layouts.sampler import sample_layouts
from defectory.detection.scenes.backgrounds import DrawnBackgrounds
from defectory.detection.scenes.compositor import Compositor
from defectory.errors import InputError
from defectory.vision.images import encode_png
from tests.support.shape_cutouts import SHAPES, write_cutouts

CLASSES = (*SHAPES, "person", "hard_hat", "safety_vest")


class Grey:
    """A place without anything."""

    def draw(self, kind, size, view, room, rng):
        return np.full((size[1], size[0], 3), 128, np.uint8)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> CutOutLibrary:
    return CutOutLibrary.open(write_cutouts(tmp_path_factory.mktemp("shapes"), variants=1, views=1))


@pytest.fixture
def plain(tmp_path) -> CutOutLibrary:
    """A red and a blue square of 40 pixels, and one that can hardly be seen."""
    lines = []
    pictures = {
        "red": np.full((40, 40, 4), (220, 20, 20, 255), np.uint8),
        "blue": np.full((40, 40, 4), (20, 20, 220, 255), np.uint8),
        "mist": np.full((40, 40, 4), (200, 200, 200, 90), np.uint8),
    }
    for label, picture in pictures.items():
        (tmp_path / f"{label}.png").write_bytes(encode_png(picture))
        lines.append(
            {"id": label, "file": f"{label}.png", "label": label, "variant": "a", "split": "train", "height_m": 1}
        )
    (tmp_path / "cutouts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return CutOutLibrary.open(tmp_path)


def compositor(cutouts: CutOutLibrary, classes=("red", "blue", "mist"), **options) -> Compositor:
    return Compositor(cutouts, Grey(), tuple(classes), distractors=0, **options)


def layout(*objects: tuple[str, tuple[float, float, float, float]], **options) -> Layout:
    items = tuple(LayoutObject(label=label, box=box) for label, box in objects)
    # From high above, so that no shadow is long.
    return Layout(image_id="a", size=(128, 96), objects=items, view=View(horizon=-400, height_m=9), **options)


@st.composite
def layouts(draw):
    objects = {}
    for _ in range(draw(st.integers(0, 6))):
        label = draw(st.sampled_from([*SHAPES, "person"]))
        wide, high = draw(st.floats(1, 90)), draw(st.floats(1, 90))
        box = draw(st.floats(0.5 - wide, 63)), draw(st.floats(0.5 - high, 63)), wide, high
        wears = draw(st.sampled_from([(), ("hard_hat",), ("hard_hat", "safety_vest")])) if label == "person" else ()
        scale, tilt = draw(st.sampled_from([None, 20.0, 60.0])), draw(st.sampled_from([0, 0, 90, 30]))
        objects[label, box] = LayoutObject(label=label, box=box, wears=wears, px_per_m=scale, tilt=tilt)
    return Layout(
        image_id="a",
        size=(draw(st.integers(64, 130)), draw(st.integers(64, 100))),
        objects=tuple(objects.values()),
        conditions=Conditions(light=draw(st.sampled_from(["even", "dim", "backlit"]))),
        seed=draw(st.integers(0, 99)),
        background=draw(st.sampled_from(["corridor", "yard"])),
    )


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(layouts())
def test_labels_are_the_pixels_that_are_seen(shapes, asked):
    scene = Compositor(shapes, DrawnBackgrounds("train"), CLASSES).render(asked)

    width, height = asked.size
    assert scene.image.shape == (height, width, 3)
    assert scene.image.dtype == np.uint8
    owned = np.zeros((height, width), int)
    for item in scene.objects:
        mask = decode_runs(item.runs, width, height)
        left, top, wide, high = item.box
        assert left >= 0
        assert top >= 0
        assert left + wide <= width
        assert top + high <= height
        assert box_of(mask) == item.box
        assert item.area == np.count_nonzero(mask) >= 12
        assert item.visible >= 0.25
        assert item.visible + item.truncated <= 1.001
        if item.worn_by is None:
            owned += mask > 0
        else:
            wearer = decode_runs(scene.objects[item.worn_by].runs, width, height)
            assert not (mask & ~wearer).any()
    assert owned.max(initial=0) <= 1
    standing = [item for item in asked.objects if item.worn_by is None]
    alone = [item for item in scene.objects if item.worn_by is None]
    assert len(alone) + sum(scene.dropped.values()) == len(standing)


def test_the_same_layout_gives_the_same_scene(shapes):
    [asked] = sample_layouts(load_preset("ppe"), 1, seed=5, size=(128, 96))
    first, again = (Compositor(shapes, DrawnBackgrounds("train"), CLASSES).render(asked) for _ in range(2))

    assert (first.image == again.image).all()
    assert first.objects == again.objects


def test_who_is_partly_hidden_is_labelled_by_the_rest(plain):
    scene = compositor(plain).render(layout(("red", (10, 10, 40, 40)), ("blue", (30, 10, 40, 40))))

    red, blue = scene.objects
    assert (red.box, red.area, red.visible) == ((10, 10, 20, 40), 800, 0.5)
    assert (blue.box, blue.area, blue.visible) == ((30, 10, 40, 40), 1600, 1.0)
    assert blue.truncated == 0


def test_who_is_cut_by_the_edge_is_labelled_by_the_rest(plain):
    [red] = compositor(plain).render(layout(("red", (-10, 66, 40, 40)))).objects

    assert red.box == (0, 66, 30, 30)
    assert (red.visible, red.truncated) == (0.5625, 0.4375)


def test_who_is_hardly_seen_is_neither_labelled_nor_painted(plain):
    asked = layout(("red", (10, 10, 40, 40)), ("blue", (15, 10, 40, 40)))

    scene = compositor(plain).render(asked)

    assert [item.label for item in scene.objects] == ["blue"]
    assert scene.dropped == {"red": 1}
    levels = scene.image.astype(int)
    assert (levels[..., 0] - levels[..., 2]).max() < 60
    kept = compositor(plain, min_visible=0.1).render(asked)
    assert [item.box for item in kept.objects] == [(10, 10, 5, 40), (15, 10, 40, 40)]
    levels = kept.image.astype(int)
    assert (levels[..., 0] - levels[..., 2]).max() > 100


def test_who_is_left_out_hides_nobody(plain):
    """Red is behind blue, which is nearly all behind another red: only then is the first to be seen."""
    asked = layout(("red", (40, 40, 40, 40)), ("blue", (20, 40, 40, 40)), ("red", (15, 40, 40, 40)))

    scene = compositor(plain).render(asked)

    assert scene.dropped == {"blue": 1}
    assert [item.box for item in scene.objects] == [(55, 40, 25, 40), (15, 40, 40, 40)]


def test_what_is_nowhere_opaque_counts_where_it_is_densest(plain):
    [mist] = compositor(plain).render(layout(("mist", (10, 10, 40, 40)))).objects

    assert mist.area == 1600


def test_one_pixel_is_no_object(plain):
    scene = compositor(plain).render(layout(("red", (10, 10, 1, 1))))

    assert (scene.objects, scene.dropped) == ((), {"red": 1})


def test_what_is_no_class_is_drawn_and_not_labelled(plain):
    scene = compositor(plain, classes=["blue"]).render(layout(("red", (10, 10, 40, 40))))

    assert (scene.objects, scene.dropped) == ((), {})
    levels = scene.image.astype(int)
    assert (levels[20:40, 20:40, 0] - levels[20:40, 20:40, 2]).min() > 60


def test_a_class_without_cut_outs_is_refused_by_its_place(plain):
    with pytest.raises(InputError, match=r"objects\.1\.label.*blue, mist, red"):
        compositor(plain).render(layout(("red", (10, 10, 40, 40)), ("green", (50, 10, 40, 40))))


def test_the_size_is_that_of_the_thing_where_it_stands(shapes):
    cone = LayoutObject(label="safety_cone", box=(40, 40, 10, 20), px_per_m=40.0)
    asked = Layout(image_id="a", size=(128, 96), objects=(cone,), view=View(horizon=10, height_m=1))

    [drawn] = compositor(shapes, CLASSES).render(asked).objects

    # 0.75 m at 40 pixels a metre, 6 % more or less; it stands at the box's lower edge.
    assert 28 <= drawn.box[3] <= 32
    assert abs(drawn.box[1] + drawn.box[3] - 60) <= 1


def test_workers_wear_what_is_asked_and_all_of_it_is_labelled(shapes):
    for wears in ((), ("hard_hat",), ("safety_vest",), ("hard_hat", "safety_vest")):
        person = LayoutObject(label="person", box=(30, 5, 30, 80), wears=wears)
        asked = Layout(image_id="a", size=(128, 96), objects=(person,))

        objects = compositor(shapes, CLASSES).render(asked).objects

        assert [item.label for item in objects] == ["person", *wears]
        assert all(item.worn_by == 0 for item in objects[1:])


def test_equipment_comes_in_other_colours(shapes):
    hues = set()
    for seed in range(12):
        person = LayoutObject(label="person", box=(30, 5, 30, 80), wears=("safety_vest",))
        asked = Layout(image_id="a", size=(128, 96), objects=(person,), seed=seed)
        scene = compositor(shapes, CLASSES).render(asked)
        left, top, wide, high = scene.objects[1].box
        patch = scene.image[top + high // 4 : top + high // 2, left + 5 : left + wide - 5]
        hues.add(int(np.median(cv2.cvtColor(patch, cv2.COLOR_RGB2HSV)[..., 0])) // 8)
    assert len(hues) >= 3


def test_distractors_are_of_no_class_of_the_dataset(shapes):
    asked = Layout(image_id="a", size=(128, 96), seed=3)
    pictures = []
    for seed in range(6):
        scene = Compositor(shapes, Grey(), ("spill",)).render(asked.model_copy(update={"seed": seed}))
        assert all(item.label == "spill" for item in scene.objects)
        assert scene.objects == ()
        pictures.append(float(scene.image.std()))
    assert max(pictures) > 12


def test_train_and_test_share_no_cut_out(shapes):
    for split in ("train", "test"):
        asked = list(sample_layouts(load_preset("housekeeping"), 6, seed=1, size=(128, 128)))
        used = {
            item.cutout
            for layout in asked
            for item in Compositor(shapes, Grey(), CLASSES, split).render(layout).objects
        }
        assert used
        assert all(Path(name).name.startswith(split) for name in used)
