"""Where objects stand: candidates on the floor as the camera sees it, of which one overlaps others as it should."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from defectory.detection.layouts.draws import BLOCK, Floats, Ints, SceneDraws, condition_names
from defectory.detection.layouts.presets import Preset

_CANDIDATES = 6
# Overlap, as a share of the smaller box, that each level of occlusion asks of the one pair that overlaps most.
_OVERLAP = {"none": (0.0, 0.05), "partial": (0.08, 0.45), "heavy": (0.35, 0.7)}
# Boxes that may reach beyond the picture do so by this share at most.
_BEYOND = 0.45


@dataclass(frozen=True, slots=True)
class PlacedObjects:
    """Objects of a block, scene by scene: class, what they stand beside (a place among them, or -1), box, scale."""

    scene: Ints
    label: Ints
    beside: Ints
    box: Floats
    px_per_m: Floats


def place_objects(
    preset: Preset,
    scenes: SceneDraws,
    drawn: tuple[Ints, Ints, Ints],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> PlacedObjects:
    """Give each object a place on the floor: of a few candidates the first whose overlap is what the scene asks for."""
    scene, label, beside = drawn
    rank = _rank(scene)
    candidates, candidate_scales = _candidates(preset, scenes, scene, label, size, rng)
    by_rank = np.split(np.argsort(rank, kind="stable"), np.cumsum(np.bincount(rank)))
    boxes, scales = candidates[:, 0], candidate_scales[:, 0]
    most = int(rank.max(initial=0))
    # Hundredths of a pixel are enough to see who overlaps whom.
    placed = np.full((BLOCK, most + 1, 4), np.nan, np.float32)
    placed[scene[rank == 0], 0] = boxes[rank == 0]
    low, high = np.array([_OVERLAP[name] for name in condition_names(preset, "occlusion")])[scenes.occlusion[scene]].T
    # Only one pair has to overlap; others may stand apart.
    low = np.where(rng.random(len(scene)) < 0.5, low, 0.0)
    for step in range(1, most + 1):
        now = by_rank[step]
        anchored = now[beside[now] >= 0]
        if len(anchored):
            anchors = boxes[beside[anchored]]
            candidates[anchored], candidate_scales[anchored] = _beside(
                preset, scenes, scene[anchored], label[anchored], anchors, rng
            )
        overlap = _overlap(candidates[now].astype(np.float32), placed[scene[now], :step])
        miss = np.maximum(np.maximum(low[now, None] - overlap, overlap - high[now, None]), 0)
        best = miss.argmin(axis=1)
        boxes[now], scales[now] = candidates[now, best], candidate_scales[now, best]
        placed[scene[now], step] = boxes[now]
    return PlacedObjects(scene, label, beside, boxes, scales)


def _rank(scene: Ints) -> Ints:
    """The place of each object among those of its scene."""
    order = np.argsort(scene, kind="stable")
    ordered = scene[order]
    starts = np.searchsorted(ordered, ordered, side="left")
    rank = np.empty(len(scene), np.int64)
    rank[order] = np.arange(len(scene)) - starts
    return rank


def _overlap(candidates: NDArray[np.float32], placed: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest overlap of each candidate ``(n, k, 4)`` with what is there ``(n, m, 4)``, of the smaller's area."""
    left, top, width, height = np.moveaxis(candidates, 2, 0)[..., None]
    other_left, other_top, other_width, other_height = np.moveaxis(placed, 2, 0)[:, :, None]
    across = np.minimum(left + width, other_left + other_width) - np.maximum(left, other_left)
    down = np.minimum(top + height, other_top + other_height) - np.maximum(top, other_top)
    common = np.maximum(across, 0) * np.maximum(down, 0)
    share: NDArray[np.float32] = (common / np.minimum(width * height, other_width * other_height)).max(axis=2)
    return share


def _sizes(preset: Preset, scenes: SceneDraws, scene: Ints, label: Ints, canvas: int) -> Floats:
    """From and to of the objects' heights in the picture, in pixels, shape ``(2, n)``."""
    plans = list(preset.classes.values())
    low, high = np.array([plan.size for plan in plans]).T[:, label]
    for place, event in enumerate(preset.events):
        if event.size:
            is_event = scenes.event[scene] == place
            low, high = np.where(is_event, event.size[0], low), np.where(is_event, event.size[1], high)
    return np.stack([low, high]) * canvas


