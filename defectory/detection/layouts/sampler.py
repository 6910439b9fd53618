"""Sampling layouts, a block of them at a time: every draw is an array over the scenes of the block.

A block is a function of the preset, the canvas, the seed and its number alone.  So the n-th layout is the same however
many are asked for and whoever samples it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from defectory.detection.layouts.labels import LabelChunk, convert_boxes, spread_out
from defectory.detection.layouts.presets import Preset
from defectory.detection.layouts.records import Layout, Split, parse_layout
from defectory.detection.parallel import map_in_order

BLOCK = 2048
"""Layouts that are drawn at a time."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CANDIDATES = 6
# Overlap, as a share of the smaller box, that each level of occlusion asks of the one pair that overlaps most.
_OVERLAP = {"none": (0.0, 0.05), "partial": (0.08, 0.45), "heavy": (0.35, 0.7)}
# Boxes that may reach beyond the picture do so by this share at most.
_BEYOND = 0.45
_LIGHT_WORDS = {
    "even": "even light",
    "bright": "bright light",
    "dim": "dim light",
    "warm": "warm light",
    "cold": "cold light",
    "backlit": "light from behind",
}


@dataclass(frozen=True, slots=True)
class _Scenes:
    """What is drawn for each of the ``n`` scenes of a block; ``event`` is -1 for none."""

    horizon: Floats
    height_m: Floats
    fov: Floats
    event: Ints
    light: Ints
    camera: Ints
    occlusion: Ints
    background: Ints
    seed: Ints


@dataclass(frozen=True, slots=True)
class _Objects:
    """Objects of a block, scene by scene: class, what they stand beside (a place among them, or -1), box, scale."""

    scene: Ints
    label: Ints
    beside: Ints
    box: Floats
    px_per_m: Floats


def sample_layouts(
    preset: Preset, count: int, *, seed: int = 0, split: Split = "train", size: tuple[int, int] = (512, 512)
) -> Iterator[Layout]:
    """Layouts from ``preset``, one at a time; see `sample_chunks` for all at speed.

    >>> from defectory.detection.layouts.presets import load_preset
    >>> [layout] = sample_layouts(load_preset("housekeeping"), 1, seed=7)
    >>> layout.image_id, layout.size
    ('housekeeping-train-7-000000', (512, 512))
    """
    for chunk in sample_chunks(preset, count, seed=seed, split=split, size=size):
        for line in chunk.lines.splitlines():
            yield parse_layout(line, "layout")


@dataclass(frozen=True, slots=True)
class LayoutChunk:
    """Some layouts: their lines, how many they are, and, where they were asked for, the boxes as labels."""

    lines: bytes
    count: int
    labels: LabelChunk | None


