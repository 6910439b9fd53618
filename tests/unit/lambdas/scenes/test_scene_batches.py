"""Batches of scenes: each layout once, whatever is interrupted, repeated, wrong or added."""

from __future__ import annotations

import itertools
import json

import pytest
from pycocotools.coco import COCO

from defectory.detection.batch import plan as plans
from defectory.detection.batch.render import ShardUnfinishedError
from defectory.detection.labelled import open_labelled
from defectory.detection.layouts.presets import load_preset
from defectory.detection.layouts.records import layout_line
from defectory.detection.layouts.sampler import sample_layouts
from defectory.detection.scenes.compositor import Compositor
from defectory.detection.scenes.folder import read_scenes
from defectory.errors import ImageError, InputError
from tests.unit.lambdas.scenes.conftest import CLASSES

LAYOUTS = [*sample_layouts(load_preset("ppe"), 5, seed=3, size=(96, 96))]
IDS = [layout.image_id for layout in LAYOUTS]


def given(site, *layouts, key="ann/layouts.jsonl") -> dict:
    """A request for layouts of one's own."""
    lines = (layout if isinstance(layout, str) else layout_line(layout) for layout in layouts)
    site.upload(key, "\n".join(lines).encode())
    return {"layouts": key, **dict.fromkeys(("preset", "count", "seed", "size"))}


def test_a_batch_is_a_folder_of_scenes_as_composing_on_ones_own_machine_makes(site, tmp_path):
    status = site.run()

    folder = site.download(tmp_path)
    assert (status["status"], status["outcomes"]) == ("COMPLETE", {"made": 5})
    scenes = list(read_scenes(folder))
    assert sorted(scene.image_id for scene in scenes) == IDS
    assert {scene.layout for scene in scenes} == set(LAYOUTS)
    images = list(open_labelled(folder))
    coco = COCO(str(folder / "coco.json"))
    assert [category["name"] for category in coco.dataset["categories"]] == CLASSES
    assert len(coco.anns) == sum(len(image.objects) for image in images) > 0
    for scene in scenes:
        assert site.image(f"ann/site/{scene.file}").shape == (96, 96, 3)
        labels = (folder / "labels" / f"{scene.image_id}.txt").read_text().splitlines()
        assert [CLASSES[int(row.split()[0])] for row in labels] == [item.label for item in scene.objects]
    assert b"<html" in (folder / "contact-sheet.html").read_bytes()
    assert json.loads((folder / "status.json").read_text())["pictures"] == 5


def test_the_same_request_makes_nothing_twice_and_one_for_more_the_rest(site, monkeypatch):
    first = site.plan()
    site.render(first)
    rendered = []
    render = Compositor.render
    monkeypatch.setattr(Compositor, "render", lambda self, layout: rendered.append(layout) or render(self, layout))

    again = site.plan("run-2")
    site.render(again)
    assert site.assemble(again)["outcomes"] == {"made": 5}
    assert rendered == []
    more = site.plan("run-3", count=8)
    site.render(more)
    assert len(rendered) == 3
    assert site.assemble(more)["outcomes"] == {"made": 8}
    assert len(site.lines("ann/site/scenes.jsonl")) == 8


def test_a_shard_that_ran_out_of_time_goes_on_where_it_was(site):
    planned = site.plan(count=2)
    left = iter([100.0, 59.0])
    site.context.get_remaining_time_in_millis = lambda: 1000 * next(left)

    with pytest.raises(ShardUnfinishedError, match="1 of 2 scenes"):
        site.render(planned)
    assert len(site.lines(site.dataset.records_key(site.lines(planned["manifest"])[0]["shard"]))) == 1
    site.context.get_remaining_time_in_millis = lambda: 900_000
    assert site.render(planned) == {"made": 2}


def test_what_is_made_is_stored_every_few_seconds_for_a_function_may_be_killed(site, monkeypatch):
    planned = site.plan(count=2)
    render, number = Compositor.render, itertools.count()

    def killed(self, layout):
        if next(number):
            raise KeyboardInterrupt
        return render(self, layout)

    monkeypatch.setattr(Compositor, "render", killed)
    ticks = itertools.count(0, 6)
    with pytest.raises(KeyboardInterrupt):
        site.render(planned, clock=lambda: next(ticks))

    [item] = site.lines(planned["manifest"])
    assert [line["image_id"] for line in site.lines(site.dataset.records_key(item["shard"]))] == IDS[:1]


