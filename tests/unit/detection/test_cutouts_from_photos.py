"""Cut-outs from the user's own photos: found or masked, soft at their edge, free of what was around."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from defectory.detection.cutouts.library import CutOutLibrary
from defectory.detection.cutouts.photos import PhotoOptions, cut_out, find_photos, write_cutouts
from defectory.errors import ImageError, InputError

ORANGE, BLUE = (220, 90, 20), (40, 70, 160)
OPTIONS = PhotoOptions("safety_cone", 0.75)


def photo_of(shape: tuple[int, int] = (240, 200), centre: tuple[int, int] = (100, 130)) -> np.ndarray:
    """An orange ellipse of 80 x 120 before a blue wall with some grain."""
    rng = np.random.default_rng(0)
    image = np.full((*shape, 3), BLUE, np.uint8)
    cv2.ellipse(image, centre, (40, 60), 0, 0, 360, ORANGE, -1, cv2.LINE_AA)
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def photos(tmp_path):
    def write(*images: np.ndarray, folder: str = "photos"):
        (tmp_path / folder).mkdir(exist_ok=True)
        for number, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / folder / f"{number}.png")
        return tmp_path / folder

    return write


def test_the_object_is_told_from_its_surroundings_and_cut_tight():
    picture = cut_out(photo_of())

    height, width = picture.shape[:2]
    assert 112 <= height <= 122 and 73 <= width <= 82
    alpha = picture[..., 3]
    assert alpha[height // 2, width // 2] == 255 and alpha[0, 0] == 0
    assert all(edge.any() for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]))


def test_its_edge_is_soft_and_has_no_colour_of_the_surroundings():
    picture = cut_out(photo_of())

    soft = (picture[..., 3] > 20) & (picture[..., 3] < 235)
    assert soft.sum() > 100
    assert np.abs(picture[soft][:, :3].astype(int) - ORANGE).max(axis=1).mean() < 25


def test_a_mask_is_taken_as_it_is_given():
    mask = np.zeros((240, 200), np.uint8)
    mask[100:140, 60:120] = 255

    picture = cut_out(photo_of(), mask)

    assert abs(picture.shape[0] - 40) <= 2 and abs(picture.shape[1] - 60) <= 2


def test_a_large_photo_gives_a_small_cut_out():
    assert max(cut_out(np.repeat(np.repeat(photo_of(), 6, 0), 6, 1), side=128).shape[:2]) <= 128


@pytest.mark.parametrize(
    ("mask", "rule"),
    [
        (np.zeros((240, 200), np.uint8), "marked somewhere"),
        (np.full((10, 10), 255, np.uint8), "of its photo's size 200 x 240"),
        (np.pad(np.full((2, 2), 255, np.uint8), ((0, 238), (0, 198))), "at least 16 pixels"),
    ],
)
def test_masks_that_mark_no_object_are_refused(mask, rule):
    with pytest.raises(ImageError, match=rule):
        cut_out(photo_of(), mask)


def test_a_photo_in_which_nothing_stands_out_is_refused():
    with pytest.raises(ImageError, match="stands out"):
        cut_out(np.full((120, 160, 3), 90, np.uint8))


def test_photos_become_views_of_one_variant_that_a_library_opens(photos, tmp_path):
    folder = photos(photo_of(), photo_of(centre=(90, 110)))

    summary = write_cutouts(find_photos([folder]), tmp_path / "out", OPTIONS)

    library = CutOutLibrary.open(tmp_path / "out")
    assert [cutout.id for cutout in library.cutouts] == ["safety_cone/own-00", "safety_cone/own-01"]
    assert {(c.label, c.variant, c.split, c.height_m, c.stands) for c in library.cutouts} == {
        ("safety_cone", "own", "train", 0.75, True)
    }
    assert len(summary.records) == 2 and not summary.failures


def test_another_object_is_added_and_the_same_again_replaced(photos, tmp_path):
    folder, out = photos(photo_of(), photo_of(centre=(90, 110))), tmp_path / "out"
    write_cutouts(find_photos([folder]), out, OPTIONS)
    before = (out / "safety_cone/own-00.webp").read_bytes()

    write_cutouts(find_photos([folder / "0.png"]), out, PhotoOptions("spill", 0.4, "oil", "test"))
    write_cutouts(find_photos([folder / "0.png"]), out, OPTIONS)

    library = CutOutLibrary.open(out)
    assert sorted(cutout.id for cutout in library.cutouts) == ["safety_cone/own-00", "spill/oil-00"]
    assert not library.select("spill")[0].stands
    assert (out / "safety_cone/own-00.webp").read_bytes() == before
    assert not (out / "safety_cone/own-01.webp").exists()


def test_two_objects_whose_names_make_one_file_are_told_apart(photos, tmp_path):
    folder, out = photos(photo_of()), tmp_path / "out"
    write_cutouts(find_photos([folder]), out, PhotoOptions("cone", 1, "a b"))

    with pytest.raises(InputError, match="variant"):
        write_cutouts(find_photos([folder]), out, PhotoOptions("cone", 1, "a/b"))


def test_a_photo_that_gives_none_is_named_and_the_others_are_written(photos, tmp_path):
    folder = photos(photo_of(), np.full((120, 160, 3), 90, np.uint8))

    summary = write_cutouts(find_photos([folder]), tmp_path / "out", OPTIONS)

    assert len(summary.records) == 1
    (failure,) = summary.failures.items()
    assert failure[0].endswith("1.png") and "stands out" in failure[1]


def test_a_missing_mask_is_named(photos, tmp_path):
    folder, masks = photos(photo_of()), photos(folder="masks")

    summary = write_cutouts(find_photos([folder]), tmp_path / "out", OPTIONS, masks=masks)

    assert "a mask for each photo, as 0.png" in next(iter(summary.failures.values()))
    assert not (tmp_path / "out/cutouts.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "field"),
    [(PhotoOptions("cone", 0), "height_m"), (PhotoOptions("", 1), "label"), (PhotoOptions("cone", 1, ""), "variant")],
)
def test_options_that_break_a_rule_write_nothing(photos, tmp_path, options, field):
    with pytest.raises(InputError, match=field):
        write_cutouts(find_photos([photos(photo_of())]), tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_paths_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(InputError, match="that are there"):
        find_photos([tmp_path / "none"])
    with pytest.raises(InputError, match="at least one image file"):
        write_cutouts([], tmp_path / "out", OPTIONS)
