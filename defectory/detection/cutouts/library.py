"""A library of cut-outs: opened from a folder, chosen from by class and side of the split, read when they are used."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from defectory.detection.cutouts.records import INDEX, CutOutRecord, Split
from defectory.errors import ImageError, InputError, shorten
from defectory.validation import explain
from defectory.vision.images import load_image, load_rgba

MAX_CUTOUTS = 200_000
"""Lines that a folder's ``cutouts.jsonl`` may have."""
MAX_LINE = 64 * 1024
"""Bytes of one of them."""
MAX_SIDE = 4096
"""Pixels of a cut-out's longer side."""
MIN_PIXELS = 16
"""A cut-out shows at least so many pixels: fewer are no object that anybody could recognise."""
CACHE_BYTES = 96 * 1024 * 1024
"""Pictures that were read are kept up to this size in all."""

_ASSETS = Path(__file__).parent / "assets"
_FIX = "Make it again with `defectory detect cutouts`, or leave it out."


class _Pictures:
    """The arrays that were read last, up to `CACHE_BYTES`; they are read-only, since all share them."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size, self._lock = limit, 0, threading.Lock()
        self._arrays: OrderedDict[Path, NDArray[np.uint8]] = OrderedDict()

    def get(self, file: Path, read: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        with self._lock:
            if file in self._arrays:
                self._arrays.move_to_end(file)
                return self._arrays[file]
        array = read()
        array.flags.writeable = False
        with self._lock:
            if file not in self._arrays:
                self._arrays[file] = array
                self._size += array.nbytes
            while self._size > self._limit and len(self._arrays) > 1:
                self._size -= self._arrays.popitem(last=False)[1].nbytes
        return array


_pictures = _Pictures(CACHE_BYTES)


@dataclass(frozen=True, slots=True)
class CutOutPart:
    """What a person wears: its class, its box (left, top, width, height) in the cut-out's pixels, and its mask."""

    label: str
    box: tuple[int, int, int, int]
    file: Path

    @property
    def mask(self) -> NDArray[np.uint8]:
        """Of the cut-out's shape ``(h, w)``: 255 where the part is seen; read when asked for.

        Raises:
            ImageError: the file is no picture any more.
        """
        return _pictures.get(self.file, lambda: _read_mask(self.file))


@dataclass(frozen=True, slots=True)
class CutOut:
    """A picture of an object without its surroundings; see `CutOutRecord` for what the fields mean."""

    id: str
    label: str
    variant: str
    view: int
    split: Split
    height_m: float
    azimuth: float
    elevation: float
    stands: bool
    file: Path
    parts: tuple[CutOutPart, ...] = ()
    license: str = ""
    source: str = ""

    @property
    def wears(self) -> frozenset[str]:
        """The classes of its parts."""
        return frozenset(part.label for part in self.parts)

    @property
    def rgba(self) -> NDArray[np.uint8]:
        """uint8 ``(h, w, 4)``, straight alpha, read-only; read when asked for, and kept within bounds.

        Raises:
            ImageError: it is no picture, too large, or shows nothing.
        """
        return _pictures.get(self.file, lambda: _read_picture(self.file))


