"""Images: any photo becomes upright RGB; anything else becomes an ImageError that says what to do."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from defectory.errors import ImageError
from defectory.vision.images import (
    colour_heatmap,
    encode_jpeg,
    encode_png,
    heatmap_overlay,
    image_size,
    load_image,
    load_rgba,
)

ORIENTATION = 0x0112
WRITERS = {"PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), "TIFF": ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16")}
PHOTOS = [("JPEG", "L"), ("JPEG", "RGB"), ("JPEG", "CMYK"), ("BMP", "RGB"), ("WEBP", "RGBA"), ("GIF", "P")]
FORMS = [(kind, mode) for kind, modes in WRITERS.items() for mode in modes] + PHOTOS


def gradient(width: int = 24, height: int = 16) -> Image.Image:
    """A photo that looks different from every side."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([red, green, np.full_like(red, 90)], axis=2).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def in_mode(mode: str, image: Image.Image) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return image.convert(mode)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize(("kind", "mode"), FORMS)
@given(width=st.integers(8, 40), height=st.integers(8, 40))
@settings(max_examples=8, deadline=None)
def test_every_format_and_mode_becomes_rgb_of_the_same_size(kind: str, mode: str, width: int, height: int):
    image = in_mode(mode, gradient(width, height))
    loaded = load_image(encoded(image, kind))
    assert loaded.shape == (height, width, 3)
    assert loaded.dtype == np.uint8
    assert loaded.flags.writeable
    if mode not in ("1", "P"):
        expected = np.asarray(gradient(width, height).convert("L" if mode in ("L", "LA", "I;16") else "RGB"))
        seen = loaded[..., 0] if expected.ndim == 2 else loaded
        assert np.abs(seen.astype(int) - expected).mean() < (20 if kind in ("JPEG", "WEBP") else 1)


def test_sixteen_bits_are_scaled_by_the_full_range():
    # Given a dark 16-bit image: its own range must not be stretched
    values = np.full((8, 8), 257 * 10, np.uint16)
    assert (load_image(encoded(Image.fromarray(values), "PNG")) == 10).all()


