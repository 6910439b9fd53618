"""Sources: the photos, masks and real defects that a person names for a run, found and checked before it begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from defectory.datasets.photo_folders import find_images, labelled_photos, match_masks
from defectory.datasets.records import Dataset, ImageRecord
from defectory.errors import InputError
from defectory.images.items import Item
from defectory.images.plan import Plan, expand
from defectory.images.renderers.names import needs_photo
from defectory.images.synthesis import Sources, choose_photos, photos_of
from defectory.vision.photos import load_mask, load_photo, load_region, named_alike, storable


@dataclass(frozen=True, slots=True)
class SourceFiles:
    """What pictures are made from: a folder of ``good`` parts, perhaps ``defects`` with ``masks``; or a ``dataset``.

    ``mask`` is where the defect is to be: one file for all photos, or a folder of masks named as they are.  ``within``
    is where defects may be, on every photo.  In all of them white is where.
    """

    good: Path | None = None
    defects: Path | None = None
    masks: Path | None = None
    dataset: Dataset | None = None
    mask: Path | None = None
    within: Path | None = None

    def examples(self, kinds: Sequence[str]) -> Dataset | None:
        """Real defects to learn from: the dataset, or those of the folders; None if there are neither.

        A folder's defects are of the kinds that its folders are called, else of the only one of ``kinds``.

        Raises:
            InputError: masks without defects or the reverse, or there is no telling which kinds they are of.
        """
        if self.masks and not self.defects:
            raise InputError("masks", "given with --defects, whose masks they are")
        if self.dataset is not None or self.defects is None:
            return self.dataset
        photos, classes = labelled_photos(self.defects)
        if self.masks is None:
            raise InputError("defects", "given with --masks, which say where the defects are")
        masks = match_masks(self.masks, photos)
        if not classes and len(set(kinds)) > 1:
            fix = "Sort them into folders named as the kinds."
            raise InputError("defects", "one folder for each kind where several are asked for", str(self.defects), fix)
        only = tuple(kinds[:1])
        records = [
            ImageRecord(photo, "anomaly", tuple(classes.get(photo, only)), masks[photo])
            for photo in photos
            if photo in masks
        ]
        return Dataset(tuple(records), self.defects)

    def open(self, plan: Plan, seed: int = 0) -> tuple[Sources, dict[str, str]]:
        """The photos to work on, with their masks; and those that cannot be worked on, with the reason.

        Raises:
            InputError: there are no photos, masks are missing, or a mask for all photos fits none of them.
            ImageError: none of the photos, or a mask, can be read.
        """
        if not any(needs_photo(want.renderer) for want in plan.wants):
            return Sources({}), {}
        photos = self._photos()
        if not photos:
            raise InputError("good", "given: a folder of photos of good parts, on which defects are made")
        usable, refused = choose_photos(plan, photos, seed)
        masks = self._masks(usable)
        # A mask for all photos that fits none of them is better refused now than for every picture.
        first = next(item.source for item in expand(plan, list(usable), seed) if item.source)
        photo = load_photo(usable[first], name=first)
        if self.mask and not self.mask.is_dir():
            load_mask(self.mask, photo)
        if self.within:
            load_region(self.within, photo)
        return Sources(usable, masks, self.within), refused

    def mask_items(self, items: Sequence[Item]) -> list[Item]:
        """``items``, each with the name that `open` gave its mask."""
        if self.mask is None:
            return list(items)
        for_all = "" if self.mask.is_dir() else storable(self.mask.name)
        return [item.model_copy(update={"mask": for_all or item.source}) for item in items]

    def _photos(self) -> dict[str, Path]:
        """The photos of good parts, by the names that items have for them."""
        if self.dataset is not None:
            return photos_of(self.dataset)
        return {storable(path.name): path for path in find_images(self.good, "good")} if self.good else {}

    def _masks(self, photos: Mapping[str, Path]) -> dict[str, Path]:
        if self.mask is None:
            return {}
        if not self.mask.is_dir():
            return {storable(self.mask.name): self.mask}
        masks = {named_alike(storable(path.name)): path for path in find_images(self.mask, "mask")}
        missing = [name for name in photos if named_alike(name) not in masks]
        if missing:
            raise InputError("mask", "a folder with a mask for each photo, named as it", f"none for {missing[0]}")
        return {name: masks[named_alike(name)] for name in photos}