@dataclass(frozen=True)
class CutOutLibrary:
    """Cut-outs to compose scenes of.

    >>> library = CutOutLibrary.embedded()
    >>> library.labels("test")[:3]
    ('debris', 'go_cart', 'hard_hat')
    >>> cone = library.choose("safety_cone", np.random.default_rng(1), "train")
    >>> cone.rgba.shape[2]
    4
    """

    cutouts: tuple[CutOut, ...] = field(repr=False)

    @classmethod
    def embedded(cls) -> CutOutLibrary:
        """The set that comes with the package: all classes of the presets, see ``docs/cutouts.md``."""
        return _embedded()

    @classmethod
    def open(cls, folder: Path) -> CutOutLibrary:
        """The cut-outs of ``folder``, every picture and mask looked at.

        ```
        folder/
          cutouts.jsonl            a line a cut-out, see CutOutRecord
          safety_cone/own-00.webp  the pictures, wherever the lines say
        ```

        Raises:
            InputError: there is no such folder or index, a line is wrong, an id is there twice, a variant stands on
                both sides of the split, a file is missing or outside the folder.
            ImageError: a picture cannot be read, shows nothing, or is not cut tight.
        """
        cutouts = _read_index(folder)
        _check_ids(cutouts)
        root = folder.resolve()
        for cutout in cutouts:
            _check_files(cutout, root)
            _check_pictures(cutout)
        return cls(cutouts)

    def __len__(self) -> int:
        return len(self.cutouts)

    def join(self, other: CutOutLibrary) -> CutOutLibrary:
        """Both together.

        Raises:
            InputError: an id is in both, or a variant would stand on both sides of the split.
        """
        cutouts = (*self.cutouts, *other.cutouts)
        _check_ids(cutouts)
        return CutOutLibrary(cutouts)

    def labels(self, split: Split | None = None) -> tuple[str, ...]:
        """The classes that are there (on that side of the split), by name."""
        return tuple(sorted({cutout.label for cutout in self.cutouts if split in (None, cutout.split)}))

    def select(
        self, label: str, split: Split | None = None, *, variant: str = "", wears: frozenset[str] | None = None
    ) -> tuple[CutOut, ...]:
        """All of a class: on that side, of that variant, wearing exactly those classes; empty where there are none."""
        return tuple(
            cutout
            for cutout in self._by_label.get(label, ())
            if split in (None, cutout.split)
            and variant in ("", cutout.variant)
            and (wears is None or cutout.wears == wears)
        )

    def choose(
        self,
        label: str,
        rng: np.random.Generator,
        split: Split | None = None,
        *,
        variant: str = "",
        wears: frozenset[str] | None = None,
    ) -> CutOut:
        """One of `select`, by chance: each variant is as likely as the next, however many views it has.

        Raises:
            InputError: there is none.
        """
        key = label, split, variant, wears
        if key not in self._variants:
            groups: dict[str, list[CutOut]] = defaultdict(list)
            for cutout in self.select(label, split, variant=variant, wears=wears):
                groups[cutout.variant].append(cutout)
            self._variants[key] = list(groups.values())
        variants = self._variants[key]
        if not variants:
            raise _nothing_to_choose(self, label, split, variant, wears)
        views = variants[int(rng.integers(len(variants)))]
        return views[int(rng.integers(len(views)))]

    @cached_property
    def _by_label(self) -> dict[str, list[CutOut]]:
        groups: dict[str, list[CutOut]] = defaultdict(list)
        for cutout in self.cutouts:
            groups[cutout.label].append(cutout)
        return groups

    @cached_property
    def _variants(self) -> dict[tuple[str, Split | None, str, frozenset[str] | None], list[list[CutOut]]]:
        return {}


@cache
def _embedded() -> CutOutLibrary:
    return CutOutLibrary(_read_index(_ASSETS))


def _nothing_to_choose(
    library: CutOutLibrary, label: str, split: Split | None, variant: str, wears: frozenset[str] | None
) -> InputError:
    side = f" on the {split} side" if split else ""
    if label not in library.labels(split):
        known = ", ".join(library.labels(split)) or "none"
        return InputError("label", f"a class that has cut-outs{side} ({known})", label)
    rule = f"such that {label} has cut-outs{side}"
    if wears is None:
        return InputError("variant", rule, variant)
    return InputError("wears", rule + (f" of variant {variant}" if variant else ""), sorted(wears))


def _read_index(folder: Path) -> tuple[CutOut, ...]:
    index = folder / INDEX
    if not index.is_file():
        fix = "Make one with `defectory detect cutouts`."
        raise InputError("cutouts", f"a folder with {INDEX}", str(folder), fix)
    cutouts = tuple(_cutout(folder, line, f"{INDEX}:{number}") for number, line in _lines(index))
    if not cutouts:
        raise InputError(INDEX, "at least one cut-out", "an empty file")
    return cutouts


