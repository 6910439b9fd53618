"""Transplanted defects: contrast kept, background gone, placed where the surroundings agree, with their masks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from defectory.datasets import Dataset, ImageRecord
from defectory.errors import InputError, RenderError
from defectory.images.renderers import RenderRequest, RenderResult
from defectory.images.renderers.transplant import Donor, TransplantRenderer, donors_of, kind_of
from defectory.vision.photos import Photo

DONOR_DIGEST = "d" * 64


def surface(level: float, *, seed: int = 0, shape: tuple[int, int] = (96, 128)) -> NDArray[np.uint8]:
    """A matt, slightly rough surface that gets brighter to the right."""
    rng = np.random.default_rng(seed)
    light = np.linspace(0.9, 1.1, shape[1])
    grey = level * light + rng.normal(0, 0.02 * level, shape)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def blotted(level: float = 160, kind: str = "blot", at: tuple[int, int] = (60, 40), darkness: float = 0.4) -> Donor:
    """A donor whose defect reflects ``darkness`` of the light that its surface reflects."""
    image, mask = surface(level, seed=9), np.zeros((96, 128), np.uint8)
    cv2.circle(mask, at, 9, 255, -1)
    image[mask > 0] = (image[mask > 0] * darkness).astype(np.uint8)
    return Donor("donor.png", kind, image, mask, DONOR_DIGEST)


def photo(level: float = 160, *, seed: int = 1) -> Photo:
    return Photo("good.png", surface(level, seed=seed), "a" * 64)


def part(shape: tuple[int, int] = (96, 128)) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A bright plate on a dark table: the plate is the left half."""
    image = surface(30, shape=shape)
    plate = np.zeros(shape, bool)
    plate[12:-12, 12:64] = True
    image[plate] = surface(180, seed=3, shape=shape)[plate]
    return image, plate


@pytest.fixture(scope="module")
def renderer() -> TransplantRenderer:
    return TransplantRenderer([blotted()])


def ratio(before: Photo, after: RenderResult) -> float:
    """How bright the marked pixels are, as a share of what they were."""
    assert after.mask is not None
    core = cv2.erode(after.mask, np.ones((3, 3), np.uint8)) > 0
    return float(np.median(after.image[core].astype(float) / np.maximum(before.image[core], 1)))


@pytest.mark.parametrize("level", [60, 110, 220])
def test_a_defect_keeps_its_contrast_in_another_light(renderer, level):
    target = photo(level)

    ratios = [ratio(target, renderer.render(target, RenderRequest("blot", seed))) for seed in range(4)]

    assert 0.3 < np.mean(ratios) < 0.55


def test_the_donors_surface_does_not_come_along():
    """Given a donor on a much darker surface, then the photo around the defect stays as it was, without a halo."""
    target = photo(220)

    rendered = TransplantRenderer([blotted(70)]).render(target, RenderRequest("blot", 3))

    far = cv2.dilate(rendered.mask, np.ones((13, 13), np.uint8)) == 0
    assert np.array_equal(rendered.image[far], target.image[far])
    ring = (cv2.dilate(rendered.mask, np.ones((9, 9), np.uint8)) > 0) & (
        cv2.dilate(rendered.mask, np.ones((5, 5), np.uint8)) == 0
    )
    assert abs(float(rendered.image[ring].mean()) - float(target.image[ring].mean())) < 12


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 2))
def test_every_marked_pixel_is_near_a_changed_one_and_every_strong_change_is_marked(renderer, seed):
    target = photo()

    rendered = renderer.render(target, RenderRequest("blot", seed))

    changed = np.abs(rendered.image.astype(int) - target.image).max(axis=2)
    assert set(np.unique(rendered.mask)) == {0, 255}
    assert not (rendered.mask[cv2.dilate((changed > 0).astype(np.uint8), np.ones((5, 5))) == 0]).any()
    near = cv2.dilate(rendered.mask, np.ones((5, 5), np.uint8)) > 0
    assert changed[~near].max(initial=0) < 50
    assert 0 < rendered.severity <= 1


