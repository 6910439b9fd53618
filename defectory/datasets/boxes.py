"""Imports of boxes: YOLO folders and COCO files as annotated images, one at a time, whatever their number.

Boxes that are none (outside, inverted, empty, twice, of an unknown class) and images that are missing are told of one
by one; none is passed by in silence, and none is mended but what lies beyond the edge by rounding.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, TextIO

import numpy as np
import yaml
from PIL import Image

from defectory.datasets.annotations import AnnotatedImage, Object
from defectory.errors import InputError, shorten
from defectory.vision.images import IMAGE_SUFFIXES

ProblemKind = Literal[
    "malformed", "unknown class", "not a number", "inverted", "empty", "outside", "duplicate", "missing image"
]

TOLERANCE = 1.5
"""Pixels that a box may reach beyond its image: writers round."""

DATA_FILE, CLASSES_FILE = "data.yaml", "classes.txt"
_LONGEST_LABELS = 16 * 1024 * 1024
_CHUNK = 1 << 20
_LONGEST_ITEM = 64 << 20
_MOST_NAMES = 100_000


@dataclass(frozen=True, slots=True)
class BoxProblem:
    """A label that cannot be used: where it stands, what kind of fault it has, and the label as it came."""

    place: str
    kind: ProblemKind
    got: str


def refuse(problem: BoxProblem) -> NoReturn:
    """Make an error of the first problem.

    Raises:
        InputError: always.
    """
    raise InputError(
        problem.place, _RULES[problem.kind], problem.got, "Mend it, or leave such labels out (--skip-bad)."
    )


_RULES: dict[ProblemKind, str] = {
    "malformed": "a label in its format",
    "unknown class": "of a class that the dataset names",
    "not a number": "a box of finite numbers",
    "inverted": "a box whose width and height are above 0, not below",
    "empty": "a box whose width and height are above 0",
    "outside": "a box within its image",
    "duplicate": "a box that is there once",
    "missing image": "an image file that is there and can be read",
}


@dataclass(frozen=True, slots=True)
class BoxDataset:
    """Annotated images by boxes alone: objects' ``runs`` are empty, and areas are those of their boxes or as told.

    ``images`` is the folder that the images' ``file`` is below.  Going through it reads it anew.
    """

    classes: tuple[str, ...]
    images: Path
    read: Callable[[], Iterator[AnnotatedImage]]

    def __iter__(self) -> Iterator[AnnotatedImage]:
        return self.read()


OnProblem = Callable[[BoxProblem], None]


def open_yolo(folder: Path, *, on_problem: OnProblem = refuse) -> BoxDataset:
    """A YOLO folder.

    ::

        <folder>/
        ├── data.yaml        with ``names``, a list or by number; or classes.txt, a name a line
        ├── images/          images, also in folders such as train/ and val/
        └── labels/          for each image a text file at the same place: ``class x_center y_center width height``

    An image without such a file, or with an empty one, has no object.

    Args:
        folder: the folder.
        on_problem: hears of each label that cannot be used, and which is left out; by default it is an error.

    Raises:
        InputError: it is no such folder.
    """
    images = folder / "images"
    if not images.is_dir():
        raise InputError(str(folder), "a YOLO folder with images/ and labels/, or one of scenes", "no images/ in it")
    classes = _yolo_classes(folder)

    def read() -> Iterator[AnnotatedImage]:
        for path in sorted(path for path in images.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES):
            name = path.relative_to(folder).as_posix()
            size = _size(path, on_problem)
            if size is not None:
                labels = (folder / "labels" / path.relative_to(images)).with_suffix(".txt")
                yield AnnotatedImage(name, *size, tuple(_yolo_objects(labels, classes, *size, on_problem)))

    _report_orphans(folder, on_problem)
    return BoxDataset(classes, folder, read)


def find_coco(path: Path) -> Path | None:
    """The COCO file that ``path`` is or holds, if any: ``coco.json``, ``_annotations.coco.json`` or the only ``.json``
    of a folder without YOLO's labels.
    """
    if path.is_file():
        return path
    if (path / "labels").is_dir():
        return None
    named = [path / name for name in ("coco.json", "_annotations.coco.json") if (path / name).is_file()]
    files = named or sorted(path.glob("*.json"))
    return files[0] if len(files) == 1 or named else None


def open_coco(file: Path, *, images: Path | None = None, on_problem: OnProblem = refuse) -> BoxDataset:
    """A COCO file of instance annotations, of which only boxes and areas are read.

    The file is read piece by piece; what is kept of an annotation are its numbers, 56 bytes.  Crowds are left out.

    Args:
        file: the ``.json``.
        images: the folder that its ``file_name`` are below; the file's own by default.
        on_problem: as in `open_yolo`.

    Raises:
        InputError: it is no such file.
    """
    index = _CocoIndex()
    for section, item in _coco_items(file):
        index.add(file, section, item, on_problem)
    if not index.classes:
        raise InputError(str(file), "a COCO file with categories")
    folder = images or file.parent
    return BoxDataset(tuple(index.classes.values()), folder, lambda: index.read(file, folder, on_problem))


def _yolo_classes(folder: Path) -> tuple[str, ...]:
    described, listed = folder / DATA_FILE, folder / CLASSES_FILE
    if described.is_file():
        try:
            content = yaml.safe_load(described.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise InputError(str(described), f"YAML that can be read ({shorten(str(error))})") from None
        names = content.get("names") if isinstance(content, dict) else None
        if isinstance(names, dict) and sorted(names) == list(range(len(names))):
            names = [names[number] for number in range(len(names))]
        if not isinstance(names, list):
            raise InputError(f"{described}, names", "a list of classes, or names by number from 0 without a gap", names)
        return _checked_names(described, [str(name) for name in names])
    if listed.is_file():
        return _checked_names(listed, [line.strip() for line in listed.read_text(encoding="utf-8").splitlines()])
    raise InputError(str(folder), f"a YOLO folder with {DATA_FILE} or {CLASSES_FILE}")


def _checked_names(place: Path, names: Sequence[str]) -> tuple[str, ...]:
    if not names or len(set(names)) != len(names) or not all(names) or len(names) > _MOST_NAMES:
        raise InputError(str(place), "a list of classes, each named once", list(names))
    return tuple(names)


def _report_orphans(folder: Path, on_problem: OnProblem) -> None:
    """Labels whose image is missing: the boxes would be lost in silence."""
    images = {path.relative_to(folder / "images").with_suffix("") for path in (folder / "images").rglob("*.*")}
    for path in sorted((folder / "labels").rglob("*.txt")):
        below = path.relative_to(folder / "labels")
        if below.with_suffix("") not in images and below.name != CLASSES_FILE:
            on_problem(BoxProblem(str(path), "missing image", "no image of that name"))


def _size(path: Path, on_problem: OnProblem) -> tuple[int, int] | None:
    """Width and height of an image as it is seen, from its header alone."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            # Turned upright by its EXIF orientation, as the image itself is when it is read.
            return (height, width) if image.getexif().get(0x0112) in (5, 6, 7, 8) else (width, height)
    except Exception as error:  # decoders meet broken bytes with every kind of exception
        on_problem(BoxProblem(str(path), "missing image", shorten(str(error))))
        return None


