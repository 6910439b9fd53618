"""Labelled images: what detectors are trained and evaluated on, from scenes, YOLO folders and COCO files alike.

Nothing is held but one image's labels at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from defectory.datasets.boxes import BoxProblem, find_coco, open_coco, open_yolo, refuse
from defectory.errors import InputError
from defectory.validation import explain

Origin = Literal["real", "synthetic"]
"""Whether images are photos, or were made: figures of both are never mixed."""

SCENES, CLASSES = "scenes.jsonl", "classes.json"
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
    if path.is_dir() and (path / SCENES).is_file():
        return LabelledSet(path, _scene_classes(path), origin or "synthetic", lambda: _read_scenes(path))
    coco = find_coco(path)
    boxes = open_coco(coco, images=images, on_problem=on_problem) if coco else open_yolo(path, on_problem=on_problem)

    def read() -> Iterator[LabelledImage]:
        for image in boxes:
            objects = tuple(
                LabelledObject(item.name, tuple(map(float, item.box)), float(item.area)) for item in image.objects
            )
            yield LabelledImage(image.file, boxes.images / image.file, image.width, image.height, objects)

    return LabelledSet(path, boxes.classes, origin or "real", read)


class _SceneObject(BaseModel):
    label: str
    box: FloatBox
    area: float = Field(gt=0)
    visible: float | None = Field(default=None, ge=0, le=1)
    truncated: float | None = Field(default=None, ge=0, le=1)


class _SceneLine(BaseModel):
    """What is read of a line; scenes say more."""

    image_id: str
    file: str
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    objects: tuple[_SceneObject, ...] = ()
    conditions: dict[str, object] = Field(default_factory=dict)


def _scene_classes(folder: Path) -> tuple[str, ...]:
    path = folder / CLASSES
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(str(path), f"a list of classes that can be read ({error})") from None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise InputError(str(path), "a list of the classes' names", names)
    return tuple(names)


def _read_scenes(folder: Path) -> Iterator[LabelledImage]:
    classes = frozenset(_scene_classes(folder))
    with (folder / SCENES).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            place = f"{folder / SCENES}, line {number}"
            try:
                scene = _SceneLine.model_validate_json(line)
            except ValidationError as error:
                reason = explain(error)
                raise InputError(f"{place}, {reason.field}", reason.rule, reason.got) from None
            if unknown := [item.label for item in scene.objects if item.label not in classes]:
                raise InputError(place, f"of the classes in {CLASSES}", unknown[0])
            conditions = {name: value for name, value in scene.conditions.items() if value and isinstance(value, str)}
            objects = tuple(
                LabelledObject(item.label, item.box, item.area, item.visible, item.truncated) for item in scene.objects
            )
            yield LabelledImage(
                scene.image_id, folder / scene.file, scene.width, scene.height, objects, conditions
            )
