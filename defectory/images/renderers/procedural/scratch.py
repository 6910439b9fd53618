"""Scratches: grooves torn along a path, bright where bare material scatters light, with a lit and a shaded flank."""

from __future__ import annotations

import cv2
import numpy as np

from defectory.images.placement import Placement
from defectory.images.renderers.procedural.canvas import Canvas, DefectKind, Drawn
from defectory.images.renderers.procedural.strokes import Points, Stroke, wander, within
from defectory.vision import shapes
from defectory.vision.arrays import Field


def draw_scratch(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """Draw one scratch, sometimes with fainter ones beside it, as one sweep leaves them."""
    spot, surface = canvas.spot, canvas.surface
    rough = surface.roughness
    width = float(np.clip(spot.length * rng.uniform(0.012, 0.03), 1.1, 1.3 + 0.012 * spot.length)) * (1 + rough)
    polarity = _polarity(rng, canvas)
    # Smooth surfaces show where they are torn, rough ones only where they are ploughed.
    depth = float(rng.uniform(0.1, 0.45)) * (1 + 3 * rough) * canvas.boldness
    strength = float(rng.uniform(0.6, 1.0)) * (1 - 0.6 * rough) * canvas.boldness
    count = 1 + int(rng.random() < 0.25) + int(rng.random() < 0.1)
    light, extent = canvas.light, np.zeros(canvas.shape, np.float32)
    curve, bare = _sweep(rng, canvas), _material(rng, canvas, polarity)
    for number in range(count):
        share = 1.0 if number == 0 else float(rng.uniform(0.3, 0.7))
        points = curve if number == 0 else _beside(rng, curve, spot.length)
        stroke = Stroke.around(points, canvas.shape)
        tooth = _pressure(rng, len(points), share)
        pressure = np.interp(stroke.along, np.linspace(0, 1, len(points)), tooth).astype(np.float32)
        line = stroke.coverage(width * (0.35 + 0.65 * pressure), surface.sharpness)
        line *= np.minimum(1, pressure * 1.4) * _caught(rng, canvas, stroke, spot.length)
        light = _bare(light, bare, line * strength * _glint(canvas, stroke))
        light = canvas.shade(light, _flanks(canvas, stroke, width, depth * pressure))
        extent = np.maximum(extent, line * min(1.0, 2.0 * width))
    return Drawn(
        np.asarray(light, np.float32),
        np.asarray(extent, np.float32),
        {"width": round(width, 2), "strength": round(strength, 3), "polarity": polarity, "strokes": count},
    )


SCRATCH = DefectKind(draw_scratch, Placement(size=(0.1, 0.5), aspect=(0.02, 0.06), along_grain=0.35), reach=0.65)
"""Parts are scratched anywhere, in any direction: by tools, which made the grain, too, and by each other."""


def _polarity(rng: np.random.Generator, canvas: Canvas) -> int:
    """Bare material is brighter than most surfaces; on white ones, and where light glances off, scratches are dark."""
    level = float((canvas.light.mean(2) * canvas.part).sum() / max(1e-6, float(canvas.part.sum())))
    colours = (canvas.light * canvas.part[..., None]).sum((0, 1))
    coloured = float(1 - colours.min() / max(1e-6, float(colours.max())))
    return 1 if rng.random() > 0.08 + 0.6 * level * (1 - 0.6 * coloured) else -1


def _sweep(rng: np.random.Generator, canvas: Canvas) -> Points:
    """The path of something hard that slid over the surface: nearly straight, bent one way, a little unsteady."""
    spot, count = canvas.spot, 64
    if canvas.mask is not None:
        return within(rng, canvas.mask, count, 0.4)
    along = np.linspace(-0.5, 0.5, count) * spot.length
    bend = rng.normal(0, 0.05) * spot.length * (1 - (2 * along / spot.length) ** 2)
    across = bend + wander(rng, count, 9) * 0.004 * spot.length
    across = across + wander(rng, count, 1) * (0.05 + 0.4 * canvas.surface.roughness)
    cos, sin = np.cos(spot.angle), np.sin(spot.angle)
    return np.stack([spot.x + along * cos - across * sin, spot.y + along * sin + across * cos], 1)


def _beside(rng: np.random.Generator, curve: Points, length: float) -> Points:
    first, last = sorted(rng.choice(len(curve), 2, replace=False))
    part = curve[first : max(last, first + 8) + 1]
    return np.asarray(part + rng.normal(0, 0.02 * length + 1.5, 2))


def _pressure(rng: np.random.Generator, count: int, share: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """0..1 along the path: it sets in fast or slowly, skips where the surface is uneven, and fades out."""
    along = np.linspace(0, 1, count)
    rise, fall = rng.uniform(0.03, 0.3), rng.uniform(0.05, 0.45)
    envelope = np.clip(along / rise, 0, 1) ** 0.7 * np.clip((1 - along) / fall, 0, 1) ** 0.7
    uneven = 0.85 + 0.2 * wander(rng, count, 4) + 0.12 * wander(rng, count, 0.8)
    return np.asarray(np.clip(share * envelope * uneven, 0, 1))


def _bare(light: Field, bare: Field, amount: Field) -> Field:
    weight = np.clip(amount, 0, 1)[..., None]
    return np.asarray(light * (1 - weight) + bare * weight, np.float32)


def _material(rng: np.random.Generator, canvas: Canvas, polarity: int) -> Field:
    """What shows where the skin is gone, ``(h, w, 3)``.

    Torn material scatters white light: it is lighter and less coloured.
    """
    base = canvas.base()
    if polarity < 0:
        dark = canvas.shade(base, np.full(canvas.shape, 0.35, np.float32))
        return np.asarray(np.maximum(dark + 0.5 * canvas.noise(rng), 0), np.float32)
    grey = base.mean(2, keepdims=True)
    smooth = 1 - canvas.surface.roughness
    torn = (
        base
        + 0.45 * smooth * (grey - base)
        + (0.15 + smooth * (0.25 + 0.2 * canvas.surface.gloss)) * (1 - base) * (0.35 + base)
    )
    return np.asarray(np.maximum(torn + canvas.noise(rng), 0), np.float32)


def _caught(rng: np.random.Generator, canvas: Canvas, stroke: Stroke, length: float) -> Field:
    """What of the surface was touched: its ridges first; and fine striae along the path, not one even band."""
    rough = canvas.surface.roughness
    touched = np.clip(1 + (0.35 + 0.9 * rough) * canvas.ridges(), 0.15, 1.35)
    lanes = shapes.noise(rng, (64, max(8, round(length / 6))), 2.0, octaves=2)
    across = np.clip(stroke.across * 2 + 32, 0, 63)
    stria = cv2.remap(lanes, stroke.along * (lanes.shape[1] - 1), across, cv2.INTER_LINEAR)
    return np.asarray(touched * np.clip(0.9 + 0.3 * (1 - rough) * stria, 0.25, 1.2), np.float32)


def _glint(canvas: Canvas, stroke: Stroke) -> Field:
    """Grooves across the light send more of it to the camera than grooves along it, the more so on glossy surfaces."""
    facing = np.abs(stroke.normal_x * np.cos(canvas.surface.light) + stroke.normal_y * np.sin(canvas.surface.light))
    share = 0.3 + 0.4 * canvas.surface.gloss
    return np.asarray(1 - share * (1 - facing), np.float32)


def _flanks(canvas: Canvas, stroke: Stroke, width: float, depth: Field) -> Field:
    """A groove with burrs: its flank that faces the light is bright, the other one dark."""
    size = np.hypot(0.6 * width, canvas.surface.sharpness)
    across = stroke.across / size
    fade = np.exp(-stroke.beyond)
    slope = 1.3 * depth * across * np.exp(-0.5 * across**2) * fade * min(1.0, width / size)
    return canvas.shaded(slope * stroke.normal_x, slope * stroke.normal_y)
