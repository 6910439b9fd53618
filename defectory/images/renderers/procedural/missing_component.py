"""Missing components and missing pieces: the surface, or the table, where something of the part should be."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from defectory.images.placement import Placement
from defectory.images.renderers.procedural.canvas import Canvas, DefectKind, Drawn
from defectory.vision import shapes
from defectory.vision.arrays import Field, Image, Mask, Region
from defectory.vision.blending import blurred
from defectory.vision.components import find_components, solid
from defectory.vision.inpainting import fill, spread
from defectory.vision.regions import find_regions

_SIDE = 320  # pieces are broken off a copy of this size; their edges are drawn in the photo itself
_HALO_SIDE = 160
_LEAST, _MOST = 0.006, 0.25  # the share of the part that a missing piece takes
_CLEAR = 0.025  # what is less clear is more likely grain than a component
_SEEN = 0.03  # the change, of the root of light, from which something is called removed


def find_missing(rng: np.random.Generator, image: Image, part: Mask) -> Mask | None:
    """What is to be missing: a component, or a piece at the part's edge; None where there is neither."""
    components = [component for component in find_components(image, part) if component.clarity > _CLEAR]
    clearest = components[0].clarity if components else 0.0
    if components and rng.random() < np.clip((clearest / 0.2) ** 2, 0.05, 0.55):
        return _one_of(rng, [(component.mask, component.clarity**2) for component in components])
    piece = _broken_off(rng, part)
    if piece is None and components:
        return _one_of(rng, [(component.mask, component.clarity**2) for component in components])
    return piece


