"""Synthesis: make the pictures that were ordered, and account for each of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from defectory.errors import ContentFilteredError, RenderError
from defectory.images.filters import crop, fingerprint_of, unseen
from defectory.images.items import Item, ItemRecord, Outcome, item_id, record_file
from defectory.images.renderers import MAX_SEED, Image, Mask, Order, Photo, Rendered, Renderer
from defectory.inspection.datasets.annotations import Box, box_of, encode_runs
from defectory.inspection.images import encode_jpeg, encode_png

ATTEMPTS = 5
"""How many seeds are tried for one picture, where no believable or no visible defect came of the first."""

THUMBNAIL_SIDE = 400
CLOSEUP_SIDE = 220


@dataclass(frozen=True, slots=True)
class Made:
    """What became of an item: its record, and the files to store, by name, in this order (the record last)."""

    record: ItemRecord
    files: Mapping[str, bytes] = field(repr=False)


def order_of(item: Item, mask: Mask | None = None) -> Order:
    """What a renderer is told of ``item``; ``mask`` is what its ``mask`` names."""
    return Order(item.defect, item.seed, mask, item.prompt)


def make_item(item: Item, renderer: Renderer, photo: Photo | None, order: Order, *, attempts: int = ATTEMPTS) -> Made:
    """Make one picture.

    An order of which no believable or no visible defect came is tried again with the next seed.  Renderers that cost
    money are asked once.

    Args:
        item: what is to be made; the record is of it.
        renderer: what makes it.
        photo: of the item's source; None for a renderer that needs none.
        order: of the item, see `order_of`.
        attempts: how many seeds are tried at most.

    Returns:
        The record, with outcome made, invisible (nobody could see the defect), filtered (a content filter withheld it)
        or failed (no believable defect came of it), and the files: but for the record's none unless it was made.

    Raises:
        InputError: the renderer cannot work with the photo or the order.
        ServiceError: a service failed after bounded retries.
    """
    outcome: Outcome = "failed"
    reason = ""
    for attempt in range(attempts if _is_free(renderer) else 1):
        seed = (order.seed + attempt) % (MAX_SEED + 1)
        try:
            rendered = renderer.render(photo, replace(order, seed=seed))
            _check(rendered, photo)
        except RenderError as error:
            outcome, reason = "failed", str(error)
            continue
        except ContentFilteredError as error:
            outcome, reason = "filtered", str(error)
            break
        reason = unseen(rendered, photo)
        if not reason:
            return _keep(item, photo, rendered, seed)
        outcome = "invisible"
    return _close(ItemRecord(id=item_id(item), item=item, outcome=outcome, reason=reason), {})


def _is_free(renderer: Renderer) -> bool:
    return not renderer.name.startswith("bedrock")


def _check(rendered: Rendered, photo: Photo | None) -> None:
    """Whatever a renderer does, no picture is stored with a mask that is not its own."""
    shape = rendered.image.shape
    if photo is not None and shape != photo.image.shape:
        raise RenderError(f"The picture is not of the photo's size: {shape[1]} x {shape[0]}.")
    if rendered.mask is not None and rendered.mask.shape != shape[:2]:
        raise RenderError(
            f"The mask is not of the picture's size: {rendered.mask.shape[1]} x {rendered.mask.shape[0]}."
        )


def _keep(item: Item, photo: Photo | None, rendered: Rendered, seed: int) -> Made:
    identity = item_id(item)
    height, width = rendered.image.shape[:2]
    mask = None if rendered.mask is None else np.where(rendered.mask > 127, 255, 0).astype(np.uint8)
    box = None if mask is None else box_of(mask)
    files = {f"images/{identity}.png": encode_png(rendered.image)}
    if mask is not None:
        files[f"masks/{identity}.png"] = encode_png(mask)
    files[f"thumbnails/{identity}.jpg"] = encode_jpeg(_fit(rendered.image, THUMBNAIL_SIDE), 85)
    closeup = f"thumbnails/{identity}-closeup.jpg" if photo is not None and box else ""
    if photo is not None and box:
        files[closeup] = encode_jpeg(_before_and_after(photo.image, rendered.image, box), 85)
    record = ItemRecord(
        id=identity,
        item=item,
        outcome="made",
        image=f"images/{identity}.png",
        mask=f"masks/{identity}.png" if mask is not None else None,
        thumbnail=f"thumbnails/{identity}.jpg",
        closeup=closeup,
        image_sha256=hashlib.sha256(files[f"images/{identity}.png"]).hexdigest(),
        mask_sha256=hashlib.sha256(files[f"masks/{identity}.png"]).hexdigest() if mask is not None else None,
        source_sha256=photo.digest if photo else "",
        width=width,
        height=height,
        severity=float(np.clip(rendered.severity, 0, 1)),
        box=box,
        area=0.0 if mask is None else float((mask > 0).mean()),
        runs=() if mask is None else encode_runs(mask),
        fingerprint=fingerprint_of(rendered.image, box),
        parameters={**rendered.parameters, "seed": seed},
    )
    return _close(record, files)


def _close(record: ItemRecord, files: Mapping[str, bytes]) -> Made:
    return Made(record, {**files, record_file(record.id): (record.model_dump_json(indent=1) + "\n").encode()})


def _before_and_after(before: Image, after: Image, box: Box) -> Image:
    """The defect's place in both, side by side and square."""
    left, top, width, height = box
    side = min(max(width, height, 32), *after.shape[:2])
    square = (left + (width - side) // 2, top + (height - side) // 2, side, side)
    square = (max(0, square[0]), max(0, square[1]), side, side)
    pair = [_fit(crop(image, square), CLOSEUP_SIDE, enlarge=True) for image in (before, after)]
    return np.concatenate([pair[0], np.full((pair[0].shape[0], 4, 3), 255, np.uint8), pair[1]], axis=1)


def _fit(image: Image, side: int, *, enlarge: bool = False) -> Image:
    scale = side / max(image.shape[:2])
    if scale >= 1 and not enlarge:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC).astype(np.uint8)