def test_the_same_order_gives_the_same_picture_and_another_seed_another(renderer):
    once, again = (renderer.render(photo(), RenderRequest("blot", 5)) for _ in range(2))
    other = renderer.render(photo(), RenderRequest("blot", 6))

    assert np.array_equal(once.image, again.image) and np.array_equal(once.mask, again.mask)
    assert once.parameters == again.parameters
    assert not np.array_equal(once.image, other.image)


def test_the_photo_itself_is_left_alone(renderer):
    target = photo()
    before = target.image.copy()

    renderer.render(target, RenderRequest("blot", 5))

    assert np.array_equal(target.image, before)


def test_a_picture_says_which_donor_it_has_its_defect_from(renderer):
    parameters = renderer.render(photo(), RenderRequest("blot", 5)).parameters

    assert parameters["donor"] == DONOR_DIGEST
    assert parameters["donor_name"] == "donor.png"


# ------------------------------------------------------------------ places


def test_a_defect_on_the_part_goes_to_the_part():
    image, plate = part()
    mask = np.zeros(plate.shape, np.uint8)
    cv2.circle(mask, (38, 48), 6, 255, -1)
    defective = image.copy()
    defective[mask > 0] //= 3
    renderer = TransplantRenderer([Donor("plate.png", "blot", defective, mask)])

    for seed in range(6):
        rendered = renderer.render(Photo("other.png", part()[0], ""), RenderRequest("blot", seed))
        assert (plate & (rendered.mask > 0)).sum() > 0.8 * (rendered.mask > 0).sum()


def test_a_broken_edge_goes_to_an_edge():
    """Given a piece broken off a plate's right edge, then pieces break off edges of plates, not off their middle."""
    image, plate = part()
    mask = np.zeros(plate.shape, np.uint8)
    mask[40:56, 54:64] = 255
    defective = image.copy()
    defective[mask > 0] = surface(30)[mask > 0]
    renderer = TransplantRenderer([Donor("plate.png", "break", defective, mask)])
    rim = plate & (cv2.erode(plate.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0)

    touching = [
        (rim & (renderer.render(Photo("other.png", image, ""), RenderRequest("break", seed)).mask > 0)).any()
        for seed in range(6)
    ]

    assert all(touching)


def test_what_a_photos_border_cuts_off_stays_at_the_border():
    donor = blotted(at=(60, 2))
    renderer = TransplantRenderer([donor])

    for seed in range(6):
        marked = renderer.render(photo(), RenderRequest("blot", seed)).mask > 0
        assert marked[:2].any() or marked[-2:].any()


def test_nothing_is_changed_outside_of_the_region_where_defects_may_be(renderer):
    region = np.zeros((96, 128), np.uint8)
    region[20:80, 10:70] = 255
    target = Photo("good.png", surface(160, seed=1), "a" * 64, region)

    for seed in range(4):
        rendered = renderer.render(target, RenderRequest("blot", seed))
        outside = cv2.dilate(region, np.ones((7, 7), np.uint8)) == 0
        assert np.array_equal(rendered.image[outside], target.image[outside])


@settings(max_examples=6, deadline=None)
@given(x=st.integers(20, 108), y=st.integers(20, 76), radius=st.integers(5, 14), seed=st.integers(0, 1000))
def test_an_orders_mask_says_where_and_how_large(renderer, x, y, radius, seed):
    asked = np.zeros((96, 128), np.uint8)
    cv2.circle(asked, (x, y), radius, 255, -1)

    marked = renderer.render(photo(), RenderRequest("blot", seed, mask=asked)).mask > 0

    rows, columns = np.nonzero(marked)
    assert abs(rows.mean() - y) < 0.5 * radius + 2 and abs(columns.mean() - x) < 0.5 * radius + 2
    assert 0.4 < marked.sum() / (asked > 0).sum() < 2


@pytest.mark.parametrize("factor", [1.6, 2])
def test_photos_of_another_resolution_get_defects_of_their_scale(factor):
    target = surface(160, seed=1, shape=(int(96 * factor), int(128 * factor)))
    renderer = TransplantRenderer([blotted()])

    areas = [
        (renderer.render(Photo("x", target, ""), RenderRequest("blot", seed)).mask > 0).mean() for seed in range(4)
    ]

    share = float((blotted().mask > 0).mean())
    assert 0.4 * share < np.mean(areas) < 2 * share


# ------------------------------------------------------------------ what cannot be done


def test_a_kind_that_no_donor_shows_is_refused_by_name(renderer):
    with pytest.raises(InputError, match=r"blot.*got 'crack'"):
        renderer.render(photo(), RenderRequest("crack", 1))


def test_there_has_to_be_a_photo(renderer):
    with pytest.raises(InputError, match="photo"):
        renderer.render(None, RenderRequest("blot", 1))


@pytest.mark.parametrize(
    ("asked", "reason"),
    [(np.zeros((96, 128), np.uint8), "empty"), (np.full((4, 4), 255, np.uint8), "of the photo's size")],
)
def test_a_mask_that_says_no_place_is_refused(renderer, asked, reason):
    with pytest.raises(InputError, match=reason):
        renderer.render(photo(), RenderRequest("blot", 1, mask=asked))


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (np.zeros((96, 128), np.uint8), "4 pixels at least"),
        (np.full((96, 128), 255, np.uint8), "70% of the photo at most"),
        (np.full((9, 9), 255, np.uint8), "as large as the photo"),
    ],
)
def test_donors_without_a_usable_mask_are_named_and_the_others_used(mask, reason):
    useless = Donor("useless.png", "blot", surface(100), mask)

    assert TransplantRenderer([useless, blotted()]).unusable[0].startswith("donor useless.png")
    with pytest.raises(InputError, match=reason):
        TransplantRenderer([useless])