def sample_chunks(
    preset: Preset,
    count: int,
    *,
    seed: int = 0,
    split: Split = "train",
    size: tuple[int, int] = (512, 512),
    with_labels: bool = False,
    workers: int = 1,
) -> Iterator[LayoutChunk]:
    """``count`` layouts, some 2,000 a piece; no more than a few pieces are held at a time.

    Args:
        preset: the world to sample from.
        count: how many.
        seed: another seed, other layouts.
        split: train and test are drawn apart, from the same seed too.
        size: width and height of the canvases.
        with_labels: convert the boxes as well.
        workers: processes that sample; what they give is the same for any number.
    """
    blocks = ((number, min(BLOCK, count - number * BLOCK)) for number in range(-(-count // BLOCK)))
    work = partial(_sample_block, preset, _Asked(seed, split, size, with_labels))
    yield from map_in_order(work, blocks, workers=workers)


@dataclass(frozen=True, slots=True)
class _Asked:
    seed: int
    split: Split
    size: tuple[int, int]
    with_labels: bool


def _sample_block(preset: Preset, asked: _Asked, block: tuple[int, int]) -> LayoutChunk:
    number, count = block
    rng = np.random.default_rng([asked.seed, 0 if asked.split == "train" else 1, number])
    scenes = _draw_scenes(preset, asked.size, rng)
    objects = _place(preset, scenes, _draw_objects(preset, scenes, rng), asked.size, rng)
    rows = _order(preset, scenes, objects, asked.size, rng)
    names = _image_ids(f"{preset.name}-{asked.split}-{asked.seed}-", number * BLOCK)
    stream = io.BytesIO()
    _frame(preset, scenes, rows, asked.size, names).head(count).write_ndjson(stream)
    labels = _convert(preset, rows, names.head(count), number * BLOCK, asked.size) if asked.with_labels else None
    return LayoutChunk(stream.getvalue(), count, labels)


def _image_ids(prefix: str, first: int) -> pl.Series:
    numbers = pl.Series("image_id", np.arange(first, first + BLOCK)).cast(pl.String).str.zfill(6)
    return prefix + numbers


def _convert(preset: Preset, rows: _Rows, names: pl.Series, first: int, size: tuple[int, int]) -> LabelChunk:
    """The boxes of the first layouts of a block, as many as there are ``names``, as labels."""
    table = np.array([preset.labels.index(name) if name in preset.labels else -1 for name in preset.drawn])
    code = table[rows.label]
    chosen = (rows.scene < len(names)) & (code >= 0)
    return convert_boxes(names, first + 1, rows.scene[chosen], code[chosen], rows.box[chosen], size)


def _draw_scenes(preset: Preset, size: tuple[int, int], rng: np.random.Generator) -> _Scenes:
    view = preset.view
    edges = np.cumsum([event.rate for event in preset.events])
    event = np.searchsorted(edges, rng.random(BLOCK), side="right") if len(edges) else np.zeros(BLOCK, np.int64)
    event = np.where(event < len(edges), event, -1)
    drawn = {
        name: _choose(getattr(preset, name), BLOCK, rng) for name in ("light", "camera", "occlusion", "backgrounds")
    }
    for place, rare in enumerate(preset.events):
        for name in ("light", "camera", "occlusion"):
            value = getattr(rare, name)
            if value is not None:
                names = list(_names(preset, name))
                drawn[name] = np.where(event == place, names.index(value), drawn[name])
    return _Scenes(
        horizon=rng.uniform(*view.horizon, BLOCK).round(3) * size[1],
        height_m=rng.uniform(*view.height_m, BLOCK).round(2),
        fov=rng.uniform(*view.fov, BLOCK).round(1),
        event=event,
        light=drawn["light"],
        camera=drawn["camera"],
        occlusion=drawn["occlusion"],
        background=drawn["backgrounds"],
        seed=rng.integers(0, 2**62, BLOCK),
    )


def _names(preset: Preset, name: str) -> tuple[str, ...]:
    """The names that a condition may have in this preset, with those that only its events give it."""
    weights: Mapping[str, float] = getattr(preset, name)
    extra = () if name == "backgrounds" else (getattr(event, name) for event in preset.events)
    return tuple(dict.fromkeys([*weights, *(value for value in extra if value is not None)]))


def _choose(weights: Mapping[str, float] | Mapping[int, float], count: int, rng: np.random.Generator) -> Ints:
    """``count`` places among the weights."""
    cumulative = np.cumsum(list(weights.values()))
    drawn = np.searchsorted(cumulative, rng.random(count) * cumulative[-1], side="right")
    places: Ints = np.minimum(drawn, len(cumulative) - 1).astype(np.int64)
    return places


def _draw_objects(preset: Preset, scenes: _Scenes, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
    """Scene, class and (for what stands beside another) the other's place, of all that stands by itself."""
    counts = _draw_counts(preset, scenes, rng)
    labels = list(preset.classes)
    scene = np.repeat(np.tile(np.arange(BLOCK), len(labels)), counts.ravel())
    label = np.repeat(np.repeat(np.arange(len(labels)), BLOCK), counts.ravel())
    # In one scene in random order, or the first class would always have the first choice of places.
    order = np.lexsort((rng.random(len(scene)), scene))
    scene, label = scene[order], label[order]
    beside = np.full(len(scene), -1)
    for relation in preset.beside:
        anchors = np.flatnonzero((label == labels.index(relation.of)) & (rng.random(len(label)) < relation.share))
        scene = np.concatenate([scene, scene[anchors]])
        label = np.concatenate([label, np.full(len(anchors), labels.index(relation.label))])
        beside = np.concatenate([beside, anchors])
    return scene, label, beside


def _draw_counts(preset: Preset, scenes: _Scenes, rng: np.random.Generator) -> Ints:
    """How many of each class, shape ``(classes, scenes)``."""
    labels = list(preset.classes)
    counts = np.zeros((len(labels), BLOCK), np.int64)
    for place, plan in enumerate(preset.classes.values()):
        numbers = np.array(list(plan.number), np.int64)[_choose(plan.number, BLOCK, rng)]
        counts[place] = np.where(rng.random(BLOCK) < plan.share, numbers, 0)
    for rule in preset.together:
        added = rng.random(BLOCK) < rule.share
        lacks = (counts[labels.index(rule.present)] > 0) & (counts[labels.index(rule.label)] == 0)
        counts[labels.index(rule.label)] += added & lacks
    counts[:, rng.random(BLOCK) < preset.empty] = 0
    for place, event in enumerate(preset.events):
        for name, number in event.number.items():
            counts[labels.index(name), scenes.event == place] = number
    return counts


def _place(
    preset: Preset,
    scenes: _Scenes,
    drawn: tuple[Ints, Ints, Ints],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> _Objects:
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
    low, high = np.array([_OVERLAP[name] for name in _names(preset, "occlusion")])[scenes.occlusion[scene]].T
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
    return _Objects(scene, label, beside, boxes, scales)


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


def _sizes(preset: Preset, scenes: _Scenes, scene: Ints, label: Ints, canvas: int) -> Floats:
    """From and to of the objects' heights in the picture, in pixels, shape ``(2, n)``."""
    plans = list(preset.classes.values())
    low, high = np.array([plan.size for plan in plans]).T[:, label]
    for place, event in enumerate(preset.events):
        if event.size:
            is_event = scenes.event[scene] == place
            low, high = np.where(is_event, event.size[0], low), np.where(is_event, event.size[1], high)
    return np.stack([low, high]) * canvas


def _candidates(
    preset: Preset, scenes: _Scenes, scene: Ints, label: Ints, size: tuple[int, int], rng: np.random.Generator
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


def _focal(scenes: _Scenes, scene: Ints, width: int) -> Floats:
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
    scenes: _Scenes,
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


@dataclass(frozen=True, slots=True)
class _Rows:
    """Objects in the order of drawing, those that are worn after whoever wears them."""

    scene: Ints
    label: Ints
    box: Floats
    px_per_m: Floats
    worn_by: Ints
    wears: Ints
    tilt: Ints


def _order(
    preset: Preset, scenes: _Scenes, objects: _Objects, size: tuple[int, int], rng: np.random.Generator
) -> _Rows:
    """From the back to the front; what lies on the floor is under all that stands on it."""
    plans = list(preset.classes.values())
    lies = np.array([plan.place == "lies" for plan in plans])[objects.label]
    box = objects.box.round(1)
    box[:, 2:] = np.maximum(box[:, 2:], 1)
    meets = (box[:, 0] < size[0]) & (box[:, 1] < size[1]) & (box[:, :2] + box[:, 2:] > 0).all(axis=1)
    order = np.lexsort(((box[:, 1] + box[:, 3]), ~lies, objects.scene))
    order = order[meets[order]]
    scene, label, box, scale = objects.scene[order], objects.label[order], box[order], objects.px_per_m[order].round(2)
    tilt = np.zeros(len(scene), np.int64)
    names = list(preset.classes)
    for place, event in enumerate(preset.events):
        for name in event.tilted:
            fallen = (scenes.event[scene] == place) & (label == names.index(name))
            tilt[fallen] = rng.choice([-90, 90], int(fallen.sum()))
    return _dress(preset, scenes, (scene, label, box, scale, tilt), size, rng)


def _dress(
    preset: Preset,
    scenes: _Scenes,
    ordered: tuple[Ints, Ints, Floats, Floats, Ints],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> _Rows:
    """Add what is worn, as rows of their own; ``wears`` has a bit for each relation."""
    scene, label, box, scale, tilt = ordered
    names, drawn = list(preset.classes), list(preset.drawn)
    wears = np.zeros(len(scene), np.int64)
    parts = [(np.arange(len(scene)), np.zeros(len(scene), np.int64), scene, label, box, scale, tilt)]
    for bit, relation in enumerate(preset.wears):
        share = np.full(len(scene), relation.share)
        for place, event in enumerate(preset.events):
            if relation.label in event.wears:
                share[scenes.event[scene] == place] = event.wears[relation.label]
        wearers = np.flatnonzero((label == names.index(relation.wearer)) & (rng.random(len(scene)) < share))
        wears[wearers] |= 1 << bit
        left, top, width, height = relation.box
        around = box[wearers]
        worn = np.stack(
            [
                around[:, 0] + left * around[:, 2],
                around[:, 1] + top * around[:, 3],
                np.maximum(width * around[:, 2], 1),
                np.maximum(height * around[:, 3], 1),
            ],
            axis=1,
        ).round(1)
        meets = (worn[:, 0] < size[0]) & (worn[:, 1] < size[1]) & (worn[:, :2] + worn[:, 2:] > 0).all(axis=1)
        wearers, worn = wearers[meets], worn[meets]
        parts.append(
            (
                wearers,
                np.full(len(wearers), bit + 1),
                scene[wearers],
                np.full(len(wearers), drawn.index(relation.label)),
                worn,
                np.full(len(wearers), np.nan),
                np.zeros(len(wearers), np.int64),
            )
        )
    wearer, layer, scene, label, box, scale, tilt = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((layer, wearer))
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    starts = np.searchsorted(scene[order], scene[order], side="left")
    worn_by = np.where(layer > 0, position[wearer], -1)[order]
    return _Rows(
        scene[order],
        label[order],
        box[order],
        scale[order],
        np.where(worn_by >= 0, worn_by - starts, -1),
        np.where(layer == 0, wears[wearer], 0)[order],
        tilt[order],
    )


def _frame(preset: Preset, scenes: _Scenes, rows: _Rows, size: tuple[int, int], names: pl.Series) -> pl.DataFrame:
    """A row a layout, with the columns of `Layout`."""
    background = _texts(_names(preset, "backgrounds"), scenes.background)
    gathered = _gathered(preset, rows)
    places = gathered["scene"].to_numpy()
    light = _texts(_names(preset, "light"), scenes.light)
    frame = pl.DataFrame(
        {
            "image_id": names,
            "background": background,
            "seed": scenes.seed,
            "light": light,
            "camera": _texts(_names(preset, "camera"), scenes.camera),
            "occlusion": _texts(_names(preset, "occlusion"), scenes.occlusion),
            "event": _texts(("", *(event.name for event in preset.events)), scenes.event + 1),
            "horizon": scenes.horizon.round(1),
            "height_m": scenes.height_m,
            "fov": scenes.fov,
            "objects": spread_out(gathered["objects"], places, BLOCK),
            "words": spread_out(gathered["words"], places, BLOCK),
        }
    )
    words = pl.col("light").replace_strict(_LIGHT_WORDS)
    return frame.select(
        "image_id",
        pl.lit(pl.Series([list(size)])).first().alias("size"),
        pl.col("objects").fill_null([]),
        "background",
        pl.format("A photo of a {}, {}, with {}", "background", words, pl.col("words").fill_null("nobody")).alias(
            "prompt"
        ),
        "seed",
        pl.struct("light", "camera", "occlusion", "event").alias("conditions"),
        pl.struct("horizon", "height_m", "fov").alias("view"),
    )


def _gathered(preset: Preset, rows: _Rows) -> pl.DataFrame:
    """The objects of each scene in one cell."""
    drawn = preset.drawn
    outfits = [
        [relation.label for bit, relation in enumerate(preset.wears) if code >> bit & 1]
        for code in range(1 << len(preset.wears))
    ]
    flat = pl.DataFrame(
        {
            "scene": rows.scene,
            "label": _texts(drawn, rows.label),
            "word": _texts([name.replace("_", " ") for name in drawn], rows.label),
            "box": pl.Series(rows.box, dtype=pl.Array(pl.Float64, 4)).arr.to_list(),
            "wears": pl.Series(outfits, dtype=pl.List(pl.String)).gather(rows.wears),
            "worn_by": rows.worn_by,
            "px_per_m": rows.px_per_m,
            "tilt": rows.tilt,
        }
    ).with_columns(pl.when(pl.col("worn_by") >= 0).then("worn_by").alias("worn_by"), pl.col("px_per_m").fill_nan(None))
    item = pl.struct("label", "box", "wears", "worn_by", "px_per_m", "tilt")
    return flat.group_by("scene", maintain_order=True).agg(
        item.alias("objects"), pl.col("word").str.join(", ").alias("words")
    )


def _texts(names: Sequence[str], codes: Ints) -> pl.Series:
    return pl.Series(list(names), dtype=pl.String).gather(codes)
