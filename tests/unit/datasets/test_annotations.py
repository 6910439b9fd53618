"""Annotations: run lengths, boxes and objects say what the mask says."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from defectory.datasets.annotations import (
    AnnotatedImage,
    Object,
    box_of,
    coco_json,
    decode_runs,
    encode_runs,
    encode_runs_within,
    find_objects,
    yolo_rows,
    yolo_yaml,
)
from tests.support.coco_reader import read_masks

MASKS = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=st.sampled_from([0, 255])
)


@given(mask=MASKS)
def test_run_lengths_hold_the_whole_mask(mask):
    runs = encode_runs(mask)
    assert np.array_equal(decode_runs(runs, mask.shape[1], mask.shape[0]), mask)
    assert all(length > 0 for length in runs[1:])


@given(mask=MASKS, left=st.integers(0, 3), top=st.integers(0, 3), right=st.integers(0, 3), low=st.integers(0, 3))
def test_run_lengths_of_a_part_are_those_of_the_whole(mask, left, top, right, low):
    whole = np.pad(mask, ((top, low), (left, right)))

    assert encode_runs_within(mask, (left, top), whole.shape[::-1]) == encode_runs(whole)


def test_run_lengths_go_down_the_columns_as_coco_wants_them():
    assert encode_runs(np.array([[0, 1, 1], [0, 0, 1]])) == (2, 1, 1, 2)
    assert encode_runs(np.array([[1, 0], [1, 0]])) == (0, 2, 2)


@pytest.mark.parametrize(("runs", "size"), [((3,), (2, 2)), ((5, -1), (2, 2)), ((), (2, 2))])
def test_run_lengths_of_another_image_are_refused(runs, size):
    with pytest.raises(ValueError, match="2 x 2"):
        decode_runs(runs, *size)


@given(mask=MASKS)
def test_the_box_is_the_tightest(mask):
    box = box_of(mask)
    if box is None:
        assert not mask.any()
        return
    left, top, width, height = box
    inside = mask[top : top + height, left : left + width]
    assert (inside > 0).sum() == (mask > 0).sum()
    assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


@given(
    st.lists(
        arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=30), elements=st.integers(0, 2)),
        min_size=1,
        max_size=4,
    )
)
def test_other_readers_of_coco_read_the_masks_that_were_written(masks):
    names = ["b", "a"]
    images = [
        AnnotatedImage(f"{number}.png", *reversed(mask.shape), find_objects(mask, names))
        for number, mask in enumerate(masks)
    ]
    document = json.loads("".join(coco_json(images, names, "")))

    assert [each["id"] for each in document["annotations"]] == list(range(1, len(document["annotations"]) + 1))
    read = read_masks(document)
    for image, mask in zip(images, masks, strict=True):
        for number, name in enumerate(names, 1):
            assert np.array_equal(read[image.file].get(name, np.zeros_like(mask)), mask == number)


@given(mask=arrays(np.uint8, (40, 50), elements=st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2])))
def test_objects_hold_every_pixel_of_their_class_once(mask):
    objects = find_objects(mask, ["a", "b"])
    for number, name in enumerate(["a", "b"], 1):
        parts = [decode_runs(each.runs, 50, 40) > 0 for each in objects if each.name == name]
        assert np.array_equal(sum(parts, np.zeros((40, 50), int)), (mask == number).astype(int))
    for each in objects:
        assert box_of(decode_runs(each.runs, 50, 40)) == each.box
        assert each.area == (decode_runs(each.runs, 50, 40) > 0).sum()


def test_near_pieces_are_one_object_and_far_ones_are_not():
    mask = np.zeros((200, 200), np.uint8)
    mask[10:20, 10:20] = mask[10:20, 23:30] = mask[150:160, 150:160] = 1
    mask[10:20, 60:70] = 2
    assert [(each.name, each.box) for each in find_objects(mask, ["a", "b"])] == [
        ("a", (10, 10, 20, 10)),
        ("a", (150, 150, 10, 10)),
        ("b", (60, 10, 10, 10)),
    ]


def test_a_good_part_has_an_empty_label_file():
    assert yolo_rows(AnnotatedImage("a.png", 10, 10), ["a"]) == ""


def test_labels_are_shares_of_the_image():
    image = AnnotatedImage("a.png", 200, 100, (Object("b", (20, 10, 40, 30), (), 0),))
    assert yolo_rows(image, ["a", "b"]) == "1 0.200000 0.250000 0.200000 0.300000\n"


@pytest.mark.parametrize("name", ["plain", "yes", "a: b # c", 'quote " and \\', "Öl", "3"])
def test_any_class_name_survives_yaml(name):
    assert yaml.safe_load(yolo_yaml([name, "x"], "images/train", "images/val")) == {
        "path": ".",
        "train": "images/train",
        "val": "images/val",
        "names": {0: name, 1: "x"},
    }
