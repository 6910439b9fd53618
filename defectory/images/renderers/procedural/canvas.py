"""The canvas: the cut-out of a photo in which a defect is drawn, and what the drawing has to fit to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from pydantic import JsonValue

from defectory.images.placement import Placement, Spot
from defectory.vision.arrays import Field, Image, Mask
from defectory.vision.blending import blurred
from defectory.vision.photos import Photo
from defectory.vision.surface import Surface


@dataclass(frozen=True, slots=True)
class Canvas:
    """A cut-out around the spot where a defect is to be.

    Attributes:
        light: the cut-out in linear light, 0..1, float32 ``(h, w, 3)``; not to be changed in place.
        part: 1 where the defect may be, falling to 0 at the part's outline, float32 ``(h, w)``.
        body: 255 where the part is, whatever an order's mask allows of it, of the cut-out's shape.
        spot: where in the cut-out the defect is to be, and how large.
        surface: light, grain, sharpness, noise and contrast hereabouts.
        mask: 255 where the order's mask wants the defect, of the cut-out's shape; None: the spot says enough.
        boldness: 1; more in later tries, when earlier ones could not be seen.
        photo: all of the photo, for what lies beyond the cut-out.
        left: the cut-out's first column in the photo.
        top: its first row.
    """

    light: Field
    part: Field
    body: Mask
    spot: Spot
    surface: Surface
    mask: Mask | None
    boldness: float
    photo: Photo
    left: int
    top: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.light.shape[0], self.light.shape[1]

    def grid(self) -> tuple[Field, Field]:
        """Every pixel's place along and across the spot's angle, from the spot's centre, in pixels."""
        height, width = self.shape
        yy, xx = np.mgrid[:height, :width].astype(np.float32)
        cos, sin = np.float32(np.cos(self.spot.angle)), np.float32(np.sin(self.spot.angle))
        x, y = xx - np.float32(self.spot.x), yy - np.float32(self.spot.y)
        return x * cos + y * sin, y * cos - x * sin

    def softened(self, picture: Field) -> Field:
        """``picture`` as the camera would show it: blurred as the photo's own edges are."""
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), self.surface.sharpness), np.float32)

    def base(self) -> Field:
        """The light without its fine structure: what the surface looks like hereabouts, ``(h, w, 3)``."""
        size = max(3.0, 0.15 * self.spot.length)
        weight = np.maximum(self.part, 1e-3)
        light, weight = blurred(self.light * weight[..., None], size), blurred(weight, size)
        return np.asarray(light / weight[..., None], np.float32)

    def shade(self, light: Field, factor: Field) -> Field:
        """``light`` ``(h, w, 3)`` times ``factor`` ``(h, w)``, in colours as the surface shades them."""
        powers = np.where(factor[..., None] < 1, np.array(self.surface.tone, np.float32), np.float32(1))
        return np.asarray(light * np.power(np.maximum(factor, 1e-3)[..., None], powers), np.float32)

    def ridges(self) -> Field:
        """The surface's own fine structure: about -1 in its dark furrows .. 1 on its bright ridges, ``(h, w)``."""
        grey = np.sqrt(np.maximum(self.light.mean(2), 0))
        fine = grey - cv2.GaussianBlur(grey, (0, 0), 2 + 2 * self.surface.sharpness)
        spread = float(np.abs(fine[self.part > 0.5]).mean()) if (self.part > 0.5).any() else 0.0
        return np.asarray(np.tanh(fine / (1.5 * spread + 2e-3)), np.float32)

    def lit(self, height: Field) -> Field:
        """The factor by which a relief of that ``height`` (pixels, up = towards the camera) changes the light, (h, w).

        After Lambert's law, in the photo's own light; a flat place keeps its light.
        """
        slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
        slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
        return self.shaded(np.asarray(slope_x, np.float32), np.asarray(slope_y, np.float32))

    def shaded(self, slope_x: Field, slope_y: Field) -> Field:
        """As `lit`, for a relief that rises by these slopes to the right and downwards."""
        raking = np.tan(np.clip(self.surface.slant, 0.1, 0.9) * np.pi / 2.4) * (1 + 0.6 * self.surface.gloss)
        facing = -(slope_x * np.cos(self.surface.light) + slope_y * np.sin(self.surface.light)) * raking
        # Light from all around keeps the shaded side from turning black, and gleams from growing without end.
        lit = np.where(facing > 0, 1 + 1.3 * np.tanh(facing / 1.3), 0.15 + 0.85 * np.exp(facing / 0.85))
        return np.asarray(lit * (1 + slope_x**2 + slope_y**2) ** (0.4 * self.surface.slant - 0.5), np.float32)

    def noise(self, rng: np.random.Generator) -> Field:
        """Noise as the photo's, in linear light, ``(h, w, 3)``: for what covers the surface and hides its own."""
        levels = rng.normal(0, self.surface.noise / 255, (*self.shape, 1)).astype(np.float32)
        levels = levels + rng.normal(0, 0.3 * self.surface.noise / 255, (*self.shape, 3)).astype(np.float32)
        # A step of one level is this much light: gamma is steeper in the dark.
        slope = 2.2 * np.power(np.clip(self.light, 0.002, 1), 1.2 / 2.2)
        return np.asarray(levels * slope, np.float32)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A defect on its canvas.

    ``light`` is the cut-out with it, linear, ``(h, w, 3)``; ``extent`` says how much of each pixel it covers, 0..1,
    ``(h, w)``; ``parameters`` are what was drawn by lot.
    """

    light: Field
    extent: Field
    parameters: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DefectKind:
    """A kind of defect: how it is drawn, where it is put by default, and how far around the spot the cut-out reaches.

    ``reach`` is in lengths of the defect, from its centre.  ``find`` chooses a place by itself, from the photo and
    where defects may be; what it returns plays the part of an order's mask, None leaves the place to ``placement``.
    ``past_outline`` says that the drawing also changes what lies beside the part: the table shows where a piece is
    gone.
    """

    draw: Callable[[np.random.Generator, Canvas], Drawn]
    placement: Placement
    reach: float = 0.75
    find: Callable[[np.random.Generator, Image, Mask], Mask | None] | None = None
    past_outline: bool = False
