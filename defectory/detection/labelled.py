"""Labelled images: what detectors are trained and evaluated on, from scenes, YOLO folders and COCO files alike.

Nothing is held but one image's labels at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from defectory.datasets.annotations import Box
from defectory.datasets.boxes import BoxProblem, find_coco, open_coco, open_yolo, refuse
from defectory.detection.scenes.folder import CLASSES_FILE, SCENES_FILE, read_classes_file, read_scenes
from defectory.errors import InputError

Origin = Literal["real", "synthetic"]
"""Whether images are photos, or were made: figures of both are never mixed."""

FloatBox = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class LabelledObject:
    """One object: its class, its box (left, top, width, height in pixels), and its visible pixels.

    ``visible`` is the share of it that is seen and ``truncated`` the share beyond the picture, 0..1; None where nobody
    knows, as on photos.
    """

    label: str
    box: FloatBox
    area: float
    visible: float | None = None
    truncated: float | None = None


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image with all its objects; ``conditions`` are those that are known, such as ``{"light": "dim"}``."""

    name: str
    path: Path
    width: int
    height: int
    objects: tuple[LabelledObject, ...] = ()
    conditions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """The labelled images of one folder or file; going through it reads it anew.

    ``classes`` are those that are labelled in it: on its images, what is of such a class and has no label is not there.
    """

    root: Path
    classes: tuple[str, ...]
    origin: Origin
    read: Callable[[], Iterator[LabelledImage]]

    def __iter__(self) -> Iterator[LabelledImage]:
        return self.read()

    def rename(self, names: Mapping[str, str]) -> LabelledSet:
        """The same images with classes called as ``names`` says, "" for one to leave out; others keep their names.

        Raises:
            InputError: there is no such class.
        """
        if unknown := sorted(set(names) - set(self.classes)):
            raise InputError("map", f"of the classes of {self.root} ({', '.join(self.classes)})", unknown[0])
        renamed = {name: names.get(name, name) for name in self.classes}

        def read() -> Iterator[LabelledImage]:
            for image in self.read():
                objects = (replace(item, label=renamed[item.label]) for item in image.objects)
                yield replace(image, objects=tuple(item for item in objects if item.label))

        classes = tuple(dict.fromkeys(name for name in renamed.values() if name))
        return replace(self, classes=classes, read=read)


def open_labelled(
    path: Path,
    *,
    images: Path | None = None,
    origin: Origin | None = None,
    on_problem: Callable[[BoxProblem], None] = refuse,
) -> LabelledSet:
    """Open a folder of scenes (``scenes.jsonl``), a YOLO folder (``data.yaml`` or ``classes.txt``), or a COCO file.

    Scenes are synthetic and all else is real, unless ``origin`` says otherwise.

    Args:
        path: the folder, or a ``.json`` file in COCO's form.
        images: where the images of a COCO file are; beside it by default.
        origin: what the images are.
        on_problem: hears of each box that is none; by default the first one is an error.

    Raises:
        InputError: it is none of these, or cannot be read.
    """
    if not path.exists():
        raise InputError("DIR", "an existing folder of scenes or YOLO labels, or a COCO file", str(path))
    if path.is_dir() and (path / SCENES_FILE).is_file():
        return LabelledSet(path, read_classes_file(path), origin or "synthetic", lambda: _read_scenes(path))
    coco = find_coco(path)
    boxes = open_coco(coco, images=images, on_problem=on_problem) if coco else open_yolo(path, on_problem=on_problem)

    def read() -> Iterator[LabelledImage]:
        for image in boxes:
            objects = tuple(LabelledObject(item.name, _floats(item.box), item.area) for item in image.objects)
            yield LabelledImage(image.file, boxes.images / image.file, image.width, image.height, objects)

    return LabelledSet(path, boxes.classes, origin or "real", read)


def _read_scenes(folder: Path) -> Iterator[LabelledImage]:
    classes = frozenset(read_classes_file(folder))
    for scene in read_scenes(folder):
        if unknown := [item.label for item in scene.objects if item.label not in classes]:
            raise InputError(
                f"{folder / SCENES_FILE}: {scene.image_id}", f"of the classes in {CLASSES_FILE}", unknown[0]
            )
        known = {**scene.conditions.model_dump(), "background": scene.layout.background}
        conditions = {name: value for name, value in known.items() if value}
        objects = tuple(
            LabelledObject(item.label, _floats(item.box), item.area, item.visible, item.truncated)
            for item in scene.objects
        )
        yield LabelledImage(scene.image_id, folder / scene.file, scene.width, scene.height, objects, conditions)


def _floats(box: Box) -> FloatBox:
    left, top, width, height = map(float, box)
    return left, top, width, height
