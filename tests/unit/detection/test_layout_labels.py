"""Layouts as labels: clipped boxes, for COCO and YOLO."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from defectory.datasets.annotations import AnnotatedImage, Object, yolo_rows
from defectory.detection.layouts.files import LabelFiles, write_layouts
from defectory.detection.layouts.labels import convert_boxes, yolo_files
from defectory.detection.layouts.presets import load_preset
from defectory.detection.layouts.records import parse_layout
from defectory.errors import InputError


def test_boxes_are_clipped_to_the_canvas():
    names, scene, code = pl.Series(["a", "b", "c"]), np.array([0, 0, 2]), np.array([1, 0, 2])
    boxes = np.array([(10.0, 20, 30, 40), (-10, 60, 40, 40), (95, 0, 20, 80)])

    chunk = convert_boxes(names, 7, scene, code, boxes, (100, 80))

    assert [image["file_name"] for image in json.loads(f"[{chunk.images.decode()}]")] == ["a", "b", "c"]
    assert [
        (item["id"], item["image_id"], item["category_id"], item["bbox"], item["area"])
        for item in json.loads(f"[{chunk.annotations.decode()}]")
    ] == [
        (7000, 7, 2, [10, 20, 30, 40], 1200),
        (7001, 7, 1, [0, 60, 30, 20], 600),
        (9000, 9, 3, [95, 0, 5, 80], 400),
    ]
    assert list(yolo_files(chunk)) == [
        ("a", "1 0.25 0.5 0.3 0.5\n0 0.15 0.875 0.3 0.25\n"),
        ("b", ""),
        ("c", "2 0.975 0.5 0.05 1.0\n"),
    ]


@pytest.mark.parametrize("name", ["ppe", "floor"])
def test_files_of_labels_say_what_the_layouts_say(tmp_path, name):
    preset = load_preset(name)
    labels = LabelFiles(tmp_path / "coco.json", tmp_path / "yolo")

    file = write_layouts(tmp_path / "layouts.jsonl", preset, 40, seed=4, labels=labels)

    coco = json.loads((tmp_path / "coco.json").read_text())
    assert [category["name"] for category in coco["categories"]] == list(preset.labels)
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        layout = parse_layout(line, "line")
        objects = []
        for item in layout.objects:
            if item.label in preset.labels:
                left, top = max(item.box[0], 0), max(item.box[1], 0)
                right, bottom = min(item.box[0] + item.box[2], 512), min(item.box[1] + item.box[3], 512)
                objects.append(Object(item.label, (left, top, right - left, bottom - top), (), 1))
        annotations = [item for item in coco["annotations"] if item["image_id"] == number]
        assert [preset.labels[item["category_id"] - 1] for item in annotations] == [item.name for item in objects]
        for annotation, item in zip(annotations, objects, strict=True):
            assert annotation["bbox"] == pytest.approx(list(item.box), abs=0.1)
        expected = yolo_rows(AnnotatedImage("", 512, 512, tuple(objects)), preset.labels)
        rows = (tmp_path / f"yolo/labels/{layout.image_id}.txt").read_text()
        for got, wanted in zip(rows.splitlines(), expected.splitlines(), strict=True):
            assert [*map(float, got.split())] == pytest.approx([*map(float, wanted.split())], abs=2e-4)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")

    with pytest.raises(InputError, match=r"thesis\.txt"):
        write_layouts(tmp_path / "l.jsonl", load_preset("ppe"), 3, labels=LabelFiles(yolo=tmp_path))
