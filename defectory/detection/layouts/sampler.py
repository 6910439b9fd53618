"""Sampling layouts, a block of them at a time: every draw is an array over the scenes of the block.

A block is a function of the preset, the canvas, the seed and its number alone.  So the n-th layout is the same however
many are asked for and whoever samples it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

from defectory.detection.layouts.draws import BLOCK, draw_objects, draw_scenes
from defectory.detection.layouts.labels import LabelChunk, convert_boxes
from defectory.detection.layouts.placement import place_objects
from defectory.detection.layouts.presets import Preset
from defectory.detection.layouts.records import Layout, Split, parse_layout
from defectory.detection.layouts.tables import ObjectRows, layout_frame, order_objects
from defectory.detection.parallel import map_in_order


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
    scenes = draw_scenes(preset, asked.size, rng)
    objects = place_objects(preset, scenes, draw_objects(preset, scenes, rng), asked.size, rng)
    rows = order_objects(preset, scenes, objects, asked.size, rng)
    names = _image_ids(f"{preset.name}-{asked.split}-{asked.seed}-", number * BLOCK)
    stream = io.BytesIO()
    layout_frame(preset, scenes, rows, asked.size, names).head(count).write_ndjson(stream)
    labels = _convert(preset, rows, names.head(count), number * BLOCK, asked.size) if asked.with_labels else None
    return LayoutChunk(stream.getvalue(), count, labels)


def _image_ids(prefix: str, first: int) -> pl.Series:
    numbers = pl.Series("image_id", np.arange(first, first + BLOCK)).cast(pl.String).str.zfill(6)
    return prefix + numbers


def _convert(preset: Preset, rows: ObjectRows, names: pl.Series, first: int, size: tuple[int, int]) -> LabelChunk:
    """The boxes of the first layouts of a block, as many as there are ``names``, as labels."""
    table = np.array([preset.labels.index(name) if name in preset.labels else -1 for name in preset.drawn])
    code = table[rows.label]
    chosen = (rows.scene < len(names)) & (code >= 0)
    return convert_boxes(names, first + 1, rows.scene[chosen], code[chosen], rows.box[chosen], size)
