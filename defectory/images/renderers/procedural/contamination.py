"""Contamination: what does not belong on the part: hairs, lint, swarf, crumbs, dust, splashes of paint."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from defectory.images.placement import Placement
from defectory.images.renderers.procedural.canvas import Canvas, DefectKind, Drawn
from defectory.images.renderers.procedural.spots import coloured, lamp, outlined, placed
from defectory.vision import shapes
from defectory.vision.arrays import Field
from defectory.vision.blending import blurred

Colour = tuple[float, float, float]

_HAIRS: dict[str, Colour] = {
    "dark hair": (0.030, 0.020, 0.014),
    "fair hair": (0.38, 0.26, 0.14),
    "white lint": (0.72, 0.72, 0.70),
    "blue thread": (0.05, 0.12, 0.34),
    "red thread": (0.38, 0.04, 0.04),
}
_GRAINS: dict[str, Colour] = {
    "soil": (0.10, 0.065, 0.035),
    "crumb": (0.46, 0.28, 0.12),
    "black plastic": (0.02, 0.02, 0.022),
    "blue plastic": (0.04, 0.13, 0.42),
    "sand": (0.52, 0.44, 0.32),
    "metal": (0.42, 0.42, 0.43),
    "grit": (0.16, 0.155, 0.15),
}
_PAINTS: dict[str, Colour] = {
    "black ink": (0.018, 0.018, 0.03),
    "violet ink": (0.06, 0.03, 0.11),
    "white paint": (0.78, 0.78, 0.76),
    "red paint": (0.42, 0.03, 0.025),
    "glue": (0.55, 0.46, 0.24),
}
"""Reflectances of red, green and blue light."""

_CLEAR = 0.10  # the difference of the root of light from which something can be told from what it lies on


def draw_contamination(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """Draw foreign matter that lies on the surface: opaque, lit and casting its shadow as everything in the photo."""
    if canvas.mask is not None:
        form = str(rng.choice(["splash", "grain"]))
        return (_splashed if form == "splash" else _grains)(rng, canvas)
    forms = {"hair": 0.3, "grain": 0.2, "crumbs": 0.22, "dust": 0.1, "splash": 0.18}
    form = str(rng.choice(list(forms), p=list(forms.values())))
    if form == "hair":
        return _hairs(rng, canvas)
    if form == "splash":
        return _splashed(rng, canvas)
    if form == "dust":
        return _dust(rng, canvas)
    return _grains(rng, canvas, scattered=form == "crumbs")


CONTAMINATION = DefectKind(draw_contamination, Placement(size=(0.06, 0.35), aspect=(0.5, 1.0)), reach=0.9)


@dataclass(frozen=True, slots=True)
class _Matter:
    name: str
    colour: NDArray[np.float32]  # as the photo would show it, facing the light


def _matter(rng: np.random.Generator, canvas: Canvas, sorts: dict[str, Colour]) -> _Matter:
    """One of ``sorts``, those first that can be told from the surface."""
    weight = canvas.part[..., None]
    under = np.sqrt((canvas.light * weight).sum(axis=(0, 1)) / max(1e-6, float(weight.sum())))
    colours = {name: coloured(canvas, np.array(colour, np.float32)) * lamp(canvas) for name, colour in sorts.items()}
    apart = np.array([float(np.abs(np.sqrt(colour) - under).max()) for colour in colours.values()])
    chances = np.clip(apart - _CLEAR, 1e-4, 0.3)
    name = list(colours)[int(rng.choice(len(chances), p=chances / chances.sum()))]
    varied = (
        colours[name] * np.exp(rng.normal(0, 0.12)) * (1 + coloured(canvas, rng.normal(0, 0.04, 3).astype(np.float32)))
    )
    return _Matter(name, np.asarray(np.clip(varied, 0.002, 1), np.float32))


def _laid(
    rng: np.random.Generator,
    canvas: Canvas,
    light: Field,
    cover: Field,
    matter: _Matter,
    height: Field,
    texture: float = 0.0,
) -> Field:
    """``light`` with ``matter`` of that ``height`` (pixels) where it covers the surface, and with its shadow."""
    surface = canvas.surface
    soft = canvas.softened(cover)
    top = float(height.max())
    throw = top * np.tan(np.clip(surface.slant, 0.2, 0.85) * np.pi / 2.4)
    step = min(throw * 0.7, 12.0)
    matrix = np.array([[1, 0, -np.cos(surface.light) * step], [0, 1, -np.sin(surface.light) * step]])
    flat = (canvas.shape[1], canvas.shape[0])
    shadow = cv2.warpAffine(soft, matrix, flat, flags=cv2.INTER_LINEAR)
    shadow = cv2.GaussianBlur(shadow, (0, 0), max(0.6, 0.35 * step + surface.sharpness))
    # Where it touches the surface no light from around comes either.
    contact = cv2.GaussianBlur(soft, (0, 0), max(0.8, 0.8 * min(top, 6.0)))
    dark = 1 - np.clip(0.25 * shadow + 0.45 * surface.slant * shadow + 0.35 * contact, 0, 0.7)
    grit = np.exp(texture * shapes.noise(rng, canvas.shape, max(2.0, 0.5 * top + 1.5), octaves=3)) if texture else 1.0
    body = np.clip(matter.colour * (canvas.lit(height) * grit)[..., None], 0.001, 1)
    # The canvas's noise is that of its own light; in other light a level is another amount of light.
    body = body + canvas.noise(rng) * np.power(body / np.clip(canvas.light, 0.002, 1), 1.2 / 2.2)
    under = canvas.shade(light, np.asarray(dark, np.float32))
    return np.asarray(under + soft[..., None] * (np.clip(body, 0, 1) - under), np.float32)


def _hairs(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    spot = canvas.spot
    matter = _matter(rng, canvas, _HAIRS)
    size = float(np.sqrt(canvas.photo.image.shape[0] * canvas.photo.image.shape[1]))
    # Hairs are as thick as hairs, however long they are.
    width = float(np.clip(size * rng.uniform(0.0025, 0.005), 1.0, 0.06 * spot.length + 0.6))
    count = 1 + int(rng.random() < 0.25) + int(rng.random() < 0.1)
    light, extent = canvas.light, np.zeros(canvas.shape, np.float32)
    for number in range(count):
        side = max(16, round(spot.length * (1.0 if number == 0 else rng.uniform(0.3, 0.8))))
        points = shapes.fibre(rng, side, curl=rng.uniform(0.05, 0.9)) - side / 2
        points += (spot.x, spot.y)
        if number:
            points += rng.normal(0, 0.12 * spot.length, 2)
        along = np.linspace(0, 1, len(points))
        widths = width * np.clip(1 - 0.75 * np.abs(2 * along - 1) ** 4, 0.25, 1)
        cover = shapes.line(points, widths, canvas.shape)
        # Round across: its side that faces the lamp gleams.
        height = blurred(cover, max(0.6, 0.35 * width)) * np.float32(0.7 * width)
        cover = np.asarray(cover * min(1.0, 0.6 + 0.35 * width), np.float32)
        light = _laid(rng, canvas, light, cover, matter, np.asarray(height, np.float32))
        extent = np.maximum(extent, canvas.softened(shapes.line(points, np.maximum(widths, 1.6), canvas.shape)))
    return Drawn(light, extent, {"form": "hair", "matter": matter.name, "count": count, "width": round(width, 2)})


def _grains(rng: np.random.Generator, canvas: Canvas, *, scattered: bool = False) -> Drawn:
    spot = canvas.spot
    matter = _matter(rng, canvas, _GRAINS)
    side = max(10, round(spot.length / (1 - 2 * shapes.MARGIN)))
    if canvas.mask is not None:
        raw = outlined(rng, canvas, 0.4)
    elif scattered:
        raw = placed(canvas, shapes.specks(rng, side, count=int(rng.integers(6, 36))))
    else:
        side = max(8, round(side * rng.uniform(0.3, 0.6)))
        stretch = float(rng.uniform(1, 2.2))
        angular = rng.random() < 0.6
        shape = (
            shapes.chip(rng, side, elongation=stretch, angle=spot.angle)
            if angular
            else shapes.blob(rng, side, roughness=rng.uniform(0.4, 0.9), elongation=stretch, angle=spot.angle)
        )
        raw = placed(canvas, shape)
    thick = float(shapes.depth(raw).max()) + 0.7
    lump = shapes.dome(raw, max(1.0, 0.9 * thick)) * thick * rng.uniform(0.6, 1.1)
    # Facets: a few slanting planes, and a roughness finer than they are.
    facets = _facets(rng, canvas, thick)
    rough = shapes.noise(rng, canvas.shape, max(2.0, 0.6 * thick), octaves=3) * (0.07 * thick)
    height = np.asarray(np.clip(np.minimum(lump, facets) + rough, 0, None) * raw, np.float32)
    light = _laid(rng, canvas, canvas.light, raw, matter, height, texture=float(rng.uniform(0.05, 0.2)))
    form = "crumbs" if scattered else "grain"
    return Drawn(light, canvas.softened(raw), {"form": form, "matter": matter.name})


def _facets(rng: np.random.Generator, canvas: Canvas, thick: float) -> Field:
    """The height below a handful of planes, as splinters and crystals have them."""
    along, across = canvas.grid()
    height = np.full(canvas.shape, thick, np.float32)
    for _ in range(int(rng.integers(3, 6))):
        turn, steep = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.8)
        plane = thick * rng.uniform(0.5, 1.0) + steep * (along * np.cos(turn) + across * np.sin(turn))
        height = np.minimum(height, np.asarray(plane, np.float32))
    return np.asarray(np.maximum(height, 0.15 * thick), np.float32)


def _dust(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """Many grains below what the camera resolves: a veil that thickens here and there, and single specks."""
    spot = canvas.spot
    side = max(16, round(spot.length / (1 - 2 * shapes.MARGIN)))
    matter = _matter(
        rng, canvas, {name: _GRAINS[name] for name in ("sand", "soil", "grit")} | {"lint": (0.6, 0.6, 0.58)}
    )
    cloud = placed(canvas, shapes.patches(rng, side, grain=0.5, cover=rng.uniform(0.5, 0.9)))
    cloud = blurred(cloud, 0.1 * spot.length)
    fine = shapes.noise(rng, canvas.shape, max(1.5, 1.5 * canvas.surface.sharpness), octaves=2)
    density = float(rng.uniform(0.4, 0.8)) * canvas.boldness
    veil = np.clip(density * cloud * (0.45 + 0.8 * np.maximum(fine - 0.2, 0)), 0, 0.9)
    veil = canvas.softened(np.asarray(veil, np.float32))
    specks = placed(canvas, shapes.specks(rng, side, count=int(rng.integers(8, 30)))) * 0.9
    light = canvas.light + veil[..., None] * (matter.colour - canvas.light)
    light = _laid(rng, canvas, np.asarray(light, np.float32), np.asarray(specks, np.float32), matter, specks * 1.2)
    extent = np.maximum(np.clip(cloud * 1.2, 0, 1), canvas.softened(np.asarray(specks, np.float32)))
    return Drawn(
        light, np.asarray(extent, np.float32), {"form": "dust", "matter": matter.name, "density": round(density, 2)}
    )


def _splashed(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """Paint, ink or glue: opaque where thick, brushed thin at places, glossy."""
    spot = canvas.spot
    matter = _matter(rng, canvas, _PAINTS)
    side = max(12, round(spot.length / (1 - 2 * shapes.MARGIN)))
    if canvas.mask is not None:
        raw, form = outlined(rng, canvas, 0.4), "as masked"
    else:
        form = str(rng.choice(["splash", "drip", "dab", "stroke"], p=[0.35, 0.15, 0.25, 0.25]))
        if form == "splash":
            raw = placed(canvas, shapes.splash(rng, side, drops=int(rng.integers(4, 22))))
        elif form == "drip":
            raw = placed(canvas, shapes.drip(rng, side, angle=spot.angle))
        elif form == "dab":
            stretch = spot.length / max(spot.width, 1.0)
            raw = placed(
                canvas, shapes.blob(rng, side, roughness=rng.uniform(0.3, 0.9), elongation=stretch, angle=spot.angle)
            )
        else:
            raw = _stroke(rng, canvas)
    thick = float(shapes.depth(raw).max()) + 0.7
    height = shapes.dome(raw, max(1.0, min(4.0, 0.5 * thick))) * min(1.2, 0.2 * thick)
    bristles = shapes.noise(rng, canvas.shape, max(2.0, 0.12 * spot.length), stretch=5, angle=spot.angle)
    opaque = np.clip(float(rng.uniform(0.75, 1.1)) + 0.14 * bristles, 0.3, 1) * raw
    light = _laid(rng, canvas, canvas.light, np.asarray(opaque, np.float32), matter, np.asarray(height, np.float32))
    return Drawn(light, canvas.softened(raw), {"form": form, "matter": matter.name})


def _stroke(rng: np.random.Generator, canvas: Canvas) -> shapes.Coverage:
    """A mark of a pen or a brush."""
    spot = canvas.spot
    side = max(16, round(spot.length))
    points = shapes.fibre(rng, side, curl=rng.uniform(0.0, 0.35)) - side / 2 + (spot.x, spot.y)
    along = np.linspace(0, 1, len(points))
    widths = spot.length * rng.uniform(0.04, 0.12) * np.clip(1.1 - 0.7 * along**3, 0.2, 1) + 0.8
    return shapes.line(points, widths, canvas.shape)
