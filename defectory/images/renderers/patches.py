"""Patches: real, masked defects cut out of their photos, as the contrast that each makes with the surface around it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from defectory.datasets.masks import read_classes
from defectory.datasets.records import Dataset, ImageRecord
from defectory.errors import InputError
from defectory.images.prompts import KIND_PATTERN
from defectory.vision.arrays import Field, Image, Mask
from defectory.vision.foreground import find_part
from defectory.vision.images import load_image
from defectory.vision.inpainting import spread
from defectory.vision.photos import ASPECT_TOLERANCE
from defectory.vision.regions import find_regions
from defectory.vision.surface import grain_of

KIND = re.compile(KIND_PATTERN)

LARGEST_SHARE = 0.7
"""A mask that covers more of a photo leaves no surroundings to judge the defect by."""

MIN_PIXELS = 4
SEARCHED_SIDE = 160
"""Places are searched on photos, and with patches, made as small as this longest side."""

DARK = 8.0
"""Added to brightness before its logarithm is taken: in the dark, noise is no contrast."""

_PIECES_SIDE = 512
_GRAIN = 0.3
"""The grain's strength from which on a defect keeps its direction."""

_CALMED = 8


@dataclass(frozen=True, slots=True)
class Donor:
    """A photo of a defective part whose defect may be moved.

    ``mask`` is 255 where the defect is, of the image's size; ``digest`` the SHA-256 of the photo's file, by which
    pictures made of it can be kept from training a model that is tested on it.
    """

    name: str
    kind: str
    image: Image
    mask: Mask
    digest: str = ""


def kind_of(name: str) -> str:
    """A class of defect by its name in a dataset, as orders call it: ``Cracked edge`` is ``cracked_edge``.

    Raises:
        InputError: the name has no letter to begin with.
    """
    kind = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:64]
    if not KIND.fullmatch(kind):
        raise InputError("class", "a name that begins with a letter", name, "Rename the class of defect.")
    return kind


