"""Masks: colours become classes, whatever the annotation tool made of edges and background."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from defectory.datasets import ImageRecord, read_classes, read_mask
from defectory.datasets.masks import UNNAMED, parse_colour
from defectory.errors import ImageError, InputError
from defectory.vision.images import encode_png

GREEN, RED = "#23A436", "#d62728"


@pytest.fixture
def record(tmp_path):
    """An anomaly whose mask has these pixels."""

    def make(pixels, colour_map=None, classes=()):
        path = tmp_path / "mask.png"
        path.write_bytes(pixels if isinstance(pixels, bytes) else encode_png(np.asarray(pixels, np.uint8)))
        return ImageRecord(tmp_path / "image.png", "anomaly", classes, path, colour_map or {})

    return make


def canvas(colour, size=8):
    return np.tile(np.array(colour, np.uint8), (size, size, 1))


def test_a_palette_mask_with_transparent_background_and_soft_edges(record):
    # Given a mask as the console of Lookout for Vision wrote it: no BACKGROUND, key 0 a real class
    pixels = canvas((0, 0, 0, 0))
    pixels[2:6, 2:6] = (*parse_colour(GREEN), 255)
    pixels[2, 2:6] = (*parse_colour(GREEN), 200)
    pixels[5, 2:6] = (*parse_colour(GREEN), 3)
    content = io.BytesIO()
    Image.fromarray(pixels).quantize(8).save(content, "PNG")
    # When it is read
    classes = read_classes(record(content.getvalue(), {"cracked": GREEN}, ("cracked",)))
    # Then what is more opaque than not is the class
    expected = np.zeros((8, 8), np.uint8)
    expected[2:5, 2:6] = 1
    assert np.array_equal(classes, expected)


@pytest.mark.parametrize("background", [(0, 0, 0), (255, 255, 255)])
def test_unmapped_black_and_white_are_background(record, background):
    pixels = canvas(background)
    pixels[0] = parse_colour(RED)
    assert np.array_equal(np.unique(read_classes(record(pixels, {"dent": RED}, ("dent",)))), [0, 1])


@pytest.mark.parametrize("name", ["BACKGROUND", "background", "Background"])
def test_the_mapped_background_is_none_of_the_classes(record, name):
    pixels = canvas((120, 120, 200))
    pixels[0] = parse_colour(RED)
    classes = read_classes(record(pixels, {name: "#7878c8", "dent": RED}, ("dent",)))
    assert (classes[0] == 1).all()
    assert not classes[1:].any()


def test_black_or_white_may_be_a_class(record):
    pixels = canvas((255, 255, 255))
    pixels[0] = 0
    assert (read_classes(record(pixels, {"hole": "#000000"}, ("hole",)))[0] == 1).all()


def test_edges_between_colours_go_to_the_nearest(record):
    pixels = canvas((255, 255, 255))
    pixels[0], pixels[1], pixels[2] = (214, 39, 40), (220, 70, 70), (250, 230, 230)
    classes = read_classes(record(pixels, {"dent": RED}, ("dent",)))
    assert classes[:3, 0].tolist() == [1, 1, 0]


def test_classes_are_numbered_as_asked(record):
    pixels = canvas((255, 255, 255))
    pixels[0], pixels[1] = parse_colour(RED), parse_colour(GREEN)
    anomaly = record(pixels, {"dent": RED, "crack": GREEN}, ("dent", "crack"))
    assert read_classes(anomaly)[:2, 0].tolist() == [1, 2]
    assert read_classes(anomaly, ["a", "crack", "dent"])[:2, 0].tolist() == [3, 2]
    assert read_classes(anomaly, ["crack"])[:2, 0].tolist() == [UNNAMED, 1]
    assert read_mask(anomaly)[:3, 0].tolist() == [255, 255, 0]


@pytest.mark.parametrize(("classes", "number"), [((), UNNAMED), (("dent",), 1), (("dent", "crack"), UNNAMED)])
def test_without_a_colour_map_bright_is_the_only_class(record, classes, number):
    pixels = np.zeros((8, 8), np.uint8)
    pixels[0], pixels[1], pixels[2] = 255, 128, 127
    assert read_classes(record(pixels, classes=classes))[:4, 0].tolist() == [number, number, 0, 0]


def test_a_sixteen_bit_mask_is_read_too(record):
    content = io.BytesIO()
    Image.fromarray(np.full((8, 8), 65535, np.uint16)).save(content, "PNG")
    assert (read_mask(record(content.getvalue())) == 255).all()


def test_an_image_without_mask_has_none(tmp_path):
    assert read_classes(ImageRecord(tmp_path / "a.png")) is None
    assert read_mask(ImageRecord(tmp_path / "a.png")) is None


def test_a_broken_mask_and_a_broken_colour_are_named(record):
    with pytest.raises(ImageError, match=r"mask\.png"):
        read_mask(record(b"no image"))
    for colour in ("red", "#12345", "#12 45 ", "#1234567", ""):
        with pytest.raises(InputError, match="#rrggbb"):
            read_mask(record(canvas((0, 0, 0)), {"dent": colour}))


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_every_pixel_of_a_class_s_own_colour_is_of_that_class(tmp_path_factory, seed, count):
    # Given distinct colours and a mask that shows them anywhere
    rng = np.random.default_rng(seed)
    codes = rng.choice(2**24, count, replace=False)
    colours = {f"class {number}": f"#{code:06x}" for number, code in enumerate(codes)}
    truth = rng.integers(1, count + 1, (8, 8))
    table = np.array([(0, 0, 0), *map(parse_colour, colours.values())], np.uint8)
    path = tmp_path_factory.mktemp("masks") / "mask.png"
    path.write_bytes(encode_png(table[truth]))
    # When it is read with them, then they come back
    record = ImageRecord(path, "anomaly", tuple(colours), path, colours)
    assert np.array_equal(read_classes(record), truth)
