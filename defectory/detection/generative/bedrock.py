"""The Bedrock painter: a place, into which an image model paints the objects of a layout one after another.

Each object is one call: the model gets to see what is around its box, and is told what to paint into it.  Only what
stands in the box is taken over, because models change a little everywhere.  They paint from the back to the front, so
that what stands before something hides it.  The light is a matter of words, the camera is put on at the end, as on
composed scenes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from defectory.aws.image_models import STABILITY_GROWS_MASK, ImageModel, ImageRequest
from defectory.detection.generative.prompts import describe_place, name_object, worn_classes
from defectory.detection.layouts.records import Layout, clip_box, painted_places
from defectory.detection.scenes.backgrounds import Backgrounds
from defectory.detection.scenes.backgrounds.perspective import Perspective
from defectory.detection.scenes.camera import expose
from defectory.detection.scenes.compositor import random_of, view_of
from defectory.detection.scenes.sprites import EQUIPMENT
from defectory.errors import InputError
from defectory.vision.arrays import Image, Mask
from defectory.vision.mask_refinement import blend

MARGIN = 0.05
"""By which a box is grown on all sides, in lengths of its longer side: outlines need room."""

_LEAST_MARGIN = 2  # pixels
_CONTEXT = 2.0  # sides of the window that the model sees, in lengths of the box
_LEAST_WINDOW = 192
_LARGEST_SEED = 2**32 - 2
_PERSON = "person"
_NEVER = "text, watermark, frame, drawing, cartoon, several objects"


@dataclass(frozen=True, slots=True, eq=False)
class BedrockPainter:
    """Has an image model paint the objects of layouts into places; a `ScenePainter`, safe to share by threads.

    Args:
        model: inpaints; ``model.usage`` counts what it was asked.
        backgrounds: where scenes are set; photos among them leave for the model's region.
        setting: what they are called in records: scenes set elsewhere are others.

    Raises:
        InputError: the model cannot inpaint.
    """

    model: ImageModel
    backgrounds: Backgrounds
    setting: str = "drawn places"
    name: str = "bedrock"

    def __post_init__(self) -> None:
        if "inpaint" not in self.model.tasks:
            fix = "Such as us.stability.stable-image-inpaint-v1:0."
            raise InputError("model_id", "a model that inpaints", self.model.model_id, fix)

    @property
    def settings(self) -> str:
        """The model, and what scenes are set in."""
        return f"{self.model.model_id}, {self.setting}"

    def paint(self, layout: Layout) -> Image:
        """A picture in which the objects were asked for; see `ScenePainter.paint`.

        Seeds are passed on, but models may change, and with them their pictures.

        Raises:
            InputError: there is no such background.
            ContentFilteredError: a content filter withheld an object; the scene is given up.
            ServiceError: Bedrock failed after bounded retries.
        """
        rng, view = random_of(layout), view_of(layout)
        camera = Perspective.of(view, layout.size)
        room = camera.room((box[0], box[0] + box[2], box[1] + box[3]) for box in _boxes(layout))
        image = self.backgrounds.draw(layout.background, layout.size, view, room, rng)
        seeds = rng.integers(1, _LARGEST_SEED, len(layout.objects)).tolist()
        for place in painted_places(layout):
            self._paint_object(image, layout, place, seeds[place])
        return expose(image, layout.conditions, rng)

    def _paint_object(self, image: Image, layout: Layout, place: int, seed: int) -> None:
        mask = mask_of(layout, place)
        left, top, width, height = _window(mask)
        window = np.s_[top : top + height, left : left + width]
        before, asked = np.ascontiguousarray(image[window]), np.ascontiguousarray(mask[window])
        item = layout.objects[place]
        unworn = set(EQUIPMENT) - worn_classes(layout, place) if item.label == _PERSON else set()
        request = ImageRequest(
            "inpaint",
            f"A photo of a {name_object(layout, place)} in {describe_place(layout)}, whole, in the middle",
            ", ".join([_NEVER, *sorted(name.replace("_", " ") for name in unworn)]),
            seed,
            before,
            asked,
        )
        painted = self.model.generate(request).image
        image[window] = blend(before, painted, asked, softness=float(STABILITY_GROWS_MASK) / 2)


def mask_of(layout: Layout, place: int) -> Mask:
    """Where an object is painted, 255, on the layout's canvas: its box, grown by `MARGIN`."""
    left, top, width, height = layout.objects[place].box
    margin = max(MARGIN * max(width, height), _LEAST_MARGIN)
    grown = (left - margin, top - margin, width + 2 * margin, height + 2 * margin)
    left, top, width, height = clip_box(grown, layout.size)
    mask = np.zeros(layout.size[::-1], np.uint8)
    mask[int(top) : int(np.ceil(top + height)), int(left) : int(np.ceil(left + width))] = 255
    return mask


def _boxes(layout: Layout) -> Iterable[tuple[float, float, float, float]]:
    return (layout.objects[place].box for place in painted_places(layout))


def _window(mask: Mask) -> tuple[int, int, int, int]:
    """Left, top, width and height of what the model sees: a square around the mask, as far as the canvas goes."""
    left, top, width, height = cv2.boundingRect(mask)
    side = max(_LEAST_WINDOW, round(_CONTEXT * max(width, height)))
    wide, high = min(side, mask.shape[1]), min(side, mask.shape[0])
    column = min(max(0, left + (width - wide) // 2), mask.shape[1] - wide)
    row = min(max(0, top + (height - high) // 2), mask.shape[0] - high)
    return column, row, wide, high
