"""Filters: what nobody can see, and what is there already."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from defectory.images.filters import mark_duplicates, visibility_failure, window_of
from defectory.images.items import Item, ItemRecord
from defectory.images.renderers import RenderRequest, RenderResult
from defectory.images.synthesis import make_item
from defectory.vision.photos import Photo
from tests.unit.images.conftest import Scripted, paint, part

PHOTO = Photo("a.png", part(0), "a" * 64)


def rendered(change: int = 60, marked: int = 40, severity: float = 0.5) -> RenderResult:
    """The photo, brighter by ``change`` in so many pixels."""
    mask = np.zeros(PHOTO.image.shape[:2], np.uint8)
    mask[10, 5 : 5 + marked] = 255
    image = PHOTO.image.copy()
    image[mask > 0] = np.clip(image[mask > 0].astype(int) + change, 0, 255)
    return RenderResult(image, mask, severity)


def test_a_defect_that_differs_is_seen():
    assert visibility_failure(rendered(), PHOTO) == ""
    assert visibility_failure(rendered(-40), PHOTO) == ""


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (rendered(marked=0), "0 pixels"),
        (rendered(marked=5), "5 pixels"),
        (rendered(change=0), "0% of its mask"),
        (rendered(change=2), "of its mask"),
        (rendered(severity=0.0), "severity"),
    ],
)
def test_a_defect_that_nobody_can_see_is_not(made, reason):
    assert reason in visibility_failure(made, PHOTO)


@pytest.mark.parametrize(
    ("differing", "reason"),
    [
        (0, "0% of its mask's pixels differ noticeably from the photo, of 10% needed"),
        (9, "9% of its mask's pixels differ noticeably from the photo, of 10% needed"),
        (10, ""),
        (100, ""),
    ],
)
def test_a_tenth_of_the_marked_pixels_has_to_differ(differing, reason):
    mask, image = np.zeros(PHOTO.image.shape[:2], np.uint8), PHOTO.image.copy()
    mask[10:12, 5:55] = 255
    rows, columns = (each[:differing] for each in np.nonzero(mask))
    image[rows, columns] = 255 - image[rows, columns] // 4
    # What differs outside of the mask does not count.
    image[30:40, 30:40] = 255

    assert visibility_failure(RenderResult(image, mask, 0.5), PHOTO) == reason


@pytest.mark.parametrize(("level", "seen"), [(128, False), (133, False), (134, True), (123, False), (122, True)])
def test_grey_differs_noticeably_from_2_3_levels_of_lightness_on(level, seen):
    # CIELAB's lightness of sRGB's 128 is 53.59; of 133 55.54 and of 134 55.93; of 123 51.62 and of 122 51.22.
    photo = Photo("grey.png", np.full((20, 20, 3), 128, np.uint8), "b" * 64)
    made = RenderResult(np.full((20, 20, 3), level, np.uint8), np.full((20, 20), 255, np.uint8), 0.5)

    assert (visibility_failure(made, photo) == "") is seen


def test_a_blank_picture_from_a_text_shows_nothing():
    # Safety checkers answer with black ones.
    assert visibility_failure(RenderResult(np.zeros((64, 64, 3), np.uint8), None, 0.0), None) == "the picture is blank"
    assert visibility_failure(RenderResult(part(3), None, 0.0), None) == ""


def record(seed: int, photo: Photo | None = PHOTO, defect: str = "scratch", shift: int = 0) -> ItemRecord:
    """A picture with its own seed in the item, painted at the place of ``seed`` moved right by ``shift``."""

    def script(photo: Photo | None, request: RenderRequest) -> RenderResult:
        made = paint(photo, replace(request, seed=seed))
        if made.mask is None or not shift:
            return made
        mask = np.roll(made.mask, shift, axis=1)
        image = photo.image.copy()
        image[mask > 0] = 10
        return replace(made, image=image, mask=mask)

    item = Item(renderer="procedural", defect=defect, seed=seed + 1000 * shift, source=photo.name if photo else "")
    return make_item(item, Scripted(script=script), photo, RenderRequest(defect, seed)).record


def outcomes(*records: ItemRecord) -> list[str]:
    return [each.outcome for each in mark_duplicates(records)]


def test_the_first_of_two_equal_ones_is_kept_and_named():
    one, other = record(1), record(1, Photo("b.png", part(0), "b" * 64))
    first, second = mark_duplicates([one, other])
    assert first == one
    assert (second.outcome, second.image, second.item) == ("duplicate", "", other.item)
    assert one.id in second.reason


def test_almost_the_same_place_on_almost_the_same_photo_is_a_duplicate():
    noisy = np.clip(part(0).astype(int) + np.random.default_rng(0).integers(-2, 3, part(0).shape), 0, 255)
    assert outcomes(record(1), record(1, Photo("b.png", noisy.astype(np.uint8), "b" * 64), shift=1)) == [
        "made",
        "duplicate",
    ]


def test_another_place_another_part_and_another_kind_are_none():
    other_part = record(1, Photo("b.png", part(7), "b" * 64))
    assert outcomes(record(1), record(2), other_part, record(1, defect="crack"), record(1, shift=6)) == ["made"] * 5


def test_another_look_at_the_same_place_is_none():
    def bright(photo: Photo | None, request: RenderRequest) -> RenderResult:
        made = paint(photo, replace(request, seed=1))
        image = photo.image.copy()
        image[made.mask > 0] = np.tile([[255], [10]], (30, 1))
        return replace(made, image=image)

    item = Item(renderer="procedural", defect="scratch", seed=9, source="a.png")
    striped = make_item(item, Scripted(script=bright), PHOTO, RenderRequest("scratch", 9)).record
    assert outcomes(record(1), striped) == ["made", "made"]


def test_pictures_without_masks_are_compared_as_a_whole():
    one, same, other = (record(seed, None) for seed in (1, 101, 2))
    assert outcomes(one, same, other) == ["made", "duplicate", "made"]


def test_what_was_not_made_is_no_duplicate_of_anything():
    failed = ItemRecord(
        id="scratch-1", item=Item(renderer="procedural", defect="scratch", seed=1), outcome="failed", reason="no place"
    )
    assert mark_duplicates([failed, failed]) == (failed, failed)


@pytest.mark.parametrize("box", [(0, 0, 5, 5), (90, 60, 6, 12), (40, 30, 20, 10), (0, 0, 96, 72), (0, 35, 96, 2)])
def test_the_window_around_a_defect_holds_it_and_lies_in_the_picture(box):
    left, top, width, height = window_of(box, 96, 72)
    assert 0 <= left <= box[0] and 0 <= top <= box[1]
    assert box[0] + box[2] <= left + width <= 96
    assert box[1] + box[3] <= top + height <= 72
