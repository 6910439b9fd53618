from __future__ import annotations

import cv2
import numpy as np
import pytest

from defectory.errors import InputError
from defectory.images.renderers import RenderRequest
from defectory.images.renderers.regions import allowed_region
from defectory.inspection.samples import render_part
from defectory.vision.arrays import Image, Mask
from defectory.vision.foreground import find_part
from defectory.vision.photos import Photo


def ring(height: int = 150, width: int = 200, *, fall_off: float = 30) -> tuple[Image, Mask]:
    """A grey-green ring on a brown table, lit from the left, and where it is."""
    rng = np.random.default_rng(1)
    truth = np.zeros((height, width), np.uint8)
    cv2.circle(truth, (width // 2, height // 2), height // 3, 255, -1)
    cv2.circle(truth, (width // 2, height // 2), height // 9, 0, -1)
    picture = np.where(truth[..., None] > 0, [120, 180, 110], [70, 50, 40]).astype(np.float32)
    picture += fall_off * np.linspace(1, 0, width)[None, :, None] + rng.normal(0, 4, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8), truth


def overlap(found: Mask, truth: Mask) -> float:
    return float(((found > 0) & (truth > 0)).sum() / ((found > 0) | (truth > 0)).sum())


@pytest.mark.parametrize("factor", [1, 3])
def test_the_part_is_found_without_its_hole(factor: int) -> None:
    image, truth = ring(150 * factor, 200 * factor)

    found = find_part(image)

    assert set(np.unique(found)) == {0, 255}
    assert overlap(found, truth) > 0.95
    assert found[75 * factor, 100 * factor] == 0


def test_the_sample_flange_is_found_without_bore_and_holes() -> None:
    image, _ = render_part(np.random.default_rng(3))

    found = find_part(image)

    yy, xx = np.mgrid[:256, :256] - 128
    radius = np.hypot(xx, yy)
    assert (found[(radius > 40) & (radius < 65)] == 255).all()
    assert (found[(radius < 26) | (radius > 110)] == 0).all()


@pytest.mark.parametrize("name", ["uniform", "gradient", "texture", "texture with a blot"])
def test_where_there_is_no_clear_background_everything_is_part(name: str) -> None:
    rng = np.random.default_rng(0)
    picture = np.full((120, 160, 3), 128.0)
    if name == "gradient":
        picture += np.linspace(-100, 100, 160)[None, :, None]
    if name.startswith("texture"):
        picture += cv2.GaussianBlur(rng.normal(0, 1, (120, 160)), (0, 0), 3)[..., None] * 400
    if name == "texture with a blot":
        cv2.circle(picture, (80, 60), 12, (60, 60, 60), -1)

    assert (find_part(np.clip(picture, 0, 255).astype(np.uint8)) == 255).all()


def test_the_same_photo_gives_the_same_part() -> None:
    image, _ = ring()
    cv2.setRNGSeed(99)
    first = find_part(image)
    cv2.setRNGSeed(1)

    assert (find_part(image) == first).all()


def test_a_defect_may_be_where_mask_and_region_agree() -> None:
    image, truth = ring()
    mask = np.zeros_like(truth)
    mask[:, :100] = 255

    allowed = allowed_region(Photo("a.png", image, "", truth), RenderRequest("dent", 1, mask))

    assert (allowed == np.minimum(mask, truth)).all()


@pytest.mark.parametrize(
    ("region", "mask", "message"),
    [
        (None, np.full((150, 199), 255, np.uint8), "mask: must be of the photo's size, 200 x 150, got '199 x 150'"),
        (None, np.zeros((150, 200), np.uint8), "mask: must be 255 where the defect may be"),
        (np.zeros((150, 200), np.uint8), None, "region: must be 255"),
        (np.tri(150, 200, -60, np.uint8) * 255, np.fliplr(np.tri(150, 200, -140, np.uint8)) * 255, "overlaps"),
    ],
)
def test_masks_that_cannot_be_meant_are_refused(region: Mask | None, mask: Mask | None, message: str) -> None:
    image, _ = ring()

    with pytest.raises(InputError, match=message):
        allowed_region(Photo("a.png", image, "", region), RenderRequest("dent", 1, mask))


def test_photos_too_small_to_work_with_are_refused() -> None:
    with pytest.raises(InputError, match="source: must be 64 to 8000 pixels"):
        allowed_region(Photo("a.png", np.zeros((63, 100, 3), np.uint8), ""), RenderRequest("dent", 1))
