"""How a photo shows a surface: light, grain, sharpness and noise, so that a defect can be made to the same measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from defectory.vision.arrays import Field, Image, Mask
from defectory.vision.blending import blurred

_SIDE = 256
_FACE_ON = 0.93  # what is rounder is taken for round: outlines are not found to the pixel
_EDGES_WITHIN = 256  # pixels; a smaller place may have no edge to tell the sharpness by
_FROM_ABOVE_LEFT = -3 * np.pi / 4
"""What eyes take for granted where a picture does not tell (Kleffner & Ramachandran, 1992)."""


@dataclass(frozen=True, slots=True)
class Lamp:
    """The light of a photo; the same everywhere in it.  See `Surface` for the values."""

    direction: float
    slant: float
    gloss: float

    @classmethod
    def of(cls, image: Image, part: Mask) -> Lamp:
        """Measure the light on ``part`` of ``image``."""
        return cls(*_light(image, part))


@dataclass(frozen=True, slots=True)
class View:
    """How obliquely a part is seen.

    ``ratio`` is how much shorter lengths look along ``angle`` (radians, 0 = right, pi / 2 = down) than across it; 1
    where the camera looks straight at the part, or nothing tells.
    """

    ratio: float = 1.0
    angle: float = 0.0

    @classmethod
    def of(cls, part: Mask) -> View:
        """Round outlines and holes that look like ellipses tell it; other shapes tell nothing."""
        factor = min(1.0, _SIDE / max(part.shape))
        size = max(1, round(part.shape[1] * factor)), max(1, round(part.shape[0] * factor))
        small = np.where(cv2.resize(part, size, interpolation=cv2.INTER_AREA) > 127, 255, 0).astype(np.uint8)
        outlines, _ = cv2.findContours(np.pad(small, 1), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        ellipses = [
            cv2.fitEllipse(outline) for outline in outlines if cv2.contourArea(outline) > 120 and _round(outline)
        ]
        if not ellipses:
            return cls()
        _, (across, along), degrees = max(ellipses, key=lambda ellipse: ellipse[1][0] * ellipse[1][1])
        ratio = min(across, along) / max(across, along)
        if ratio > _FACE_ON:
            return cls()
        return cls(float(ratio), float(np.radians(degrees if across < along else degrees + 90) % np.pi))


@dataclass(frozen=True, slots=True)
class Surface:
    """What `Surface.of` sees.

    Attributes:
        light: the direction towards the light, in radians; 0 = right, pi / 2 = down (as in pixels).
        slant: 0 (the light comes along the camera's axis: relief throws no shade) .. 1 (raking light).
        grain: the direction along the grain (brushing, turning marks, fibres), 0..pi, as ``light``.
        grain_strength: 0 (none) .. 1 (all structure runs one way).
        noise: standard deviation of the camera's noise, in grey levels of 255.
        sharpness: standard deviation of the blur of edges, in pixels; 0.5 = as sharp as pixels can show.
        contrast: standard deviation of the surface's own structure, in grey levels of 255, noise included.
        roughness: 0 (smooth, or structured along its grain alone) .. 1 (crumbs and pores all over).
        gloss: 0 (matt) .. 1 (gleams are burnt out).
        tone: how fast red, green and blue darken with the light, about 1 each: shaded cookies turn brown, not grey.
    """

    light: float
    slant: float
    grain: float
    grain_strength: float
    noise: float
    sharpness: float
    contrast: float
    roughness: float
    gloss: float
    tone: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @classmethod
    def of(
        cls,
        image: Image,
        part: Mask | None = None,
        box: tuple[int, int, int, int] | None = None,
        lamp: Lamp | None = None,
    ) -> Surface:
        """Measure the surface of ``part``.

        Args:
            image: uint8 RGB of shape ``(h, w, 3)``.
            part: 255 where the part is; None: everywhere.
            box: left, top, width, height of the place to measure grain, noise, sharpness and contrast in, as they
                differ from place to place; None: everywhere.  Light and gloss are always those of the whole.
            lamp: the photo's light, where it is known already.
        """
        if part is None:
            part = np.full(image.shape[:2], 255, np.uint8)
        left, top, width, height = box or (0, 0, image.shape[1], image.shape[0])
        place = np.s_[top : top + height, left : left + width]
        grey = cv2.cvtColor(np.ascontiguousarray(image[place]), cv2.COLOR_RGB2GRAY).astype(np.float32)
        within = part[place] > 0
        if not within.any():
            within = np.ones(grey.shape, bool)
        lamp = lamp or Lamp.of(image, part)
        grain, strength = _grain(grey, within)
        return cls(
            lamp.direction,
            lamp.slant,
            grain,
            strength,
            _noise(grey, within),
            _sharpness(image, (left, top, width, height)),
            _contrast(grey, within),
            _roughness(grey, within),
            lamp.gloss,
            _tone(*_wider(image, part, (left, top, width, height))),
        )


def grain_of(image: Image, part: Mask) -> tuple[float, float]:
    """The grain's direction, 0..pi, and strength, 0..1, as in `Surface`, of a place given as a cut-out."""
    return _grain(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY).astype(np.float32), part > 0)


