"""Dents: material pressed in, seen by the shade of its walls, the gleam in its bowl and the bent surface structure."""

from __future__ import annotations

import cv2
import numpy as np

from defectory.images.placement import Placement
from defectory.images.renderers.procedural.canvas import Canvas, DefectKind, Drawn
from defectory.vision import shapes
from defectory.vision.arrays import Field


def draw_dent(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """Draw one dent: a bowl with a raised rim, round or as long as the spot."""
    steep = float(rng.uniform(0.35, 0.8)) * canvas.boldness
    rim = float(rng.uniform(0.1, 0.6))
    sharp = float(rng.choice([rng.uniform(1.8, 2.6), rng.uniform(2.6, 6.0)]))
    radius, size = _outline(rng, canvas)
    bowl = np.exp(-(np.minimum(radius, 3) ** sharp)).astype(np.float32)
    lifted = np.exp(-(((radius - 1.3) / 0.3) ** 2)).astype(np.float32)
    uneven = shapes.noise(rng, canvas.shape, max(4.0, size), octaves=2)
    # Walls of the same steepness, however round they are.
    height = size * steep * (0.4 * rim * lifted - (1.9 / sharp) * bowl * (1 + 0.08 * uneven))
    height = canvas.softened(np.asarray(height, np.float32))
    pressed = np.clip(bowl * float(rng.uniform(0, 0.8)), 0, 1)[..., None]
    bent = _bent(canvas, height)
    flat = bent * (1 - pressed) + np.asarray(cv2.GaussianBlur(bent, (0, 0), 2), np.float32) * pressed
    flat = flat + pressed * canvas.noise(rng)
    light = canvas.shade(np.asarray(np.maximum(flat, 0), np.float32), canvas.lit(height))
    light = light + _gleam(canvas, height)[..., None]
    extent = np.clip((1.5 - radius) / 0.3, 0, 1)
    return Drawn(
        np.asarray(light, np.float32),
        np.asarray(extent, np.float32),
        {"steepness": round(steep, 3), "rim": round(rim, 3), "sharpness": round(sharp, 2)},
    )


DENT = DefectKind(draw_dent, Placement(size=(0.05, 0.2), aspect=(0.55, 1.0), along_grain=0.1), reach=1.0)
"""Dents are small and nearly round, wherever something can hit the part."""


def _outline(rng: np.random.Generator, canvas: Canvas) -> tuple[Field, float]:
    """Every pixel's distance from the dent's centre, 1 at the foot of its wall, and the distance that is 1, in pixels.

    Never a true ellipse: what pressed it in had corners.
    """
    along, across = canvas.grid()
    half, narrow = canvas.spot.length / 3.1, canvas.spot.width / 3.1
    u, v = along / half, across / narrow
    angle = np.arctan2(v, u)
    waves = np.zeros(canvas.shape, np.float32)
    push = float(rng.uniform(0, 0.45))  # what hit it came from one side: the wall there is flat, the other one steep
    u = u + push * np.maximum(1 - np.hypot(u, v) ** 2, 0)
    for order in range(2, 6):
        waves += np.float32(rng.normal(0, 0.16 / order)) * np.cos(order * angle + np.float32(rng.uniform(0, 2 * np.pi)))
    return np.asarray(np.hypot(u, v) / (1 + waves), np.float32), float(min(half, narrow))


def _bent(canvas: Canvas, height: Field) -> Field:
    """The surface's own structure, drawn into the bowl."""
    rows, columns = canvas.shape
    yy, xx = np.mgrid[:rows, :columns].astype(np.float32)
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=1 / 8)
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=1 / 8)
    return np.asarray(
        cv2.remap(canvas.light, xx + 1.2 * slope_x, yy + 1.2 * slope_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT),
        np.float32,
    )


def _gleam(canvas: Canvas, height: Field) -> Field:
    """The mirror image of the lamp in the wall across from it, on glossy surfaces."""
    if canvas.surface.gloss < 0.3:
        return np.zeros(canvas.shape, np.float32)
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=1 / 8)
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=1 / 8)
    facing = -(slope_x * np.cos(canvas.surface.light) + slope_y * np.sin(canvas.surface.light))
    aside = slope_y * np.cos(canvas.surface.light) - slope_x * np.sin(canvas.surface.light)
    gleam = np.exp(-(((facing - 0.45) / 0.12) ** 2 + (aside / 0.2) ** 2))
    return canvas.softened(np.asarray(0.2 * canvas.surface.gloss * gleam, np.float32))
