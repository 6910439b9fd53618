"""Scenes: a picture with the boxes and masks of what it shows, in memory and as lines of a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pydantic import Field

from defectory.datasets.annotations import AnnotatedImage, Box, Object
from defectory.detection.layouts.records import Conditions, Layout, Split
from defectory.validation import FrozenModel
from defectory.vision.arrays import Image


class SceneObject(FrozenModel):
    """One labelled object of a scene, by its visible pixels.

    Args:
        label: its class.
        box: left, top, width, height, tight around ``runs``.
        runs: the visible pixels, as `defectory.datasets.annotations.encode_runs` has them; whoever wears something
            has its pixels too, and nobody else shares any.
        area: how many there are.
        visible: share of the whole object that can be seen, 0..1.
        truncated: share of it that lies beyond the picture, 0..1.
        cutout: the cut-out that it was made of.
        worn_by: place in the scene of whoever wears it.
    """

    label: str
    box: Box
    runs: tuple[int, ...]
    area: int = Field(gt=0)
    visible: float = Field(ge=0, le=1)
    truncated: float = Field(ge=0, le=1)
    cutout: str = ""
    worn_by: int | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture, uint8 RGB ``(h, w, 3)``, its labelled objects from the back to the front, and what was asked for.

    ``dropped`` counts, by class, what was asked for and is neither labelled nor in the picture, because too little of
    it would have been seen.
    """

    image: Image
    objects: tuple[SceneObject, ...]
    layout: Layout
    dropped: dict[str, int]


class SceneRecord(FrozenModel):
    """A stored scene: a line of ``scenes.jsonl``."""

    image_id: str
    file: str
    width: int
    height: int
    split: Split
    objects: tuple[SceneObject, ...]
    conditions: Conditions
    dropped: dict[str, int] = Field(default={})
    layout: Layout

    def annotated(self) -> AnnotatedImage:
        """The scene as writers of COCO and YOLO know it."""
        objects = tuple(Object(item.label, item.box, item.runs, item.area) for item in self.objects)
        return AnnotatedImage(self.file, self.width, self.height, objects)


class SceneRenderer(Protocol):
    """Makes scenes of layouts."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    def render(self, layout: Layout) -> Scene:
        """The scene of ``layout``; the same layout gives the same scene.

        Raises:
            InputError: the layout asks for what there is not.
        """
        ...
