"""Stains: what has dried or soaked into a surface: tide marks, rust, corrosion, discolouration, lost gloss."""

from __future__ import annotations

import cv2
import numpy as np

from defectory.images.placement import Placement
from defectory.images.renderers.procedural.canvas import Canvas, DefectKind, Drawn
from defectory.images.renderers.procedural.spots import coloured, fine, lamp, outlined, placed
from defectory.vision import shapes
from defectory.vision.arrays import Field
from defectory.vision.blending import blurred

_SORTS: dict[str, tuple[float, float, float]] = {
    "dirt": (0.8, 1.0, 1.3),
    "rust": (0.35, 1.1, 1.9),
    "tea": (0.45, 0.9, 1.5),
    "soot": (1.0, 1.0, 1.0),
    "verdigris": (1.3, 0.6, 0.8),
    "scorch": (0.6, 1.0, 1.35),
}
"""How much red, green and blue light a layer takes away."""


def draw_stain(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """Draw one stain: it takes away light and colour, or leaves a pale film, and the surface shows through it.

    Liquids that dry leave most of what they carried along their rim (Deegan et al., "Capillary flow as the cause of
    ring stains from dried liquid drops", 1997).
    """
    spot, surface = canvas.spot, canvas.surface
    smallest = min(spot.length, spot.width)
    form, raw = _form(rng, canvas)
    soft = float(rng.uniform(0, 1) ** 2 * 0.16) * smallest
    cover = _edge(rng, canvas, raw, max(0.5, surface.sharpness, soft))
    inside = shapes.depth(cover)
    rim_width = float(rng.uniform(0.02, 0.09)) * smallest + surface.sharpness
    rim = np.exp(-np.square((inside - rim_width) / rim_width)) * cover
    rimmed = float(rng.uniform(0.2, 1.1)) if form == "dried" else float(rng.uniform(0, 0.3))
    body = float(rng.uniform(0.35, 1.0))
    mottled = shapes.noise(
        rng,
        canvas.shape,
        max(3.0, float(rng.uniform(0.15, 0.6)) * smallest),
        stretch=1 + 4 * surface.grain_strength * rng.random(),
        angle=surface.grain,
    )
    uneven = float(rng.uniform(0.08, 0.35))
    density = cover * np.clip(body * (1 + uneven * mottled), 0.05, None) + rimmed * rim * (1 + 0.4 * mottled)
    density = np.clip(density, 0, None)

    pale = rng.random() < _chance_of_pale(canvas)
    sort = "mineral" if pale else str(rng.choice(list(_SORTS)))
    strength = max(float(rng.uniform(0.25, 0.8)), _least(canvas) / max(body, 0.5 * rimmed)) * canvas.boldness
    lost = float(rng.uniform(0.1, 0.6))
    light = _dulled(canvas, density, lost)
    if pale:
        film = 1 - np.exp(-0.55 * strength * density)
        white = coloured(canvas, np.array((0.80, 0.79, 0.76), np.float32)) * lamp(canvas)
        light = light + film[..., None] * (np.maximum(white, 1.15 * light) - light)
    else:
        tint = coloured(canvas, np.array(_SORTS[sort], np.float32))
        light = light * np.exp(-strength * density[..., None] * tint)
    return Drawn(
        np.asarray(light, np.float32),
        np.asarray(np.clip(density * 1.6, 0, 1), np.float32),
        {"sort": sort, "form": form, "strength": round(strength, 3), "rim": round(rimmed, 2)},
    )


STAIN = DefectKind(draw_stain, Placement(size=(0.06, 0.4), aspect=(0.4, 1.0), along_grain=0.4), reach=0.85)


def _form(rng: np.random.Generator, canvas: Canvas) -> tuple[str, shapes.Coverage]:
    if canvas.mask is not None:
        return "as masked", outlined(rng, canvas, 0.5)
    side = max(12, round(canvas.spot.length / (1 - 2 * shapes.MARGIN)))
    stretch = canvas.spot.length / max(canvas.spot.width, 1.0)
    form = str(rng.choice(["dried", "discoloured", "corroded", "dripped"], p=[0.4, 0.3, 0.2, 0.1]))
    if form == "corroded":
        return form, placed(
            canvas, shapes.patches(rng, side, grain=rng.uniform(0.12, 0.5), cover=rng.uniform(0.4, 0.9))
        )
    if form == "dripped":
        return form, placed(canvas, shapes.drip(rng, side, angle=canvas.spot.angle))
    roughness = float(rng.uniform(0.2, 0.7) if form == "dried" else rng.uniform(0.4, 1.0))
    return form, placed(
        canvas, shapes.blob(rng, side, roughness=roughness, elongation=stretch, angle=canvas.spot.angle)
    )


def _edge(rng: np.random.Generator, canvas: Canvas, raw: shapes.Coverage, soft: float) -> Field:
    """The outline as liquids leave it: drawn out along the grain, soft or crisp, never quite even."""
    surface, length = canvas.surface, canvas.spot.length
    height, width = canvas.shape
    yy, xx = np.mgrid[:height, :width].astype(np.float32)
    creep = shapes.noise(
        rng, canvas.shape, 0.12 * length + 2, stretch=1 + 3 * surface.grain_strength, angle=surface.grain
    )
    along = 0.015 * length * (1 + 2 * surface.grain_strength)
    shift_x, shift_y = creep * np.cos(surface.grain) * along, creep * np.sin(surface.grain) * along
    across = shapes.noise(rng, canvas.shape, 0.1 * length + 2) * (0.012 * length)
    moved = cv2.remap(
        raw,
        np.asarray(xx + shift_x - across * np.sin(surface.grain), np.float32),
        np.asarray(yy + shift_y + across * np.cos(surface.grain), np.float32),
        cv2.INTER_LINEAR,
    )
    return blurred(np.asarray(moved, np.float32), soft)


def _dulled(canvas: Canvas, density: Field, lost: float) -> Field:
    """The surface with less of its fine gleams and grain: a layer of dirt is matt."""
    smooth, structure = fine(canvas.light, max(1.5, 2 * canvas.surface.sharpness))
    # Bright glints vanish, dark pores stay dark.
    structure_share = np.where(structure > 0, 1 - lost * np.clip(density, 0, 1)[..., None], 1)
    return np.asarray(smooth + structure * structure_share, np.float32)


def _least(canvas: Canvas) -> float:
    """The strength that a stain needs to be told from the surface's own structure."""
    level = 255 * float(canvas.base().mean()) ** (1 / 2.2)
    return float(np.clip(2.2 * (5 + 0.6 * canvas.surface.contrast) / max(level, 20.0), 0.2, 0.9))


def _chance_of_pale(canvas: Canvas) -> float:
    """Pale films show on dark surfaces only."""
    weight = canvas.part[..., None]
    level = float((canvas.light * weight).sum() / max(1e-6, float(weight.sum()) * 3)) / lamp(canvas)
    return float(np.clip(0.45 - level, 0.0, 0.35))
