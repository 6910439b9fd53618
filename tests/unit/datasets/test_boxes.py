"""YOLO folders and COCO files as annotated images, and every label that is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from defectory.datasets import boxes
from defectory.datasets.annotations import AnnotatedImage, Object, coco_json, yolo_rows, yolo_yaml
from defectory.datasets.boxes import BoxProblem, open_coco, open_yolo
from defectory.errors import InputError

CLASSES = ("cone", "pallet")


def picture(path: Path, width: int = 100, height: int = 50) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height)).save(path)
    return path


def yolo(folder: Path, labels: str, names: str = "names: [cone, pallet]\n") -> Path:
    picture(folder / "images/train/a.png")
    (folder / "labels/train").mkdir(parents=True)
    (folder / "labels/train/a.txt").write_text(labels)
    (folder / "data.yaml").write_text(names)
    return folder


def coco(folder: Path, annotations: list[dict[str, object]], **changes: object) -> Path:
    picture(folder / "a.png")
    document = {
        "info": {"description": "x"},
        "licenses": [],
        # Some writers put them before the images and the categories.
        "annotations": annotations,
        "images": [{"id": 7, "file_name": "a.png", "width": 100, "height": 50}],
        "categories": [{"id": 3, "name": "cone"}, {"id": 9, "name": "pallet"}],
    }
    file = folder / "coco.json"
    file.write_text(json.dumps(document | changes))
    return file


def annotation(box: list[float], **changes: object) -> dict[str, object]:
    return {"id": 1, "image_id": 7, "category_id": 9, "bbox": box, "area": 31, "iscrowd": 0} | changes


@pytest.mark.parametrize("names", ["names: [cone, pallet]\n", "names: {0: cone, 1: pallet}\n"], ids=["list", "numbers"])
def test_yolo_boxes_are_pixels(tmp_path: Path, names: str) -> None:
    dataset = open_yolo(yolo(tmp_path, "1 0.5 0.5 0.2 0.4\n\n0 0.05 0.1 0.1 0.2\n", names))

    assert dataset.classes == CLASSES
    [image] = dataset
    assert (image.file, image.width, image.height) == ("images/train/a.png", 100, 50)
    assert image.objects == (Object("pallet", (40, 15, 20, 20), (), 400), Object("cone", (0, 0, 10, 10), (), 100))


def test_an_image_without_labels_has_no_object_and_classes_may_stand_in_a_text_file(tmp_path: Path) -> None:
    picture(tmp_path / "images/b.jpg")
    (tmp_path / "classes.txt").write_text("cone\n")

    [image] = open_yolo(tmp_path)

    assert image.objects == ()


def test_a_segment_is_the_box_around_it(tmp_path: Path) -> None:
    [image] = open_yolo(yolo(tmp_path, "0 0.1 0.2 0.5 0.2 0.3 0.6\n"))

    assert [item.box for item in image.objects] == [(10, 10, 40, 20)]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("0 0.99 0.5 0.2 0.2", "outside"),
        ("0 0.5 -0.5 0.2 0.2", "outside"),
        ("0 0.5 0.5 -0.2 0.2", "inverted"),
        ("0 0.5 0.5 0 0.2", "empty"),
        ("0 0.5 0.5 0.001 0.2", "empty"),
        ("2 0.5 0.5 0.2 0.2", "unknown class"),
        ("-1 0.5 0.5 0.2 0.2", "unknown class"),
        ("0 0.5 nan 0.2 0.2", "not a number"),
        ("0 0.5 0.5 0.2", "malformed"),
        ("cone 0.5 0.5 0.2 0.2", "malformed"),
        ("1 0.3 0.3 0.1 0.1", "duplicate"),
    ],
)
def test_each_label_that_is_none_is_told_of_and_the_others_stay(tmp_path: Path, line: str, kind: str) -> None:
    problems: list[BoxProblem] = []
    folder = yolo(tmp_path, f"1 0.3 0.3 0.1 0.1\n{line}\n")

    [image] = open_yolo(folder, on_problem=problems.append)

    assert len(image.objects) == 1
    assert [(problem.kind, problem.place) for problem in problems] == [(kind, f"{folder}/labels/train/a.txt, line 2")]
    with pytest.raises(InputError, match=r"line 2: must be .*--skip-bad"):
        list(open_yolo(folder))


def test_what_rounding_left_beyond_the_edge_is_cut_off(tmp_path: Path) -> None:
    [image] = open_yolo(yolo(tmp_path, "0 0.955 0.5 0.1 1.02\n"))

    assert [item.box for item in image.objects] == [(90, 0, 10, 50)]


def test_labels_without_an_image_and_images_that_cannot_be_read_are_told_of(tmp_path: Path) -> None:
    folder = yolo(tmp_path, "")
    (folder / "labels/train/lost.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (folder / "images/train/broken.png").write_bytes(b"none")
    problems: list[BoxProblem] = []

    images = list(open_yolo(folder, on_problem=problems.append))

    assert [image.file for image in images] == ["images/train/a.png"]
    assert [problem.kind for problem in problems] == ["missing image", "missing image"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("names: [cone, cone]\n", "each named once"),
        ("names: {0: cone, 2: pallet}\n", "without a gap"),
        ("train: x\n", "names"),
        ("names: [", "YAML"),
    ],
    ids=["twice", "gap", "none", "broken"],
)
def test_classes_that_are_none_are_refused(tmp_path: Path, names: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_yolo(yolo(tmp_path, "", names))


def test_coco_boxes_whatever_the_order_of_its_parts(tmp_path: Path) -> None:
    file = coco(tmp_path, [annotation([40.2, 14.9, 20, 20.2]), annotation([0, 0, 5, 5], iscrowd=1)])

    dataset = open_coco(file)

    assert dataset.classes == CLASSES
    assert list(dataset) == [AnnotatedImage("a.png", 100, 50, (Object("pallet", (40, 15, 20, 20), (), 31),))]
    assert list(dataset) == list(dataset)


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_a_coco_file_is_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    file = coco(tmp_path, [annotation([number, 2.5, 10, 10], id=number) for number in range(30)])
    whole = list(open_coco(file))
    monkeypatch.setattr(boxes, "_CHUNK", chunk)

    assert list(open_coco(file)) == whole
    assert len(whole[0].objects) == 30


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"bbox": [90, 10, 20, 20]}, "outside"),
        ({"bbox": [30, 10, -20, 20]}, "inverted"),
        ({"bbox": [30, 10, 0, 20]}, "empty"),
        ({"bbox": [30, 10, 20]}, "malformed"),
        ({"bbox": None}, "malformed"),
        ({"category_id": 4}, "unknown class"),
        ({"image_id": 8}, "missing image"),
        ({"bbox": [1, 1, 10, 10]}, "duplicate"),
    ],
    ids=["outside", "inverted", "empty", "three-numbers", "no-box", "class", "image", "twice"],
)
def test_each_coco_annotation_that_is_none_is_told_of(tmp_path: Path, changes: dict[str, object], kind: str) -> None:
    problems: list[BoxProblem] = []
    file = coco(tmp_path, [annotation([1, 1, 10, 10]), annotation([30, 10, 20, 20], id=2) | changes])

    images = list(open_coco(file, on_problem=problems.append))

    assert [len(image.objects) for image in images] == [1]
    assert [problem.kind for problem in problems] == [kind]
    with pytest.raises(InputError, match="--skip-bad"):
        list(open_coco(file))


@pytest.mark.parametrize("name", ["gone.png", "../a.png", "/etc/passwd"])
def test_a_coco_image_that_is_missing_or_elsewhere_is_told_of(tmp_path: Path, name: str) -> None:
    problems: list[BoxProblem] = []
    images = [{"id": 7, "file_name": name, "width": 100, "height": 50}]
    picture(tmp_path / "a.png")

    found = list(open_coco(coco(tmp_path / "set", [], images=images), on_problem=problems.append))

    assert (found, [problem.kind for problem in problems]) == ([], ["missing image"])


@pytest.mark.parametrize("text", ["", "[]", '{"images": [', '{"images": [1]}', '{"images": []} '], ids=range(5))
def test_what_is_no_coco_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)

    with pytest.raises(InputError, match="a COCO file"):
        open_coco(tmp_path / "x.json")


def test_what_is_exported_comes_back(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.png")
    image = AnnotatedImage("images/a.png", 100, 50, (Object("pallet", (3, 7, 21, 13), (), 273),))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text(yolo_rows(image, CLASSES))
    (tmp_path / "data.yaml").write_text(yolo_yaml(CLASSES, "images"))
    (tmp_path / "coco.json").write_text("".join(coco_json([image], CLASSES, "x")))

    assert list(open_yolo(tmp_path)) == list(open_coco(tmp_path / "coco.json")) == [image]