def _lines(index: Path) -> Iterator[tuple[int, bytes]]:
    with index.open("rb") as stream:
        number = 0
        while line := stream.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise InputError(f"{INDEX}:{number}", f"at most {MAX_LINE} bytes a line")
            if number > MAX_CUTOUTS:
                raise InputError(INDEX, f"at most {MAX_CUTOUTS} lines", fix="Split the folder.")
            if line.strip():
                yield number, line


def _cutout(folder: Path, line: bytes, place: str) -> CutOut:
    try:
        record = CutOutRecord.model_validate_json(line)
    except ValidationError as error:
        first = explain(error)
        raise InputError(f"{place}: {first.field}", first.rule, first.got) from None
    parts = tuple(CutOutPart(part.label, part.box, folder / part.mask) for part in record.parts)
    return CutOut(
        **record.model_dump(exclude={"file", "parts"}),
        file=folder / record.file,
        parts=parts,
    )


def _check_ids(cutouts: Sequence[CutOut]) -> None:
    ids: set[str] = set()
    sides: dict[tuple[str, str], Split] = {}
    for cutout in cutouts:
        if cutout.id in ids:
            raise InputError("id", "there once", cutout.id, "Give one of the two another variant.")
        ids.add(cutout.id)
        side = sides.setdefault((cutout.label, cutout.variant), cutout.split)
        if side != cutout.split:
            fix = "What a detector was trained on tells nothing of how it does in a test."
            raise InputError(f"{cutout.id}: split", f"{side} for all views of the variant", cutout.split, fix)


def _check_files(cutout: CutOut, root: Path) -> None:
    for file in (cutout.file, *(part.file for part in cutout.parts)):
        if not file.is_file():
            raise InputError(f"{cutout.id}: file", "a file that is there", str(file))
        if not file.resolve().is_relative_to(root):  # a link may lead anywhere
            raise InputError(f"{cutout.id}: file", "inside the folder", str(file))


def _check_pictures(cutout: CutOut) -> None:
    height, width = cutout.rgba.shape[:2]
    for part in cutout.parts:
        field = shorten(str(part.file))
        if part.mask.shape != (height, width):
            found = part.mask.shape
            raise ImageError(field, f"of the cut-out's size {width} x {height}", f"{found[1]} x {found[0]}")
        left, top, wide, tall = part.box
        if left + wide > width or top + tall > height:
            raise InputError(f"{cutout.id}: parts.box", f"within {width} x {height} pixels", list(part.box))
        if not part.mask[top : top + tall, left : left + wide].any():
            raise ImageError(field, "a mask with pixels in its box", "an empty one")


def _read_picture(file: Path) -> NDArray[np.uint8]:
    picture = load_rgba(file)
    field, alpha = shorten(str(file)), picture[..., 3]
    _check_size(picture, field)
    if int((alpha > 127).sum()) < MIN_PIXELS and int((alpha > 0).sum()) < MIN_PIXELS:
        raise ImageError(field, f"a cut-out that shows at least {MIN_PIXELS} pixels", "a transparent one", _FIX)
    if not (alpha[0].any() and alpha[-1].any() and alpha[:, 0].any() and alpha[:, -1].any()):
        fix = "Crop it: its size in a scene is taken from the picture's."
        raise ImageError(field, "cut tight to what is not transparent", "one with a transparent border", fix)
    return picture


def _read_mask(file: Path) -> NDArray[np.uint8]:
    picture = load_image(file)
    _check_size(picture, shorten(str(file)))
    return np.where(picture[..., 0] > 127, 255, 0).astype(np.uint8)


def _check_size(picture: NDArray[np.uint8], field: str) -> None:
    height, width = picture.shape[:2]
    if max(height, width) > MAX_SIDE:
        raise ImageError(field, f"at most {MAX_SIDE} pixels wide and high", f"{width} x {height}", "Reduce it.")
