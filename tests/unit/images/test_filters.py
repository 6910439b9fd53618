"""Filters: what nobody can see, and what is there already."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from defectory.datasets.annotations import encode_runs
from defectory.images.filters import fingerprint_of, mark_duplicates, visibility_failure, window_of
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
    assert list(mark_duplicates([failed, failed])) == [failed, failed]


@pytest.mark.parametrize("box", [(0, 0, 5, 5), (90, 60, 6, 12), (40, 30, 20, 10), (0, 0, 96, 72), (0, 35, 96, 2)])
def test_the_window_around_a_defect_holds_it_and_lies_in_the_picture(box):
    left, top, width, height = window_of(box, 96, 72)
    assert 0 <= left <= box[0] and 0 <= top <= box[1]
    assert box[0] + box[2] <= left + width <= 96
    assert box[1] + box[3] <= top + height <= 72


# ------------------------------------------------------------------ by figures


@pytest.mark.parametrize(("marked", "reason"), [(11, "its mask has 11 pixels, of 12 needed"), (12, "")])
def test_twelve_pixels_are_enough(marked, reason):
    assert visibility_failure(rendered(marked=marked), PHOTO) == reason


@pytest.mark.parametrize(("severity", "seen"), [(0.049, False), (0.05, True)])
def test_a_severity_of_a_twentieth_is_enough(severity, seen):
    assert (visibility_failure(rendered(severity=severity), PHOTO) == "") is seen


@pytest.mark.parametrize(("other", "blank"), [(104, True), (105, False)])
def test_a_picture_is_blank_below_a_deviation_of_2_3(other, blank):
    # Half of the pixels 100, half of them `other`: the deviation is half of the difference, 2.0 or 2.5.
    image = np.full((10, 10, 3), 100, np.uint8)
    image[5:] = other

    assert bool(visibility_failure(RenderResult(image, None, 0.0), None)) is blank


@pytest.mark.parametrize(
    ("box", "size", "window"),
    [
        # The longer side is 20, and a quarter of it 5: 8 are left on each side, 36 in all.  40 - (36 - 20) / 2 = 32;
        # 30 - (36 - 10) / 2 = 17.
        ((40, 30, 20, 10), (96, 72), (32, 17, 36, 36)),
        ((30, 40, 10, 20), (96, 96), (17, 32, 36, 36)),
        # A quarter of 40 is 10: 60 in all, from 50 - 10 and from 60 + (30 - 60) / 2.
        ((50, 60, 40, 30), (200, 200), (40, 45, 60, 60)),
        # At the edges it is moved inside, and no larger than the picture: 12 + 16 = 28; 96 - 28 and 72 - 28.
        ((90, 60, 6, 12), (96, 72), (68, 44, 28, 28)),
        ((0, 2, 6, 12), (96, 72), (0, 0, 28, 28)),
        ((0, 0, 96, 72), (96, 72), (0, 0, 96, 72)),
    ],
)
def test_the_window_around_a_defect_worked_out_by_hand(box, size, window):
    assert window_of(box, *size) == window


def test_a_fingerprint_is_64_levels_of_the_whole_and_144_of_the_window():
    image = np.zeros((96, 96, 3), np.uint8)
    image[:, 48:] = 200

    assert fingerprint_of(image, None) == ("00" * 4 + "c8" * 4) * 8
    # 40 + 2 * 10 = 60 around the middle: six cells of twelve on each side.
    assert fingerprint_of(image, (28, 28, 40, 40))[128:] == ("00" * 6 + "c8" * 6) * 12


def twin(number: int, whole: int = 0, window: int = 0, pixels: slice = slice(0, 10), **more: object) -> ItemRecord:
    """A picture whose fingerprint is above that of number 0 by so many levels, summed over the whole and the window."""
    levels = np.full(64 + 144, 100)
    for start, excess in ((0, whole), (64, window)):
        spread, rest = divmod(excess, 144 if start else 64)
        levels[start : start + (144 if start else 64)] += spread
        levels[start] += rest
    mask = np.zeros((10, 20), np.uint8)
    mask[4, pixels] = 255
    values = {
        "id": f"scratch-{number}",
        "item": Item(renderer="procedural", defect="scratch", seed=number),
        "outcome": "made",
        "image_sha256": f"{number}" * 64,
        "width": 20,
        "height": 10,
        "runs": encode_runs(mask),
        "fingerprint": bytes(levels.tolist()).hex(),
    }
    return ItemRecord(**{**values, **more})


@pytest.mark.parametrize(
    ("other", "outcome"),
    [
        # Three levels in each of 64 cells are 192, in each of 144 are 432.
        (twin(1, whole=192, window=432), "duplicate"),
        (twin(1, whole=193), "made"),
        (twin(1, window=433), "made"),
        # Of 10 pixels 8 in common are 0.8 of all that one or the other has; of 11, 9 in common are 0.75 of 12.
        (twin(1, pixels=slice(0, 8)), "duplicate"),
        (twin(1, pixels=slice(0, 7)), "made"),
        (twin(1, pixels=slice(1, 11)), "duplicate"),  # 9 of 11
        (twin(1, pixels=slice(2, 12)), "made"),  # 8 of 12
        # Other sizes, and a mask on one of the two, are never at the same place.
        (twin(1, width=40, height=5), "made"),
        (twin(1, runs=()), "made"),
        # The same file is the same picture whatever its mask says.
        (twin(1, pixels=slice(10, 20), image_sha256="0" * 64), "duplicate"),
    ],
)
def test_as_good_as_the_same_by_levels_and_overlap(other, outcome):
    assert outcomes(twin(0), other) == ["made", outcome]


def test_each_duplicate_is_named_after_the_first_that_was_kept():
    # The second is three levels above the first, the third another three, and the fourth four above the first
    records = mark_duplicates([twin(0), twin(1, whole=192), twin(2, whole=384), twin(3, whole=256)])

    assert [each.outcome for each in records] == ["made", "duplicate", "made", "duplicate"]
    assert records[1].reason == "as good as the same as scratch-0"
    assert records[3].reason == "as good as the same as scratch-2"


def test_only_marked_pixels_count_also_where_a_mask_has_gaps():
    # Two blocks of 6 x 6 pixels at opposite corners of their box; what differs lies between them.
    mask, image = np.zeros(PHOTO.image.shape[:2], np.uint8), PHOTO.image.copy()
    mask[10:16, 10:16] = mask[20:26, 20:26] = 255
    image[10:16, 20:26] = image[20:26, 10:16] = 255

    assert visibility_failure(RenderResult(image, mask, 0.5), PHOTO).startswith("0% of its mask's pixels")


def test_the_window_of_a_fingerprint_ends_at_the_pictures_lower_edge():
    # 40 + 2 * 10 = 60 pixels wide, and all 48 of the picture high: half of the rows are bright.
    image = np.zeros((48, 96, 3), np.uint8)
    image[24:] = 200

    assert fingerprint_of(image, (28, 30, 40, 10))[128:] == "00" * 72 + "c8" * 72
