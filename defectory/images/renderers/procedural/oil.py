"""Oil: wet spots, splashes, runs and smears; a lens of liquid that darkens, smooths and gleams."""

from __future__ import annotations

import cv2
import numpy as np

from defectory.images.placement import Placement
from defectory.images.renderers.procedural.canvas import Canvas, DefectKind, Drawn
from defectory.images.renderers.procedural.spots import coloured, outlined, placed
from defectory.vision import shapes
from defectory.vision.arrays import Field
from defectory.vision.blending import blurred

_SORTS = {
    "machine oil": ((0.10, 0.28, 0.75), (0.45, 1.3)),
    "cutting fluid": ((0.20, 0.22, 0.28), (0.5, 1.3)),
    "used oil": ((0.85, 1.0, 1.25), (0.5, 1.9)),
    "grease": ((0.25, 0.42, 0.85), (0.5, 1.2)),
}
"""How much red, green and blue light a layer takes away, and the range of layers."""


def draw_oil(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """Draw one wet spot: a film that takes away light (Beer and Lambert), with a meniscus that refracts and gleams."""
    spot, surface = canvas.spot, canvas.surface
    form, raw = _form(rng, canvas)
    sharp = max(0.4, surface.sharpness)
    cover = np.asarray(cv2.GaussianBlur(raw, (0, 0), sharp), np.float32)
    sort = str(rng.choice(list(_SORTS)))
    absorbed, (thin, thick) = _SORTS[sort]
    layer = float(rng.uniform(thin, thick)) * canvas.boldness
    smallest = min(spot.length, spot.width)
    # Small drops are lenses; larger ones spread until they are flat, with a narrow meniscus.
    rise = float(np.clip(rng.uniform(0.06, 0.3) * smallest, 1.5, 4 + 0.1 * smallest))
    height = shapes.dome(raw, rise)
    # A film is thinner where it was wiped, and flows into the valleys of the surface.
    uneven = shapes.noise(rng, canvas.shape, max(4.0, 0.5 * spot.length), octaves=2)
    film = cover * np.clip(0.55 + 0.45 * height + 0.08 * uneven, 0.2, 1.3)

    soaked = rng.random() < 0.75 * _absorbency(canvas)
    if soaked:
        # What has soaked in has neither a surface of its own nor a sharp edge.
        reach = float(rng.uniform(0.02, 0.08)) * smallest + sharp
        soft = blurred(raw, reach)
        creep = shapes.noise(rng, canvas.shape, 0.25 * smallest + 3) * 0.12
        cover = np.asarray(np.clip((soft + creep * soft * (1 - soft) * 4 - 0.12) / 0.7, 0, 1), np.float32)
        film = np.asarray(cover * (0.8 + 0.1 * uneven), np.float32)
        height = np.zeros_like(height)
    steepness = float(rng.uniform(0.35, 0.9)) * rise
    slope_x = np.asarray(cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=steepness / 8), np.float32)
    slope_y = np.asarray(cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=steepness / 8), np.float32)
    light = _refracted(canvas.light, slope_x, slope_y, 0.35 * rise)
    light = _wetted(rng, canvas, light, cover)
    tint = coloured(canvas, np.array(absorbed, np.float32))
    light = light * np.exp(-layer * film[..., None] * tint)
    light = light * _lens(canvas, slope_x, slope_y, cover)
    gleam = _gleam(rng, canvas, slope_x, slope_y, height)
    white = _brightest(canvas)
    light = light + gleam[..., None] * white * float(rng.uniform(0.25, 0.9))
    return Drawn(
        np.asarray(light, np.float32),
        np.maximum(cover, np.clip(gleam * 2, 0, 1) * (cover > 0.05)),
        {"sort": sort, "form": form, "soaked": soaked, "layer": round(layer, 3), "rim": round(rise, 1)},
    )


OIL = DefectKind(draw_oil, Placement(size=(0.06, 0.3), aspect=(0.45, 1.0)), reach=0.85)


