"""Exports: folders of their own that say the same as the dataset, to this library and to others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from defectory.errors import ImageError, InputError
from defectory.inspection.datasets import Dataset, ImageRecord, export, load_dataset, read_classes
from defectory.inspection.datasets.folders import read_folders
from defectory.inspection.datasets.masks import parse_colour
from defectory.inspection.images import encode_png


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