def _candidates(
    preset: Preset, scenes: SceneDraws, scene: Ints, label: Ints, size: tuple[int, int], rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Boxes ``(n, k, 4)`` and scales ``(n, k)`` on the floor as the camera sees it."""
    shape = (len(scene), _CANDIDATES)
    metres, aspect, lies = _shapes(preset, label, shape, rng)
    low, high = _sizes(preset, scenes, scene, label, min(size))[..., None]
    horizon, camera = scenes.horizon[scene, None], scenes.height_m[scene, None]
    pixels = low * (high / low) ** rng.random(shape)
    cut = rng.random(shape) < preset.truncated
    # Whoever stands nearer than this has their feet below the picture.
    nearest = (size[1] - horizon) / camera * np.where(cut, rng.uniform(1.0, 2.2, shape), rng.uniform(0.75, 1.0, shape))
    scale = np.minimum(pixels / metres, nearest)
    boxes = _boxes(scale, metres, aspect, lies, horizon, camera, _focal(scenes, scene, size[0])[:, None])
    width = boxes[..., 2]
    inside = rng.random(shape) * np.maximum(size[0] - width, 0) + np.minimum(size[0] - width, 0) / 2
    beyond = rng.random(shape) * (size[0] + width * (2 * _BEYOND - 1)) - width * _BEYOND
    boxes[..., 0] = np.where(cut, beyond, inside)
    return boxes, np.where(lies, np.nan, scale)


def _shapes(
    preset: Preset, label: Ints, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Metres, aspects, and whether it lies flat."""
    plans = list(preset.classes.values())
    metres, aspects = (np.array([getattr(plan, name) for plan in plans])[label] for name in ("height_m", "aspect"))
    lies = np.array([plan.place == "lies" for plan in plans])[label]
    one = (len(label), 1)
    return (
        np.broadcast_to(metres[:, :1] + np.diff(metres) * rng.random(one), shape),
        np.broadcast_to(aspects[:, :1] + np.diff(aspects) * rng.random(one), shape),
        np.broadcast_to(lies[:, None], shape),
    )


def _focal(scenes: SceneDraws, scene: Ints, width: int) -> Floats:
    focal: Floats = width / 2 / np.tan(np.radians(scenes.fov[scene]) / 2)
    return focal


def _boxes(
    scale: Floats,
    metres: Floats,
    aspect: Floats,
    lies: NDArray[np.bool_],
    horizon: Floats,
    camera: Floats,
    focal: Floats,
) -> Floats:
    """Boxes at the left edge, from scales in pixels a metre."""
    floor = horizon + scale * camera
    boxes = np.zeros((*scale.shape, 4))
    height = metres * scale
    width = height * aspect
    if lies.any():
        # What lies flat is as wide as it is and as high as its depth looks at this distance.
        slope = np.clip((floor - horizon) / focal, 0.1, 1.0)
        width, height = np.where(lies, height, width), np.where(lies, np.maximum(width * slope, 6), height)
    boxes[..., 1], boxes[..., 2], boxes[..., 3] = floor - height, width, height
    return boxes


def _beside(
    preset: Preset,
    scenes: SceneDraws,
    scene: Ints,
    label: Ints,
    anchor: Floats,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Candidates next to the boxes ``anchor`` ``(n, 4)``."""
    shape = (len(scene), _CANDIDATES)
    metres, aspect, lies = _shapes(preset, label, shape, rng)
    low, high = _beside_distances(preset, label)
    horizon, camera = scenes.horizon[scene, None], scenes.height_m[scene, None]
    anchor_floor = (anchor[:, 1] + anchor[:, 3])[:, None]
    floor = np.maximum(anchor_floor - rng.uniform(-0.15, 0.9, shape) * np.minimum(anchor[:, 3:], 40), horizon + 8)
    scale = (floor - horizon) / camera
    boxes = _boxes(scale, metres, aspect, lies, horizon, camera, np.full(shape, 1e3))
    gap = (low + (high - low) * rng.random(shape).T).T * scale
    left = anchor[:, :1] - gap - boxes[..., 2]
    right = anchor[:, :1] + anchor[:, 2:3] + gap
    boxes[..., 0] = np.where(rng.random(shape) < 0.5, left, right)
    return boxes, np.where(lies, np.nan, scale)


def _beside_distances(preset: Preset, label: Ints) -> tuple[Floats, Floats]:
    names = list(preset.classes)
    table = np.zeros((len(names), 2))
    for relation in preset.beside:
        table[names.index(relation.label)] = relation.distance_m
    low, high = table[label].T
    return low, high
