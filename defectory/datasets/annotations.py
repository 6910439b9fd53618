"""Annotations: masks as the objects, run lengths and boxes that detectors are trained on (COCO, YOLO)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from defectory.vision.regions import find_regions

Box = tuple[int, int, int, int]
"""Left, top, width, height in pixels."""

JOINED_SHARE = 0.02
"""Pieces of a mask that are no farther apart than this share of the image's shorter side are one object."""


@dataclass(frozen=True, slots=True)
class Object:
    """One defect on an image: its class, its box, its pixels (``runs``, see `encode_runs`) and how many they are."""

    name: str
    box: Box
    runs: tuple[int, ...]
    area: int


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image as detectors know it: its file, its size and its objects; none of them means a good part."""

    file: str
    width: int
    height: int
    objects: tuple[Object, ...] = ()


def encode_runs(mask: NDArray[np.generic]) -> tuple[int, ...]:
    """``mask`` (not 0 = marked), shape ``(h, w)``, in COCO's uncompressed run lengths.

    They go down column by column, unmarked pixels first; an image that begins with a marked one begins with a 0.
    """
    column = np.asarray(mask != 0).ravel(order="F")
    if not column.size:
        return ()
    edges = np.flatnonzero(np.diff(column)) + 1
    lengths = np.diff(np.concatenate([[0], edges, [column.size]])).tolist()
    return (0, *lengths) if column[0] else tuple(lengths)


def encode_runs_within(mask: NDArray[np.generic], corner: tuple[int, int], size: tuple[int, int]) -> tuple[int, ...]:
    """What `encode_runs` makes of a mask of ``size`` (width, height) that is empty but for ``mask``, without making it.

    Args:
        mask: not 0 = marked, shape ``(h, w)``.
        corner: left and top of it.
        size: of the whole, in which it lies.

    >>> encode_runs_within(np.ones((1, 2), np.uint8), (1, 0), (4, 3))
    (3, 1, 2, 1, 5)
    """
    height, width = mask.shape
    # Each column between two unmarked pixels, so that every run begins and ends within it.
    columns = np.zeros((width, height + 2), np.int8)
    columns[:, 1:-1] = (mask != 0).T
    steps = np.diff(columns, axis=1)
    (first_columns, first_rows), (_, end_rows) = np.nonzero(steps == 1), np.nonzero(steps == -1)
    offsets = (first_columns + corner[0]) * size[1] + corner[1]
    starts, ends = offsets + first_rows, offsets + end_rows
    # A run that reaches a column's end goes on in the next one's beginning.
    breaks = np.flatnonzero(starts[1:] != ends[:-1])
    starts, ends = (
        starts[np.concatenate([[0], breaks + 1])[: len(starts)]],
        ends[np.concatenate([breaks, [-1]])[: len(ends)]],
    )
    edges = np.stack([starts, ends], axis=1).ravel()
    lengths = np.diff(np.concatenate([[0], edges, [size[0] * size[1]]])).tolist()
    return tuple(lengths if lengths[-1] else lengths[:-1])


def decode_runs(runs: Sequence[int], width: int, height: int) -> NDArray[np.uint8]:
    """The mask, uint8 ``(height, width)``, 255 = marked, that `encode_runs` wrote.

    Raises:
        ValueError: the runs are not of an image of that size.
    """
    if sum(runs) != width * height or min(runs, default=0) < 0:
        raise ValueError(f"runs of {sum(runs)} pixels for an image of {width} x {height}")
    values = np.tile(np.array([0, 255], np.uint8), len(runs) // 2 + 1)[: len(runs)]
    return np.repeat(values, runs).reshape((height, width), order="F")


def box_of(mask: NDArray[np.generic]) -> Box | None:
    """The box around all of ``mask`` (not 0 = marked); None where nothing is marked."""
    columns, rows = np.flatnonzero((mask != 0).any(axis=0)), np.flatnonzero((mask != 0).any(axis=1))
    if not columns.size:
        return None
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1


def find_objects(classes: NDArray[np.uint8], names: Sequence[str]) -> tuple[Object, ...]:
    """The objects of a mask, class by class, from left to right.

    Pieces of one class that lie near each other are one object: a dotted scratch, the drops of one splash.

    Args:
        classes: shape ``(h, w)``: 0 background, ``n`` for ``names[n - 1]``; other values are passed by.
        names: the classes.
    """
    reach = max(1.0, JOINED_SHARE * min(classes.shape) / 2)
    objects = []
    for number, name in enumerate(names, 1):
        marked = np.where(classes == number, 255, 0).astype(np.uint8)
        around = box_of(marked)
        if around is None:
            continue
        left, top, width, height = around
        inside = marked[top : top + height, left : left + width]
        # Pieces touch once each has grown by the reach.
        near = cv2.distanceTransform(255 - inside, cv2.DIST_L2, cv2.DIST_MASK_5) <= reach
        for piece in find_regions(near):
            mask = np.zeros_like(marked)
            mask[top : top + height, left : left + width] = np.where(piece, inside, 0)
            box = box_of(mask)
            if box:
                objects.append(Object(name, box, encode_runs(mask), int((mask > 0).sum())))
    return tuple(sorted(objects, key=lambda item: (names.index(item.name), item.box)))


def coco_json(images: Iterable[AnnotatedImage], classes: Sequence[str], description: str) -> Iterator[str]:
    """COCO's instance annotations as JSON, piece by piece: no more than one image is held at a time.

    Masks are uncompressed run lengths; categories are numbered from 1.

    Args:
        images: gone through twice, so no iterator.
        classes: the categories, in the order of their numbers.
        description: of the whole.
    """
    numbers = {name: number for number, name in enumerate(classes, 1)}
    yield coco_begin(description)
    yield from separated(coco_image(image, number) for number, image in enumerate(images, 1))
    yield '], "annotations": ['
    annotation_ids = itertools.count(1)
    yield from separated(
        coco_annotation(image, item, (next(annotation_ids), number, numbers[item.name]))
        for number, image in enumerate(images, 1)
        for item in image.objects
    )
    yield coco_end(classes, "defect")


def coco_begin(description: str) -> str:
    """The file of `coco_json` up to its first image."""
    return f'{{"info": {_json({"description": description})}, "images": ['


def coco_end(classes: Sequence[str], supercategory: str) -> str:
    """The file of `coco_json` from behind its last annotation."""
    categories = [
        {"id": number, "name": name, "supercategory": supercategory} for number, name in enumerate(classes, 1)
    ]
    return f'], "categories": {_json(categories)}}}\n'


def coco_image(image: AnnotatedImage, number: int) -> str:
    """The entry of an image."""
    return _json({"id": number, "file_name": image.file, "width": image.width, "height": image.height})


def coco_annotation(image: AnnotatedImage, item: Object, ids: tuple[int, int, int]) -> str:
    """The entry of an object of ``image``; ``ids`` are its own, its image's and its category's."""
    return _json(
        {
            "id": ids[0],
            "image_id": ids[1],
            "category_id": ids[2],
            "bbox": list(item.box),
            "area": item.area,
            "segmentation": {"counts": list(item.runs), "size": [image.height, image.width]},
            # 1 would have most trainers pass the object by.
            "iscrowd": 0,
        }
    )


def separated(pieces: Iterable[str]) -> Iterator[str]:
    """``pieces`` as the inside of a JSON array or object, one a line."""
    between = "\n"
    for piece in pieces:
        yield between + piece
        between = ",\n"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def yolo_rows(image: AnnotatedImage, classes: Sequence[str]) -> str:
    """A label file of YOLO: ``class x_center y_center width height``, in shares of the image; empty for a good part."""
    rows = []
    for item in image.objects:
        left, top, width, height = item.box
        shares = (
            (left + width / 2) / image.width,
            (top + height / 2) / image.height,
            width / image.width,
            height / image.height,
        )
        rows.append(f"{classes.index(item.name)} " + " ".join(f"{share:.6f}" for share in shares) + "\n")
    return "".join(rows)


def yolo_yaml(classes: Sequence[str], train: str, val: str = "") -> str:
    """``data.yaml`` of YOLO: the folders of images to train on and to validate on, below the file, and the classes."""
    # Its readers want the line; the folder of synthetic images in it would have them validate on what they made.
    val = val or "# put the folder of real images here: synthetic ones must not be tested on"
    # A JSON string is a YAML string, whatever the class is called.
    names = [f"  {number}: {json.dumps(name, ensure_ascii=False)}" for number, name in enumerate(classes)]
    return "\n".join(["path: .", f"train: {train}", f"val: {val}", "names:", *names]) + "\n"
