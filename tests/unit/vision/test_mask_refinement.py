"""Masks of generated pictures: the defect alone, whatever the model did to all of the picture."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from defectory.vision.mask_refinement import blend, refine_mask


def textured(width=160, height=128, seed=0, ground=120):
    """A brushed, unevenly lit plate with a dark edge on it."""
    rng = np.random.default_rng(seed)
    grain = cv2.GaussianBlur(rng.normal(0, 24, (height, width)), (0, 0), sigmaX=5, sigmaY=0.6)
    light = np.linspace(-25, 25, width)[None, :]
    image = np.repeat((ground + grain + light)[..., None], 3, axis=2) + np.array([6, 0, -8])
    image[:, width // 4 : width // 4 + 10] -= 60
    return np.clip(image, 0, 255).astype(np.uint8)


def ellipse(shape, centre, axes, angle=20.0):
    mask = np.zeros(shape[:2], np.uint8)
    cv2.ellipse(mask, centre, axes, angle, 0, 360, 255, -1)
    return mask


def generated(photo, mask, *, by=70, shift=(0.0, 0.0), gain=1.0, tint=(0, 0, 0), quality=95, blur=0.0):
    """What a model gives back: the defect, and a little of everything everywhere."""
    soft = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 0.7)[..., None]
    picture = np.clip(photo - by * soft, 0, 255).astype(np.float32)
    if blur:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    size = photo.shape[1::-1]
    picture = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    picture = np.clip(picture * gain + np.array(tint), 0, 255).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "JPEG", quality=quality)
    return np.asarray(Image.open(content).convert("RGB"))


def overlap(one, other):
    return np.count_nonzero((one > 0) & (other > 0)) / np.count_nonzero((one > 0) | (other > 0))


WHOLE_PICTURE = [
    {},
    {"quality": 70},
    {"shift": (2.0, -1.0)},
    {"shift": (-0.5, 0.4), "quality": 85},
    {"gain": 1.06, "tint": (8, -4, 3)},
    {"blur": 0.6, "shift": (3.0, 2.0), "gain": 0.94, "tint": (5, 5, 9), "quality": 75},
]


@pytest.mark.parametrize("change", WHOLE_PICTURE, ids=str)
@pytest.mark.parametrize("told", [True, False], ids=["told where", "anywhere"])
def test_the_defect_is_found_and_nothing_else(change, told):
    photo = textured()
    defect = ellipse(photo.shape, (100, 64), (17, 8))
    allowed = cv2.dilate(defect, np.ones((21, 21), np.uint8)) if told else None

    refined = refine_mask(photo, generated(photo, defect, **change), allowed)

    assert overlap(refined.mask, defect) > 0.75
    assert set(np.unique(refined.mask)) == {0, 255}


@pytest.mark.parametrize("change", WHOLE_PICTURE, ids=str)
def test_where_nothing_was_painted_nothing_is_found(change):
    photo = textured()

    refined = refine_mask(photo, generated(photo, np.zeros(photo.shape[:2], np.uint8), **change))

    assert not refined.mask.any()


def test_shift_and_colours_are_undone():
    photo = textured()
    defect = ellipse(photo.shape, (100, 64), (17, 8))

    refined = refine_mask(photo, generated(photo, defect, shift=(3.0, -2.0), gain=0.9, tint=(20, 12, -5)))

    assert refined.shift == pytest.approx((3.0, -2.0), abs=0.2)
    assert np.abs(refined.picture.astype(int) - photo)[10:-10, 10:90].mean() < 3


def test_a_picture_that_is_darker_altogether_is_told_by_its_noise():
    photo = textured()

    assert refine_mask(photo, np.maximum(photo, 90) - 90).noise > 20


def test_a_large_dark_defect_does_not_pull_the_colours_with_it():
    photo = textured()
    defect = ellipse(photo.shape, (100, 64), (45, 35))

    refined = refine_mask(photo, generated(photo, defect, by=100, gain=1.05, tint=(6, 6, 6)))

    assert overlap(refined.mask, defect) > 0.85


def test_on_a_saturated_background_a_brighter_picture_is_no_defect():
    photo = textured()
    photo[:, 90:] = 255  # overexposed, as backgrounds are
    defect = ellipse(photo.shape, (62, 64), (14, 8))

    refined = refine_mask(photo, generated(photo, defect, gain=1.05, tint=(7, 7, 7), quality=90))

    assert overlap(refined.mask, defect) > 0.75
    assert (refined.picture[:, 96:] > 250).all()


def test_what_a_shifted_picture_has_lost_along_its_edge_is_no_defect():
    photo = textured()
    photo[:, :4] -= 70
    picture = np.roll(photo, -4, axis=1)
    picture[:, -4:] = picture[:, -8:-4]

    assert not refine_mask(photo, picture).mask.any()


def test_what_changed_beyond_the_place_is_not_marked():
    photo = textured()
    wanted, unwanted = (ellipse(photo.shape, centre, (12, 8)) for centre in ((115, 40), (70, 100)))
    allowed = cv2.dilate(wanted, np.ones((15, 15), np.uint8))

    refined = refine_mask(photo, generated(photo, np.maximum(wanted, unwanted)), allowed)

    assert overlap(refined.mask, wanted) > 0.75
    assert not refined.mask[allowed == 0].any()


def test_a_thin_scratch_is_one_defect_from_end_to_end():
    photo = textured()
    scratch = np.zeros(photo.shape[:2], np.uint8)
    cv2.line(scratch, (60, 30), (140, 100), 255, 2)

    refined = refine_mask(photo, generated(photo, scratch, by=-110, quality=90))

    assert np.count_nonzero((refined.mask > 0) & (scratch > 0)) > 0.8 * np.count_nonzero(scratch)
    assert np.count_nonzero(refined.mask) < 2.5 * np.count_nonzero(scratch)


def test_only_the_defect_is_blended_into_the_photo():
    photo = textured()
    defect = ellipse(photo.shape, (100, 64), (17, 8))
    refined = refine_mask(photo, generated(photo, defect, quality=80))

    blended = blend(photo, refined.picture, refined.mask)

    near = cv2.dilate(refined.mask, np.ones((13, 13), np.uint8)) > 0
    assert np.array_equal(blended[~near], photo[~near])
    assert np.array_equal(blended[refined.mask > 0], refined.picture[refined.mask > 0])


def test_blending_goes_no_further_than_it_may():
    photo = textured()
    defect, within = ellipse(photo.shape, (100, 64), (20, 20)), np.zeros(photo.shape[:2], np.uint8)
    within[:, :100] = 255

    blended = blend(photo, 255 - photo, defect, within)

    assert np.array_equal(blended[:, 100:], photo[:, 100:])
    assert np.abs(blended.astype(int) - photo)[60:68, 85:95].mean() > 10


def test_without_a_mask_the_photo_stays_as_it_is():
    photo = textured()

    assert np.array_equal(blend(photo, 255 - photo, np.zeros(photo.shape[:2], np.uint8)), photo)


@pytest.mark.parametrize("photo", [np.full((64, 64, 3), 128, np.uint8), np.zeros((64, 64, 3), np.uint8)])
def test_a_photo_of_one_colour_has_no_shift_and_its_defect_is_found(photo):
    defect = ellipse(photo.shape, (32, 32), (9, 6))

    refined = refine_mask(photo, generated(photo, defect, by=-60))

    assert refined.shift == (0.0, 0.0)
    assert overlap(refined.mask, defect) > 0.6


def test_a_mask_that_leaves_nothing_to_compare_still_finds_the_defect():
    photo = textured()
    defect = ellipse(photo.shape, (100, 64), (17, 8))

    refined = refine_mask(photo, generated(photo, defect), np.full(photo.shape[:2], 255, np.uint8))

    assert overlap(refined.mask, defect) > 0.75
