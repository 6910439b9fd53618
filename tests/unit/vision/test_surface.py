from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defectory.vision.arrays import Image
from defectory.vision.surface import Surface, View


def picture(grey: np.ndarray) -> Image:
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, 2)


def apart(first: float, second: float, period: float) -> float:
    """How far two directions are apart."""
    return abs((first - second + period / 2) % period - period / 2)


@settings(max_examples=20, deadline=None)
@given(angle=st.floats(0, np.pi), seed=st.integers(0, 1000))
def test_the_grain_runs_along_the_stripes(angle: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:96, :96]
    across = yy * np.cos(angle) - xx * np.sin(angle)
    surface = Surface.of(picture(128 + 30 * np.sin(across * 0.9) + rng.normal(0, 4, (96, 96))))

    assert apart(surface.grain, angle, np.pi) < 0.06
    assert surface.grain_strength > 0.6


def test_noise_has_no_grain() -> None:
    noise = np.random.default_rng(0).normal(128, 20, (128, 128))

    assert Surface.of(picture(noise)).grain_strength < 0.1


@pytest.mark.parametrize("towards", np.arange(0, 2 * np.pi, np.pi / 4))
def test_the_light_comes_from_where_a_ball_is_bright(towards: float) -> None:
    yy, xx = (np.mgrid[:120, :120] - 60) / 45
    inside = np.hypot(xx, yy) < 1
    up = np.sqrt(np.maximum(1 - xx**2 - yy**2, 0))
    lit = np.maximum(0.6 * (xx * np.cos(towards) + yy * np.sin(towards)) + 0.8 * up, 0.05)
    ball = np.where(inside, 180 * lit, 30)

    surface = Surface.of(picture(ball), np.where(inside, 255, 0).astype(np.uint8))

    assert apart(surface.light, towards, 2 * np.pi) < 0.35
    assert surface.slant > 0.5


def test_where_nothing_tells_the_light_comes_from_above_on_the_left() -> None:
    surface = Surface.of(np.full((80, 80, 3), 120, np.uint8))

    assert surface.light == pytest.approx(-3 * np.pi / 4)


@pytest.mark.parametrize("sigma", [1.0, 3.0, 8.0])
def test_noise_is_measured_in_the_calmest_places(sigma: float) -> None:
    rng = np.random.default_rng(0)
    grey = 120 + rng.normal(0, sigma, (128, 128))
    grey[:40] += 60 * (np.indices((40, 128)).sum(0) // 4 % 2)  # a pattern, not noise

    assert Surface.of(picture(grey)).noise == pytest.approx(sigma, rel=0.25)


@pytest.mark.parametrize("blur", [1.0, 1.8, 3.0])
def test_sharpness_is_the_blur_of_the_sharpest_edges(blur: float) -> None:
    grey = np.full((128, 128), 60, np.float32)
    grey[30:90, 40:100] = 190

    surface = Surface.of(picture(np.rint(cv2.GaussianBlur(grey, (0, 0), blur))))

    assert surface.sharpness == pytest.approx(blur, rel=0.2)


def test_a_place_may_differ_from_the_rest() -> None:
    rng = np.random.default_rng(0)
    grey = np.full((100, 200), 120.0)
    grey[:, 100:] += rng.normal(0, 6, (100, 100))
    image = picture(grey)

    calm, noisy = Surface.of(image, box=(10, 10, 70, 70)), Surface.of(image, box=(115, 10, 70, 70))

    assert calm.noise < 1 < 4 < noisy.noise
    assert calm.roughness == 0 < noisy.roughness


def test_tone_is_how_colours_change_with_the_light() -> None:
    light = np.linspace(0.15, 0.9, 128)[None, :].repeat(64, 0)
    colours = np.stack([0.9 * light**0.8, 0.6 * light, 0.3 * light**1.5], 2)

    surface = Surface.of(np.rint(255 * colours ** (1 / 2.2)).astype(np.uint8))

    red, green, blue = surface.tone
    assert red < green < blue
    assert blue - red == pytest.approx(0.7, abs=0.15)


@pytest.mark.parametrize("angle", [0.0, 0.7, 1.5, 2.4])
def test_a_round_part_that_looks_like_an_ellipse_is_seen_obliquely(angle: float) -> None:
    part = np.zeros((200, 260), np.uint8)
    cv2.ellipse(part, ((130, 100), (100, 160), np.degrees(angle)), 255, -1)
    cv2.ellipse(part, ((130, 100), (30, 48), np.degrees(angle)), 0, -1)

    view = View.of(part)

    assert view.ratio == pytest.approx(100 / 160, abs=0.04)
    assert apart(view.angle, angle, np.pi) < 0.06


@pytest.mark.parametrize("name", ["disc", "plate", "all of the photo", "blot"])
def test_other_parts_tell_nothing_of_the_view(name: str) -> None:
    part = np.zeros((200, 260), np.uint8)
    if name == "disc":
        cv2.circle(part, (130, 100), 70, 255, -1)
    elif name == "plate":
        cv2.rectangle(part, (40, 60), (220, 140), 255, -1)
    elif name == "blot":
        for x, y, size in ((90, 100, 40), (140, 90, 30), (170, 120, 35)):
            cv2.circle(part, (x, y), size, 255, -1)
    else:
        part[:] = 255

    assert View.of(part) == View()
