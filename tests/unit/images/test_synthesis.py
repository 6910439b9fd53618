"""Synthesis: one picture at a time, and folders of them that survive every kind of bad luck."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from defectory.datasets import load_dataset
from defectory.datasets.annotations import decode_runs
from defectory.errors import ContentFilteredError, ImageError, InputError, RenderError, ServiceError
from defectory.images import dataset_folder
from defectory.images.items import Item, ItemRecord, item_id
from defectory.images.plan import Plan, Want, expand
from defectory.images.renderers import RenderRequest, RenderResult
from defectory.images.synthesis import ATTEMPTS, Sources, Summary, choose_photos, make_item, request_of, synthesize
from defectory.progress import Progress
from defectory.vision.images import encode_png, load_image
from defectory.vision.photos import Photo
from tests.unit.images.conftest import Scripted, paint, part

PHOTO = Photo("a.png", part(0), "a" * 64)
ITEM = Item(renderer="procedural", defect="scratch", seed=7, source="a.png")


def raising(error: Exception, *, times: int = 10**6) -> Callable[[Photo | None, RenderRequest], None]:
    left = [times]

    def script(photo: Photo | None, request: RenderRequest) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise error

    return script


def make(renderer: Scripted, item: Item = ITEM, photo: Photo | None = PHOTO):
    return make_item(item, renderer, photo, request_of(item))


# --- one picture


def test_a_picture_comes_with_all_that_is_known_of_it():
    made = make(Scripted(script=lambda photo, request: paint(photo, request, parameters={"donor": "d" * 64})))
    record, files = made.record, made.files
    assert list(files)[-1] == f"records/{record.id}.json"
    assert ItemRecord.model_validate_json(files[f"records/{record.id}.json"]) == record
    assert hashlib.sha256(files[record.image]).hexdigest() == record.image_sha256
    mask = load_image(files[record.mask])[..., 0]
    assert np.array_equal(decode_runs(record.runs, record.width, record.height), mask)
    left, top, width, height = record.box
    assert mask[top : top + height, left : left + width].all()
    assert mask.astype(bool).sum() == width * height == pytest.approx(record.area * 72 * 96)
    assert (record.source_sha256, record.made_from) == ("a" * 64, ("a" * 64, "d" * 64))
    assert record.parameters["seed"] == 7
    closeup = load_image(files[record.closeup])
    assert closeup.shape[1] == 2 * closeup.shape[0]


def test_a_picture_without_a_photo_has_neither_mask_nor_closeup():
    item = Item(renderer="bedrock-zero-shot", defect="rust", seed=3, prompt="rust")
    record = make(Scripted("bedrock-zero-shot", needs_photo=False), item, None).record
    assert record.outcome == "made"
    assert (record.mask, record.closeup, record.runs, record.made_from) == (None, "", (), ())


def test_where_no_believable_defect_comes_of_a_seed_the_next_is_tried():
    renderer = Scripted(script=raising(RenderError("no place"), times=2))
    record = make(renderer).record
    assert record.outcome == "made"
    assert [request.seed for request in renderer.requests] == [7, 8, 9]
    assert record.parameters["seed"] == 9
    assert record.item.seed == 7


def test_seeds_are_tried_within_bounds_and_the_failure_is_told():
    renderer = Scripted(script=raising(RenderError("no place")))
    made = make(renderer)
    assert len(renderer.requests) == ATTEMPTS
    assert (made.record.outcome, made.record.reason) == ("failed", "no place")
    assert list(made.files) == [f"records/{made.record.id}.json"]


def test_an_invisible_defect_is_tried_again_where_that_is_free():
    unchanged = Scripted(script=lambda photo, request: RenderResult(photo.image, np.full((72, 96), 255, np.uint8), 0.5))
    assert make(unchanged).record.outcome == "invisible"
    assert len(unchanged.requests) == ATTEMPTS
    paid = replace(unchanged, name="bedrock-inpaint", requests=[])
    assert make(paid, ITEM.model_copy(update={"renderer": "bedrock-inpaint"})).record.outcome == "invisible"
    assert len(paid.requests) == 1


def test_a_withheld_picture_is_counted_and_not_asked_for_again():
    renderer = Scripted(script=raising(ContentFilteredError("withheld")))
    made = make(renderer)
    assert (made.record.outcome, made.record.reason, len(made.files)) == ("filtered", "withheld", 1)
    assert len(renderer.requests) == 1


@pytest.mark.parametrize("error", [ServiceError("down"), InputError("defect", "known")])
def test_what_another_seed_does_not_cure_is_for_the_caller(error):
    with pytest.raises(type(error)):
        make(Scripted(script=raising(error)))


@pytest.mark.parametrize(
    "wrong",
    [
        RenderResult(part(0, 64, 64), np.full((64, 64), 255, np.uint8), 0.5),
        RenderResult(part(1), np.full((64, 64), 255, np.uint8), 0.5),
    ],
    ids=["picture", "mask"],
)
def test_no_picture_is_stored_with_a_mask_of_another(wrong):
    record = make(Scripted(script=lambda photo, request: wrong)).record
    assert record.outcome == "failed"
    assert "64 x 64" in record.reason


# --- folders of pictures


@pytest.fixture
def run(photo_files, tmp_path) -> Callable[..., Summary]:
    """Makes so many scratches in ``out``."""

    def run_(renderer: Scripted | None = None, *, count: int = 6, out: str = "out", items=None, **more) -> Summary:
        plan = Plan(wants=(Want(renderer="procedural", defect="scratch", count=count),))
        chosen = items or expand(plan, list(photo_files))
        return synthesize(chosen, Sources(photo_files), {"procedural": renderer or Scripted()}, tmp_path / out, **more)

    return run_


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the manifest, which says when it was written."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != "dataset.manifest")
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def test_every_item_is_made_and_the_folder_is_a_dataset(run, tmp_path):
    heard = []
    summary = run(on_progress=heard.append)
    assert (summary.asked, summary.made, summary.images, summary.unmade) == (6, 6, 6, ())
    assert heard == [Progress("making pictures", number, 6) for number in range(1, 7)]
    dataset = load_dataset(tmp_path / "out")
    assert dataset.version == summary.version
    assert all(record.synthetic and record.classes == ("scratch",) for record in dataset.records)
    assert {each for record in dataset.records for each in record.made_from} == {
        hashlib.sha256(file.read_bytes()).hexdigest() for file in (tmp_path / "photos").iterdir()
    }


def test_the_same_items_give_the_same_bytes_however_many_are_made_at_a_time(run, tmp_path):
    run(out="one")
    run(out="many", workers=4)
    assert contents(tmp_path / "one") == contents(tmp_path / "many")


def test_the_same_item_twice_is_one(run, photo_files):
    item = ITEM.model_copy(update={"source": "a.png"})
    summary = run(items=[item, item])
    assert (summary.asked, summary.made, summary.images) == (1, 1, 1)


def test_what_is_done_is_not_done_again(run):
    run(count=4)
    renderer = Scripted()
    summary = run(renderer, count=6)
    assert len(renderer.requests) == 2
    assert (summary.made, summary.present, summary.images) == (6, 4, 6)


def test_pictures_of_other_runs_stay(run):
    run(count=3)
    other = run(items=[ITEM.model_copy(update={"defect": "oil"})], classes={"oil": "Oil"})
    assert (other.asked, other.images) == (1, 4)
    assert run(count=3).images == 4


def test_class_names_of_other_runs_stay(run, tmp_path):
    run(count=2, classes={"scratch": "Deep scratch"})
    run(items=[ITEM.model_copy(update={"defect": "oil"})])
    assert load_dataset(tmp_path / "out").classes == ("Deep scratch", "oil")


def test_a_changed_photo_and_a_damaged_picture_are_made_anew(run, photo_files, tmp_path):
    run(count=3)
    photo_files["b.png"].write_bytes(encode_png(part(50)))
    damaged = next((tmp_path / "out/masks").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-5])
    renderer = Scripted()
    summary = run(renderer, count=3)
    assert 1 <= len(renderer.requests) <= 2
    assert summary.made == 3
    load_image(damaged)
    sources = {each for record in load_dataset(tmp_path / "out").records for each in record.made_from}
    assert hashlib.sha256(photo_files["b.png"].read_bytes()).hexdigest() in sources


def test_a_photo_that_cannot_be_read_fails_its_own_items_only(run, photo_files):
    photo_files["b.png"].write_bytes(b"no image")
    summary = run(count=6)
    assert (summary.made, summary.count("failed")) == (4, 2)
    assert {each.source for each in summary.unmade} == {"b.png"}
    assert all("must be an image" in each.reason for each in summary.unmade)


def test_failed_items_are_tried_again_and_others_are_not(run):
    flaky = Scripted(script=raising(RenderError("no place"), times=ATTEMPTS))
    assert run(flaky).count("failed") == 1
    renderer = Scripted()
    assert run(renderer).made == 6
    assert len(renderer.requests) == 1


def test_a_fault_in_a_renderer_takes_no_other_picture_with_it(run):
    summary = run(Scripted(script=raising(ZeroDivisionError("boom"), times=1)))
    assert (summary.made, summary.count("failed")) == (5, 1)
    assert "boom" in summary.unmade[0].reason


def test_a_service_that_fails_again_and_again_is_not_asked_for_all(run):
    down = Scripted(script=raising(ServiceError("no access to the model")))
    summary = run(down, count=9)
    assert len(down.requests) == 3
    assert (summary.untried, summary.stopped, summary.count("failed")) == (6, "no access to the model", 3)
    assert run(count=9).made == 9


def test_a_service_that_fails_now_and_then_is_asked_on(run):
    calls = []

    def script(photo, request):
        calls.append(request)
        if len(calls) % 2:
            raise ServiceError("throttled")

    assert run(Scripted(script=script), count=9).untried == 0


def test_duplicates_are_counted_and_their_pictures_go(run, tmp_path):
    summary = run(Scripted(script=lambda photo, request: paint(photo, replace(request, seed=1))), count=5)
    assert (summary.made, summary.count("duplicate"), summary.images) == (3, 2, 3)
    assert len(list((tmp_path / "out/images").iterdir())) == 3
    assert len(list((tmp_path / "out/labels").iterdir())) == 3
    # And they are no duplicates of what is there because the run is repeated
    renderer = Scripted()
    assert run(renderer, count=5).count("duplicate") == 2
    assert renderer.requests == []


class Disk:
    """A disk that is full after so many files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        write = Path.write_bytes

        def write_bytes(file: Path, content: bytes) -> int:
            if self.room == 0:
                write(file, content[: len(content) // 2])
                raise OSError(errno.ENOSPC, "No space left on device", str(file))
            self.room -= 1
            return write(file, content)

        monkeypatch.setattr(dataset_folder.Path, "write_bytes", write_bytes)


@pytest.mark.parametrize("room", [0, 1, 3, 5, 12, 30, 31])
def test_a_full_disk_leaves_a_folder_to_go_on_with(run, tmp_path, monkeypatch, room):
    # Given what a run comes to where there is room
    run(out="whole")
    # When another is stopped by a full disk
    disk = Disk(monkeypatch, room)
    with pytest.raises(InputError, match=r"No space left on device.*run the same command again"):
        run()
    # Then nothing half-made is left
    out = tmp_path / "out"
    records = [json.loads(file.read_bytes()) for file in (out / "records").iterdir()]
    for record in records:
        assert hashlib.sha256((out / record["image"]).read_bytes()).hexdigest() == record["image_sha256"]
    assert not list(out.rglob(".unfinished-*"))
    assert {file.stem for file in (out / "images").glob("*")} == {record["id"] for record in records}
    # And the same command ends in the same folder
    disk.room = -1
    assert run().present == len(records)
    assert contents(out) == contents(tmp_path / "whole")


def test_what_a_pulled_plug_left_is_cleared_away(run, tmp_path):
    run()
    before = contents(tmp_path / "out")
    (tmp_path / "out/images/.unfinished-scratch").write_bytes(b"half")
    run()
    assert contents(tmp_path / "out") == before


def test_a_folder_of_somebody_elses_files_is_not_touched(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(InputError, match="a new or empty folder"):
        run()
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_an_item_whose_record_is_broken_is_made_anew_and_anothers_is_named_at_once(run, tmp_path):
    run(count=2)
    for file in (tmp_path / "out/records").iterdir():
        file.write_text("{}")
    assert run(count=2).made == 2
    file.write_text("{}")
    renderer = Scripted()
    with pytest.raises(InputError, match=f"{file.name}.*Delete it"):
        run(renderer, items=[ITEM])
    assert renderer.requests == []


def test_masks_and_regions_reach_the_renderer(photo_files, tmp_path):
    mask, region = np.zeros((2, 72, 96), np.uint8)
    mask[10:20, 10:20], region[:40] = 255, 255
    (tmp_path / "mask.png").write_bytes(encode_png(mask))
    (tmp_path / "region.png").write_bytes(encode_png(region))
    seen = []
    renderer = Scripted(script=lambda photo, request: seen.append((photo.region, request.mask)))
    sources = Sources(photo_files, {"mask.png": tmp_path / "mask.png"}, tmp_path / "region.png")
    item = ITEM.model_copy(update={"mask": "mask.png"})
    synthesize([item], sources, {"procedural": renderer}, tmp_path / "out")
    assert np.array_equal(seen[0][0], region)
    assert np.array_equal(seen[0][1], mask)


@pytest.mark.parametrize("change", [{"source": "none.png"}, {"mask": "none.png"}])
def test_an_item_whose_files_are_not_given_fails(run, change):
    summary = run(items=[ITEM.model_copy(update=change)])
    assert summary.count("failed") == 1
    assert "none.png" in summary.unmade[0].reason


def test_a_renderer_that_is_not_there_is_missed_before_any_work(run, tmp_path):
    with pytest.raises(InputError, match="transplant"):
        run(items=[ITEM.model_copy(update={"renderer": "transplant"})])
    assert not (tmp_path / "out/images").exists()


def test_only_photos_that_are_used_are_looked_at(photo_files):
    photo_files["c.png"].write_bytes(b"no image")
    plan = Plan(wants=(Want(renderer="procedural", defect="scratch", count=9),))
    usable, refused = choose_photos(plan, photo_files)
    assert (set(usable), set(refused)) == ({"a.png", "b.png"}, {"c.png"})
    few = Plan(wants=(Want(renderer="procedural", defect="scratch", count=1),))
    used = {item.source for item in expand(few, list(photo_files))}
    assert choose_photos(few, photo_files)[1].keys() == used & {"c.png"}
    with pytest.raises(ImageError, match=r"c\.png"):
        choose_photos(plan, {"c.png": photo_files["c.png"]})


def test_ids_name_the_files(run, tmp_path):
    item = ITEM.model_copy(update={"source": "b.png"})
    run(items=[item])
    assert (tmp_path / f"out/images/{item_id(item)}.png").is_file()
