"""Assembly: records become a dataset that each of its readers understands in the same way."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml

from defectory.datasets import load_dataset, read_mask
from defectory.errors import InputError
from defectory.images.assembly import assemble, classes_of, read_record
from defectory.images.gate_result import GateResult, Lift
from defectory.images.items import Item, ItemRecord
from defectory.images.synthesis import SynthesizedItem, make_item, request_of
from defectory.vision.images import load_image
from defectory.vision.photos import Photo
from tests.support.coco_reader import read_masks
from tests.unit.images.conftest import Scripted, part

FAILED = ItemRecord(
    id="oil-1",
    item=Item(renderer="procedural", defect="oil", seed=1, source="<script>alert(1)</script>"),
    outcome="failed",
    reason="no place",
)
GATE = GateResult(
    decision="kept",
    reason="It helps.",
    real_good=30,
    real_defects=8,
    synthetic=3,
    seeds=(0, 1, 2),
    figures={
        "image AUROC": Lift(
            without=(0.7, 0.8, 0.75), with_synthetic=(0.9, 0.9, 0.9), difference=0.15, low=0.1, high=0.2
        )
    },
)


@pytest.fixture(scope="module")
def made() -> list[SynthesizedItem]:
    """Two scratches, one dent and one picture from a text."""
    items = [
        Item(renderer="procedural", defect=defect, seed=seed, source=f"{seed}.png")
        for seed, defect in enumerate(["scratch", "scratch", "dent"])
    ]
    photos = [Photo(item.source, part(item.seed), f"{item.seed:0>64}") for item in items]
    pictures = [make_item(item, Scripted(), photo, request_of(item)) for item, photo in zip(items, photos, strict=True)]
    text = Item(renderer="bedrock-zero-shot", defect="scratch", seed=9, prompt="a scratch")
    return [*pictures, make_item(text, Scripted("bedrock-zero-shot", False), None, request_of(text))]


@pytest.fixture
def folder(made, tmp_path) -> Path:
    """The assembled dataset with all of its files."""
    small = {name: content for each in made for name, content in each.files.items() if name.startswith("thumbnails/")}
    records = [each.record for each in made]
    files = described([*records, FAILED], small.__getitem__, classes={"dent": "Big dent"}, gate=GATE)
    for name, content in {**{k: v for each in made for k, v in each.files.items()}, **files}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_dataset_json_is_a_dataset_with_all_that_is_known(folder, made):
    dataset = load_dataset(folder)
    assert [record.classes for record in dataset.records] == [("scratch",), ("scratch",), ("Big dent",), ("scratch",)]
    assert all(record.synthetic and record.label == "anomaly" for record in dataset.records)
    assert [record.made_from for record in dataset.records] == [each.record.made_from for each in made]
    notes = dataset.notes["synthesis"]
    assert notes["outcomes"] == {"dent": {"made": 1}, "oil": {"failed": 1}, "scratch": {"made": 3}}
    assert [(each["id"], each["reason"]) for each in notes["not_in_it"]] == [("oil-1", "no place")]
    assert notes["images"].keys() == {each.record.id for each in made}
    assert GateResult.model_validate(dataset.notes["gate"]) == GATE
    assert classes_of(dataset) == {"dent": "Big dent"}
    for record in dataset.records:
        # Digests were stored without reading any picture.
        assert dataset.digest(record.path) == load_fresh(record.path)


def described(*args, **options) -> dict[str, bytes]:
    return {name: b"".join(pieces) for name, pieces in assemble(*args, **options)}


def load_fresh(path: Path) -> str:
    from defectory.datasets.records import file_digest

    return file_digest(path)


def test_the_manifest_says_the_same(folder):
    stored, told = load_dataset(folder), load_dataset(folder / "dataset.manifest")
    assert [(r.path, r.label, r.classes, r.synthetic) for r in told.records] == [
        (r.path, r.label, r.classes, r.synthetic) for r in stored.records
    ]
    for one, other in zip(told.records, stored.records, strict=True):
        assert np.array_equal(read_mask(one), read_mask(other))
    line = json.loads((folder / "dataset.manifest").read_text().splitlines()[0])
    assert line["anomaly-label-metadata"]["human-annotated"] == "no"


def test_references_in_a_bucket_and_the_date_are_as_told(made):
    files = described(
        [made[0].record],
        made[0].files.__getitem__,
        prefix="s3://bucket/user/set/",
        created=datetime(2026, 1, 2, tzinfo=UTC),
    )
    line = json.loads(files["dataset.manifest"])
    assert line["source-ref"] == f"s3://bucket/user/set/{made[0].record.image}"
    assert line["anomaly-mask-ref"] == f"s3://bucket/user/set/{made[0].record.mask}"
    assert line["anomaly-label-metadata"]["creation-date"].startswith("2026-01-02")


def test_coco_marks_the_same_pixels(folder, made):
    coco = json.loads((folder / "coco.json").read_text())
    # A picture whose defect nobody can place would be learnt as a good part.
    assert [image["file_name"] for image in coco["images"]] == [each.record.image for each in made[:3]]
    names = {each["id"]: each["name"] for each in coco["categories"]}
    assert [names[each["category_id"]] for each in coco["annotations"]] == ["scratch", "scratch", "Big dent"]
    for annotation, each in zip(coco["annotations"], made, strict=False):
        counts, (height, width) = annotation["segmentation"]["counts"], annotation["segmentation"]["size"]
        values = np.concatenate([np.full(count, number % 2) for number, count in enumerate(counts)])
        mask = values.reshape(width, height).T
        assert np.array_equal(mask * 255, load_image(each.files[each.record.mask])[..., 0])
        assert annotation["area"] == mask.sum()
        assert annotation["bbox"] == list(each.record.box)
    read = read_masks(coco)
    for each in made[:3]:
        truth = load_image(each.files[each.record.mask])[..., 0] > 0
        assert np.array_equal(np.maximum.reduce(list(read[each.record.image].values())), truth)


def test_yolo_has_the_same_boxes_and_nothing_synthetic_to_validate_on(folder, made):
    settings = yaml.safe_load((folder / "data.yaml").read_text())
    assert settings == {"path": ".", "train": "images", "val": None, "names": {0: "Big dent", 1: "scratch"}}
    assert {file.stem for file in (folder / "labels").iterdir()} == {each.record.id for each in made[:3]}
    record = made[2].record
    number, x, y, width, height = map(float, (folder / f"labels/{record.id}.txt").read_text().split())
    left, top, box_width, box_height = record.box
    assert number == 0
    assert (x * 96 - box_width / 2, y * 72 - box_height / 2) == pytest.approx((left, top), abs=0.01)
    assert (width * 96, height * 72) == pytest.approx((box_width, box_height), abs=0.01)


def test_a_kind_without_a_class_name_has_a_name_for_detectors_only(made):
    files = described([made[0].record], made[0].files.__getitem__, classes={"scratch": ""})
    assert json.loads(files["coco.json"])["categories"][0]["name"] == "defect"
    assert "classes" not in json.loads(files["dataset.json"])["images"][0]


def test_duplicates_get_their_record_anew_and_are_in_nothing(made):
    twin = made[0].record.model_copy(
        update={"id": "scratch-2", "item": made[0].record.item.model_copy(update={"seed": 5})}
    )
    files = described([made[0].record, twin], made[0].files.__getitem__)
    assert read_record(files["records/scratch-2.json"], "x").outcome == "duplicate"
    assert f"records/{made[0].record.id}.json" not in files
    assert len(json.loads(files["dataset.json"])["images"]) == 1
    assert "labels/scratch-2.txt" not in files


def test_dataset_json_comes_last(made):
    assert list(described([made[0].record], made[0].files.__getitem__))[-1] == "dataset.json"


def test_nothing_made_is_an_empty_dataset_that_says_why():
    files = described([FAILED], {}.__getitem__)
    assert json.loads(files["dataset.json"])["notes"]["synthesis"]["outcomes"] == {"oil": {"failed": 1}}
    assert "no place" in files["contact-sheet.html"].decode()


def test_a_file_that_is_no_record_is_named():
    with pytest.raises(InputError, match=r"oil\.json.*Delete it"):
        read_record(b'{"id": 3}', "oil.json")