def _yolo_objects(
    path: Path, classes: Sequence[str], width: int, height: int, on_problem: OnProblem
) -> Iterator[Object]:
    if not path.is_file():
        return
    if path.stat().st_size > _LONGEST_LABELS:
        raise InputError(str(path), f"a label file of at most {_LONGEST_LABELS >> 20} MB")
    seen: set[tuple[object, ...]] = set()
    text = path.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        place = f"{path}, line {number}"
        try:
            label, shares = int(fields[0]), [float(part) for part in fields[1:]]
        except ValueError:
            on_problem(BoxProblem(place, "malformed", shorten(line)))
            continue
        if len(shares) > 5 and len(shares) % 2 == 0:
            # The outline of a segment: its box is around it.
            xs, ys = shares[0::2], shares[1::2]
            shares = [(min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys)]
        if len(shares) != 4:
            on_problem(BoxProblem(place, "malformed", shorten(line)))
        elif not 0 <= label < len(classes):
            on_problem(BoxProblem(place, "unknown class", shorten(line)))
        else:
            centre_x, centre_y, wide, high = (
                share * side for share, side in zip(shares, (width, height) * 2, strict=True)
            )
            box = (centre_x - wide / 2, centre_y - high / 2, wide, high)
            key = (label, *shares)
            made = _object(classes[label], box, None, (width, height), key in seen)
            seen.add(key)
            if isinstance(made, Object):
                yield made
            else:
                on_problem(BoxProblem(place, made, shorten(line)))


def _object(
    name: str, box: Sequence[float], area: float | None, size: tuple[int, int], is_double: bool
) -> Object | ProblemKind:
    left, top, width, height = box
    if not all(map(math.isfinite, box)):
        return "not a number"
    if width < 0 or height < 0:
        return "inverted"
    if width == 0 or height == 0:
        return "empty"
    beyond = max(-left, -top, left + width - size[0], top + height - size[1])
    if beyond > TOLERANCE:
        return "outside"
    if is_double:
        return "duplicate"
    edges = [
        min(max(round(edge), 0), side)
        for edge, side in zip((left, top, left + width, top + height), size * 2, strict=True)
    ]
    whole = (edges[0], edges[1], edges[2] - edges[0], edges[3] - edges[1])
    if whole[2] < 1 or whole[3] < 1:
        return "empty"
    return Object(name, whole, (), whole[2] * whole[3] if area is None else max(1, round(area)))


