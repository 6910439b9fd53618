"""Backgrounds: where scenes are set, drawn by code or cut from one's own photos."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from defectory.detection.layouts.records import Split, View
from defectory.detection.scenes.backgrounds.places import PLACES, draw_place
from defectory.errors import InputError
from defectory.vision.arrays import Image
from defectory.vision.images import IMAGE_SUFFIXES, image_size, load_image

LEAST_SHARE = 0.5
"""A photo is scaled up to the canvas where it has this share of its sides at least; a smaller one is refused."""

TEST_SHARE = 5
"""One in so many photos is set aside to test on, by the digest of its content."""

_PHOTOS_AT_HAND = 16


class Backgrounds(Protocol):
    """Gives the picture of a place."""

    def draw(
        self, kind: str, size: tuple[int, int], view: View, room: tuple[float, float], rng: np.random.Generator
    ) -> Image:
        """A place, uint8 RGB of ``size`` (width, height), that may be written to.

        Args:
            kind: what the layout asks for; "" for any.
            size: of the canvas.
            view: where the camera stands.
            room: metres of floor that things stand on, to either side and ahead: no wall may stand there.
            rng: decides what is left open.

        Raises:
            InputError: there is no such kind.
        """
        ...


@dataclass(frozen=True, slots=True)
class DrawnBackgrounds:
    """Places drawn by code; those of the two splits share no texture."""

    split: Split

    def draw(
        self, kind: str, size: tuple[int, int], view: View, room: tuple[float, float], rng: np.random.Generator
    ) -> Image:
        """A place of a kind of `PLACES`; see `Backgrounds`."""
        if kind and kind not in PLACES:
            raise InputError("background", f"one of {', '.join(PLACES)}", kind)
        kinds = tuple(PLACES)
        name = kind or kinds[int(rng.integers(len(kinds)))]
        return draw_place(name, size, view, room, seed=int(rng.integers(2**62)), test=self.split == "test")


@dataclass(frozen=True, slots=True)
class PhotoBackgrounds:
    """Cuts from photos; those of the two splits are from different photos."""

    files: tuple[Path, ...]

    def draw(
        self, kind: str, size: tuple[int, int], view: View, room: tuple[float, float], rng: np.random.Generator
    ) -> Image:
        """A cut from a photo, in any case of the canvas's aspect; the camera is taken to be that of the layout."""
        file = self.files[int(rng.integers(len(self.files)))]
        photo = _photo(file)
        height, width = photo.shape[:2]
        scale = max(size[0] / width, size[1] / height)
        if scale > 1 / LEAST_SHARE:
            raise _too_small(file, (width, height), size)
        # As much of it as there is, or down to the canvas's own pixels.
        share = rng.uniform(min(max(scale, 0.5), 1.0), 1.0)
        cut_width, cut_height = (max(round(side / scale * share), 1) for side in size)
        left, top = (int(rng.integers(0, most + 1)) for most in (width - cut_width, height - cut_height))
        cut = photo[top : top + cut_height, left : left + cut_width]
        if rng.random() < 0.5:
            cut = cut[:, ::-1]
        shrinks = cut_width > size[0]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        return np.array(cv2.resize(np.ascontiguousarray(cut), size, interpolation=how), np.uint8)


def open_backgrounds(folder: Path | None, split: Split, sizes: Sequence[tuple[int, int]]) -> Backgrounds:
    """The photos below ``folder`` that are of ``split``, or without one places that are drawn.

    Args:
        folder: photos without any object of the classes on them; see `load_image` for what is read.
        split: one in five is to test on; with fewer than two photos there is nothing to divide.
        sizes: canvases that they have to be large enough for.

    Raises:
        InputError: there are none, or one is too small.
        ImageError: one cannot be read.
    """
    if folder is None:
        return DrawnBackgrounds(split)
    if not folder.is_dir():
        raise InputError("backgrounds", "a folder of photos", str(folder))
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise InputError(
            "backgrounds", f"a folder of photos ({', '.join(sorted(IMAGE_SUFFIXES))})", f"none in {folder}"
        )
    for file in files:
        width, height = image_size(file)
        for size in sizes:
            if max(size[0] / width, size[1] / height) > 1 / LEAST_SHARE:
                raise _too_small(file, (width, height), size)
    chosen = tuple(file for file in files if _is_of(file, split))
    if not chosen:
        fix = "Add photos: one in five is set aside to test on, by its content."
        raise InputError("backgrounds", f"a folder with photos for {split}", f"{len(files)} of the other split", fix)
    return PhotoBackgrounds(chosen)


def _is_of(file: Path, split: Split) -> bool:
    digest = hashlib.sha256(file.read_bytes()).digest()
    return (digest[0] % TEST_SHARE == 0) == (split == "test")


def _too_small(file: Path, found: tuple[int, int], size: tuple[int, int]) -> InputError:
    rule = f"a photo of at least {LEAST_SHARE:.0%} of the canvas's {size[0]} x {size[1]} pixels, to be scaled up"
    fix = "Leave it out, or make smaller scenes (--size)."
    return InputError(f"backgrounds: {file.name}", rule, f"{found[0]} x {found[1]}", fix)


@lru_cache(maxsize=_PHOTOS_AT_HAND)
def _photo(file: Path) -> Image:
    return load_image(file)
