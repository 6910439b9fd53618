"""Photo folders: photos, and the masks beside them, by their names alone, before they are a dataset.

```
<photos>/            one kind of part, or ...     <masks>/
├── 1.jpg                                         ├── 1.png          the mask of 1.jpg, and of scratch/1.jpg
└── scratch/         ... one folder a class       └── scratch/
    └── 2.jpg                                         └── 2_mask.png the mask of scratch/2.jpg
```
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from defectory.errors import InputError
from defectory.vision.images import IMAGE_SUFFIXES


def find_images(folder: Path, field: str) -> list[Path]:
    """The photos directly in ``folder``, sorted; ``field`` is what an error calls it.

    Raises:
        InputError: it is no folder, or has none.
    """
    if not folder.is_dir():
        raise InputError(field, "an existing folder", str(folder))
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not paths:
        raise InputError(field, f"a folder of photos ({', '.join(sorted(IMAGE_SUFFIXES))})", str(folder))
    return paths


def labelled_photos(folder: Path | None) -> tuple[list[Path], dict[Path, Sequence[str]]]:
    """Photos of defects and their classes, which are the names of the folders they lie in, if they do.

    Raises:
        InputError: there is no such folder, or one without photos.
    """
    if folder is None:
        return [], {}
    groups = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not groups:
        return find_images(folder, "defects"), {}
    classes: dict[Path, Sequence[str]] = {
        path: (group.name,) for group in groups for path in find_images(group, "defects")
    }
    return list(classes), classes


def match_masks(folder: Path | None, photos: Sequence[Path]) -> dict[Path, Path]:
    """The mask of each photo that has one: of its name, in the folder of its class or above, perhaps with ``_mask``.

    Raises:
        InputError: none of the photos has one there.
    """
    if folder is None:
        return {}
    matched = {}
    for photo in photos:
        names = (photo.stem, f"{photo.stem}_mask")
        for place in (folder / photo.parent.name, folder):
            masks = [path for path in place.glob("*") if path.stem in names and path != photo and path.is_file()]
            if masks:
                matched[photo] = sorted(masks)[0]
                break
    if not matched:
        raise InputError("masks", "a folder of masks named as the photos in --defects", str(folder))
    return matched
