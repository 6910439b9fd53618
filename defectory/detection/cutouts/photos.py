"""Cut-outs from the user's own photos: the object told from its surroundings, its edge softened, cut tight."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures
from pydantic import ValidationError

from defectory.detection.cutouts.library import MIN_PIXELS, CutOutLibrary
from defectory.detection.cutouts.records import INDEX, CutOutRecord, Split
from defectory.errors import DefectoryError, ImageError, InputError
from defectory.progress import OnProgress, Progress, ignore_progress
from defectory.validation import explain
from defectory.vision.arrays import Image, Mask
from defectory.vision.foreground import find_part
from defectory.vision.images import IMAGE_SUFFIXES, load_image
from defectory.writing import write_whole, writing_to

SIDE = 512
"""Longest side of a cut-out from a photo, in pixels: scenes show objects no larger."""
FEATHER = 0.8
"""Width of the soft edge: standard deviation in pixels of the finished cut-out."""
_LYING = frozenset({"spill", "debris", "hard_hat", "safety_vest"})
_QUALITY = 90


@dataclass(frozen=True, slots=True)
class PhotoOptions:
    """What the photos show.

    Attributes:
        label: the class.
        height_m: height of the object in metres.
        variant: name of the object; all its views stand on the same side of the split.
        split: that side.
        elevation: from how high the photos are taken, in degrees above the horizontal.
        stands: whether it stands on the floor; None: unless its class lies or is worn.
        license: of the photos.
    """

    label: str
    height_m: float
    variant: str = "own"
    split: Split = "train"
    elevation: float = 10.0
    stands: bool | None = None
    license: str = ""


@dataclass(frozen=True, slots=True)
class PhotoSummary:
    """What became of the photos: the lines that were written, and what is wrong with the others, by file."""

    records: tuple[CutOutRecord, ...]
    failures: dict[str, str]


def cut_out(image: Image, mask: Mask | None = None, *, side: int = SIDE) -> NDArray[np.uint8]:
    """The object in a photo.

    Args:
        image: uint8 RGB ``(h, w, 3)``.
        mask: where the object is (not 0), ``(h, w)``; None: what differs from the photo's edges is the object.
        side: most pixels of the result's longer side.

    Returns:
        uint8 RGBA, straight alpha, cut tight; colours of the surroundings are taken out of its soft edge.

    Raises:
        ImageError: nothing stands out from the surroundings, or the mask is of another size or empty.
    """
    marked = _marked(image, mask)
    left, top, width, height = cv2.boundingRect(marked)
    inside = marked[top : top + height, left : left + width]
    colours = _bled(image[top : top + height, left : left + width], inside)
    margin = int(np.ceil(3 * FEATHER)) + 1
    scale = min(1.0, (side - 2 * margin) / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    around = (margin, margin)
    small = np.pad(cv2.resize(colours, size, interpolation=cv2.INTER_AREA), (around, around, (0, 0)), "edge")
    cover = np.pad(cv2.resize(inside, size, interpolation=cv2.INTER_AREA), margin)
    # Feathered inwards: a soft edge around the object would be made of its surroundings.
    alpha = np.minimum(np.asarray(cv2.GaussianBlur(cover, (0, 0), FEATHER), np.uint8), cover)
    if int((alpha > 127).sum()) < MIN_PIXELS:
        raise ImageError("mask", f"of an object of at least {MIN_PIXELS} pixels")
    picture = np.dstack([small, alpha])
    left, top, width, height = cv2.boundingRect(alpha)
    return np.ascontiguousarray(picture[top : top + height, left : left + width])


def write_cutouts(
    photos: Sequence[Path],
    folder: Path,
    options: PhotoOptions,
    *,
    masks: Path | None = None,
    on_progress: OnProgress = ignore_progress,
) -> PhotoSummary:
    """Make cut-outs of ``photos``, views of one object, and add them to ``folder`` (see `CutOutLibrary.open`).

    Lines of the same class and variant that the folder has already are replaced.

    Args:
        photos: image files.
        folder: new, or one of cut-outs.
        options: what they show.
        masks: folder of masks named as the photos are; None: the object is found.
        on_progress: hears of each photo.

    Raises:
        InputError: an option breaks a rule, there is no photo, or the folder holds other cut-outs that are wrong.
        UnwritableError: the folder takes nothing.
    """
    if not photos:
        raise InputError("photos", f"at least one image file ({', '.join(sorted(IMAGE_SUFFIXES))})")
    _record(options, 0, Path())  # is refused before any work, if it is
    others, before = _known(folder, options)
    records: list[CutOutRecord] = []
    failures: dict[str, str] = {}
    with writing_to(folder):
        for number, photo in enumerate(photos, 1):
            try:
                picture = cut_out(load_image(photo), _mask_of(photo, masks))
            except DefectoryError as error:
                failures[str(photo)] = str(error)
            else:
                record = _record(options, len(records), photo)
                write_whole(folder / record.file, _encode(picture))
                records.append(record)
            on_progress(Progress("cutting out", number, len(photos), photo.name))
        if records:
            lines = [record.model_dump_json(exclude_defaults=True) for record in (*others, *records)]
            write_whole(folder / INDEX, "".join(f"{line}\n" for line in lines).encode())
            for file in {record.file for record in before} - {record.file for record in records}:
                (folder / file).unlink(missing_ok=True)
    return PhotoSummary(tuple(records), failures)


def find_photos(paths: Sequence[Path]) -> list[Path]:
    """The image files among ``paths`` and in the folders among them, by name.

    Raises:
        InputError: a path is not there.
    """
    photos: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
            photos += sorted(inside)
        elif path.is_file():
            photos.append(path)
        else:
            raise InputError("photos", "image files or folders of them that are there", str(path), "Check the path.")
    return photos


def _marked(image: Image, mask: Mask | None) -> Mask:
    if mask is None:
        part = find_part(image)
        if part.all():
            fix = "Take it before one even surface of another colour, or give a mask (--masks)."
            raise ImageError("photo", "of an object that stands out from its surroundings", fix=fix)
        return part
    if mask.shape != image.shape[:2]:
        sizes = f"{mask.shape[1]} x {mask.shape[0]}"
        raise ImageError("mask", f"of its photo's size {image.shape[1]} x {image.shape[0]}", sizes)
    if not mask.any():
        raise ImageError("mask", "marked somewhere (white on black)", "an empty one")
    return np.where(mask > 0, 255, 0).astype(np.uint8)


def _bled(image: Image, inside: Mask) -> NDArray[np.uint8]:
    """``image`` with the colours just within the object carried outwards over its edge and its surroundings."""
    core = cv2.erode(inside, np.ones((3, 3), np.uint8), borderValue=0)
    if not core.any():
        core = inside
    _, places = cv2.distanceTransformWithLabels(
        255 - core, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colours = np.zeros((int(places.max()) + 1, 3), np.uint8)
    colours[places[core > 0]] = image[core > 0]
    return np.where(core[..., None] > 0, image, colours[places]).astype(np.uint8)


def _mask_of(photo: Path, masks: Path | None) -> Mask | None:
    if masks is None:
        return None
    named = (masks / f"{photo.stem}{suffix}" for suffix in (".png", *sorted(IMAGE_SUFFIXES)))
    file = next((file for file in named if file.is_file()), None)
    if file is None:
        raise InputError("masks", f"a folder with a mask for each photo, as {photo.stem}.png", str(masks))
    return np.where(load_image(file).max(axis=2) > 127, 255, 0).astype(np.uint8)


def _record(options: PhotoOptions, view: int, photo: Path) -> CutOutRecord:
    name = f"{_stem(options)}-{view:02d}"
    stands = options.label not in _LYING if options.stands is None else options.stands
    try:
        return CutOutRecord(
            id=name,
            file=f"{name}.webp",
            label=options.label,
            variant=options.variant,
            view=view,
            split=options.split,
            height_m=options.height_m,
            elevation=options.elevation,
            stands=stands,
            license=options.license,
            source=photo.name,
        )
    except ValidationError as error:
        raise explain(error) from None


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name) or "-"


def _known(folder: Path, options: PhotoOptions) -> tuple[list[CutOutRecord], list[CutOutRecord]]:
    """What the folder has of other objects, and of this one."""
    if not (folder / INDEX).exists():
        return [], []
    CutOutLibrary.open(folder)
    lines = (folder / INDEX).read_bytes().splitlines()
    records = [CutOutRecord.model_validate_json(line) for line in lines if line.strip()]
    same = [record for record in records if (record.label, record.variant) == (options.label, options.variant)]
    others = [record for record in records if record not in same]
    stem = _stem(options)
    if any(record.id.rpartition("-")[0] == stem for record in others):
        raise InputError("variant", f"such that {stem} names no other object of the folder", options.variant)
    return others, same


def _stem(options: PhotoOptions) -> str:
    return f"{_slug(options.label)}/{_slug(options.variant)}"


def _encode(picture: NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    # Lossless alpha: what is transparent stays so, and the picture tight.
    Pictures.fromarray(picture).save(content, "WEBP", quality=_QUALITY, alpha_quality=100, method=4)
    return content.getvalue()