@pytest.mark.parametrize("error", [ImageError("cutout", "a picture"), ZeroDivisionError("of the compositor's")])
def test_a_layout_that_fails_in_the_middle_is_named_and_the_others_are_made(site, monkeypatch, error):
    render = Compositor.render

    def fail(self, layout):
        if layout.image_id == IDS[2]:
            raise error
        return render(self, layout)

    monkeypatch.setattr(Compositor, "render", fail)
    status = site.run()

    assert (status["status"], status["outcomes"]) == ("PARTIAL", {"failed": 1, "made": 4})
    [failure] = site.lines("ann/site/failures.jsonl")
    assert failure["image_id"] == IDS[2]
    assert str(error) in failure["reason"]
    assert str(error) in status["reason"]
    monkeypatch.undo()


def test_lines_that_are_no_layouts_names_given_twice_and_the_same_layout_twice(site):
    other = LAYOUTS[0].model_copy(update={"seed": 99})
    request = given(site, LAYOUTS[0], "{", LAYOUTS[1], LAYOUTS[1], other)

    status = site.run(**request)

    assert (status["status"], status["outcomes"], status["planned"]) == ("PARTIAL", {"failed": 2, "made": 2}, 4)
    stored = json.loads(site.bucket.read("ann/site/status.json"))
    assert stored["repeated"] == 1
    assert [failure["image_id"] for failure in stored["not_made"]] == ["line 2", "line 5"]
    assert "no other layout has" in stored["not_made"][1]["reason"]


def test_a_function_that_failed_to_the_last_is_told_of_for_each_of_its_layouts(site):
    planned = site.plan()
    site.render(planned, 0, 1)
    site.fail(planned, 2, "ServiceError", json.dumps({"errorMessage": "S3 is busy"}))

    status = site.assemble(planned)

    assert status["outcomes"] == {"failed": 1, "made": 4}
    [failure] = site.lines("ann/site/failures.jsonl")
    assert failure == {"image_id": IDS[4], "fate": "failed", "reason": "ServiceError: S3 is busy"}


def test_what_a_stopped_run_never_came_to_is_pending(site):
    planned = site.plan()
    site.render(planned, 0)
    site.fail(planned, 1, "ServiceError", "{}")

    status = site.assemble(planned, stopped=True)

    assert (status["status"], status["outcomes"]) == ("PARTIAL", {"failed": 2, "made": 2, "pending": 1})
    assert "start the same again" in status["reason"]
    assert site.render(site.plan("run-2")) == {"made": 5}


def test_layouts_that_two_executions_gave_to_a_shard_each_are_there_once(site):
    first = site.plan(count=2)
    # Given another execution that planned at the same time, and divided otherwise
    twin = layout_line(LAYOUTS[0]) + "\n"
    site.upload(site.dataset.shard_key("00000-other"), twin.encode())
    manifest = site.bucket.read(first["manifest"]) + b'{"shard": "00000-other", "count": 1}\n'
    site.upload(first["manifest"], manifest)

    site.render(first)
    site.assemble(first)

    assert [scene["image_id"] for scene in site.lines("ann/site/scenes.jsonl")].count(IDS[0]) == 1


def test_large_canvases_make_small_shards(site, monkeypatch):
    monkeypatch.setattr(plans, "SHARD_LAYOUTS", {"compositor": 64})
    monkeypatch.setattr(plans, "SHARD_PIXELS", 3 * 96 * 96)

    assert [item["count"] for item in site.lines(site.plan(count=8)["manifest"])] == [3, 3, 2]


def test_ones_own_preset_cut_outs_and_photos_come_from_the_bucket(site, tmp_path):
    from defectory.detection.cutouts.library import CutOutLibrary

    cone = CutOutLibrary.embedded().select("safety_cone", "train")[0]
    index = {
        **{"id": "mine", "label": "bollard", "variant": "mine", "view": 0, "split": "train", "height_m": 0.5},
        **{"azimuth": 0, "elevation": 0, "stands": True, "file": "bollard/a b.webp", "source": "mine"},
    }
    site.upload("ann/cutouts/cutouts.jsonl", json.dumps(index).encode())
    site.upload("ann/cutouts/bollard/a b.webp", cone.file.read_bytes())
    site.upload(
        "ann/presets/bollards.yaml",
        b"classes: {bollard: {share: 1, height_m: [0.4, 0.6], aspect: [0.5, 0.8], size: [0.3, 0.5]}}\n"
        b"backgrounds: {warehouse: 1}\n",
    )

    status = site.run(preset="ann/presets/bollards.yaml", cutouts="ann/cutouts/", only_own=True, count=2)

    assert status["outcomes"] == {"made": 2}
    assert json.loads(site.bucket.read("ann/site/classes.json")) == ["bollard"]
    objects = [item for scene in site.lines("ann/site/scenes.jsonl") for item in scene["objects"]]
    assert {item["cutout"] for item in objects} == {"mine"}