def _light(image: Image, part: Mask) -> tuple[float, float, float]:
    """Direction, slant and gloss.

    Glossy parts mirror the lamp.  Else, parts bulge: their rim is brighter where it faces the light, and the whole face
    brightens towards it (after Nillius & Eklundh, "Automatic estimation of the projected light source direction",
    2001).  Where both tell little, the light is taken to come from above on the left.
    """
    factor = min(1.0, _SIDE / max(part.shape))
    size = max(1, round(part.shape[1] * factor)), max(1, round(part.shape[0] * factor))
    step = max(1, int(0.25 / factor))  # of very large photos, a part of the pixels tells as much
    shrunk = cv2.resize(image[::step, ::step], size, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(shrunk, cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA) > 127
    if not small.any():
        small[:] = True
    pixels = grey[small]
    gloss = float(np.clip((np.percentile(pixels, 99.5) - np.median(pixels) - 20) / (255 - np.median(pixels) + 1), 0, 1))
    smooth = np.asarray(cv2.GaussianBlur(grey, (0, 0), 2), np.float32)
    towards, doubt = _gleams(grey, small), 0.15
    if towards is None:
        towards, doubt = _plane(smooth, small) + _rim(smooth, small), 0.02
    strength = float(np.hypot(*towards))
    towards = towards + doubt * np.array([np.cos(_FROM_ABOVE_LEFT), np.sin(_FROM_ABOVE_LEFT)])
    return float(np.arctan2(towards[1], towards[0])), float(np.clip(0.35 + 2.5 * strength, 0.35, 0.9)), gloss


def _gleams(grey: Field, part: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """Where glossy parts gleam they mirror the lamp: on their backs when it is beside the camera, on a flank else.

    None where nothing gleams.
    """
    if part.all():
        return None
    depth = cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5)
    gleams = (grey > 228) & (depth > 3) & (grey > np.median(grey[part]) + 40)
    if gleams.sum() < max(8, 0.001 * part.sum()):
        return None
    smooth = cv2.GaussianBlur(depth, (0, 0), 2.5)
    x, y = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
    return -0.25 * np.array([x[gleams].mean(), y[gleams].mean()], np.float64)


def _plane(grey: Field, part: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How much the face brightens from its centre to its edge, by direction, as a share of its brightness."""
    ys, xs = np.nonzero(part)
    values = grey[ys, xs]
    low, high = np.percentile(values, (5, 95))
    values = np.clip(values, low, high)  # gleams and holes say little of where the light is
    x, y = (xs - xs.mean()) / (xs.std() + 1), (ys - ys.mean()) / (ys.std() + 1)
    steps = np.stack([np.ones_like(x), x, y], 1)
    fit = np.linalg.lstsq(steps, values, rcond=None)[0]
    return np.asarray(fit[1:] / (values.mean() + 1))


def _rim(grey: Field, part: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How much brighter the rim is that faces a direction, as a share of its brightness."""
    if part.all():
        return np.zeros(2)
    depth = cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5)
    slope_x, slope_y = cv2.Sobel(depth, cv2.CV_32F, 1, 0, ksize=5), cv2.Sobel(depth, cv2.CV_32F, 0, 1, ksize=5)
    rim = (depth > 1.5) & (depth < 6) & (np.hypot(slope_x, slope_y) > 1e-3)
    if rim.sum() < 50:
        return np.zeros(2)
    normals = -np.stack([slope_x[rim], slope_y[rim]], 1) / np.hypot(slope_x[rim], slope_y[rim])[:, None]
    steps = np.column_stack([np.ones(len(normals)), normals])
    fit = np.linalg.lstsq(steps, grey[rim], rcond=None)[0]
    return np.asarray(fit[1:] / (grey[rim].mean() + 1))


def _grain(grey: Field, within: NDArray[np.bool_]) -> tuple[float, float]:
    """Direction and strength by the structure tensor (Bigun & Granlund, 1987), without the part's own outline."""
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.0)
    x, y = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    interior = cv2.erode(within.astype(np.uint8), np.ones((7, 7), np.uint8), borderValue=1) > 0
    if interior.sum() < 64:
        interior = within
    # A few strong edges (print, holes) are not the grain: every gradient counts as at most a usual one.
    length = np.hypot(x, y)
    weight = np.minimum(1, (2 * np.median(length[interior]) + 1e-6) / (length + 1e-6)) * interior
    x, y = x * weight, y * weight
    xx, yy, xy = float((x * x).mean()), float((y * y).mean()), float((x * y).mean())
    across = 0.5 * np.arctan2(2 * xy, xx - yy)
    strength = np.hypot(xx - yy, 2 * xy) / (xx + yy + 1e-6)
    return float((across + np.pi / 2) % np.pi), float(strength)


