"""Layouts as labels: the boxes that were asked for, for COCO and YOLO, some thousand layouts at a time.

They are a request: what a renderer really shows has other boxes (`defectory.detection.scenes`).  Here they are
clipped to the canvas.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import polars as pl

from defectory.detection.layouts.records import MOST_OBJECTS
from defectory.detection.parallel import map_in_order

CHUNK = 4096
"""Layouts that are converted at a time."""

_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "image_id": pl.String,
    "size": pl.List(pl.Int64),
    "objects": pl.List(pl.Struct({"label": pl.String, "box": pl.List(pl.Float64)})),
}


@dataclass(frozen=True, slots=True)
class LabelChunk:
    """What some layouts are as labels.

    ``images`` and ``annotations`` are entries of COCO, one a line with commas between; ``yolo`` has a line
    ``{"image_id": ..., "rows": ...}`` an image, whose rows are those of its label file.
    """

    images: bytes
    annotations: bytes
    yolo: bytes
    count: int


def convert_lines(lines: Iterable[bytes], classes: Sequence[str], *, workers: int = 1) -> Iterator[LabelChunk]:
    """The labels of layouts given by their lines, which are right (`parse_layout` says what is not).

    Args:
        lines: gone through once.
        classes: those that are labelled; YOLO counts them from 0, COCO from 1.
        workers: processes; what they give is the same for any number.
    """
    yield from map_in_order(partial(_convert, tuple(classes)), _chunks(lines), workers=workers)


def _chunks(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    rest, first = iter(lines), 1
    while piece := list(islice(rest, CHUNK)):
        yield first, b"".join(line if line.endswith(b"\n") else line + b"\n" for line in piece)
        first += len(piece)


def _convert(classes: tuple[str, ...], chunk: tuple[int, bytes]) -> LabelChunk:
    first, content = chunk
    layouts = (
        pl.read_ndjson(content, schema=_SCHEMA)
        .with_row_index("number", offset=first)
        .with_columns(
            pl.col("number").cast(pl.Int64),
            pl.col("size").list.get(0).alias("width"),
            pl.col("size").list.get(1).alias("height"),
        )
    )
    images = layouts.select(pl.col("number").alias("id"), pl.col("image_id").alias("file_name"), "width", "height")
    objects = _clipped(layouts, classes)
    ids = pl.col("number") * MOST_OBJECTS + pl.col("place")
    annotations = objects.select(
        ids.alias("id"),
        pl.col("number").alias("image_id"),
        (pl.col("class") + 1).alias("category_id"),
        pl.concat_list("left", "top", "wide", "high").alias("bbox"),
        (pl.col("wide") * pl.col("high")).round(2).alias("area"),
        pl.lit(0).alias("iscrowd"),
    )
    return LabelChunk(_entries(images), _entries(annotations), _yolo(layouts, objects), layouts.height)


def _clipped(layouts: pl.DataFrame, classes: Sequence[str]) -> pl.DataFrame:
    """A row an object whose class is labelled, with the part of its box that is on the canvas."""
    flat = (
        layouts.select("number", "width", "height", "objects")
        .filter(pl.col("objects").list.len() > 0)
        .explode("objects")
        .unnest("objects")
        .with_columns(pl.int_range(pl.len()).over("number").alias("place"))
        .filter(pl.col("label").is_in(list(classes)))
    )
    left, top, wide, high = (pl.col("box").list.get(place) for place in range(4))
    left_in, top_in = left.clip(0, pl.col("width")), top.clip(0, pl.col("height"))
    numbers = {name: number for number, name in enumerate(classes)}
    return flat.select(
        "number",
        "place",
        pl.col("label").replace_strict(numbers, return_dtype=pl.Int64).alias("class"),
        "width",
        "height",
        left_in.round(1).alias("left"),
        top_in.round(1).alias("top"),
        ((left + wide).clip(0, pl.col("width")) - left_in).round(1).alias("wide"),
        ((top + high).clip(0, pl.col("height")) - top_in).round(1).alias("high"),
    )


def _yolo(layouts: pl.DataFrame, objects: pl.DataFrame) -> bytes:
    def share(value: pl.Expr, side: str) -> pl.Expr:
        return (value / pl.col(side)).round(6).cast(pl.String)

    row = pl.format(
        "{} {} {} {} {}\n",
        "class",
        share(pl.col("left") + pl.col("wide") / 2, "width"),
        share(pl.col("top") + pl.col("high") / 2, "height"),
        share(pl.col("wide"), "width"),
        share(pl.col("high"), "height"),
    )
    rows = (
        objects.select("number", row.alias("rows"))
        .group_by("number", maintain_order=True)
        .agg(pl.col("rows").str.join(""))
    )
    joined = layouts.select("number", "image_id").join(rows, on="number", how="left", maintain_order="left")
    return _lines(joined.select("image_id", pl.col("rows").fill_null("")))


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
