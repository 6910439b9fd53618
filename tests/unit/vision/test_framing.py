"""Sizes: every image is laid out as its model takes it, and what the model makes comes back as the image was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defectory.vision.framing import Frame, ModelLimits

STABILITY = ModelLimits(max_side=4096, max_pixels=4_194_304, max_ratio=2.5, multiple=1)
SIXTEENS = ModelLimits(max_side=4096, max_pixels=4_194_304, max_ratio=2.5, multiple=16)
SQUARE = ModelLimits(max_side=1024, max_pixels=1024 * 1024, max_ratio=1, multiple=64)
LIMITS = (STABILITY, SIXTEENS, SQUARE)


def frame_of(width, height, limits):
    return Frame.of((width, height), limits)


@given(width=st.integers(8, 12_000), height=st.integers(8, 12_000), limits=st.sampled_from(LIMITS))
@settings(deadline=None)
def test_what_is_sent_keeps_to_the_limits(width, height, limits):
    sent = frame_of(width, height, limits).sent

    assert min(sent) >= 320
    assert max(sent) <= limits.max_side
    assert sent[0] * sent[1] <= limits.max_pixels
    assert max(sent) <= limits.max_ratio * min(sent) + 2.5 * limits.multiple
    assert all(side % limits.multiple == 0 for side in sent)


@given(
    width=st.integers(8, 700), height=st.integers(8, 700), limits=st.sampled_from([STABILITY, SQUARE]), data=st.data()
)
@settings(max_examples=25, deadline=None)
def test_a_mark_is_found_again_where_it_was(width, height, limits, data):
    _check_mark(width, height, limits, data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1)))


def test_a_mark_does_not_fall_between_the_pixels_of_a_slightly_larger_mask():
    _check_mark(428, 17, SQUARE, 10, 0)


def _check_mark(width, height, limits, x, y):
    mask = np.zeros((height, width), np.uint8)
    mask[y, x] = 255
    frame = frame_of(width, height, limits)

    sent = frame.lay_out_mask(mask)
    back = frame.restore(np.repeat(sent[..., None], 3, axis=2))

    assert sent.shape[::-1] == frame.sent
    assert set(np.unique(sent)) == {0, 255}
    assert back.shape == (height, width, 3)
    found = np.unravel_index(back[..., 0].argmax(), mask.shape)
    assert found == pytest.approx((y, x), abs=1.5)


def test_what_suits_already_is_sent_as_it_is():
    image = np.random.default_rng(0).integers(0, 255, (600, 800, 3), np.uint8)
    frame = Frame.of((800, 600), STABILITY)

    assert np.array_equal(frame.lay_out(image), image)
    assert np.array_equal(frame.restore(image), image)


def test_a_large_image_keeps_its_aspect_and_fits_a_request_as_png_in_base64():
    width, height = frame_of(8000, 5000, STABILITY).sent

    assert width / height == pytest.approx(1.6, rel=0.01)
    assert width * height * 3 * 4 / 3 < 20_000_000


def test_a_stroke_thinner_than_a_pixel_of_what_is_sent_is_not_lost():
    mask = np.zeros((900, 1500), np.uint8)
    mask[501, 250:1250] = 255

    sent = frame_of(1500, 900, ModelLimits(4096, 250_000, max_ratio=2.5, multiple=1)).lay_out_mask(mask)

    assert sent.shape[1] < 700
    assert sent.any(axis=0).sum() == pytest.approx(sent.shape[1] * 2 / 3, rel=0.01)


def test_what_is_added_to_a_long_image_is_its_mirror_image_and_nothing_is_to_be_painted_there():
    image = np.repeat(np.arange(20, dtype=np.uint8)[:, None], 200, axis=1)[..., None].repeat(3, axis=2) * 10
    frame = Frame.of(
        (200, 20), ModelLimits(max_side=4096, max_pixels=4_194_304, max_ratio=2.5, multiple=1, working_side=80)
    )

    sent = frame.lay_out(image)

    assert sent.shape[:2] == (80, 200)
    assert np.array_equal(sent[30:50], image)
    assert np.array_equal(sent[20:30], image[:10][::-1])
    assert not frame.lay_out_mask(np.full((20, 200), 255, np.uint8))[:29].any()
