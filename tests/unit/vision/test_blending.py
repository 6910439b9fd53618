from __future__ import annotations

import cv2
import numpy as np

from defectory.vision.arrays import Image
from defectory.vision.blending import changed_pixels, feathered, severity_of, to_levels, to_light

GREY = np.full((80, 100, 3), 120, np.uint8)


def disc(radius: float, x: int = 50, y: int = 40) -> np.ndarray:
    yy, xx = np.mgrid[:80, :100]
    return np.clip(radius - np.hypot(xx - x, yy - y), 0, 1).astype(np.float32)


def changed(by: float, where: np.ndarray, photo: Image = GREY) -> Image:
    return np.clip(np.rint(photo + by * where[..., None]), 0, 255).astype(np.uint8)


def test_light_and_levels_are_each_others_reverse() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)

    assert (to_levels(to_light(levels)) == levels).all()
    assert 0.2 < to_light(np.uint8([128])) < 0.23  # half the levels are a fifth of the light


def test_weights_do_not_spill_over_the_region() -> None:
    region = np.where(disc(20) > 0.5, 255, 0).astype(np.uint8)
    weights = feathered(region, 3)

    assert (weights[region == 0] == 0).all()
    assert weights[40, 50] == 1
    assert 0 < weights[40, 69] < 1


def test_the_mask_marks_what_changes_visibly() -> None:
    where = disc(15)
    mask = changed_pixels(GREY, changed(40, where), where)

    assert (mask[where == 1] == 255).all()
    assert (mask[where == 0] == 0).all()


def test_what_cannot_be_seen_is_not_in_the_mask() -> None:
    where = disc(15)

    assert not changed_pixels(GREY, changed(2, where), where).any()


def test_the_middle_of_a_dent_is_in_the_mask_though_nothing_changes_there() -> None:
    where = disc(15)
    walls = np.where(np.hypot(*(np.mgrid[:80, :100] - np.array([40, 50])[:, None, None])) > 4, where, 0)

    mask = changed_pixels(GREY, changed(-40, walls), where)

    assert mask[40, 50] == 255


def test_changes_away_from_the_defect_are_not_in_the_mask() -> None:
    where = disc(10)
    mask = changed_pixels(GREY, changed(40, np.maximum(where, disc(3, 90, 10))), where)

    assert mask[40, 50] == 255
    assert not mask[:20, 80:].any()


def test_severity_grows_with_contrast_and_size_and_falls_on_lively_surfaces() -> None:
    rng = np.random.default_rng(0)
    lively = np.clip(rng.normal(120, 25, GREY.shape), 0, 255).astype(np.uint8)
    mask = np.where(disc(10) > 0.5, 255, 0).astype(np.uint8)
    small = np.where(disc(3) > 0.5, 255, 0).astype(np.uint8)

    faint, plain = (severity_of(GREY, changed(by, disc(10)), mask) for by in (6, 40))

    assert 0 <= faint < plain <= 1
    assert severity_of(GREY, changed(40, disc(3)), small) < plain
    assert severity_of(lively, changed(40, disc(10), lively), mask) < plain


def test_severity_does_not_depend_on_the_camera() -> None:
    mask = np.where(disc(10) > 0.5, 255, 0).astype(np.uint8)
    image = changed(15, disc(10))
    photo, large, mask_3 = (cv2.resize(a, (300, 240), interpolation=cv2.INTER_NEAREST) for a in (GREY, image, mask))

    assert abs(severity_of(photo, large, mask_3) - severity_of(GREY, image, mask)) < 0.05


def test_without_a_mask_there_is_no_severity() -> None:
    assert severity_of(GREY, GREY, None) == 0
    assert severity_of(GREY, GREY, np.zeros((80, 100), np.uint8)) == 0
