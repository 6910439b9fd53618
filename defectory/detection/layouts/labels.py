"""Layouts as labels: the boxes that were asked for, for COCO and YOLO, some thousand layouts at a time.

They are a request: what a renderer really shows has other boxes (`defectory.detection.scenes`).  Here they are
clipped to the canvas.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from defectory.detection.layouts.records import MOST_OBJECTS


@dataclass(frozen=True, slots=True)
class LabelChunk:
    """What some layouts are as labels.

    ``images`` and ``annotations`` are entries of COCO, one a line with commas between; ``yolo`` has a line
    ``{"image_id": ..., "rows": ...}`` an image, whose rows are those of its label file.
    """

    images: bytes
    annotations: bytes
    yolo: bytes


def convert_boxes(
    names: pl.Series,
    first: int,
    scene: NDArray[np.int64],
    code: NDArray[np.int64],
    box: NDArray[np.float64],
    size: tuple[int, int],
) -> LabelChunk:
    """The labels of some layouts of one size.

    Args:
        names: of the images.
        first: number of the first image; an object's is that of its image, times 1,000, and its place.
        scene: of each of ``n`` objects, in ascending order: which of the images.
        code: its class, from 0; COCO counts them from 1.
        box: left, top, width, height, shape ``(n, 4)``.
        size: width and height of the canvases.
    """
    corner = np.clip(box[:, :2], 0, size)
    extent = (np.clip(box[:, :2] + box[:, 2:], 0, size) - corner).round(1)
    place = np.arange(len(scene)) - np.searchsorted(scene, scene)
    number = scene + first
    images = pl.DataFrame({"id": np.arange(first, first + len(names)), "file_name": names}).with_columns(
        width=pl.lit(size[0]), height=pl.lit(size[1])
    )
    clipped = np.concatenate([corner, extent], axis=1)
    annotations = pl.DataFrame(
        {
            "id": number * MOST_OBJECTS + place,
            "image_id": number,
            "category_id": code + 1,
            "bbox": pl.Series(clipped, dtype=pl.Array(pl.Float64, 4)).arr.to_list(),
            "area": extent.prod(axis=1).round(2),
        }
    ).with_columns(iscrowd=pl.lit(0))
    shares = (np.concatenate([corner + extent / 2, extent], axis=1) / (*size, *size)).round(6)
    return LabelChunk(_entries(images), _entries(annotations), _yolo(names, scene, code, shares))


def _yolo(names: pl.Series, scene: NDArray[np.int64], code: NDArray[np.int64], shares: NDArray[np.float64]) -> bytes:
    columns = {f"share{place}": shares[:, place] for place in range(4)}
    row = pl.format("{} {} {} {} {}\n", "code", *columns)
    rows = (
        pl.DataFrame({"scene": scene, "code": code, **columns})
        .select("scene", row.alias("row"))
        .group_by("scene", maintain_order=True)
        .agg(pl.col("row").str.join(""))
    )
    spread = spread_out(rows["row"], rows["scene"].to_numpy(), len(names))
    return _lines(pl.DataFrame({"image_id": names, "rows": spread.fill_null("")}))


def spread_out(values: pl.Series, places: NDArray[np.int64], count: int) -> pl.Series:
    """``count`` values of which those at ``places`` are given, and the others null."""
    # In place of a join, which takes ten times as long.
    index = np.full(count, len(values))
    index[places] = np.arange(len(values))
    return values.extend_constant(None, 1).gather(index)


def _lines(frame: pl.DataFrame) -> bytes:
    stream = io.BytesIO()
    frame.write_ndjson(stream)
    return stream.getvalue()


def _entries(frame: pl.DataFrame) -> bytes:
    return _lines(frame).rstrip(b"\n").replace(b"}\n{", b"},\n{")


def yolo_files(chunk: LabelChunk) -> Iterator[tuple[str, str]]:
    """The names (without suffix) and contents of a chunk's files of YOLO."""
    for line in chunk.yolo.splitlines():
        entry = json.loads(line)
        yield entry["image_id"], entry["rows"]
