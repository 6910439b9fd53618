"""Synthesis: make the pictures that were ordered, and account for each of them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict

from defectory.datasets.annotations import Box, box_of, encode_runs
from defectory.datasets.records import Dataset, file_digest
from defectory.errors import ContentFilteredError, DefectoryError, ImageError, InputError, RenderError, ServiceError
from defectory.images.assembly import count_outcomes, pieces_of
from defectory.images.dataset_folder import DatasetFolder
from defectory.images.filters import crop, fingerprint_of, visibility_failure, window_of
from defectory.images.items import Item, ItemOutcome, ItemRecord, item_id, record_file
from defectory.images.plan import Plan, expand
from defectory.images.renderers import MAX_SEED, Renderer, RendererName, RenderRequest, RenderResult
from defectory.progress import OnProgress, Progress, ignore_progress
from defectory.vision.arrays import Image, Mask
from defectory.vision.images import encode_jpeg, encode_png
from defectory.vision.photos import Photo, load_mask, load_photo, load_region, storable

ATTEMPTS = 5
"""How many seeds are tried for one picture, where no believable or no visible defect came of the first."""

GIVE_UP_AFTER = 3
"""So many items in a row for which a service fails mean that it will fail for the next, too."""

KEPT_PHOTOS = 4
"""How many photos stay in memory, decoded."""

THUMBNAIL_SIDE = 400
CLOSEUP_SIDE = 220


@dataclass(frozen=True, slots=True)
class SynthesizedItem:
    """What became of an item: its record, and the files to store, by name, in this order (the record last)."""

    record: ItemRecord
    files: Mapping[str, bytes] = field(repr=False)


def request_of(item: Item, mask: Mask | None = None) -> RenderRequest:
    """What a renderer is told of ``item``; ``mask`` is what its ``mask`` names."""
    return RenderRequest(item.defect, item.seed, mask, item.prompt)


def make_item(
    item: Item, renderer: Renderer, photo: Photo | None, request: RenderRequest, *, attempts: int = ATTEMPTS
) -> SynthesizedItem:
    """Make one picture.

    A request of which no believable or no visible defect came is tried again with the next seed.  Renderers that cost
    money are asked once.

    Args:
        item: what is to be made; the record is of it.
        renderer: what makes it.
        photo: of the item's source; None for a renderer that needs none.
        request: of the item, see `request_of`.
        attempts: how many seeds are tried at most.

    Returns:
        The record, with outcome made, invisible (nobody could see the defect), filtered (a content filter withheld it)
        or failed (no believable defect came of it), and the files: but for the record's none unless it was made.

    Raises:
        InputError: the renderer cannot work with the photo or the request.
        ServiceError: a service failed after bounded retries.
    """
    outcome: ItemOutcome = "failed"
    reason = ""
    for attempt in range(attempts if _is_free(renderer) else 1):
        seed = (request.seed + attempt) % (MAX_SEED + 1)
        try:
            rendered = renderer.render(photo, replace(request, seed=seed))
            _check(rendered, photo)
        except RenderError as error:
            outcome, reason = "failed", str(error)
            continue
        except ContentFilteredError as error:
            outcome, reason = "filtered", str(error)
            break
        reason = visibility_failure(rendered, photo)
        if not reason:
            return _keep(item, photo, rendered, seed)
        outcome = "invisible"
    return _close(ItemRecord(id=item_id(item), item=item, outcome=outcome, reason=reason), {})


class Unmade(BaseModel):
    """An item that gave no picture for the dataset, and why."""

    model_config = ConfigDict(frozen=True)

    id: str
    defect: str
    source: str
    outcome: ItemOutcome
    reason: str


class Summary(BaseModel):
    """What became of the items of one run.

    ``asked`` are the different items; ``present`` of them had been made before, by an earlier run.  ``outcomes`` count
    what became of all of them by kind of defect, but for those ``untried``, which were left because ``stopped`` says
    why: run it again for them.  ``unmade`` names each that gave no picture.  ``images`` is how many pictures the folder
    holds now, those of other runs among them, and ``version`` names them.
    """

    model_config = ConfigDict(frozen=True)

    asked: int
    present: int
    outcomes: dict[str, dict[str, int]]
    untried: int
    stopped: str
    unmade: tuple[Unmade, ...]
    images: int
    version: str

    @property
    def made(self) -> int:
        """How many of the items asked for are in the dataset."""
        return self.count("made")

    def count(self, outcome: ItemOutcome) -> int:
        """How many of the items asked for came to this."""
        return sum(outcomes.get(outcome, 0) for outcomes in self.outcomes.values())


@dataclass(frozen=True, slots=True)
class Sources:
    """Where items find their files: photos and masks by the names that items have for them.

    ``region`` is a mask file that marks where defects may be, on every photo.
    """

    photos: Mapping[str, Path]
    masks: Mapping[str, Path] = field(default_factory=dict)
    region: Path | None = None


def synthesize(
    items: Sequence[Item],
    sources: Sources,
    renderers: Mapping[RendererName, Renderer],
    out: Path,
    *,
    title: str = "Synthetic defects",
    classes: Mapping[str, str] | None = None,
    workers: int = 1,
    on_progress: OnProgress = ignore_progress,
) -> Summary:
    """Make items in a folder, which then is a dataset (see `defectory.images.items`).

    Items that are done there are not made again, and pictures of other items stay in the dataset.  A photo or mask that
    cannot be used fails its own items only.  Where a service fails for `GIVE_UP_AFTER` items in a row, the others are
    left for another run.

    Args:
        items: what is to be made; the same item twice is one.
        sources: where the photos and masks are.
        renderers: by name, all that the items ask for.
        out: a new or empty folder, or one of an earlier run.
        title: what the contact sheet is called.
        classes: what the dataset calls a kind of defect, where not by its own name.
        workers: how many items are made at the same time.
        on_progress: hears of each item that is done.

    Raises:
        InputError: the folder cannot be used or written (the disk is full, say: what is done stays done), or there is
            no renderer for an item.

    >>> from defectory import ProceduralRenderer
    >>> from defectory.images.items import Item
    >>> item = Item(renderer="procedural", defect="dent", seed=3, source="flange-000.png")
    >>> sources = Sources({"flange-000.png": Path("parts/normal/flange-000.png")})
    >>> synthesize([item], sources, {"procedural": ProceduralRenderer()}, Path("dents")).outcomes
    {'dent': {'made': 1}}
    """
    folder = DatasetFolder(out)
    run = _Run(sources, renderers, folder)
    distinct = {item_id(item): item for item in items}
    for item in distinct.values():
        if item.renderer not in renderers:
            raise InputError("renderer", f"one of {', '.join(renderers) or 'none'}", item.renderer)
    earlier = folder.records(but=distinct)
    records: dict[str, ItemRecord] = {}
    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = [pool.submit(run.make, item) for item in distinct.values()]
        try:
            for number, (identity, future) in enumerate(zip(distinct, futures, strict=True), start=1):
                record = future.result()
                if record is not None:
                    records[identity] = record
                on_progress(Progress("making pictures", number, len(distinct)))
        except BaseException:
            run.stop("interrupted")
            raise
    dataset, published = folder.publish([*earlier, *records.values()], title=title, classes=classes)
    requested = [record for record in published if record.id in distinct]
    return Summary(
        asked=len(distinct),
        present=len(run.present),
        outcomes=count_outcomes(requested),
        untried=len(distinct) - len(records),
        stopped=run.stopped,
        unmade=tuple(
            Unmade(
                id=record.id,
                defect=record.item.defect,
                source=record.item.source,
                outcome=record.outcome,
                reason=record.reason,
            )
            for record in requested
            if record.outcome != "made"
        ),
        images=len(dataset.records),
        version=dataset.version,
    )


def photos_of(dataset: Dataset) -> dict[str, Path]:
    """The real photos of good parts of ``dataset``, by their names in it."""
    return {storable(dataset.name(record.path)): record.path for record in dataset.normal if not record.synthetic}


def choose_photos(plan: Plan, photos: Mapping[str, Path], seed: int = 0) -> tuple[dict[str, Path], dict[str, str]]:
    """The photos to expand ``plan`` over: all but those that it would use and cannot be used, and why they cannot.

    Only photos that are used are read, so that a large folder costs nothing.

    Raises:
        ImageError: none of the photos can be used; it says why for one of them.
    """
    usable, good, refused = dict(photos), set[str](), dict[str, str]()
    while True:
        fresh = {item.source for item in expand(plan, list(usable), seed) if item.source} - good
        if not fresh:
            return usable, refused
        for name in sorted(fresh):
            try:
                load_photo(usable[name], name=name)
                good.add(name)
            except ImageError as error:
                refused[name] = str(error)
                del usable[name]
                if not usable:
                    raise


class _Run:
    """Makes items, several at a time."""

    def __init__(self, sources: Sources, renderers: Mapping[RendererName, Renderer], folder: DatasetFolder) -> None:
        self._sources, self._renderers, self._folder = sources, renderers, folder
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._photo = lru_cache(maxsize=KEPT_PHOTOS)(self._load_photo)
        self.present: set[str] = set()
        self.stopped = ""

    def stop(self, reason: str) -> None:
        """Make no more."""
        self.stopped = self.stopped or reason

    def make(self, item: Item) -> ItemRecord | None:
        """What became of an item; None where it was not tried.

        Raises:
            InputError: the folder cannot be written.
        """
        if self.stopped:
            return None
        try:
            done = self._done(item)
            if done:
                self.present.add(done.id)
                return done
            synthesized = self._make(item)
            self._in_a_row = 0
        except ServiceError as error:
            synthesized = _fail(item, str(error))
            with self._lock:
                self._in_a_row += 1
                if self._in_a_row >= GIVE_UP_AFTER:
                    self.stop(str(error))
        except DefectoryError as error:
            synthesized = _fail(item, str(error))
        # A fault in one renderer must not take the pictures of all others with it.
        except Exception as error:
            synthesized = _fail(item, f"A fault of the renderer, please report it: {error!r}")
        try:
            self._folder.store(synthesized.record, synthesized.files)
        except InputError as error:
            self.stop(str(error))
            raise
        return synthesized.record

    def _done(self, item: Item) -> ItemRecord | None:
        """What became of an item before, if it holds: a photo of another content gives another picture, and what failed
        may not fail again."""
        record = self._folder.record(item_id(item))
        if record is None or record.outcome == "failed":
            return None
        if record.source_sha256 and record.source_sha256 != file_digest(self._path(item.source)):
            return None
        return record

    def _make(self, item: Item) -> SynthesizedItem:
        renderer = self._renderers[item.renderer]
        photo = self._photo(item.source) if renderer.needs_photo else None
        mask = None
        if item.mask and photo is not None:
            if item.mask not in self._sources.masks:
                raise InputError("mask", "one of those given", item.mask)
            mask = load_mask(self._sources.masks[item.mask], photo)
        return make_item(item, renderer, photo, request_of(item, mask))

    def _load_photo(self, name: str) -> Photo:
        photo = load_photo(self._path(name), name=name)
        if self._sources.region is None:
            return photo
        return replace(photo, region=load_region(self._sources.region, photo))

    def _path(self, name: str) -> Path:
        if name not in self._sources.photos:
            raise InputError("source", "one of the photos given", name)
        return self._sources.photos[name]


def _fail(item: Item, reason: str) -> SynthesizedItem:
    return _close(ItemRecord(id=item_id(item), item=item, outcome="failed", reason=reason), {})


def _is_free(renderer: Renderer) -> bool:
    return not renderer.name.startswith("bedrock")


def _check(rendered: RenderResult, photo: Photo | None) -> None:
    """Whatever a renderer does, no picture is stored with a mask that is not its own."""
    shape = rendered.image.shape
    if photo is not None and shape != photo.image.shape:
        raise RenderError(f"The picture is not of the photo's size: {shape[1]} x {shape[0]}.")
    if rendered.mask is not None and rendered.mask.shape != shape[:2]:
        raise RenderError(
            f"The mask is not of the picture's size: {rendered.mask.shape[1]} x {rendered.mask.shape[0]}."
        )


def _keep(item: Item, photo: Photo | None, rendered: RenderResult, seed: int) -> SynthesizedItem:
    identity = item_id(item)
    height, width = rendered.image.shape[:2]
    mask = None if rendered.mask is None else np.where(rendered.mask > 127, 255, 0).astype(np.uint8)
    box = None if mask is None else box_of(mask)
    files = {f"images/{identity}.png": encode_png(rendered.image, effort=1)}
    if mask is not None:
        files[f"masks/{identity}.png"] = encode_png(mask, effort=1)
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
        objects=() if mask is None else pieces_of(mask),
        fingerprint=fingerprint_of(rendered.image, box),
        parameters={**rendered.parameters, "seed": seed},
    )
    return _close(record, files)


def _close(record: ItemRecord, files: Mapping[str, bytes]) -> SynthesizedItem:
    return SynthesizedItem(record, {**files, record_file(record.id): (record.model_dump_json() + "\n").encode()})


def _before_and_after(before: Image, after: Image, box: Box) -> Image:
    """The defect's surroundings in both, side by side without a gap."""
    window = window_of(box, after.shape[1], after.shape[0])
    return np.concatenate([_fit(crop(image, window), CLOSEUP_SIDE, enlarge=True) for image in (before, after)], axis=1)


def _fit(image: Image, side: int, *, enlarge: bool = False) -> Image:
    scale = side / max(image.shape[:2])
    if scale >= 1 and not enlarge:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC).astype(np.uint8)