@pytest.mark.parametrize("key", ["ann/cutouts/../../etc/passwd", "ann/cutouts//x", "ann/cutouts/./x"])
def test_a_key_that_would_lead_elsewhere_is_copied_nowhere(site, key):
    site.upload(key, b"x")
    planned = site.plan(cutouts="ann/cutouts/", count=1)

    with pytest.raises(InputError, match="the key of a file"):
        site.render(planned)
    assert not [path for path in site.folder.rglob("*") if path.is_file()]


# ------------------------------------------------------------------ the door


@pytest.mark.parametrize(
    ("request_", "field", "said"),
    [
        ({"preset": "mars"}, "preset", "ppe"),
        ({"count": 0}, "count", "1 to 75000"),
        ({"count": 75_001}, "count", "Divide it"),
        ({"count": None}, "count", "missing"),
        ({"size": 20}, "size", "64 to 8192"),
        ({"user_id": "../bob"}, "user_id", "letters"),
        ({"dataset": "a/b"}, "dataset", "letters"),
        ({"layouts": "ann/l.jsonl"}, "preset", "not both"),
        ({"preset": None, "layouts": "bob/l.jsonl", "count": None}, "layouts", "below ann/"),
        ({"cutouts": "ann/site/images/"}, "cutouts", "another dataset"),
        ({"cutouts": "ann/none/"}, "cutouts", "nothing"),
        ({"preset": "ann/none.yaml"}, "ann/none.yaml", "upload it"),
        ({"renderer": "oil"}, "renderer", "compositor, bedrock or gligen"),
        ({"renderer": "gligen"}, "detector", "missing"),
        ({"renderer": "bedrock", "detector": "ann/d.tar.gz"}, "renderer", "inpaint_model_id"),
        ({"renderer": "gligen", "detector": "ann/none.tar.gz"}, "detector", "nothing"),
        ({"detector": "ann/d.tar.gz"}, "detector", "bedrock or gligen"),
        ({"steps": 20}, "steps", "gligen"),
        ({"only_own": True}, "only_own", "cutouts"),
        ({"colour": "red"}, "colour", "known fields"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_before_anything_is_written(site, request_, field, said):
    with pytest.raises(InputError) as caught:
        site.plan(**request_)

    assert caught.value.field == field
    assert said in str(caught.value)
    assert site.bucket.keys("ann/site/") == []


def test_a_file_without_a_layout_is_refused(site):
    with pytest.raises(InputError, match="a file with a layout"):
        site.plan(**given(site))
    with pytest.raises(InputError, match="layouts, line 1"):
        site.plan(**given(site, "{}"))


def test_without_a_model_nothing_can_be_painted(site):
    site.models = plans.PaintingModels()
    with pytest.raises(InputError, match="models/gligen"):
        site.plan(renderer="gligen", detector="ann/d.tar.gz")


@pytest.mark.parametrize(
    ("changed", "field"),
    [({"split": "test"}, "split"), ({"min_visible": 0.5}, "min_visible"), ({"format": "png"}, "format")],
)
def test_the_scenes_of_a_dataset_are_made_alike(site, changed, field):
    site.plan()
    with pytest.raises(InputError) as caught:
        site.plan("run-2", **changed)
    assert (caught.value.field, "another dataset" in str(caught.value)) == (field, True)


def test_a_datasets_classes_never_change(site):
    site.plan()
    with pytest.raises(InputError, match="of the classes of site alone"):
        site.plan("run-2", preset="floor")
    fewer = LAYOUTS[0].model_copy(update={"image_id": "none", "objects": ()})
    assert site.render(site.plan("run-3", **given(site, fewer))) == {"made": 1}