def _noise(grey: Field, within: NDArray[np.bool_]) -> float:
    """After Immerkaer, "Fast Noise Variance Estimation" (1996), in the calmest places instead of everywhere."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(grey, cv2.CV_32F, kernel))
    local = cv2.blur(response, (9, 9))
    return float(np.percentile(local[within], 15) * np.sqrt(np.pi / 2) / 6)


def _sharpness(image: Image, box: tuple[int, int, int, int]) -> float:
    """After Zhuo & Sim, "Defocus map estimation from a single image" (2011), of the sharpest edges in or near ``box``.

    Blurring an edge once more weakens it by the less, the more it is blurred already.
    """
    left, top, width, height = box
    aside, above = max(0, (_EDGES_WITHIN - width) // 2), max(0, (_EDGES_WITHIN - height) // 2)
    place = image[max(0, top - above) : top + height + above, max(0, left - aside) : left + width + aside]
    grey = cv2.cvtColor(np.ascontiguousarray(place), cv2.COLOR_RGB2GRAY).astype(np.float32)
    again = 1.0
    first = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    blurred = cv2.GaussianBlur(grey, (0, 0), again)
    second = np.hypot(cv2.Sobel(blurred, cv2.CV_32F, 1, 0), cv2.Sobel(blurred, cv2.CV_32F, 0, 1))
    edges = first > max(20.0, float(np.percentile(first, 95)))
    if edges.sum() < 10:
        return 0.8
    ratio = float(np.percentile(first[edges] / (second[edges] + 1e-3), 80))
    blur = again**2 / max(ratio**2 - 1, 1e-3) - 0.5  # half a pixel's variance is the gradient filter's own
    return float(np.sqrt(np.clip(blur, 0.25, 16)))


def _contrast(grey: Field, within: NDArray[np.bool_]) -> float:
    """Structure finer than a sixteenth of the place."""
    coarse = blurred(grey, max(2.0, min(grey.shape) / 16))
    structure = np.abs(grey - coarse)[within]
    return float(1.4826 * np.median(structure))


def _round(outline: NDArray[Any]) -> bool:
    """Whether an outline is an ellipse's, to a few hundredths."""
    if len(outline) < 12:
        return False
    left, top, width, height = cv2.boundingRect(outline)
    drawn_outline, ideal = np.zeros((2, height + 8, width + 8), np.uint8)
    offset = np.array([4 - left, 4 - top], np.int32)
    cv2.drawContours(drawn_outline, [outline + offset], -1, 1, -1)
    (x, y), axes, angle = cv2.fitEllipse(outline)
    cv2.ellipse(ideal, ((x + 4 - left, y + 4 - top), axes, angle), 1, -1)
    return bool((drawn_outline & ideal).sum() > 0.96 * (drawn_outline | ideal).sum())


def _roughness(grey: Field, within: NDArray[np.bool_]) -> float:
    """Structure of a few pixels, such as nearly everywhere has, 0..1; grooves that run alike nearby do not count."""
    fine = cv2.blur(np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 2.5)), (9, 9))
    x, y = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    xx, yy, xy = (cv2.GaussianBlur(product, (0, 0), 4) for product in (x * x, y * y, x * y))
    alike = float((np.hypot(xx - yy, 2 * xy) / (xx + yy + 1e-3))[within].mean())
    grooved = np.clip((alike - 0.35) / 0.35, 0, 1)
    return float(np.clip((1.25 * np.percentile(fine[within], 25) - 2.5) / 9, 0, 1) * (1 - grooved))


def _wider(image: Image, part: Mask, box: tuple[int, int, int, int]) -> tuple[Image, NDArray[np.bool_]]:
    """The surroundings of ``box``: a place alone may lie all in one light."""
    left, top, width, height = box
    place = np.s_[max(0, top - height) : top + 2 * height, max(0, left - width) : left + 2 * width]
    step = max(1, max(width, height) // 128)
    pixels, within = image[place][::step, ::step], part[place][::step, ::step] > 0
    return pixels, within if within.any() else np.ones(within.shape, bool)


def _tone(image: Image, within: NDArray[np.bool_]) -> tuple[float, float, float]:
    """The slopes of each channel's light over all channels' light, both as logarithms, of the surface's darker half.

    Cameras and light from the surroundings change colours with the light: this is the way that this photo does it.
    """
    pixels = image[within]
    pixels = pixels[:: max(1, len(pixels) // 4000)].astype(np.float64)
    logs = 2.2 * np.log((pixels + 2) / 257)
    # Paint, print and chips of another colour are no shade of this one.
    hues = np.stack([logs[:, 1] - logs[:, 0], logs[:, 2] - logs[:, 1]], 1)
    logs = logs[(np.abs(hues - np.median(hues, 0)) < (0.7, 0.9)).all(1)]
    if len(logs) < 50:
        return 1.0, 1.0, 1.0
    all_light = np.log(np.exp(logs).mean(1))
    order = np.argsort(all_light)[: max(12, round(0.7 * len(all_light)))]
    # Means of groups: single pixels' noise would flatten the slopes.
    groups = np.array_split(order, min(12, len(order)))
    x = np.array([all_light[group].mean() for group in groups])
    if np.ptp(x) < 0.35:
        return 1.0, 1.0, 1.0
    slopes = [float(np.polyfit(x, [logs[group, band].mean() for group in groups], 1)[0]) for band in range(3)]
    red, green, blue = (float(np.clip(slope, 0.6, 1.8)) for slope in slopes)
    return red, green, blue
