"""Photo folders: which mask belongs to which photo, and what is no folder of photos."""

from __future__ import annotations

import pytest

from defectory.datasets.photo_folders import find_images, labelled_photos, match_masks
from defectory.errors import InputError


def test_masks_are_matched_in_the_folder_of_their_class(tmp_path):
    photos, masks = tmp_path / "defects", tmp_path / "masks"
    for name in ("blot/1.jpg", "dent/1.jpg", "dent/2.jpg", "dent/3.jpg"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).touch()
    for name in ("blot/1.png", "dent/1.png", "dent/2_mask.png", "4.png"):
        (masks / name).parent.mkdir(parents=True, exist_ok=True)
        (masks / name).touch()

    listed, classes = labelled_photos(photos)
    matched = match_masks(masks, listed)

    assert {f"{path.parent.name}/{path.name}": str(mask.relative_to(masks)) for path, mask in matched.items()} == {
        "blot/1.jpg": "blot/1.png",
        "dent/1.jpg": "dent/1.png",
        "dent/2.jpg": "dent/2_mask.png",
    }
    assert {names[0] for names in classes.values()} == {"blot", "dent"}


def test_a_mask_in_the_folder_of_the_class_comes_before_one_above(tmp_path):
    for name in ("photos/blot/1.jpg", "masks/1.png", "masks/blot/1_mask.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    photos, _ = labelled_photos(tmp_path / "photos")
    assert match_masks(tmp_path / "masks", photos) == {photos[0]: tmp_path / "masks/blot/1_mask.png"}


def test_photos_that_lie_in_no_folder_of_a_class_have_none(tmp_path):
    (tmp_path / "2.png").touch()
    (tmp_path / "1.PNG").touch()
    (tmp_path / "notes.txt").touch()
    assert labelled_photos(tmp_path) == ([tmp_path / "1.PNG", tmp_path / "2.png"], {})
    assert labelled_photos(None) == ([], {})


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="--good: must be an existing folder"):
        find_images(tmp_path / "gone", "--good")
    with pytest.raises(InputError, match="defects: must be a folder of photos"):
        labelled_photos(tmp_path)
    with pytest.raises(InputError, match="masks: must be a folder of masks named as the photos"):
        match_masks(tmp_path, [tmp_path / "1.png"])
