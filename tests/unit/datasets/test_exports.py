"""Exports: folders of their own that say the same as the dataset, to this library and to others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from defectory.datasets import (
    Dataset,
    ImageRecord,
    export,
    load_dataset,
    make_detectable,
    read_classes,
    read_mask,
)
from defectory.datasets.annotations import decode_runs
from defectory.datasets.folders import read_folders
from defectory.datasets.masks import parse_colour
from defectory.errors import ImageError, InputError
from defectory.vision.images import encode_png
from tests.support.coco_reader import read_masks


@pytest.fixture
def dataset(parts, photo) -> Dataset:
    """Good, scratched and dented parts; one with two classes, one synthetic, one in a group, one without label."""
    loaded = load_dataset(parts)
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:8], pixels[30:40] = parse_colour("#000080"), parse_colour("#23A436")
    (parts / "two.png").write_bytes(encode_png(pixels))
    colours = {"dent": "#000080", "scratch": "#23A436"}
    extra = [
        ImageRecord(photo(parts / "more/0.png", 90), "anomaly", ("dent", "scratch"), parts / "two.png", colours),
        ImageRecord(photo(parts / "more/synthetic.png", 91), "anomaly", ("dent",), synthetic=True),
        ImageRecord(photo(parts / "more/grouped.png", 92), "normal", group="lot, 7"),
        ImageRecord(photo(parts / "more/unknown.png", 93)),
    ]
    return loaded.select([*loaded.records, *extra])


def statements(dataset: Dataset, *names: str) -> list[str]:
    """What is said of each image, and which class each pixel of its mask shows."""
    said = []
    for record in dataset.records:
        classes = read_classes(record, dataset.classes)
        statement = {name: value for name, value in dataset.statement(record).items() if name in names}
        said.append(json.dumps([statement, None if classes is None else classes.tolist()], sort_keys=True))
    return sorted(said)


@pytest.fixture
def masked(dataset) -> Dataset:
    """Of these the labelled ones, without defects that lack a mask."""
    return make_detectable(dataset, validation=0, skip=True).dataset


@pytest.mark.parametrize("form", ["coco", "yolo"])
def test_dataset_json_beside_an_export_for_detectors_says_all(masked, tmp_path, form):
    export(masked, form, tmp_path / "out")
    names = ("image", "label", "classes", "group", "synthetic")
    assert statements(load_dataset(tmp_path / "out"), *names) == statements(masked, *names)


@pytest.mark.parametrize("form", ["manifest", "folders", "csv"])
def test_dataset_json_beside_an_export_says_all(dataset, tmp_path, form):
    export(dataset, form, tmp_path / "out")
    names = ("image", "label", "classes", "group", "synthetic")
    assert statements(load_dataset(tmp_path / "out"), *names) == statements(dataset, *names)


def test_a_manifest_says_all(dataset, tmp_path):
    file = export(dataset, "manifest", tmp_path / "out")
    names = ("image", "label", "classes", "group", "synthetic")
    assert statements(load_dataset(file), *names) == statements(dataset, *names)


def test_a_table_says_all_but_which_of_two_classes_a_pixel_shows(dataset, tmp_path):
    one_class = dataset.select([record for record in dataset.records if len(record.classes) < 2])
    file = export(one_class, "csv", tmp_path / "out")
    names = ("image", "label", "classes", "group", "synthetic")
    assert statements(load_dataset(file), *names) == statements(one_class, *names)


def test_folders_say_label_and_class_and_hold_the_masks(dataset, tmp_path):
    out = export(dataset, "folders", tmp_path / "out")
    read = Dataset(read_folders(out), out)
    told = {read.name(record.path): (record.label, record.classes, record.mask is not None) for record in read.records}
    assert told["normal/grouped.png"] == ("normal", (), False)
    assert told["scratch/10.png"] == ("anomaly", ("scratch",), True)
    assert told["dent/16.jpg"] == ("anomaly", ("dent",), False)
    assert told["anomaly/0.png"] == ("anomaly", (), True)
    assert told["unlabelled/unknown.png"] == (None, (), False)
    assert len(told) == len(dataset.records)


def test_lines_are_as_lookout_for_vision_and_ground_truth_want_them(dataset, tmp_path):
    # Given an export that is to be uploaded
    file = export(dataset, "manifest", tmp_path / "out", prefix="s3://bucket/my parts/")
    # When its lines are read as JSON
    lines = {Path(each["source-ref"]).name: each for each in map(json.loads, file.read_text("utf-8").splitlines())}
    # Then labels, masks and colours are where their readers look for them
    scratched = lines["10.png"]
    assert scratched["source-ref"] == "s3://bucket/my parts/images/10.png"
    assert scratched["anomaly-label"] == 1
    assert scratched["anomaly-label-metadata"]["class-name"] == "anomaly"
    assert scratched["anomaly-label-metadata"]["type"] == "groundtruth/image-classification"
    assert scratched["anomaly-label-metadata"]["human-annotated"] == "yes"
    assert scratched["anomaly-mask-ref"] == "s3://bucket/my parts/masks/10.png"
    colours = scratched["anomaly-mask-ref-metadata"]["internal-color-map"]
    assert [colours[key]["class-name"] for key in ("0", "1")] == ["BACKGROUND", "scratch"]
    assert lines["1.png"]["anomaly-label"] == 0
    assert "anomaly-mask-ref" not in lines["1.png"]
    assert "anomaly-label" not in lines["unknown.png"]
    # And a class has one colour in all of them, bright enough for readers without the map
    named = [
        {
            entry["class-name"]: entry["hex-color"]
            for entry in line["anomaly-mask-ref-metadata"]["internal-color-map"].values()
        }
        for line in lines.values()
        if "anomaly-mask-ref" in line
    ]
    assert len({each["scratch"] for each in named}) == 1
    assert all(
        max(parse_colour(colour)) > 127 for each in named for name, colour in each.items() if name != "BACKGROUND"
    )


def test_images_of_one_name_get_names_of_their_own(tmp_path, photo, mask):
    records = tuple(
        ImageRecord(
            photo(tmp_path / f"{n}/same{suffix}", n), "anomaly", ("dent",), mask(tmp_path / f"{n}/m.png", level=200 + n)
        )
        for n, suffix in enumerate([".png", ".png", ".jpg"])
    )
    export(Dataset(records, tmp_path), "csv", tmp_path / "out")
    read = load_dataset(tmp_path / "out/dataset.csv")
    assert sorted(r.path.name for r in read.records) == ["same-1.png", "same-2.jpg", "same.png"]
    assert len({r.mask for r in read.records}) == 3


def test_a_mask_of_an_unnamed_defect_gets_a_name(tmp_path, photo, mask):
    record = ImageRecord(photo(tmp_path / "a.png"), "anomaly", (), mask(tmp_path / "m.png"))
    good = ImageRecord(photo(tmp_path / "b.png", 1), "normal")
    (read, _) = load_dataset(export(Dataset((record, good), tmp_path), "manifest", tmp_path / "out")).records
    assert read.classes == ("defect",)
    assert np.array_equal(read_classes(read) > 0, read_classes(record) > 0)


@pytest.mark.parametrize("name", ["normal", "masks", "../up", "a/b", ".hidden", "Ground Truth", "ok", ""])
def test_a_class_whose_name_is_no_safe_folder_goes_to_anomaly(tmp_path, photo, name):
    records = (
        ImageRecord(photo(tmp_path / "a.png"), "anomaly", (name,)),
        ImageRecord(photo(tmp_path / "b.png"), "normal"),
    )
    out = export(Dataset(records, tmp_path), "folders", tmp_path / "out")
    assert (out / "anomaly/a.png").is_file()


def test_nothing_is_overwritten(dataset, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").touch()
    with pytest.raises(InputError, match="a new or empty folder"):
        export(dataset, "csv", tmp_path / "out")
    with pytest.raises(InputError, match="a new or empty folder"):
        export(dataset, "csv", tmp_path / "out/mine.txt")


def test_a_missing_image_is_named(dataset, tmp_path):
    gone = replace(dataset.records[0], path=tmp_path / "gone.png")
    with pytest.raises(ImageError, match=r"gone\.png"):
        export(dataset.select([gone]), "csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_broken_mask_is_named_before_anything_is_written(dataset, parts, tmp_path):
    (parts / "masks/scratch/11.png").write_bytes(b"broken")
    with pytest.raises(ImageError, match=r"11\.png"):
        export(dataset, "csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_coco_marks_the_pixels_that_the_masks_mark(masked, tmp_path):
    coco = json.loads(export(masked, "coco", tmp_path / "out").read_text("utf-8"))
    names = {each["id"]: each["name"] for each in coco["categories"]}
    assert set(names.values()) == {"dent", "scratch"}
    assert len(coco["images"]) == len(masked.records)
    for image, record in zip(coco["images"], masked.records, strict=True):
        assert (tmp_path / "out" / image["file_name"]).read_bytes() == record.path.read_bytes()
        own = [each for each in coco["annotations"] if each["image_id"] == image["id"]]
        assert {names[each["category_id"]] for each in own} == set(record.classes)
        marked, truth = np.zeros((64, 64), int), read_mask(record)
        for each in own:
            marked += decode_runs(each["segmentation"]["counts"], image["width"], image["height"]) // 255
        assert np.array_equal(marked, np.zeros((64, 64)) if truth is None else truth // 255)


def test_other_readers_of_coco_find_each_image_s_own_objects(parts, photo, tmp_path):
    """Images with 2, 1 and 3 objects of two classes."""
    records = []
    for number, corners in enumerate([(0, 40), (20,), (0, 24, 48)]):
        pixels = np.zeros((64, 64, 3), np.uint8)
        for place, corner in enumerate(corners):
            pixels[corner : corner + 8, 10 * place : 10 * place + 6] = parse_colour(("#000080", "#23A436")[place % 2])
        mask = parts / f"objects-{number}.png"
        mask.write_bytes(encode_png(pixels))
        colours = {"dent": "#000080", "scratch": "#23A436"}
        classes = ("dent", "scratch") if len(corners) > 1 else ("dent",)
        records.append(
            ImageRecord(photo(parts / f"objects/{number}.png", 70 + number), "anomaly", classes, mask, colours)
        )
    dataset = load_dataset(parts).select(records)

    coco = json.loads(export(dataset, "coco", tmp_path / "out").read_text("utf-8"))

    assert [annotation["id"] for annotation in coco["annotations"]] == [1, 2, 3, 4, 5, 6]
    read = read_masks(coco)
    for image, record in zip(coco["images"], records, strict=True):
        truth = read_classes(record, dataset.classes)
        assert set(read[image["file_name"]]) == set(record.classes)
        for name, mask in read[image["file_name"]].items():
            assert np.array_equal(mask, truth == dataset.classes.index(name) + 1)


def test_yolo_has_a_label_file_for_each_image_and_validates_on_what_it_is_told(masked, tmp_path):
    chosen = {record.path for record in (*masked.normal[:2], masked.anomalous[0])}
    file = export(masked, "yolo", tmp_path / "out", validation=chosen)
    assert "val: images/val" in file.read_text()
    images = {path.relative_to(tmp_path / "out/images") for path in (tmp_path / "out/images").rglob("*.*")}
    labels = {path.relative_to(tmp_path / "out/labels") for path in (tmp_path / "out/labels").rglob("*.txt")}
    assert {path.with_suffix("") for path in images} == {path.with_suffix("") for path in labels}
    assert {path.name for path in images if path.parts[0] == "val"} == {path.name for path in chosen}
    assert (tmp_path / "out/labels/train/0.txt").read_text().count("\n") == 2
    assert (tmp_path / "out/labels/val" / masked.normal[0].path.with_suffix(".txt").name).read_text() == ""


def test_a_mask_of_another_size_is_stretched_over_its_image(tmp_path, photo, mask):
    record = ImageRecord(photo(tmp_path / "a.png", size=128), "anomaly", ("dent",), mask(tmp_path / "m.png", size=64))
    coco = json.loads(export(Dataset((record,), tmp_path), "coco", tmp_path / "out").read_text())
    assert coco["annotations"][0]["bbox"] == [0, 0, 32, 16]


def test_a_mask_of_an_unnamed_defect_has_a_category(tmp_path, photo, mask):
    record = ImageRecord(photo(tmp_path / "a.png"), "anomaly", (), mask(tmp_path / "m.png"))
    coco = json.loads(export(Dataset((record,), tmp_path), "coco", tmp_path / "out").read_text())
    assert [each["name"] for each in coco["categories"]] == ["defect"]
    assert coco["annotations"][0]["category_id"] == 1


@pytest.mark.parametrize("form", ["coco", "yolo"])
@pytest.mark.parametrize("told", [{"label": "anomaly"}, {"label": None}, {"label": "anomaly", "mask": "empty"}])
def test_what_a_detector_would_learn_as_a_good_part_is_refused(tmp_path, photo, mask, form, told):
    empty = mask(tmp_path / "m.png", level=0) if told.get("mask") else None
    records = (ImageRecord(photo(tmp_path / "a.png"), told["label"], (), empty),)
    with pytest.raises(InputError, match=r"a\.png.*learn them as good parts"):
        export(Dataset(records, tmp_path), form, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    detectable = make_detectable(Dataset(records, tmp_path), validation=0, skip=True)
    assert (detectable.dataset.records, [name for name, _ in detectable.left_out]) == ((), ["a.png"])


def test_synthetic_images_made_from_what_is_validated_on_are_left_out(parts, photo):
    real = load_dataset(parts)
    real = real.select([record for record in real.records if record.label == "normal" or record.mask])
    made = [
        ImageRecord(
            photo(parts / f"made/{number}.png", 100 + number),
            "anomaly",
            ("scratch",),
            parts / "masks/scratch/10.png",
            synthetic=True,
            made_from=(real.digest(record.path),),
        )
        for number, record in enumerate(real.normal)
    ]
    detectable = make_detectable(real.select([*real.records, *made]), validation=0.3)
    digests = {real.digest(path) for path in detectable.validation}
    assert digests
    assert all(digests.isdisjoint(record.made_from) for record in detectable.dataset.records)
    assert len(detectable.left_out) == len([r for r in real.normal if r.path in detectable.validation])