def _form(rng: np.random.Generator, canvas: Canvas) -> tuple[str, shapes.Coverage]:
    if canvas.mask is not None:
        return "as masked", outlined(rng, canvas, 0.25)
    side = max(12, round(canvas.spot.length / (1 - 2 * shapes.MARGIN)))
    stretch = canvas.spot.length / max(canvas.spot.width, 1.0)
    form = str(rng.choice(["spot", "splash", "run", "smear"], p=[0.45, 0.25, 0.15, 0.15]))
    if form == "splash":
        return form, placed(canvas, shapes.splash(rng, side, drops=int(rng.integers(3, 16))))
    if form == "run":
        return form, placed(canvas, shapes.drip(rng, side, angle=canvas.spot.angle))
    if form == "smear":
        long = shapes.blob(
            rng, side, roughness=rng.uniform(0.3, 0.7), elongation=max(1.6, stretch * 1.4), angle=canvas.spot.angle
        )
        streaks = shapes.noise(rng, (side, side), 0.12 * side, octaves=3, stretch=9, angle=canvas.spot.angle)
        return form, placed(canvas, np.asarray(long * np.clip(0.8 + 0.55 * streaks, 0, 1), np.float32))
    spot = shapes.blob(rng, side, roughness=rng.uniform(0.2, 0.9), elongation=stretch, angle=canvas.spot.angle)
    return form, placed(canvas, spot)


def _absorbency(canvas: Canvas) -> float:
    """0 (metal, plastic) .. 1 (bread, wood, cloth): rough and without gleams."""
    surface = canvas.surface
    rough = np.clip((surface.contrast - 2 * surface.noise) / 8, 0, 1)
    return float(rough * (1 - min(1.0, 2 * surface.gloss)) * (1 - surface.grain_strength))


def _refracted(light: Field, slope_x: Field, slope_y: Field, thickness: float) -> Field:
    """What lies below the liquid, shifted as its slopes bend the light (Snell's law for small angles, index 1.47)."""
    height, width = light.shape[:2]
    yy, xx = np.mgrid[:height, :width].astype(np.float32)
    shift = np.float32(thickness * (1 - 1 / 1.47))
    moved = cv2.remap(
        light, xx + slope_x * shift, yy + slope_y * shift, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    return np.asarray(moved, np.float32)


def _wetted(rng: np.random.Generator, canvas: Canvas, light: Field, cover: Field) -> Field:
    """Wet surfaces are darker, as less light leaves them, the more the rougher they are; their fine glitter is gone.

    After Lekner and Dorf, "Why some things are darker when wet" (1988).
    """
    smooth = cv2.GaussianBlur(light, (0, 0), max(1.2, 1.6 * canvas.surface.sharpness))
    structure_share = float(rng.uniform(0.35, 0.8))
    calm = smooth + (light - smooth) * np.float32(structure_share)
    albedo = np.clip(smooth, 0, 1)
    matt = 1 - 0.7 * canvas.surface.gloss
    wet = calm * (1 - 0.34 * matt * (1 - albedo))
    return np.asarray(light + cover[..., None] * (wet - light), np.float32)


def _lens(canvas: Canvas, slope_x: Field, slope_y: Field, cover: Field) -> Field:
    """The meniscus gathers light on its far side and is darker on the side where the light enters."""
    surface = canvas.surface
    across = slope_x * np.cos(surface.light) + slope_y * np.sin(surface.light)
    steep = np.hypot(slope_x, slope_y)
    factor = 1 + (0.35 * surface.slant * across - 0.18 * steep) * cover
    return np.asarray(np.clip(factor, 0.45, 1.5)[..., None], np.float32)


def _gleam(rng: np.random.Generator, canvas: Canvas, slope_x: Field, slope_y: Field, height: Field) -> Field:
    """Mirror images of the lamp on the liquid, after Blinn (1977): where its slope halves the way to the light."""
    surface = canvas.surface
    tilt = np.tan(np.clip(surface.slant, 0.15, 0.9) * np.pi / 2.4 / 2)
    # The liquid's highest point faces the camera: a gleam lies where it slopes towards the lamp.
    wanted_x, wanted_y = -np.cos(surface.light) * tilt, -np.sin(surface.light) * tilt
    width = float(rng.uniform(0.05, 0.13))
    away = np.square(slope_x - wanted_x) + np.square(slope_y - wanted_y)
    gleam = np.exp(-away / (2 * width**2)) * (height > 0.05)
    return np.asarray(cv2.GaussianBlur(gleam.astype(np.float32), (0, 0), max(0.5, surface.sharpness)), np.float32)


def _brightest(canvas: Canvas) -> Field:
    """The colour and strength of the lamp's mirror image: white, and no brighter than the photo's own gleams."""
    image = canvas.photo.image
    step = max(1, min(image.shape[:2]) // 128)
    top = float(np.percentile(image[::step, ::step].max(2), 99.5)) / 255
    return np.full(3, max(0.12, top**2.2), np.float32)