def test_thirty_two_bits_are_refused_not_cut():
    for values in (np.full((8, 8), 70_000, np.int32), np.full((8, 8), 0.5, np.float32)):
        with pytest.raises(ImageError, match="16-bit PNG"):
            load_image(encoded(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_over_white(mode: str):
    black = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    black.putpixel((0, 0), (0, 0, 0, 255))
    loaded = load_image(encoded(black.convert(mode), "PNG"))
    assert (loaded[0, 0] == 0).all()
    assert (loaded[1:, 1:] == 255).all()


@pytest.mark.parametrize("mode", ["RGB", "I;16"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_image_upright(orientation: int, mode: str):
    # Given the image as a camera held differently stores it
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    upright = in_mode(mode, gradient())
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    # When it is loaded, then it is as it was seen
    assert np.array_equal(load_image(encoded(stored, "PNG", exif=exif)), load_image(encoded(upright, "PNG")))
    assert image_size(encoded(stored, "PNG", exif=exif)) == upright.size


def test_a_phone_s_photo_with_a_preview_is_one_still_image():
    content = io.BytesIO()
    gradient().save(content, "MPO", save_all=True, append_images=[gradient(8, 8)])
    assert load_image(content.getvalue()).shape == (16, 24, 3)


def test_the_content_decides_not_the_suffix(tmp_path: Path):
    file = tmp_path / "Größe 100% + 検査.JPG"
    file.write_bytes(encoded(gradient(), "PNG"))
    assert load_image(file).shape == (16, 24, 3)


def huge_png() -> bytes:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def animation(kind: str) -> bytes:
    return encoded(gradient(), kind, save_all=True, append_images=[Image.new("RGB", (24, 16), "red")])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"\0" * 100, "another kind of file"),
        (b"hello, I am a text", "another kind of file"),
        (b"\xff\xd8\xff", "another kind of file|to its end"),
        (b'<?xml version="1.0"?><SVG xmlns="..."/>', "an SVG drawing"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (huge_png(), "at most 100 megapixels"),
        (encoded(Image.new("1", (10_001, 10_000)), "PNG"), "at most 100 megapixels, got '10001 x 10000'"),
        (encoded(Image.new("RGB", (1, 1)), "PNG"), "at least 8 pixels"),
        (encoded(Image.new("RGB", (7, 900)), "PNG"), "at least 8 pixels"),
        (animation("GIF"), "one still image"),
        (animation("PNG"), "one still image"),
        (animation("WEBP"), "one still image"),
        (animation("TIFF"), "one still image"),
        (encoded(gradient(200, 200), "PNG")[:-60], "to its end"),
        (encoded(gradient(200, 200), "JPEG")[:-900], "to its end"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_cannot_be_inspected_is_refused_with_name_rule_and_fix(content: bytes, message: str):
    with pytest.raises(ImageError, match=message) as refused:
        load_image(content, name="line 3/part 7.png")
    assert str(refused.value).startswith("line 3/part 7.png: must be ")
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("name", [".", "missing.png", "x" * 1000 + ".png", "nul\0.png"])
def test_a_path_that_is_no_file_is_refused(tmp_path: Path, name: str):
    with pytest.raises(ImageError, match="must be"):
        load_image(tmp_path / name)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "MPO"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_hostile_bytes_end_in_an_image_or_an_image_error(kind: str, data: st.DataObject):
    # Given a real file with bytes changed, taken away or added anywhere
    options = {"save_all": True, "append_images": [gradient()]} if kind == "MPO" else {}
    content = bytearray(encoded(gradient(), kind, **options))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=30))
        content = content or bytearray(b"\0")
    # When it is loaded, then nothing else than these two comes of it
    try:
        loaded = load_image(bytes(content))
    except ImageError as error:
        assert "must be" in str(error)
    else:
        assert loaded.dtype == np.uint8
        assert loaded.ndim == 3


@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([(), (3,), (4,)]), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_png_keeps_every_pixel(height: int, width: int, channels: tuple[int, ...], seed: int):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, *channels), np.uint8)
    with Image.open(io.BytesIO(encode_png(image))) as decoded:
        assert np.array_equal(np.asarray(decoded), image)


def test_jpeg_keeps_what_is_seen():
    image = load_image(encoded(gradient(), "PNG"))
    content = encode_jpeg(image)
    assert np.abs(load_image(content).astype(int) - image).mean() < 5
    assert len(encode_jpeg(image, quality=20)) < len(content)


def test_heat_goes_from_black_over_blue_and_green_to_red():
    cold, cool, middle, hot = colour_heatmap(np.array([[-1.0, 0.15, 0.5, 2.0]]))[0].astype(int)
    assert cold.max() < 64
    assert cool.argmax() == 2
    assert middle.argmax() == 1
    assert hot.argmax() == 0
    assert hot[0] > hot[2] + 80


def test_the_overlay_marks_the_hot_place_and_leaves_the_cold_ones():
    # Given a grey image and heat in one corner of a smaller heatmap
    image = np.full((32, 48, 3), 128, np.uint8)
    heat = np.zeros((8, 12), np.float32)
    heat[:2, :2] = 1
    # When they are laid over each other
    overlay = heatmap_overlay(image, heat, opacity=0.5)
    # Then only that corner has colour, half of it at this opacity
    assert overlay.shape == image.shape
    assert np.array_equal(overlay[16:, 16:], image[16:, 16:])
    assert np.allclose(overlay[0, 0], 64 + colour_heatmap(np.ones((1, 1)))[0, 0] / 2, atol=1)
    assert np.array_equal(heatmap_overlay(image, heat, opacity=0), image)


def test_a_mask_keeps_its_transparency():
    mask = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    mask.putpixel((2, 1), (35, 164, 54, 200))
    loaded = load_rgba(encoded(mask.quantize(4), "PNG"))
    assert tuple(loaded[1, 2]) == (35, 164, 54, 200)
    assert not loaded[..., 3][loaded[..., 1] == 0].any()
    assert (load_rgba(encoded(gradient(), "PNG"))[..., 3] == 255).all()