def donors_of(dataset: Dataset) -> tuple[Donor, ...]:
    """The real defects of a dataset that have masks, one for each class in each photo; "anomaly" where it has no name.

    Raises:
        InputError: a photo or its mask cannot be read, or their sizes do not fit each other.
    """
    return tuple(
        donor
        for record in dataset.anomalous
        if record.mask is not None and not record.synthetic
        for donor in _read(dataset, record)
    )


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A defect cut from its photo, with a margin around.

    ``contrast`` ``(h, w, 3)`` is the logarithm of the ratio to the filled-in surface, ``mask`` the defect's share of
    each pixel, ``reach`` where the defect may still show beyond its mask.  ``outline`` is the patch as it is searched
    with, made small: the logarithm of the photo, the mask, and 1 where the surroundings are.  ``borders`` says whether
    the defect reaches the photo's top, bottom, left and right; ``centre`` is its middle as shares of height and width,
    ``on_part`` its share on the part.
    """

    donor: Donor
    contrast: Field
    mask: Field
    reach: Field
    outline: Field
    borders: tuple[bool, bool, bool, bool]
    centre: tuple[float, float]
    on_part: float
    texture: float
    grained: bool


def _read(dataset: Dataset, record: ImageRecord) -> Iterator[Donor]:
    image = load_image(record.path, name=dataset.name(record.path))
    classes = read_classes(record)
    assert classes is not None  # the record has a mask
    height, width = image.shape[:2]
    if abs(classes.shape[1] * height / (classes.shape[0] * width) - 1) > ASPECT_TOLERANCE:
        got = f"{classes.shape[1]} x {classes.shape[0]} for {width} x {height}"
        raise InputError(f"mask of {dataset.name(record.path)}", "of the photo's size or aspect", got)
    classes = np.asarray(cv2.resize(classes, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
    for number in np.unique(classes[classes > 0]).tolist():
        name = record.classes[number - 1] if number <= len(record.classes) else ""
        kind = kind_of(name or (record.classes[0] if record.classes else "anomaly"))
        mask = np.where(classes == number, 255, 0).astype(np.uint8)
        yield Donor(dataset.name(record.path), kind, image, mask, dataset.digest(record.path))


def cut_patches(donor: Donor) -> list[Patch]:
    """The defect as a whole and, where it has several pieces far apart, each large one.

    Raises:
        InputError: photo and mask do not fit each other, or the mask marks too little or too much to be moved.
    """
    field = f"donor {donor.name}"
    if donor.image.ndim != 3 or donor.image.shape[2] != 3 or donor.image.dtype != np.uint8:
        raise InputError(field, "a uint8 RGB photo", f"{donor.image.dtype} {donor.image.shape}")
    if donor.mask.shape != donor.image.shape[:2]:
        got = f"{donor.mask.shape} for {donor.image.shape[:2]}"
        raise InputError(f"{field}, mask", "as large as the photo", got)
    if not KIND.fullmatch(donor.kind):
        raise InputError(f"{field}, kind", "lower-case letters, digits and _, a letter first", donor.kind)
    marked = donor.mask > 127
    share = float(marked.mean())
    if marked.sum() < MIN_PIXELS or share > LARGEST_SHARE:
        rule = f"a mask of {MIN_PIXELS} pixels at least and {LARGEST_SHARE:.0%} of the photo at most"
        raise InputError(field, rule, f"{int(marked.sum())} pixels, {share:.0%}", "Mark the defect alone.")
    part = find_part(donor.image) > 0
    pieces = _pieces(marked)
    largest = max(int(piece.sum()) for piece in pieces)
    large_pieces = [piece for piece in pieces if piece.sum() >= max(MIN_PIXELS, largest * 0.1)]
    return [_cut_piece(donor, marked, piece, part) for piece in large_pieces]


def _pieces(marked: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """What is marked, in parts that are far from each other."""
    height, width = marked.shape
    shrink = min(1.0, _PIECES_SIDE / max(height, width))
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    small = cv2.resize(marked.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    near = cv2.dilate(small.astype(np.uint8), disc(max(2, min(size) // 20)))
    regions = find_regions(near)
    labels = cv2.resize(regions.labels.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
    pieces = [marked & (labels == number) for number in range(1, len(regions) + 1)]
    return [piece for piece in pieces if piece.any()]


def _cut_piece(donor: Donor, marked: NDArray[np.bool_], piece: NDArray[np.bool_], part: NDArray[np.bool_]) -> Patch:
    height, width = piece.shape
    rows, columns = np.nonzero(piece.any(axis=1))[0], np.nonzero(piece.any(axis=0))[0]
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    extent = max(bottom - top, right - left)
    margin = int(np.clip(0.5 * extent, 8, max(8, min(height, width) // 4)))
    window = np.s_[max(0, top - margin) : bottom + margin, max(0, left - margin) : right + margin]
    mask, other_pieces, view = piece[window], (marked & ~piece)[window], logarithm(donor.image[window])
    # What the eye sees of a defect often ends a little beyond what the mask's author drew.
    soft = int(np.clip(round(0.04 * extent), 2, 6))
    outer = cv2.dilate(mask.astype(np.uint8), disc(soft)) > 0
    known = ~(outer | (cv2.dilate(other_pieces.astype(np.uint8), disc(soft)) > 0))
    if known.sum() < MIN_PIXELS:
        raise InputError(f"donor {donor.name}", "a defect with some of the good surface around it")
    feathered = cv2.GaussianBlur(
        cv2.dilate(mask.astype(np.float32), disc(soft // 2)), (0, 0), soft / 2, borderType=cv2.BORDER_REPLICATE
    )
    edge = 2  # masks drawn by hand often stop short of the photo's border
    fineness = min(1.0, SEARCHED_SIDE / max(mask.shape))
    size = max(1, round(mask.shape[1] * fineness)), max(1, round(mask.shape[0] * fineness))
    outline = [view, mask.astype(np.float32), known.astype(np.float32)]
    return Patch(
        donor=donor,
        contrast=view - fill_smoothly(view, known),
        mask=mask.astype(np.float32),
        reach=np.where(outer, np.clip(feathered * 1.25, 0, 1), 0).astype(np.float32),
        outline=np.dstack([cv2.resize(layer, size, interpolation=cv2.INTER_AREA) for layer in outline]),
        borders=(top <= edge, bottom >= height - edge, left <= edge, right >= width - edge),
        centre=((top + bottom) / 2 / height, (left + right) / 2 / width),
        on_part=float(part[piece].mean()),
        texture=texture_of(view, known),
        grained=grain_of(donor.image[window], np.where(known, 255, 0).astype(np.uint8))[1] > _GRAIN,
    )


def blur_layers(layers: Field, sigma: float) -> Field:
    """Each of the layers ``(h, w, n)`` blurred by ``sigma`` pixels, however many they are."""
    parts = [np.ascontiguousarray(layers[..., first : first + 4]) for first in range(0, layers.shape[2], 4)]
    return np.dstack([cv2.GaussianBlur(part, (0, 0), sigma) for part in parts]).astype(np.float32)


def fill_smoothly(view: Field, known: NDArray[np.bool_]) -> Field:
    """``view`` with a smooth continuation of its surroundings where it is not ``known``."""
    # The surface's texture must not run into the filling as streaks.
    weight = known.astype(np.float32)
    near = np.maximum(cv2.GaussianBlur(weight, (0, 0), 2.0), 1e-4)
    calm = (blur_layers(view * weight[..., None], 2.0) / near[..., None]).astype(np.float32)
    filled = spread(calm, known)
    for _ in range(_CALMED):
        filled = np.where(known[..., None], filled, blur_layers(filled, 2.0))
    return np.where(known[..., None], view, filled).astype(np.float32)


def texture_of(view: Field, known: NDArray[np.bool_]) -> float:
    """How much the good surface varies from pixel to pixel beyond its shading, in logarithms of brightness."""
    grey = view.mean(axis=2)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 4.0)
    values = np.abs(fine[known])
    return max(1.4826 * float(np.median(values)), 0.01) if len(values) else 0.01


def logarithm(image: Image) -> Field:
    """The logarithm of the brightness of each channel, from which `DARK` is to be taken off again afterwards."""
    return np.asarray(np.log(image.astype(np.float32) + DARK), np.float32)


def disc(radius: int) -> NDArray[np.uint8]:
    """A kernel of that many pixels to all sides of its middle."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)