def test_a_defect_that_would_not_be_seen_is_not_made():
    """Given a faint defect from a calm surface, when the photo is rough, then nothing is made of it."""
    rough = np.random.default_rng(0).integers(20, 235, (96, 128, 1), np.uint8).repeat(3, axis=2)
    faint = TransplantRenderer([blotted(darkness=0.97)])

    with pytest.raises(RenderError):
        faint.render(Photo("rough.png", rough, ""), RenderRequest("blot", 1))


# ------------------------------------------------------------------ donors of a dataset


def test_donors_come_from_the_real_masked_defects_of_a_dataset(tmp_path):
    donor = blotted()
    records = []
    for name, synthetic, masked in (("a", False, True), ("b", True, True), ("c", False, False)):
        Image.fromarray(donor.image).save(tmp_path / f"{name}.png")
        Image.fromarray(donor.mask).save(tmp_path / f"{name}_mask.png")
        records.append(
            ImageRecord(
                tmp_path / f"{name}.png",
                "anomaly",
                ("Oil Stain",),
                tmp_path / f"{name}_mask.png" if masked else None,
                synthetic=synthetic,
            )
        )
    dataset = Dataset(tuple(records), tmp_path)

    (found,) = donors_of(dataset)

    assert (found.name, found.kind, found.digest) == ("a.png", "oil_stain", dataset.digest(tmp_path / "a.png"))
    assert np.array_equal(found.mask, donor.mask)


@given(st.text(max_size=90))
def test_names_of_classes_become_kinds_or_are_refused(name):
    try:
        kind = kind_of(name)
    except InputError:
        return
    assert kind[0].isalpha() and kind == kind_of(kind)


def test_masks_of_the_photos_aspect_fit_and_others_are_refused(tmp_path):
    donor = blotted()
    Image.fromarray(donor.image).save(tmp_path / "a.png")
    for name, size in (("half", (64, 48)), ("square", (64, 64))):
        Image.fromarray(donor.mask).resize(size).save(tmp_path / f"{name}.png")

    def dataset(mask: str) -> Dataset:
        return Dataset((ImageRecord(tmp_path / "a.png", "anomaly", ("blot",), tmp_path / mask),), tmp_path)

    assert donors_of(dataset("half.png"))[0].mask.shape == donor.mask.shape
    with pytest.raises(InputError, match="64 x 64 for 128 x 96"):
        donors_of(dataset("square.png"))
