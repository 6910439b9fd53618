"""Folders of scenes: the same bytes however they came about, nothing lost, nothing twice, everything counted."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
import yaml
from pycocotools.coco import COCO

from defectory.datasets.annotations import decode_runs
from defectory.detection import parallel
from defectory.detection.layouts.presets import load_preset
from defectory.detection.layouts.records import Layout, LayoutObject, layout_line
from defectory.detection.layouts.sampler import sample_chunks
from defectory.detection.parallel import WorkerError, map_in_order
from defectory.detection.scenes import compose
from defectory.detection.scenes.compose import SceneSources, compose_scenes
from defectory.detection.scenes.folder import SceneFolder, read_scenes
from defectory.detection.scenes.plans import plan_file, plan_preset
from defectory.errors import InputError, UnwritableError
from defectory.vision.images import encode_png, load_image
from tests.support.dying import double_or_die
from tests.support.shape_cutouts import write_cutouts

SIZE = (96, 96)


@pytest.fixture(scope="module")
def cutouts(tmp_path_factory) -> Path:
    return write_cutouts(tmp_path_factory.mktemp("shapes"), variants=1, views=1)


@pytest.fixture
def sources(cutouts) -> SceneSources:
    return SceneSources(load_preset("housekeeping").labels, cutouts=cutouts, embedded=False, sizes=(SIZE,))


@pytest.fixture
def layouts_file(tmp_path):
    def write(*lines: str | Layout) -> Path:
        texts = [line if isinstance(line, str) else layout_line(line) for line in lines]
        (tmp_path / "layouts.jsonl").write_text("".join(text + "\n" for text in texts))
        return tmp_path / "layouts.jsonl"

    return write


def plan(count: int):
    return plan_preset(load_preset("housekeeping"), count, seed=3, split="train", size=SIZE)


def asked(image_id: str, label: str = "tote") -> Layout:
    item = LayoutObject(label=label, box=(20, 20, 40, 40))
    return Layout(image_id=image_id, size=(64, 64), objects=(item,))


def digest(folder: Path) -> str:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    parts = [f"{file.relative_to(folder)} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files]
    return "\n".join(parts)


@pytest.fixture(scope="module")
def composed(tmp_path_factory, cutouts) -> Path:
    """Twenty scenes, in one go by one worker."""
    out = tmp_path_factory.mktemp("scenes") / "out"
    labels = load_preset("housekeeping").labels
    summary = compose_scenes(plan(20), SceneSources(labels, cutouts=cutouts, embedded=False, sizes=(SIZE,)), out)
    assert (summary.made, summary.failed) == (20, 0)
    return out


def test_two_workers_write_the_same_bytes_as_one(composed, sources, tmp_path):
    compose_scenes(plan(20), sources, tmp_path / "out", workers=2)

    assert digest(tmp_path / "out") == digest(composed)


def test_more_scenes_are_added_to_those_that_are_there(composed, sources, tmp_path):
    compose_scenes(plan(7), sources, tmp_path / "out")
    summary = compose_scenes(plan(20), sources, tmp_path / "out")

    assert (summary.made, summary.done) == (13, 7)
    assert digest(tmp_path / "out") == digest(composed)


def test_a_killed_run_is_gone_on_with(composed, sources, tmp_path):
    """Its last line is half written, a picture is unfinished, and another has no line yet."""
    compose_scenes(plan(9), sources, tmp_path / "out")
    scenes = tmp_path / "out/scenes.jsonl"
    scenes.write_bytes(scenes.read_bytes()[:-40])
    (tmp_path / "out/images/.unfinished-1").write_bytes(b"half")
    (tmp_path / "out/coco.json").unlink()

    summary = compose_scenes(plan(20), sources, tmp_path / "out")

    assert (summary.made, summary.done) == (12, 8)
    assert digest(tmp_path / "out") == digest(composed)


@pytest.mark.parametrize("kind", ["images", "labels", "scenes.jsonl"])
def test_a_full_disk_is_told_and_gone_on_with(composed, sources, tmp_path, monkeypatch, kind):
    left = iter(range(11))
    whole, add = compose.write_whole, SceneFolder.add

    def write(file, content):
        if file.parent.name == kind and next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(file, content)

    def add_half(folder, lines):
        if kind == "scenes.jsonl":
            with (folder.path / "scenes.jsonl").open("ab") as stream:
                stream.write(lines[0][:50])
            raise UnwritableError("out", "a folder", "No space left on device", "out")
        add(folder, lines)

    monkeypatch.setattr(compose, "write_whole", write)
    monkeypatch.setattr(SceneFolder, "add", add_half)
    with pytest.raises(UnwritableError, match="No space left"):
        compose_scenes(plan(20), sources, tmp_path / "out")
    monkeypatch.undo()

    compose_scenes(plan(20), sources, tmp_path / "out")

    assert digest(tmp_path / "out") == digest(composed)


def test_what_cannot_be_made_is_named_and_the_rest_is_made(sources, layouts_file, tmp_path):
    outside = layout_line(asked("outside")).replace("[20.0,20.0,40.0,40.0]", "[70.0,20.0,40.0,40.0]")
    file = layouts_file(asked("a"), "{broken", outside, asked("b", "unicorn"), asked("c"))

    summary = compose_scenes(plan_file(file), sources, tmp_path / "out")

    assert (summary.made, summary.failed) == (2, 3)
    assert [failure["name"] for failure in summary.failures] == ["line 2", "line 3", "b"]
    assert [record.image_id for record in read_scenes(tmp_path / "out")] == ["a", "c"]
    assert {file.stem for file in (tmp_path / "out/images").iterdir()} == {"a", "c"}
    failures = [json.loads(line) for line in (tmp_path / "out/failures.jsonl").read_text().splitlines()]
    assert failures == summary.failures
    assert "unicorn" in failures[2]["reason"]


def test_workers_name_what_cannot_be_made(sources, layouts_file, tmp_path):
    names = [f"n{number}" for number in range(17)]
    file = layouts_file(*map(asked, names), asked("last", "unicorn"))

    summary = compose_scenes(plan_file(file), sources, tmp_path / "out", workers=2)

    assert (summary.made, summary.failed) == (17, 1)
    assert "unicorn" in summary.failures[0]["reason"]


def test_the_same_layout_twice_is_made_once(sources, layouts_file, tmp_path):
    file = layouts_file(asked("a"), asked("b"), asked("a"), asked("b"))

    summary = compose_scenes(plan_file(file), sources, tmp_path / "out")

    assert (summary.made, summary.repeated, summary.failed) == (2, 2, 0)
    assert len(list(read_scenes(tmp_path / "out"))) == 2


def test_two_layouts_of_one_name_are_not_mixed_up(sources, layouts_file, tmp_path):
    other = asked("a").model_copy(update={"seed": 5})

    summary = compose_scenes(plan_file(layouts_file(asked("a"), other)), sources, tmp_path / "out")
    later = compose_scenes(plan_file(layouts_file(other)), sources, tmp_path / "out")

    assert (summary.made, summary.failed, later.failed) == (1, 1, 1)
    assert "no other layout has" in later.failures[0]["reason"]


def test_train_and_test_stay_in_folders_of_their_own(composed, cutouts):
    sources = SceneSources(("tote",), "test", cutouts=cutouts, embedded=False, sizes=(SIZE,))

    with pytest.raises(InputError, match="folder of scenes for test"):
        compose_scenes(plan(3), sources, composed)


def test_a_folder_in_use_is_left_alone(sources, tmp_path):
    with (
        SceneFolder(tmp_path / "out", ["tote"], "train"),
        pytest.raises(InputError, match="no other process"),
    ):
        compose_scenes(plan(3), sources, tmp_path / "out")


def test_a_folder_of_something_else_is_left_alone(sources, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("mine")

    with pytest.raises(InputError, match=r"thesis\.txt"):
        compose_scenes(plan(3), sources, tmp_path / "out")


def test_ids_of_classes_stay_and_other_classes_are_refused(composed, tmp_path):
    folder = shutil.copytree(composed, tmp_path / "out")
    names = json.loads((folder / "classes.json").read_text())
    with SceneFolder(folder, names[::-1], "train") as again:
        assert again.classes == tuple(names)

    # A cone on the scenes that are there has no label.
    with pytest.raises(InputError, match="Use one of its own"), SceneFolder(folder, [*names, "cone"], "train"):
        pass
    with pytest.raises(InputError, match=names[0]), SceneFolder(folder, names[:1], "train"):
        pass
    assert json.loads((folder / "classes.json").read_text()) == names
    with SceneFolder(tmp_path / "new", ["cone"], "train") as new:
        assert new.classes == ("cone",)


def test_coco_and_yolo_say_what_the_lines_say(composed):
    records = list(read_scenes(composed))
    coco = COCO(str(composed / "coco.json"))
    classes = json.loads((composed / "classes.json").read_text())
    assert yaml.safe_load((composed / "data.yaml").read_text())["names"] == dict(enumerate(classes))

    for number, record in enumerate(records, 1):
        image = coco.loadImgs([number])[0]
        assert image["file_name"] == record.file
        assert load_image(composed / record.file).shape == (record.height, record.width, 3)
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[number]))
        rows = (composed / "labels" / f"{record.image_id}.txt").read_text().splitlines()
        assert len(annotations) == len(rows) == len(record.objects)
        for annotation, row, item in zip(annotations, rows, record.objects, strict=True):
            assert annotation["bbox"] == list(item.box)
            assert (coco.annToMask(annotation) * 255 == decode_runs(item.runs, record.width, record.height)).all()
            assert classes[int(row.split()[0])] == classes[annotation["category_id"] - 1] == item.label
            centre, width = float(row.split()[1]), float(row.split()[3])
            assert (centre - width / 2) * record.width == pytest.approx(item.box[0], abs=0.01)


def test_the_page_shows_scenes_with_their_boxes(composed):
    page = (composed / "contact-sheet.html").read_text()

    records = list(read_scenes(composed))
    assert page.count("<figure>") == len(records)
    assert page.count("<rect") == sum(len(record.objects) for record in records)
    assert "http" not in page.replace("http-equiv", "")


def test_photos_are_backgrounds_and_small_ones_are_refused(cutouts, tmp_path):
    (tmp_path / "photos").mkdir()
    for level in range(10):
        picture = encode_png(load_grey(60 + 10 * level, 60))
        (tmp_path / f"photos/{level}.png").write_bytes(picture)
    options = {"cutouts": cutouts, "embedded": False, "backgrounds": tmp_path / "photos"}

    # 96 is less than twice 60: scaled up. 128 is not.
    compose_scenes(plan(3), SceneSources(("tote",), sizes=(SIZE,), **options), tmp_path / "out")

    assert len(list(read_scenes(tmp_path / "out"))) == 3
    with pytest.raises(InputError, match=r"backgrounds: 0\.png.*60 x 60"):
        SceneSources(("tote",), sizes=((128, 128),), **options).open()


def test_no_photo_is_on_both_sides(tmp_path, cutouts):
    for level in range(30):
        (tmp_path / f"{level}.png").write_bytes(encode_png(load_grey(100 + level, 64)))
    sides = [
        set(SceneSources(("tote",), split, cutouts, tmp_path, False, sizes=((64, 64),)).open().backgrounds.files)
        for split in ("train", "test")
    ]
    assert sides[0]
    assert sides[1]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 30


def load_grey(level: int, side: int):
    import numpy as np

    return np.full((side, side, 3), level, np.uint8)


def test_work_whose_process_is_killed_is_done_again(tmp_path):
    items = [(str(tmp_path / "killed"), number) for number in range(5)]

    assert list(map_in_order(double_or_die, items, workers=2)) == [0, 2, 4, 6, 8]
    assert (tmp_path / "killed").exists()


class Pool:
    """Works at once, in this process; the third item that it is given breaks it."""

    def __init__(self, breaks: bool) -> None:
        self.left = 2 if breaks else 1_000

    def submit(self, work, item):
        if not self.left:
            raise BrokenProcessPool("A process died.")
        self.left -= 1
        future = Future()
        future.set_result(work(item))
        return future

    def shutdown(self, **_):
        pass


def test_pool_that_breaks_between_two_items_loses_none(monkeypatch):
    pools = [Pool(breaks=True), Pool(breaks=True), Pool(breaks=False)]
    monkeypatch.setattr(parallel, "_pool", lambda *_: pools.pop(0))
    assert list(map_in_order(abs, range(-9, 0), workers=2)) == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert not pools


def test_work_that_kills_its_process_every_time_is_given_up_alone(tmp_path):
    (tmp_path / "killed").touch()
    items = [(str(tmp_path / "killed"), number) for number in (12, 13)]
    deaths = []

    def give_up(item: tuple[str, int], error: WorkerError) -> int:
        deaths.append((item[1], str(error)))
        return -1

    assert list(map_in_order(double_or_die, items, workers=2, on_death=give_up)) == [24, -1]
    assert [number for number, _ in deaths] == [13]
    assert "died 4 times" in deaths[0][1]


def test_a_line_that_is_no_scene_is_named(composed, tmp_path):
    (tmp_path / "scenes.jsonl").write_bytes((composed / "scenes.jsonl").read_bytes() + b"{}\n")

    with pytest.raises(InputError, match=r"scenes\.jsonl:21"):
        list(read_scenes(tmp_path))


def test_sampled_lines_are_what_plans_give(tmp_path):
    file = tmp_path / "layouts.jsonl"
    [chunk] = sample_chunks(load_preset("housekeeping"), 5, seed=3, size=SIZE)
    file.write_bytes(chunk.lines)

    assert [line.rstrip() for _, line in plan_file(file).lines()] == [line for _, line in plan(5).lines()]
    assert plan_file(file, 2).count == 2