def draw_missing_component(rng: np.random.Generator, canvas: Canvas) -> Drawn:
    """Draw what is left where a component was, where a piece broke off, or where material broke out."""
    part = canvas.body > 0
    marked = None if canvas.mask is None else canvas.mask > 0
    if marked is None:
        return _broken_out(rng, canvas, None)
    around = (cv2.dilate(marked.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0) & ~marked
    # What shows through the part's holes, and what was taken for that, is no table beside it.
    body = solid(part)
    if around.any() and body[around].mean() < 0.9:
        piece = marked & body
        if piece.any():
            return _without_piece(rng, canvas, piece, part)
    return _without_component(rng, canvas, marked, part)


MISSING_COMPONENT = DefectKind(
    draw_missing_component,
    Placement(size=(0.05, 0.14), aspect=(0.6, 1.0)),
    reach=2.6,
    find=find_missing,
    past_outline=True,
)


def _one_of(rng: np.random.Generator, masks: list[tuple[Mask, float]]) -> Mask:
    chances = np.array([weight for _, weight in masks]) + 1e-6
    return masks[int(rng.choice(len(masks), p=chances / chances.sum()))][0]


# A component ----------------------------------------------------------------------------------------------------------


def _without_component(rng: np.random.Generator, canvas: Canvas, marked: Region, part: Region) -> Drawn:
    # A mask drawn by hand leaves a rim of what is to go, which would be taken for its surround.
    margin = 1 + canvas.surface.sharpness + 0.06 * canvas.spot.width
    hole = cv2.distanceTransform((~marked).astype(np.uint8), cv2.DIST_L2, 5) <= margin
    root = np.sqrt(canvas.light)
    filled = fill(root, hole, part | hole)
    if float(np.abs(filled - root).max(axis=2)[marked].mean()) < _SEEN:
        return _broken_out(rng, canvas, marked)
    cover = canvas.softened(marked.astype(np.float32))
    # Where something sat, light, dust and flux have not reached the surface.
    trace = float(rng.normal(0, 0.035))
    seat = canvas.softened(cv2.erode(marked.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32))
    bare = np.square(np.clip(filled, 0, 1)) * (1 + trace * seat)[..., None]
    light = canvas.light + cover[..., None] * (bare - canvas.light)
    return Drawn(
        np.asarray(light, np.float32), marked.astype(np.float32), {"form": "component", "trace": round(trace, 3)}
    )


# A piece at the edge --------------------------------------------------------------------------------------------------


def _broken_off(rng: np.random.Generator, part: Mask) -> Mask | None:
    """A piece of the part that reaches its edge; None where no edge is seen."""
    height, width = part.shape
    factor = min(1.0, _SIDE / max(height, width))
    size = max(8, round(width * factor)), max(8, round(height * factor))
    body = cv2.resize(part, size, interpolation=cv2.INTER_AREA) > 127
    # What shows through the part's holes goes with the piece around them.
    body = solid(body)
    if body.mean() > 0.97 or not body.any():
        return None
    contours, _ = cv2.findContours(body.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    edge = max(contours, key=len)[:, 0].astype(np.float64)
    framed = (edge > 2).all(axis=1) & (edge < np.array(size) - 3).all(axis=1)
    if framed.sum() < 20:
        return None
    depth = cv2.GaussianBlur(cv2.distanceTransform(body.astype(np.uint8), cv2.DIST_L2, 5), (0, 0), 2)
    area = float(body.sum())
    for _ in range(12):
        x, y = edge[framed][int(rng.integers(framed.sum()))]
        inwards = np.array(
            [cv2.Sobel(depth, cv2.CV_32F, dx, 1 - dx, ksize=5)[round(y), round(x)] for dx in (1, 0)], np.float64
        )
        angle = float(np.arctan2(inwards[1], inwards[0]) + rng.normal(0, 0.35))
        reach = float(np.sqrt(area) * np.exp(rng.uniform(np.log(0.08), np.log(0.5))))
        line = _wedge(rng, reach) if rng.random() < 0.5 else _break(rng, reach, float(np.hypot(*size)))
        turned = line @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) + (x, y)
        cut = shapes.polygon(turned, (size[1], size[0])) > 0.5
        removed = _severed(body, cut, (int(x), int(y)))
        if _LEAST * area < removed.sum() < _MOST * area and _stout(removed):
            # The outline in the photo is finer than in the copy: its pixels go with the side that they are nearer to.
            sides = np.stack([removed, body & ~removed], axis=2).astype(np.float32)
            piece_share, body_share = cv2.split(cv2.resize(cv2.GaussianBlur(sides, (0, 0), 2), (width, height)))
            mask = np.where((piece_share > body_share) & solid(part > 0), 255, 0).astype(np.uint8)
            return mask if mask.any() else None
    return None


def _wedge(rng: np.random.Generator, reach: float) -> shapes.Points:
    """The outline of a bite, the part's edge at 0 and its inside to the right."""
    width = reach * rng.uniform(0.5, 1.2)
    tip = rng.uniform(-0.3, 0.3) * width
    flat = rng.uniform(0, 0.35) * width
    corners = np.array(
        [
            [-2.0 * reach, -1.8 * width], [0.0, -width / 2], [reach * rng.uniform(0.7, 1.0), tip - flat],
            [reach, tip + flat], [0.0, width / 2], [-2.0 * reach, 1.8 * width],
        ]
    )  # fmt: skip
    return shapes.fractured(rng, corners, rng.uniform(0.02, 0.08), detail=0.012)


def _break(rng: np.random.Generator, reach: float, far: float) -> shapes.Points:
    """The outline of all that lies before a line across the part."""
    slope = rng.uniform(-0.3, 0.3) * far
    line = np.array([[reach - slope, -far], [reach, 0.0], [reach + slope, far]])
    return np.concatenate(
        [shapes.fractured(rng, line, rng.uniform(0.012, 0.05), detail=0.006), [[-far, far], [-far, -far]]]
    )


def _severed(body: Region, cut: Region, start: tuple[int, int]) -> Region:
    """What falls off when ``cut`` is broken out at ``start``: that piece, and all that held on to the part by it."""
    parts = find_regions(body, connectivity=4).labels
    struck = parts == parts[start[1], start[0]]
    pieces = find_regions(struck & cut, connectivity=4).labels
    near = pieces[max(0, start[1] - 2) : start[1] + 3, max(0, start[0] - 2) : start[0] + 3]
    piece = int(near.max())
    if piece == 0:
        return np.zeros_like(body)
    remainders = find_regions(struck & (pieces != piece), connectivity=4)
    if not len(remainders):
        return np.zeros_like(body)
    return np.asarray(struck & (remainders.labels != 1 + int(remainders.areas.argmax())))


def _stout(piece: Region) -> bool:
    """Whether ``piece`` is more than a shaving."""
    depth = cv2.distanceTransform(np.pad(piece.astype(np.uint8), 1), cv2.DIST_L2, 5)
    return float(depth.max()) > 0.2 * float(np.sqrt(piece.sum()))


@dataclass(frozen=True, slots=True)
class _Halo:
    """How the part darkens or brightens what lies beside it: a factor by distance and by direction."""

    factors: NDArray[np.float32]  # (directions, distances, 3)
    reach: float  # pixels

    def around(self, region: Region) -> Field:
        """The factors at every pixel outside ``region``."""
        distance, direction = _outwards(region)
        turns, steps = self.factors.shape[:2]
        column = np.clip(distance / self.reach * (steps - 1), 0, steps - 1).astype(np.float32)
        row = ((direction / (2 * np.pi)) % 1 * turns).astype(np.float32)
        padded = np.concatenate([self.factors, self.factors[:1]])
        return np.asarray(cv2.remap(padded, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _outwards(region: Region) -> tuple[Field, Field]:
    """The distance from ``region``, and the direction from its nearest pixel, at every pixel."""
    distance = cv2.distanceTransform((~region).astype(np.uint8), cv2.DIST_L2, 5)
    smooth = cv2.GaussianBlur(distance, (0, 0), 1.5)
    x, y = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    return np.asarray(distance, np.float32), np.asarray(np.arctan2(y, x), np.float32)


def _halo(light: Field, part: Region, usable: Region, reach: float) -> _Halo:
    """Measured around the part as it is, on a small copy: shadows, reflections, the blur of its outline."""
    factor = min(1.0, _HALO_SIDE / max(part.shape))
    size = max(8, round(part.shape[1] * factor)), max(8, round(part.shape[0] * factor))
    light = np.asarray(cv2.resize(light, size, interpolation=cv2.INTER_AREA), np.float32)
    part = cv2.resize(part.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 127
    usable = cv2.resize(usable.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 250
    clean = spread(light, usable)
    sectors, steps = 8, 10
    distance, direction = _outwards(part)
    distance = distance / np.float32(factor)
    ratio = np.clip((light + 1e-3) / (clean + 1e-3), 0.3, 1.3)
    row = (direction / (2 * np.pi) * sectors + 0.5).astype(int) % sectors
    column = (distance / reach * (steps - 1) + 0.5).astype(int)
    factors = np.ones((sectors, steps, 3), np.float32)
    for step in range(steps):
        ring = (column == step) & (distance > 1.5)
        everywhere = np.median(ratio[ring], axis=0) if ring.sum() > 8 else None
        for sector in range(sectors):
            there = ring & (row == sector)
            if there.sum() > 12:
                factors[sector, step] = np.median(ratio[there], axis=0)
            elif everywhere is not None:
                factors[sector, step] = everywhere
            elif step:
                factors[sector, step] = factors[sector, step - 1]
    # At the outline itself pixels show both; the nearest pure ones speak for them.
    factors[:, 0] = factors[:, 1]
    factors[:, -1] = 1
    return _Halo(factors, reach)


def _crumbly(canvas: Canvas) -> float:
    """0 (plastic, metal) .. 1 (bread, brick, cast stone): rough all over, not along a grain."""
    rough = (canvas.surface.contrast - 2 * canvas.surface.noise) / 10 * (1 - canvas.surface.grain_strength)
    return float(np.clip(rough, 0.05, 1))


def _beyond(part: Region) -> Region:
    """The table around the part, without what shows through its holes."""
    labels = find_regions(~part).labels
    rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.asarray(np.isin(labels, np.setdiff1d(rim, 0)))


def _without_piece(rng: np.random.Generator, canvas: Canvas, piece: Region, part: Region) -> Drawn:
    length, sharp = canvas.spot.length, canvas.surface.sharpness
    reach = float(np.clip(0.16 * np.sqrt(part.sum()), 4, 64))
    root = np.sqrt(canvas.light)

    # The table without the part, and the part's shadow on it.
    away = cv2.distanceTransform((~part).astype(np.uint8), cv2.DIST_L2, 5)
    usable = away >= reach
    if usable.mean() < 0.02:
        usable = away > 1.5 + sharp
    to_piece = cv2.distanceTransform((~piece).astype(np.uint8), cv2.DIST_L2, 5)
    hole = (piece | (to_piece < 1.6 * reach)) & ~usable
    clean = np.square(np.clip(fill(root, hole, usable), 0, 1))
    remainder = part & ~piece
    halo = _halo(canvas.light, part, usable, reach)
    # Directions jump where two edges are equally near; shadows do not.
    soft = max(1.0, 0.25 * reach)
    now, before = blurred(halo.around(remainder), soft), blurred(halo.around(part), soft)
    # Where the table was seen before, it is the same table in another shadow; the old outline itself is left out.
    beyond = _beyond(part)
    seen_before = (np.clip((away - 3 - 2 * sharp) / (0.4 * reach), 0, 1) * beyond)[..., None]
    table = clean * now
    table = table + seen_before * (canvas.light * np.clip(now / np.maximum(before, 0.1), 0.5, 2.0) - table)

    # What is new: on this side of the break all that is nearer to the missing piece than to the rest.
    to_remainder = (
        cv2.distanceTransform((~remainder).astype(np.uint8), cv2.DIST_L2, 5) if remainder.any() else to_piece + 1e3
    )
    crumbly = _crumbly(canvas)
    jagged = min(3.0, 0.012 * length + 0.4) * (0.2 + 0.8 * crumbly)
    apart = to_remainder - to_piece
    uneven = shapes.noise(rng, canvas.shape, 0.12 * length + 3, octaves=5) * jagged
    broken = np.asarray(apart / 2 + uneven * np.exp(-np.square(apart / (0.1 * length + 3))), np.float32)
    cover = cv2.GaussianBlur(np.clip(broken + 0.5, 0, 1).astype(np.float32), (0, 0), sharp)
    fade = np.clip(1.5 - to_piece / reach, 0, 1) * (piece | beyond)
    cover = np.asarray(cover * fade * fade * (3 - 2 * fade), np.float32)

    # The broken face: rough, seen under a slant, lit by where it looks to.
    widest = min(0.35 * float(to_remainder[piece].max()), 16.0)
    width = float(np.clip(rng.uniform(0.006, 0.03) * np.sqrt(part.sum()), 0.8, max(0.8, widest)))
    grit = shapes.noise(rng, canvas.shape, max(3.0, 2 * width), octaves=1 + round(3 * crumbly))
    across = np.clip(1 - broken / (width * np.clip(1 + 0.3 * crumbly * grit, 0.2, 1.8)), 0, 1) * (broken > -0.5)
    smooth = cv2.GaussianBlur(broken, (0, 0), 1.5)
    slope_x, slope_y = (cv2.Sobel(smooth, cv2.CV_32F, dx, 1 - dx, scale=1 / 8) for dx in (1, 0))
    facing = slope_x * np.cos(canvas.surface.light) + slope_y * np.sin(canvas.surface.light)
    inside = remainder & (to_piece > 2.5 + sharp)
    colour = np.square(np.clip(spread(root, inside), 0, 1)) if inside.any() else canvas.light
    tone = (0.84 + 0.3 * canvas.surface.slant * facing) * np.exp((0.04 + 0.16 * crumbly) * grit)
    face = canvas.shade(np.asarray(colour, np.float32), np.asarray(np.clip(tone, 0.3, 1.3), np.float32)) + canvas.noise(
        rng
    )
    sheer = cv2.GaussianBlur(np.asarray(np.clip(across * 3, 0, 1), np.float32), (0, 0), sharp)
    # The face lies where the part was; its outline is the old one there.
    body = cv2.erode(part.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1)
    sheer = sheer * cv2.GaussianBlur(body.astype(np.float32), (0, 0), sharp)
    behind = table + sheer[..., None] * (face - table)

    light = canvas.light + cover[..., None] * (behind - canvas.light)
    extent = cover * cv2.GaussianBlur(
        cv2.dilate(piece.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32), (0, 0), 1
    )
    return Drawn(
        np.asarray(light, np.float32), np.asarray(extent, np.float32), {"form": "piece", "face": round(width, 1)}
    )


# Material that broke out ----------------------------------------------------------------------------------------------


def _broken_out(rng: np.random.Generator, canvas: Canvas, marked: Region | None) -> Drawn:
    """A hollow with a rough floor, as castings, ceramics and coatings have where a piece broke out."""
    spot = canvas.spot
    raw = np.zeros(canvas.shape, np.float32)
    if marked is None:
        side = max(10, round(spot.length / (1 - 2 * shapes.MARGIN)))
        stretch = spot.length / max(spot.width, 1.0)
        shape = shapes.blob(rng, side, roughness=rng.uniform(0.5, 1.0), elongation=stretch, angle=spot.angle)
        shapes.paste(raw, shape, spot.x, spot.y)
    else:
        raw = marked.astype(np.float32)
    smallest = min(spot.length, spot.width)
    cover = canvas.softened(raw)
    depth = float(rng.uniform(0.12, 0.3)) * smallest
    wall = float(rng.uniform(0.1, 0.3)) * smallest + 1
    facets = shapes.noise(rng, canvas.shape, 0.5 * smallest + 2, octaves=5)
    height = -depth * shapes.dome(raw, wall) + raw * facets * 0.06 * smallest
    shade = canvas.lit(np.asarray(height, np.float32))
    dim = float(rng.uniform(0.45, 0.85)) / canvas.boldness**0.5
    floor = canvas.base() * (dim * np.exp(0.1 * facets))[..., None] + canvas.noise(rng)
    light = (canvas.light + cover[..., None] * (floor - canvas.light)) * (1 + np.clip(cover * 1.5, 0, 1) * (shade - 1))[
        ..., None
    ]
    return Drawn(np.asarray(light, np.float32), cover, {"form": "hollow", "depth": round(depth, 1)})