def _coco_items(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The items of ``images``, ``annotations`` and ``categories``, as they come; other parts are passed by."""
    wanted = {"images", "annotations", "categories"}
    try:
        with file.open(encoding="utf-8") as stream:
            reader = _JsonReader(stream)
            reader.expect("{")
            while not reader.take("}"):
                name = reader.value()
                reader.expect(":")
                if name in wanted and reader.take("["):
                    while not reader.take("]"):
                        item = reader.value()
                        if not isinstance(item, dict):
                            raise ValueError(f"an item of {name} is no object")
                        yield str(name), item
                        reader.take(",")
                else:
                    reader.value()
                reader.take(",")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(str(file), f"a COCO file that can be read ({shorten(str(error))})") from None


class _JsonReader:
    """Values of a JSON text, one after the other, of which no more is held than the longest and a piece."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._text, self._at = stream, "", 0
        self._decoder = json.JSONDecoder()

    def take(self, sign: str) -> bool:
        """Whether the next sign is this one, which is then passed."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text):
                if self._text[self._at] != sign:
                    return False
                self._at += 1
                return True
            if not self._more():
                raise ValueError("it ends too early")

    def expect(self, sign: str) -> None:
        if not self.take(sign):
            raise ValueError(f"{sign!r} is missing at {self._text[self._at : self._at + 20]!r}")

    def value(self) -> object:
        self.take("\0")
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if len(self._text) - self._at > _LONGEST_ITEM or not self._more():
                    raise
                continue
            # A number at the end of the piece may go on.
            if end == len(self._text) and self._more():
                continue
            self._at = end
            return value

    def _more(self) -> bool:
        piece = self._stream.read(max(_CHUNK, len(self._text) - self._at))
        if piece:
            self._text, self._at = self._text[self._at :] + piece, 0
        return bool(piece)


@dataclass(slots=True)
class _CocoIndex:
    """What a COCO file says, as numbers."""

    classes: dict[int, str] = field(default_factory=dict)
    images: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    owners: array[int] = field(default_factory=lambda: array("q"))
    categories: array[int] = field(default_factory=lambda: array("q"))
    numbers: array[float] = field(default_factory=lambda: array("d"))

    def add(self, file: Path, section: str, item: dict[str, Any], on_problem: OnProblem) -> None:
        place = f"{file}, {section} id {item.get('id')!r}"
        try:
            if section == "categories":
                name = str(item["name"])
                if int(item["id"]) in self.classes or name in self.classes.values() or not name:
                    raise InputError(place, "a category that is named once", name)
                self.classes[int(item["id"])] = name
            elif section == "images":
                if int(item["id"]) in self.images:
                    raise InputError(place, "an image that is there once", item.get("file_name"))
                size = int(item["width"]), int(item["height"])
                if min(size) < 1:
                    raise ValueError("a size")
                self.images[int(item["id"])] = (str(item["file_name"]), *size)
            elif not item.get("iscrowd"):
                box = [float(number) for number in item["bbox"]]
                if len(box) != 4:
                    raise ValueError("a box")
                area = item.get("area")
                owner, category = int(item["image_id"]), int(item["category_id"])
                self.numbers.extend([*box, math.nan if area is None else float(area)])
                self.owners.append(owner)
                self.categories.append(category)
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError):
            on_problem(BoxProblem(place, "malformed", shorten(str(item))))

    def read(self, file: Path, folder: Path, on_problem: OnProblem) -> Iterator[AnnotatedImage]:
        owners = np.array(self.owners, np.int64)
        order = np.argsort(owners, kind="stable")
        numbers = np.array(self.numbers, np.float64).reshape(-1, 5)
        for image_id in sorted(set(owners.tolist()) - set(self.images)):
            on_problem(BoxProblem(f"{file}, annotations of image_id {image_id}", "missing image", "not among images"))
        for image_id, (name, width, height) in self.images.items():
            if not _is_below(folder, name):
                on_problem(BoxProblem(f"{file}, images id {image_id}", "missing image", name))
                continue
            begin, end = np.searchsorted(owners[order], [image_id, image_id + 1])
            objects, seen = [], set()
            for row in order[begin:end]:
                *box, area = numbers[row].tolist()
                key = (self.categories[row], *box)
                known = self.classes.get(self.categories[row])
                made: Object | ProblemKind = "unknown class"
                if known is not None:
                    made = _object(known, box, None if math.isnan(area) else area, (width, height), key in seen)
                seen.add(key)
                if isinstance(made, Object):
                    objects.append(made)
                else:
                    on_problem(BoxProblem(f"{file}, an annotation of {name}", made, f"category {key[0]}, box {box}"))
            yield AnnotatedImage(name, width, height, tuple(objects))


def _is_below(folder: Path, name: str) -> bool:
    """Whether a file of that name is there, and not elsewhere."""
    try:
        return (folder / name).is_file() and (folder / name).resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):
        return False
