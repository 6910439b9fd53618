"""Folders: images labelled by the folder they lie in, ``normal/`` and ``anomaly/`` or one folder a class.

```
parts/                  tiles/                      parts/
├── normal/             ├── MT_Free/  (normal)      ├── good/      (normal)
│   └── 1.png           │   ├── 7.jpg               ├── scratch/
└── anomaly/            │   └── 7.png  (its mask)   │   └── 3.png
    ├── 2.png           └── MT_Crack/               └── masks/
    └── deeper/3.png                                    └── scratch/3.png
```
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from defectory.datasets.records import ImageRecord, Label
from defectory.errors import InputError
from defectory.vision.images import IMAGE_SUFFIXES

NORMAL_NAMES = frozenset(
    {"normal", "good", "ok", "free", "pass", "nominal", "defect_free", "no_defect", "non_defective", "not_defective"}
)
ANOMALY_NAMES = frozenset(
    {"anomaly", "anomalies", "anomalous", "abnormal", "defect", "defects", "defective", "bad", "ng", "nok", "fail"}
)
UNLABELLED_NAMES = frozenset({"unlabelled", "unlabeled", "unknown"})
MASK_FOLDERS = frozenset({"masks", "mask", "ground_truth", "mask-images"})


def is_labelled_by_folders(root: Path) -> bool:
    """Whether one of the direct subfolders is named like good parts or like defective ones."""
    folders = _class_folders(root)
    return any(_plain(name) in NORMAL_NAMES | ANOMALY_NAMES for name in _shown_names(folders).values())


def read_folders(root: Path, *, normal: str | None = None) -> tuple[ImageRecord, ...]:
    """The images below ``root``, labelled by its direct subfolders; deeper folders say nothing.

    A folder named like good parts (normal, good, ok, free, defect-free...) holds normal images, one named like bad
    parts (anomaly, defective, ng...) anomalies; any other is a class of defect.  What all names begin with (``MT_``) is
    no part of them.  An anomaly's mask is the PNG of the same name beside a photo of another kind, or the file of the
    same name below ``masks/`` (``<name>_mask`` too).

    Args:
        root: the folder.
        normal: the name of the folder of good parts, where it is called otherwise.

    Raises:
        InputError: no folder holds good parts, or there are no images.
    """
    folders = _class_folders(root)
    plain_names = _shown_names(folders)
    if normal is not None and normal not in folders:
        raise InputError("normal", f"a folder in {root} ({', '.join(sorted(folders)) or 'which has none'})", normal)
    labels = {name: "normal" if name == normal else _label(plain_names[name], normal) for name in folders}
    if "normal" not in labels.values():
        got = ", ".join(sorted(folders)) or "no folders"
        raise InputError(str(root), "a folder with one of good parts in it", got, "Name it: --normal NAME.")
    masks = _masks_of(root)
    records = [
        record
        for name in sorted(folders)
        for record in _read_folder(root / name, labels[name], _class(plain_names[name], labels[name]), masks)
    ]
    if not records:
        raise InputError(str(root), f"a folder with images ({', '.join(sorted(IMAGE_SUFFIXES))})", "none")
    return tuple(records)


def image_files(folder: Path) -> Iterator[Path]:
    """The files below ``folder`` that are named like images, sorted; hidden ones are passed by."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES:
                yield Path(place, name)


def _read_folder(
    folder: Path, label: Label | None, classes: tuple[str, ...], masks: dict[str, Path]
) -> Iterator[ImageRecord]:
    files = list(image_files(folder))
    photos = {file.with_suffix("") for file in files if file.suffix.lower() != ".png"}
    beside = {file.with_suffix(""): file for file in files if file.suffix.lower() == ".png"}
    beside = {stem: file for stem, file in beside.items() if stem in photos and _looks_like_mask(file)}
    mask_files = set(beside.values())
    for file in files:
        if file in mask_files:
            continue
        mask = beside.get(file.with_suffix("")) or _mask_of(file, folder, masks)
        yield ImageRecord(file, label, classes, mask if label == "anomaly" else None)


def _looks_like_mask(file: Path) -> bool:
    """Whether a PNG beside a photo is grey or has a palette, as masks have; a damaged one is taken for a mask too,
    because then the check of the dataset names it."""
    try:
        with Image.open(file, formats=["PNG"]) as image:
            return image.mode in ("1", "L", "P", "LA", "PA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return True


def _masks_of(root: Path) -> dict[str, Path]:
    """The files below the folders of masks by their path in there, without suffix and ``_mask``."""
    masks: dict[str, Path] = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and path.name.lower() in MASK_FOLDERS):
        for file in image_files(folder):
            key = file.relative_to(folder).with_suffix("").as_posix().removesuffix("_mask")
            masks.setdefault(key, file)
    return masks


def _mask_of(file: Path, folder: Path, masks: dict[str, Path]) -> Path | None:
    stem = file.relative_to(folder).with_suffix("").as_posix()
    return masks.get(f"{folder.name}/{stem}") or masks.get(stem)


def _class_folders(root: Path) -> list[str]:
    return [
        path.name
        for path in root.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name.lower() not in MASK_FOLDERS
    ]


def _shown_names(folders: Iterable[str]) -> dict[str, str]:
    """Each name without what all of them begin with, up to a separator."""
    names = list(folders)
    shared = os.path.commonprefix(names) if len(names) > 1 else ""  # noqa: RUF071 (of names, not of paths)
    prefix = re.match(r".*[_\- .]|", shared, re.DOTALL)
    return {name: name[prefix.end() if prefix else 0 :] or name for name in names}


def _plain(name: str) -> str:
    return re.sub(r"[\s\-.]+", "_", name.strip().lower())


def _label(name: str, normal: str | None) -> Label | None:
    plain = _plain(name)
    if plain in UNLABELLED_NAMES:
        return None
    return "normal" if normal is None and plain in NORMAL_NAMES else "anomaly"


def _class(name: str, label: Label | None) -> tuple[str, ...]:
    return (name,) if label == "anomaly" and _plain(name) not in ANOMALY_NAMES else ()
