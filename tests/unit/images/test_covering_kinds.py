"""Oil, stains and contamination: kinds that cover a part of the surface."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from defectory.images.renderers import RenderRequest
from defectory.images.renderers.procedural import ProceduralRenderer
from defectory.vision.arrays import Image
from defectory.vision.photos import Photo

COVERING = ("oil", "stain", "contamination")


def _plate(grey: bool = True, side: int = 128) -> Image:
    """A brushed plate that fills the photo."""
    rng = np.random.default_rng(5)
    grain = cv2.GaussianBlur(rng.normal(0, 60, (side, side)), (0, 0), sigmaX=0.5, sigmaY=9)
    level = 130 + grain[..., None] + rng.normal(0, 1.5, (side, side, 1))
    return np.clip(level * ((1, 1, 1) if grey else (1.0, 0.8, 0.55)), 0, 255).astype(np.uint8)


def _fine(image: Image) -> np.ndarray:
    grey = image.astype(np.float32).mean(2)
    return grey - cv2.GaussianBlur(grey, (0, 0), 3)


@pytest.mark.parametrize("kind", COVERING)
def test_the_same_order_gives_the_same_picture(kind: str) -> None:
    photo = Photo("plate", _plate(), "a" * 64)

    first, again, other = (ProceduralRenderer().render(photo, RenderRequest(kind, seed)) for seed in (3, 3, 4))

    assert np.array_equal(first.image, again.image)
    assert first.mask is not None and again.mask is not None
    assert np.array_equal(first.mask, again.mask)
    assert first.parameters == again.parameters
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("kind", COVERING)
@pytest.mark.parametrize("seed", range(6))
def test_the_mask_holds_the_change_and_little_else_changes(kind: str, seed: int) -> None:
    photo = Photo("plate", _plate(), "b" * 64)

    made = ProceduralRenderer().render(photo, RenderRequest(kind, seed))

    change = np.abs(made.image.astype(int) - photo.image).max(2)
    mask = made.mask
    assert mask is not None
    near = cv2.dilate(mask, np.ones((25, 25), np.uint8)) > 0
    assert set(np.unique(mask)) == {0, 255}
    assert (change[mask > 0] > 0).mean() > 0.6
    # Shadows and soft edges may reach a little further; nothing changes beyond them.
    assert change[~near].max(initial=0) <= 4
    assert made.severity > 0


@pytest.mark.parametrize("kind", COVERING)
def test_a_grey_photo_stays_grey(kind: str) -> None:
    photo = Photo("plate", _plate(), "c" * 64)

    for seed in range(4):
        image = ProceduralRenderer().render(photo, RenderRequest(kind, seed)).image.astype(int)
        assert np.median(np.ptp(image, axis=2)) == 0
        assert np.ptp(image, axis=2).max() <= 12  # a camera's noise has a little colour


@pytest.mark.parametrize("kind", COVERING)
def test_the_defect_keeps_to_the_mask_of_the_order(kind: str) -> None:
    photo = Photo("plate", _plate(grey=False), "d" * 64)
    wanted = np.zeros(photo.image.shape[:2], np.uint8)
    wanted[40:80, 30:100] = 255

    made = ProceduralRenderer().render(photo, RenderRequest(kind, 1, mask=wanted))

    assert np.array_equal(made.image[wanted == 0], photo.image[wanted == 0])
    assert made.mask is not None
    assert (made.mask[wanted > 0] > 0).mean() > 0.4


@pytest.mark.parametrize("kind", COVERING)
def test_a_mask_of_the_whole_photo_is_taken_as_said(kind: str) -> None:
    photo = Photo("plate", _plate(side=80), "1" * 64)
    everywhere = np.full(photo.image.shape[:2], 255, np.uint8)

    made = ProceduralRenderer().render(photo, RenderRequest(kind, 1, mask=everywhere))

    assert made.mask is not None
    assert (made.mask > 0).mean() > 0.3


@pytest.mark.parametrize("kind", COVERING)
def test_the_defect_keeps_to_the_part(kind: str) -> None:
    image = np.full((140, 140, 3), 235, np.uint8)
    image[30:110, 30:110] = _plate()[:80, :80]
    photo = Photo("plate on a table", image, "e" * 64)

    for seed in range(4):
        made = ProceduralRenderer().render(photo, RenderRequest(kind, seed))
        table = np.ones(image.shape[:2], bool)
        table[27:113, 27:113] = False
        assert np.array_equal(made.image[table], image[table])


def test_the_surface_shows_through_a_stain() -> None:
    photo = Photo("plate", _plate(), "f" * 64)
    wanted = np.zeros(photo.image.shape[:2], np.uint8)
    wanted[30:100, 30:100] = 255

    made = ProceduralRenderer().render(photo, RenderRequest("stain", 2, mask=wanted))

    assert made.mask is not None
    inside = cv2.erode(made.mask, np.ones((9, 9), np.uint8)) > 0
    assert np.corrcoef(_fine(made.image)[inside], _fine(photo.image)[inside])[0, 1] > 0.5
    assert abs(float(made.image[inside].mean()) - float(photo.image[inside].mean())) > 5


def test_oil_darkens_and_calms_a_matt_surface() -> None:
    photo = Photo("plate", _plate(), "0" * 64)
    wanted = np.zeros(photo.image.shape[:2], np.uint8)
    wanted[30:100, 30:100] = 255

    made = ProceduralRenderer().render(photo, RenderRequest("oil", 2, mask=wanted))

    assert made.mask is not None
    inside = cv2.erode(made.mask, np.ones((15, 15), np.uint8)) > 0
    assert made.image[inside].mean() < photo.image[inside].mean() - 4
    assert _fine(made.image)[inside].std() < _fine(photo.image)[inside].std()
