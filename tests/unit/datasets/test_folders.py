"""Folders: what the names of direct subfolders say, and which files are masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defectory.datasets import load_dataset
from defectory.errors import InputError


def told(root: Path, **options) -> dict[str, tuple]:
    dataset = load_dataset(root, **options)
    return {
        dataset.name(r.path): (r.label, r.classes, dataset.name(r.mask) if r.mask else None) for r in dataset.records
    }


def test_normal_and_anomaly_label_what_lies_in_them_however_deep(tmp_path, photo):
    photo(tmp_path / "normal/a.png")
    photo(tmp_path / "anomaly/b.JPG", 1)
    photo(tmp_path / "anomaly/scratch/normal/c.png", 2)
    (tmp_path / "anomaly/notes.txt").write_text("not an image")
    photo(tmp_path / "anomaly/.hidden/d.png", 3)
    assert told(tmp_path) == {
        "normal/a.png": ("normal", (), None),
        "anomaly/b.JPG": ("anomaly", (), None),
        "anomaly/scratch/normal/c.png": ("anomaly", (), None),
    }


def test_one_folder_a_class_with_masks_apart(parts):
    found = told(parts)
    assert found["good/3.png"] == ("normal", (), None)
    assert found["scratch/10.png"] == ("anomaly", ("scratch",), "masks/scratch/10.png")
    assert found["dent/16.jpg"] == ("anomaly", ("dent",), None)
    assert len(found) == 20


@pytest.mark.parametrize(
    ("folders", "normal"),
    [
        (["MT_Free", "MT_Crack", "MT_Fray"], "MT_Free"),
        (["defect_free", "defective"], "defect_free"),
        (["Defect-Free", "broken"], "Defect-Free"),
        (["OK", "NG"], "OK"),
        (["cam1 good", "cam1 bad"], "cam1 good"),
    ],
)
def test_good_parts_are_known_by_the_usual_names(tmp_path, photo, folders, normal):
    for number, folder in enumerate(folders):
        photo(tmp_path / folder / "1.png", number)
    assert [r.path.parent.name for r in load_dataset(tmp_path).normal] == [normal]


def test_what_all_folder_names_begin_with_is_no_part_of_the_class(tmp_path, photo):
    for number, folder in enumerate(["MT_Free", "MT_Crack"]):
        photo(tmp_path / folder / "1.jpg", number)
    assert load_dataset(tmp_path).classes == ("Crack",)


def test_a_grey_png_beside_a_photo_of_the_same_name_is_its_mask(tmp_path, photo, mask):
    for number, folder in enumerate(["MT_Free", "MT_Crack"]):
        photo(tmp_path / folder / "Imgs/exp1.jpg", number)
        mask(tmp_path / folder / "Imgs/exp1.png")
    photo(tmp_path / "MT_Crack/Imgs/exp1_other.png", 7)
    assert told(tmp_path) == {
        "MT_Free/Imgs/exp1.jpg": ("normal", (), None),
        "MT_Crack/Imgs/exp1.jpg": ("anomaly", ("Crack",), "MT_Crack/Imgs/exp1.png"),
        "MT_Crack/Imgs/exp1_other.png": ("anomaly", ("Crack",), None),
    }


def test_a_coloured_png_beside_a_photo_of_the_same_name_is_another_photo(tmp_path, photo):
    photo(tmp_path / "normal/1.jpg")
    photo(tmp_path / "normal/1.png", 1)
    assert len(load_dataset(tmp_path).records) == 2


def test_masks_are_found_with_their_suffix_and_without_the_class_folder(tmp_path, photo, mask):
    photo(tmp_path / "good/1.png")
    photo(tmp_path / "crack/a.png", 1)
    photo(tmp_path / "crack/b.png", 2)
    mask(tmp_path / "ground_truth/crack/a_mask.png")
    mask(tmp_path / "ground_truth/b.png")
    assert told(tmp_path)["crack/a.png"][2] == "ground_truth/crack/a_mask.png"
    assert told(tmp_path)["crack/b.png"][2] == "ground_truth/b.png"


def test_the_folder_of_good_parts_can_be_named(tmp_path, photo):
    photo(tmp_path / "serie A/1.png")
    photo(tmp_path / "serie B/1.png", 1)
    with pytest.raises(InputError, match="--normal"):
        load_dataset(tmp_path)
    assert told(tmp_path, normal="serie A") == {
        "serie A/1.png": ("normal", (), None),
        "serie B/1.png": ("anomaly", ("B",), None),
    }


def test_unlabelled_images_stay_so(tmp_path, photo):
    photo(tmp_path / "normal/1.png")
    photo(tmp_path / "unlabelled/2.png", 1)
    assert [r.path.name for r in load_dataset(tmp_path).unlabelled] == ["2.png"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: (root / "good").mkdir(), "a folder with images"),
        (lambda root: None, "no manifest, no table, no folder"),
        (lambda root: root.rmdir(), "an existing folder"),
    ],
)
def test_a_folder_without_images_is_refused(tmp_path, make, message):
    root = tmp_path / "parts"
    root.mkdir()
    make(root)
    with pytest.raises(InputError, match=message):
        load_dataset(root)


def test_a_name_that_is_no_folder_is_refused_with_those_there_are(parts):
    with pytest.raises(InputError, match="dent, good, scratch"):
        load_dataset(parts, normal="gut")


def test_names_in_any_script_are_kept(tmp_path, photo):
    photo(tmp_path / "normal/良品 +100%.png")
    photo(tmp_path / "傷/é.png", 1)
    assert set(told(tmp_path)) == {"normal/良品 +100%.png", "傷/é.png"}
    assert load_dataset(tmp_path).classes == ("傷",)


def test_a_damaged_png_beside_a_photo_is_kept_as_its_mask_for_the_check_to_name(tmp_path, photo):
    photo(tmp_path / "good/1.jpg")
    photo(tmp_path / "crack/1.jpg", 1)
    (tmp_path / "crack/1.png").write_bytes(b"\x89PNG broken")
    assert load_dataset(tmp_path).anomalous[0].mask == tmp_path / "crack/1.png"


def test_a_palette_png_is_a_mask_too(tmp_path, photo):
    photo(tmp_path / "good/1.jpg")
    photo(tmp_path / "crack/1.jpg", 1)
    Image.fromarray(np.zeros((64, 64), np.uint8)).convert("P").save(tmp_path / "crack/1.png")
    assert load_dataset(tmp_path).anomalous[0].mask is not None
