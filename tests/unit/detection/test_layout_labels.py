"""Layouts as labels: clipped boxes, for COCO and YOLO."""

from __future__ import annotations

import json

import pytest

from defectory.datasets.annotations import AnnotatedImage, Object, yolo_rows
from defectory.detection.layouts.files import write_layout_labels, write_layouts
from defectory.detection.layouts.presets import load_preset
from defectory.detection.layouts.records import parse_layout
from defectory.errors import InputError

LAYOUT = {
    "image_id": "a",
    "size": [100, 80],
    "objects": [
        {"label": "cone", "box": [10, 20, 30, 40]},
        {"label": "sign", "box": [0, 0, 5, 5]},
        {"label": "tote", "box": [-10, 60, 40, 40]},
    ],
}


@pytest.fixture
def file(tmp_path):
    lines = [LAYOUT, {**LAYOUT, "image_id": "b", "objects": []}]
    (tmp_path / "layouts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path / "layouts.jsonl"


def test_boxes_are_clipped_to_the_canvas_and_what_is_no_class_is_left_out(file, tmp_path):
    write_layout_labels(file, ["tote", "cone"], coco=tmp_path / "coco.json", yolo=tmp_path / "yolo")

    coco = json.loads((tmp_path / "coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == ["a", "b"]
    assert [(item["image_id"], item["category_id"], item["bbox"], item["area"]) for item in coco["annotations"]] == [
        (1, 2, [10, 20, 30, 40], 1200),
        (1, 1, [0, 60, 30, 20], 600),
    ]
    assert [category["name"] for category in coco["categories"]] == ["tote", "cone"]
    assert (tmp_path / "yolo/labels/a.txt").read_text() == "1 0.25 0.5 0.3 0.5\n0 0.15 0.875 0.3 0.25\n"
    assert (tmp_path / "yolo/labels/b.txt").read_text() == ""


def test_many_are_converted_as_one_by_one(tmp_path):
    preset = load_preset("housekeeping")
    file = write_layouts(tmp_path / "layouts.jsonl", preset, 60, seed=4)
    write_layout_labels(file, preset.labels, yolo=tmp_path / "yolo")

    for line in file.read_bytes().splitlines():
        layout = parse_layout(line, "line")
        objects = []
        for item in layout.objects:
            left, top = max(item.box[0], 0), max(item.box[1], 0)
            right = min(item.box[0] + item.box[2], 512)
            bottom = min(item.box[1] + item.box[3], 512)
            objects.append(Object(item.label, (left, top, right - left, bottom - top), (), 1))
        expected = yolo_rows(AnnotatedImage("", 512, 512, tuple(objects)), preset.labels)
        rows = (tmp_path / f"yolo/labels/{layout.image_id}.txt").read_text()
        numbers = [list(map(float, row.split())) for row in rows.splitlines()]
        wanted = [list(map(float, row.split())) for row in expected.splitlines()]
        assert len(numbers) == len(wanted)
        for got, want in zip(numbers, wanted, strict=True):
            assert got == pytest.approx(want, abs=2e-4)


def test_a_line_that_is_no_layout_is_named(file, tmp_path):
    with file.open("a") as stream:
        stream.write("{}\n")

    with pytest.raises(InputError, match=r"layouts\.jsonl:3"):
        write_layout_labels(file, ["cone"], coco=tmp_path / "coco.json")

    assert not (tmp_path / "coco.json").exists()
