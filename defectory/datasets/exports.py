"""Exports: a dataset as a folder of its own that other tools read."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from defectory.datasets.annotations import (
    AnnotatedImage,
    coco_json,
    find_objects,
    yolo_rows,
    yolo_yaml,
)
from defectory.datasets.folders import ANOMALY_NAMES, MASK_FOLDERS, NORMAL_NAMES, UNLABELLED_NAMES
from defectory.datasets.manifests import manifest_line
from defectory.datasets.masks import UNNAMED, parse_colour, read_classes
from defectory.datasets.records import BACKGROUND, Dataset, ImageRecord
from defectory.datasets.splits import split
from defectory.datasets.tables import write_table
from defectory.datasets.versions import DATASET_FILE, save_dataset
from defectory.errors import InputError
from defectory.vision.images import encode_png, load_image
from defectory.writing import UNFINISHED, writing_to

Form = Literal["manifest", "folders", "csv", "coco", "yolo"]

DETECTOR_FORMS: frozenset[Form] = frozenset({"coco", "yolo"})
"""Forms for detectors, to which an image without boxes shows a good part."""

MANIFEST_FILE, TABLE_FILE = "dataset.manifest", "dataset.csv"
COCO_FILE, YOLO_FILE = "coco.json", "data.yaml"

# Bright ones, because readers without the colour map take bright for defect.
_PALETTE = (
    "#e6194b",
    "#3cb44b",
    "#ffe119",
    "#4363d8",
    "#f58231",
    "#911eb4",
    "#46f0f0",
    "#f032e6",
    "#bcf60c",
    "#fabebe",
)
_UNNAMED_CLASS = "defect"


def export(dataset: Dataset, form: Form, out: Path, *, prefix: str = "", validation: Collection[Path] = ()) -> Path:
    """Copy a dataset into a folder in a form that other tools read, with ``dataset.json`` beside it.

    - ``manifest``: ``dataset.manifest`` of Lookout for Vision and Ground Truth, with ``images/`` and ``masks/``.
    - ``folders``: ``normal/``, one folder a class or ``anomaly/``, ``unlabelled/``, and ``masks/``.
    - ``csv``: ``dataset.csv``, with ``images/`` and ``masks/``.
    - ``coco``: ``coco.json``, COCO's instance annotations, with ``images/`` and ``masks/``.
    - ``yolo``: ``data.yaml``, with ``images/train/``, ``images/val/``, their boxes in ``labels/``, and ``masks/``.

    The last two are for detectors, to which an image without boxes shows a good part: see `undetectable`.  Masks are
    written as PNG: each class in its colour, on black.

    Args:
        dataset: what to export.
        form: one of these.
        out: a new or empty folder.
        prefix: what references in a manifest or table begin with, as ``s3://bucket/parts``; they are relative without.
        validation: the paths of the images that ``yolo`` is to validate on.

    Returns:
        The file or the folder that describes the images.

    Raises:
        InputError: the folder has something in it or cannot be written, or there are images that the form would say
            wrong things of.
        ImageError: an image or mask cannot be read.

    >>> from defectory import load_dataset
    >>> export(load_dataset(Path("parts")), "manifest", Path("exported")).name
    'dataset.manifest'
    """
    if form in DETECTOR_FORMS and (wrong := undetectable(dataset)):
        raise _refusal(dataset, wrong)
    with writing_to(out):
        is_new = not out.exists()
        if not is_new and (not out.is_dir() or any(out.iterdir())):
            raise InputError("out", "a new or empty folder", str(out))
        for record in dataset.records:
            # Read first: an image that cannot be is named before anything is written.
            dataset.digest(record.path)
            read_classes(record)
            if form in DETECTOR_FORMS:
                load_image(record.path)
        out.mkdir(parents=True, exist_ok=True)
        try:
            return _export_whole(dataset, form, out, prefix.rstrip("/") + "/" if prefix else "", validation)
        except BaseException:
            if is_new:
                shutil.rmtree(out, ignore_errors=True)
            raise


def _export_whole(dataset: Dataset, form: Form, out: Path, prefix: str, validation: Collection[Path]) -> Path:
    """Export into the empty folder ``out`` all or nothing: a full disk must not look like a finished dataset."""
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=out) as folder:
        work = Path(folder)
        copies = _Copies(work)
        copied = dataset.select([copies.copy(record, form, record.path in validation) for record in dataset.records])
        save_dataset(replace(copied, root=work, digests={}), work / DATASET_FILE)
        file = _describe(copied, form, work, prefix)
        # What says that the dataset is there comes last.
        for path in sorted(work.iterdir(), key=lambda path: path.name == DATASET_FILE):
            path.rename(out / path.name)
        return out / file.relative_to(work)


def _describe(dataset: Dataset, form: Form, out: Path, prefix: str) -> Path:
    def reference(path: Path) -> str:
        return prefix + path.relative_to(out).as_posix()

    if form == "folders":
        return out
    if form in DETECTOR_FORMS:
        return _annotate(dataset, form, out, prefix)
    if form == "manifest":
        lines = [
            manifest_line(record, reference(record.path), reference(record.mask) if record.mask else None)
            for record in dataset.records
        ]
        (out / MANIFEST_FILE).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return out / MANIFEST_FILE
    rows = [
        {
            "image": reference(record.path),
            "label": record.label or "",
            "classes": ";".join(record.classes),
            "mask": reference(record.mask) if record.mask else "",
            "group": record.group,
            "synthetic": "yes" if record.synthetic else "",
        }
        for record in dataset.records
    ]
    write_table(rows, out / TABLE_FILE)
    return out / TABLE_FILE


@dataclass(frozen=True, slots=True)
class Detectable:
    """A dataset as detectors may learn from it, the images to validate on, and what was left out and why."""

    dataset: Dataset
    validation: frozenset[Path]
    left_out: tuple[tuple[str, str], ...]


def make_detectable(dataset: Dataset, *, validation: float = 0.2, seed: int = 0, skip: bool = False) -> Detectable:
    """Prepare ``dataset`` for a form that detectors read.

    Args:
        dataset: any.
        validation: the share of the real images to validate on, as `split` chooses them; 0 for none.
        seed: another seed, another choice.
        skip: leave out what `undetectable` names, instead of refusing it.

    Raises:
        InputError: there are such images, or too few real ones to set some aside.
        ImageError: an image or mask cannot be read.
    """
    wrong = undetectable(dataset)
    if wrong and not skip:
        raise _refusal(dataset, wrong)
    left_out = [(dataset.name(record.path), "no mask says where its defect is") for record in wrong]
    paths = {record.path for record in wrong}
    detectable = dataset.select([record for record in dataset.records if record.path not in paths])
    if not validation:
        return Detectable(detectable, frozenset(), tuple(left_out))
    try:
        parts = split(detectable, test=validation, seed=seed)
    except InputError as error:
        raise InputError(error.field, error.rule, error.got, f"{error.fix} Or validate on none (--val 0).") from None
    left_out += [(dataset.name(record.path), "made from an image to validate on") for record in parts.left_out]
    paths = {record.path for record in parts.left_out}
    detectable = detectable.select([record for record in detectable.records if record.path not in paths])
    return Detectable(detectable, frozenset(record.path for record in parts.test.records), tuple(left_out))


def fit_to_form(
    dataset: Dataset, form: Form, *, validation: float = 0.2, seed: int = 0, skip: bool = False
) -> Detectable:
    """What of ``dataset`` a form can say: all of it, but for the forms of detectors, which `make_detectable` is for.

    Only ``yolo`` says what to validate on; the other arguments are those of `make_detectable`.

    Raises:
        InputError: the form cannot say what the dataset says.
        ImageError: an image or mask cannot be read.
    """
    if form not in DETECTOR_FORMS:
        return Detectable(dataset, frozenset(), ())
    return make_detectable(dataset, validation=validation if form == "yolo" else 0.0, seed=seed, skip=skip)


def undetectable(dataset: Dataset) -> tuple[ImageRecord, ...]:
    """The images that a detector would learn wrongly, as showing a good part: unlabelled ones, and defects without a
    mask or with an empty one.

    Raises:
        ImageError: a mask cannot be read.
    """
    return tuple(
        record
        for record in dataset.records
        if record.label is None or (record.label == "anomaly" and not _is_marked(record))
    )


def _refusal(dataset: Dataset, wrong: Sequence[ImageRecord]) -> InputError:
    got = f"{len(wrong)} without, such as {dataset.name(wrong[0].path)}"
    fix = "A detector would learn them as good parts: label and mask them, or leave them out (--skip-unmasked)."
    return InputError("dataset", "one whose images all have a label, and all defects a mask", got, fix)


def _is_marked(record: ImageRecord) -> bool:
    classes = read_classes(record)
    return classes is not None and bool(classes.any())


def _annotate(dataset: Dataset, form: Form, out: Path, prefix: str) -> Path:
    names = list(dataset.classes)
    images = [_annotated(record, out, prefix, names) for record in dataset.records]
    if any(item.name == _UNNAMED_CLASS for image in images for item in image.objects) and _UNNAMED_CLASS not in names:
        names.append(_UNNAMED_CLASS)
    if form == "coco":
        with (out / COCO_FILE).open("w", encoding="utf-8") as stream:
            stream.writelines(coco_json(images, names, f"Dataset {dataset.version}"))
        return out / COCO_FILE
    for record, image in zip(dataset.records, images, strict=True):
        label = (out / "labels" / record.path.relative_to(out / "images")).with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(yolo_rows(image, names), encoding="utf-8")
    val = "images/val" if (out / "images/val").is_dir() else ""
    (out / YOLO_FILE).write_text(yolo_yaml(names, "images/train", val), encoding="utf-8")
    return out / YOLO_FILE


def _annotated(record: ImageRecord, out: Path, prefix: str, names: list[str]) -> AnnotatedImage:
    file = prefix + record.path.relative_to(out).as_posix()
    height, width = load_image(record.path).shape[:2]
    classes = read_classes(record, names)
    if classes is None:
        return AnnotatedImage(file, width, height)
    if classes.shape != (height, width):
        classes = cv2.resize(classes, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.uint8)
    unnamed = np.where(classes == UNNAMED, 1, 0).astype(np.uint8)
    return AnnotatedImage(
        file, width, height, (*find_objects(classes, names), *find_objects(unnamed, [_UNNAMED_CLASS]))
    )


@dataclass(slots=True)
class _Copies:
    """Copies images and masks below ``out``, no two to one name."""

    out: Path
    taken: set[Path] = field(default_factory=set)
    colours: dict[str, str] = field(default_factory=dict)

    def copy(self, record: ImageRecord, form: Form, validated: bool) -> ImageRecord:
        if form == "yolo":
            folder = f"images/{'val' if validated else 'train'}"
        else:
            folder = _folder(record) if form == "folders" else "images"
        target = self._free(self.out / folder, record)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(record.path, target)
        if record.mask is None:
            return replace(record, path=target, source_ref="")
        below = folder.removeprefix("images").lstrip("/")
        place = self.out / "masks" / below / f"{target.stem}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        content, colours = self._mask(record)
        place.write_bytes(content)
        return replace(record, path=target, mask=place, colour_map=colours, source_ref="")

    def _free(self, folder: Path, record: ImageRecord) -> Path:
        """A path whose stem no other image in the folder has, because masks are found by it."""
        path, number = folder / record.path.name, 0
        while path.with_suffix("") in self.taken:
            number += 1
            path = folder / f"{record.path.stem}-{number}{record.path.suffix}"
        self.taken.add(path.with_suffix(""))
        return path

    def _mask(self, record: ImageRecord) -> tuple[bytes, dict[str, str]]:
        coloured = [name for name in record.colour_map if name.casefold() != BACKGROUND]
        names = list(dict.fromkeys([*record.classes, *coloured]))[: UNNAMED - 1]
        classes = read_classes(record, names)
        if classes is None:
            raise InputError(str(record.path), "an image with a mask")
        if (classes == UNNAMED).any():
            names.append(_UNNAMED_CLASS)
            classes[classes == UNNAMED] = len(names)
        colours = {name: self._colour(name, record.colour_map) for name in names}
        table = np.array([(0, 0, 0), *map(parse_colour, colours.values())], np.uint8)
        return encode_png(table[classes]), {"BACKGROUND": "#000000", **colours}

    def _colour(self, name: str, colour_map: Mapping[str, str]) -> str:
        """One colour a class in the whole export: its own where that is bright and free, or one of the palette."""
        if name not in self.colours:
            own = colour_map.get(name, "").lower()
            free = [colour for colour in _PALETTE if colour not in self.colours.values()]
            bright = bool(own) and max(parse_colour(own)) > 127 and own not in self.colours.values()
            self.colours[name] = own if bright else free[0] if free else _spare(len(self.colours))
        return self.colours[name]


def _spare(number: int) -> str:
    """A bright colour for the ``number``-th class, where the palette is used up."""
    return f"#ff{number * 37 % 256:02x}{number * 91 % 256:02x}"


def _folder(record: ImageRecord) -> str:
    if record.label is None:
        return "unlabelled"
    if record.label == "normal":
        return "normal"
    name = record.classes[0] if len(record.classes) == 1 else ""
    reserved = NORMAL_NAMES | ANOMALY_NAMES | UNLABELLED_NAMES | MASK_FOLDERS
    usable = re.fullmatch(r"\w[\w .\-]{0,99}", name) and re.sub(r"[\s\-.]+", "_", name.lower()) not in reserved
    return name if usable and name.lower() not in MASK_FOLDERS else "anomaly"
