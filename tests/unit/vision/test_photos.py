"""Photos and masks: every form that files have, and every reason to refuse one."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from defectory.errors import ImageError, InputError
from defectory.vision.images import encode_png
from defectory.vision.photos import Photo, load_mask, load_photo, load_region


@pytest.fixture
def photo() -> Photo:
    return Photo("part.png", np.full((80, 120, 3), 90, np.uint8), "0" * 64)


def png(image: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return content.getvalue()


def marked(level: int = 255, height: int = 80, width: int = 120, side: float = 0.25) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[: round(height * side), : round(width * side)] = level
    return mask


@pytest.mark.parametrize(
    "content",
    [
        png(np.full((70, 64), 90, np.uint8)),
        png(np.full((70, 64), 90 * 257, np.uint16)),
        png(np.full((70, 64, 4), (90, 90, 90, 255), np.uint8)),
    ],
    ids=["grey", "16 bits", "alpha"],
)
def test_whatever_a_photo_is_stored_as_it_is_rgb(content):
    loaded = load_photo(content, name="part.png")
    assert loaded.image.shape == (70, 64, 3)
    assert np.abs(loaded.image.astype(int) - 90).max() <= 1


def test_a_photo_is_known_by_its_file(tmp_path):
    (tmp_path / "a.png").write_bytes(png(np.zeros((64, 64, 3), np.uint8)))
    one, other = load_photo(tmp_path / "a.png"), load_photo((tmp_path / "a.png").read_bytes(), name="b")
    assert one.digest == other.digest
    assert (one.name, other.name) == (str(tmp_path / "a.png"), "b")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(np.zeros((63, 90, 3), np.uint8)), "at least 64 pixels.*90 x 63"),
        (png(np.zeros((64, 8001), np.uint8)), "at most 8000 pixels.*8001 x 64"),
        (b"hello", "must be an image"),
        (png(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))[:3000], "to its end"),
        (b"", "an empty file"),
    ],
    ids=["small", "large", "no image", "truncated", "empty"],
)
def test_a_photo_that_cannot_be_worked_on_is_named(content, message):
    with pytest.raises(ImageError, match=f"part.png.*{message}"):
        load_photo(content, name="part.png")


def test_a_missing_photo_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"none\.png"):
        load_photo(tmp_path / "none.png")


def test_soft_edges_of_a_mask_are_cut_in_the_middle(photo):
    mask = marked()
    mask[0, :3] = (127, 128, 200)
    assert load_mask(encode_png(mask), photo)[0, :4].tolist() == [0, 255, 255, 255]


def test_transparent_places_are_not_marked(photo):
    layers = np.dstack([marked()] * 3 + [np.full((80, 120), 255, np.uint8)])
    layers[0, :5, 3] = 0
    assert load_mask(png(layers), photo)[0, :6].tolist() == [0, 0, 0, 0, 0, 255]


@pytest.mark.parametrize("factor", [0.5, 3])
def test_a_mask_of_the_same_aspect_is_stretched(photo, factor):
    mask = load_mask(encode_png(marked(height=round(80 * factor), width=round(120 * factor))), photo)
    assert mask.shape == (80, 120)
    assert set(np.unique(mask)) == {0, 255}
    assert (mask > 0).mean() == pytest.approx(0.0625, abs=0.01)


def test_a_line_of_a_pixel_survives_the_reduction(photo):
    mask = np.zeros((320, 480), np.uint8)
    mask[100:102] = 255
    assert load_mask(encode_png(mask), photo).any(axis=0).all()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (marked(0), "an empty one"),
        (marked(1), "nothing brighter than 1 of 255"),
        (marked(side=1), "inverted"),
        (255 - marked(), "94% marked"),
        (marked(height=120, width=80), "120 x 80.*80 x 120"),
    ],
    ids=["empty", "0 and 1", "full", "inverted", "another size"],
)
def test_a_mask_that_says_no_place_is_refused(photo, mask, message):
    with pytest.raises(InputError, match=f"mask.png.*{message}"):
        load_mask(encode_png(mask), photo, name="mask.png")


def test_defects_may_be_anywhere(photo):
    assert load_region(encode_png(marked(side=1)), photo).all()
    with pytest.raises(InputError, match="an empty one"):
        load_region(encode_png(marked(0)), photo)
