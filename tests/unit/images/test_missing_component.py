from __future__ import annotations

import cv2
import numpy as np
import pytest

from defectory.images.renderers import RenderRequest
from defectory.images.renderers.procedural import ProceduralRenderer
from defectory.inspection.samples import render_part
from defectory.vision.arrays import Image
from defectory.vision.photos import Photo

TABLE = (60, 70, 90)
PART = (190, 160, 120)


def _disc(noise: float = 2.0) -> tuple[Image, np.ndarray]:
    """A plain disc on a plain table, and where it is."""
    rng = np.random.default_rng(2)
    part = np.zeros((140, 140), np.uint8)
    cv2.circle(part, (70, 70), 45, 255, -1)
    image = np.where(part[..., None] > 0, PART, TABLE) + rng.normal(0, noise, (140, 140, 1))
    return np.clip(image, 0, 255).astype(np.uint8), part > 0


def test_a_broken_off_piece_shows_the_table() -> None:
    image, part = _disc()

    shares = []
    for seed in range(5):
        made = ProceduralRenderer().render(Photo("disc", image, "a" * 64), RenderRequest("missing_component", seed))

        assert made.parameters["form"] == "piece"
        assert made.mask is not None
        assert not (made.mask[~cv2.dilate(part.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)]).any()
        # At the break itself the part's broken face is seen, too.
        like_table = np.abs(made.image[made.mask > 0].astype(int) - TABLE).max(1) < 40
        assert like_table.mean() > 0.25
        shares.append(like_table.mean())
        far = cv2.dilate(made.mask, np.ones((61, 61), np.uint8)) == 0
        assert np.array_equal(made.image[far], image[far])
    assert max(shares) > 0.6


def test_a_missing_hole_leaves_the_metal_around_it() -> None:
    image, _ = render_part(np.random.default_rng(3))
    _, hole = render_part(np.random.default_rng(3), "missing-hole")
    wanted = cv2.dilate(hole, np.ones((3, 3), np.uint8))

    made = ProceduralRenderer().render(
        Photo("flange", image, "b" * 64), RenderRequest("missing_component", 1, mask=wanted)
    )

    around = (cv2.dilate(wanted, np.ones((15, 15), np.uint8)) > 0) & (wanted == 0)
    assert made.parameters["form"] == "component"
    assert float(made.image[hole > 0].mean()) == pytest.approx(float(image[around].mean()), abs=25)
    assert float(image[hole > 0].mean()) < float(image[around].mean()) - 50
    assert made.mask is not None
    assert (made.mask[hole > 0] > 0).mean() > 0.8


def test_components_are_what_is_missing_where_the_part_fills_the_photo() -> None:
    image = np.clip(np.random.default_rng(0).normal(100, 2, (140, 160, 1)) + np.zeros(3), 0, 255).astype(np.uint8)
    cv2.rectangle(image, (50, 50), (80, 75), (20, 20, 20), -1)

    everywhere = np.full(image.shape[:2], 255, np.uint8)
    made = ProceduralRenderer().render(
        Photo("board", image, "c" * 64, everywhere), RenderRequest("missing_component", 0)
    )

    assert made.parameters["form"] == "component"
    assert made.image[55:70, 55:75].mean() == pytest.approx(100, abs=8)


def test_material_breaks_out_of_a_plain_surface() -> None:
    image = np.clip(np.random.default_rng(0).normal(120, 3, (128, 128, 1)) + np.zeros(3), 0, 255).astype(np.uint8)

    made = ProceduralRenderer().render(Photo("plate", image, "d" * 64), RenderRequest("missing_component", 0))

    assert made.parameters["form"] == "hollow"
    assert made.mask is not None
    assert made.image[made.mask > 0].mean() < 115


def test_nothing_changes_outside_the_region_that_the_user_gives() -> None:
    image, part = _disc()
    region = np.where(part, 255, 0).astype(np.uint8)
    region[:, :70] = 0

    made = ProceduralRenderer().render(Photo("disc", image, "e" * 64, region), RenderRequest("missing_component", 2))

    assert np.array_equal(made.image[region == 0], image[region == 0])


def test_the_same_order_takes_the_same_thing_away() -> None:
    image, _ = render_part(np.random.default_rng(4))
    photo = Photo("flange", image, "f" * 64)

    first, again = (ProceduralRenderer().render(photo, RenderRequest("missing_component", 5)) for _ in range(2))

    assert np.array_equal(first.image, again.image)
    assert first.parameters == again.parameters


def test_a_hole_of_the_part_that_is_to_be_missing_is_closed_not_widened() -> None:
    image, part = _disc()
    image[60:80, 60:80] = TABLE
    wanted = np.zeros(image.shape[:2], np.uint8)
    wanted[58:82, 58:82] = 255

    made = ProceduralRenderer().render(
        Photo("disc", image, "1" * 64), RenderRequest("missing_component", 1, mask=wanted)
    )

    assert part[58:82, 58:82].all()
    assert made.parameters["form"] == "component"
    assert made.image[65:75, 65:75].mean(axis=(0, 1)) == pytest.approx(np.array(PART), abs=15)


def test_what_breaks_off_takes_all_that_held_on_by_it() -> None:
    image = np.full((140, 200, 3), TABLE, np.uint8)
    cv2.rectangle(image, (20, 40), (110, 110), PART, -1)
    cv2.rectangle(image, (110, 70), (150, 80), PART, -1)
    cv2.rectangle(image, (150, 62), (170, 88), PART, -1)
    head = np.s_[62:89, 150:171]
    lost = []
    for seed in range(12):
        made = ProceduralRenderer().render(Photo("key", image, "2" * 64), RenderRequest("missing_component", seed))
        assert made.mask is not None
        if (made.mask[68:82, 125:135] > 0).all():
            lost.append((made.mask[head] > 0).mean())

    assert all(share > 0.8 for share in lost)
