"""Items: one picture to be made, and the record of what became of it.

A synthetic dataset lies in one folder, or below ``<user_id>/<dataset>/`` in a bucket:

```
images/<id>.png  masks/<id>.png                        the picture, and its mask (255 = defect)
thumbnails/<id>.jpg  thumbnails/<id>-closeup.jpg       a small copy; the defect before and after, where there is a photo
records/<id>.json                                      an `ItemRecord`, written last: where it is, the item is done
dataset.json  dataset.manifest  coco.json              the whole dataset, once assembled
data.yaml  labels/<id>.txt                             the same for YOLO
contact-sheet.html
```
"""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Literal, TypeGuard, overload

from pydantic import Field, JsonValue

from defectory.images.prompts import KindName
from defectory.images.renderers import MAX_SEED, RendererName
from defectory.validation import FrozenModel

ItemOutcome = Literal["made", "filtered", "invisible", "duplicate", "failed"]
"""``filtered``: withheld by a content filter; ``invisible``: no visible difference to the photo; ``duplicate``: as good
as the same as another."""


class Item(FrozenModel):
    """One picture to be made.  The same item gives the same ``id``, so that making it twice is harmless.

    ``source`` and ``mask`` name files: paths below the photos' folder, or keys in a bucket.
    """

    renderer: RendererName
    defect: KindName
    seed: int = Field(ge=0, le=MAX_SEED)
    source: str = ""
    mask: str = ""
    prompt: str = ""


class Piece(FrozenModel):
    """One object of a picture's mask: its box (left, top, width, height), its run lengths, how many pixels it has."""

    box: tuple[int, int, int, int]
    runs: tuple[int, ...]
    area: int = Field(ge=1)


class ItemRecord(FrozenModel):
    """What became of an item; all but ``item``, ``id``, ``outcome`` and ``reason`` are empty unless a picture was made.

    ``box`` is left, top, width, height in pixels around all of the mask; ``area`` is the mask's share of the picture;
    ``runs`` is the mask in COCO's uncompressed run lengths, column by column, the background first; ``objects`` are the
    mask's pieces as detectors count them (empty in records of earlier releases); ``closeup`` shows
    the defect's place in the photo and in the picture, side by side; ``fingerprint`` are tiny grey copies of the
    picture and of the defect's place, in hexadecimal digits, by which pictures are compared.
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,127}$")
    item: Item
    outcome: ItemOutcome
    reason: str = ""
    image: str = ""
    mask: str | None = None
    thumbnail: str = ""
    closeup: str = ""
    image_sha256: str = ""
    mask_sha256: str | None = None
    source_sha256: str = ""
    width: int = 0
    height: int = 0
    severity: float = Field(default=0.0, ge=0, le=1)
    box: tuple[int, int, int, int] | None = None
    area: float = Field(default=0.0, ge=0, le=1)
    runs: tuple[int, ...] = ()
    objects: tuple[Piece, ...] = ()
    fingerprint: str = Field(default="", pattern=r"^([0-9a-f]{2})*$", max_length=416)
    parameters: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def made_from(self) -> tuple[str, ...]:
        """The SHA-256 of the files of the images that the picture was made from: its photo, and what was moved onto it.

        Who trains on the picture must not test on them.
        """
        donor = self.parameters.get("donor")
        donors = [donor] if isinstance(donor, str) else donor if isinstance(donor, list) else []
        return tuple(
            dict.fromkeys([*filter(None, [self.source_sha256]), *(digest for digest in donors if _is_digest(digest))])
        )


class ItemRecords(Sequence[ItemRecord]):
    """Records by place, that need not lie in memory: who has them says how many there are, and what is `at` a place."""

    @abstractmethod
    def at(self, place: int) -> ItemRecord:
        """The record at ``place``, 0 to one less than there are."""

    def __iter__(self) -> Iterator[ItemRecord]:
        return map(self.at, range(len(self)))

    @overload
    def __getitem__(self, place: int) -> ItemRecord: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[ItemRecord]: ...

    def __getitem__(self, place: int | slice) -> ItemRecord | Sequence[ItemRecord]:
        places = range(len(self))[place]
        return self.at(places) if isinstance(places, int) else [self.at(number) for number in places]


def item_id(item: Item) -> str:
    """The item's id: its defect and 16 hexadecimal digits, the same for the same item on every machine."""
    return f"{item.defect}-{hashlib.sha256(item.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:16]}"


def record_file(identity: str) -> str:
    """The name of an item's record below the dataset's folder or prefix."""
    return f"records/{identity}.json"


def _is_digest(text: object) -> TypeGuard[str]:
    return isinstance(text, str) and re.fullmatch(r"[0-9a-f]{64}", text) is not None
