"""Training images: labels kept as numbers, pictures read one at a time, each time mirrored, sized and coloured anew."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from defectory.datasets.boxes import BoxProblem
from defectory.detection.detectors.boxes import Corners
from defectory.detection.detectors.card import InputSpec
from defectory.detection.detectors.decoding import PreparedImage, prepare
from defectory.detection.fingerprints import image_digest
from defectory.detection.labelled import LabelledImage, LabelledSet
from defectory.errors import ImageError, InputError
from defectory.vision.images import load_image

SCALES = 0.55, 1.1
"""Images are shown this many times as large as the detector's input is, at least and at most."""

_ZOOMED_SHARE = 0.5
_MOST_ZOOM = 4.0
_SMALLEST_PART = 32


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """An image as it is learned from: the input, and the corners and classes of what is on it, in its pixels."""

    prepared: PreparedImage
    boxes: Corners
    labels: NDArray[np.intp]


def recolour(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The image as another camera and another light might show it: saturation, exposure, white balance and gamma.

    What is told apart by its shape is then not told apart by the colours of the few variants that were shown.
    """
    saturation, exposure, gamma = rng.uniform(0.2, 1.3), rng.uniform(0.7, 1.3), math.exp(rng.uniform(-0.35, 0.35))
    balance = np.exp(rng.normal(0, 0.06, 3)).astype(np.float32) * exposure
    mix = (np.eye(3) * saturation + np.array([[0.299, 0.587, 0.114]]) * (1 - saturation)).astype(np.float32)
    levels = np.linspace(0, 1, 256) ** gamma * 255
    pixels = np.clip(image.reshape(-1, 3) @ (mix * balance[:, None]).T, 0, 255).astype(np.uint8)
    return np.rint(levels).astype(np.uint8)[pixels].reshape(image.shape)


@dataclass(slots=True)
class TrainingImages:
    """Where images are and what is on them: some 40 bytes an object, however many there are.

    ``classes`` are those of all sets together, in their order.
    """

    classes: tuple[str, ...]
    paths: list[str] = field(default_factory=list)
    sizes: array[int] = field(default_factory=lambda: array("l"))
    ends: array[int] = field(default_factory=lambda: array("l", [0]))
    labels: array[int] = field(default_factory=lambda: array("l"))
    numbers: array[float] = field(default_factory=lambda: array("f"))
    digests: list[int | None] = field(default_factory=list)

    @classmethod
    def read(cls, sets: Sequence[LabelledSet]) -> TrainingImages:
        """The images of all ``sets``.

        Raises:
            InputError: there are none, or nothing is on them.
        """
        images = cls(tuple(dict.fromkeys(name for labelled in sets for name in labelled.classes)))
        for labelled in sets:
            for image in labelled:
                images._add(image)
        if not images.labels:
            got = f"{len(images.paths)} images without a box"
            raise InputError("DIR", "a folder of labelled images with boxes on them", got)
        return images

    def __len__(self) -> int:
        return len(self.paths)

    def objects(self) -> NDArray[np.intp]:
        """How many objects of each class there are."""
        return np.bincount(np.array(self.labels, np.intp), minlength=len(self.classes))

    def boxes(self, number: int) -> tuple[Corners, NDArray[np.intp]]:
        """The corners and classes of what is on an image, in its pixels."""
        rows = slice(self.ends[number], self.ends[number + 1])
        corners = np.array(self.numbers[4 * rows.start : 4 * rows.stop], np.float32).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        return corners, np.array(self.labels[rows], np.intp)

    def load(self, number: int) -> NDArray[np.uint8]:
        """The picture.

        Raises:
            ImageError: it cannot be read, or is not of the size that its labels are for.
        """
        image = load_image(Path(self.paths[number]))
        width, height = self.sizes[2 * number : 2 * number + 2]
        if image.shape[:2] != (height, width):
            got = f"{image.shape[1]} x {image.shape[0]}"
            raise ImageError(self.paths[number], f"{width} x {height} pixels, as its labels say", got)
        return image

    def _add(self, image: LabelledImage) -> None:
        self.paths.append(str(image.path))
        self.sizes.extend([image.width, image.height])
        self.digests.append(image_digest(image))
        for item in image.objects:
            self.labels.append(self.classes.index(item.label))
            self.numbers.extend(item.box)
        self.ends.append(len(self.labels))


def draw_samples(
    images: TrainingImages,
    numbers: Iterable[int],
    spec: InputSpec,
    rng: np.random.Generator,
    on_problem: Callable[[BoxProblem], None],
    *,
    scales: tuple[float, float] = SCALES,
) -> Iterator[Sample | None]:
    """Each of the images by its number, changed by chance: nearer (`zoom`), in other colours (`recolour`), mirrored, at
    a size within ``scales``; None for one that cannot be read, which ``on_problem`` hears of.
    """
    for number in numbers:
        try:
            image = images.load(number)
        except ImageError as error:
            on_problem(BoxProblem(images.paths[number], "missing image", str(error)))
            yield None
            continue
        boxes, labels = images.boxes(number)
        if rng.random() < _ZOOMED_SHARE:
            image, boxes, labels = zoom(image, boxes, labels, rng)
        image = recolour(image, rng)
        if rng.random() < 0.5:
            image = np.ascontiguousarray(image[:, ::-1])
            boxes = np.stack(
                [image.shape[1] - boxes[:, 2], boxes[:, 1], image.shape[1] - boxes[:, 0], boxes[:, 3]], axis=1
            )
        scale = math.exp(rng.uniform(*np.log(scales)))
        prepared = prepare(image, spec.scaled(scale))
        boxes = boxes * np.array([prepared.scale_x, prepared.scale_y] * 2, np.float32)
        yield Sample(prepared, boxes.astype(np.float32), labels)


def zoom(
    image: NDArray[np.uint8], boxes: Corners, labels: NDArray[np.intp], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Corners, NDArray[np.intp]]:
    """A part of the image around one of its objects, so that objects are also seen from near.

    What is cut off by more than half is no object of it.
    """
    height, width = image.shape[:2]
    share = 1 / math.exp(rng.uniform(0, math.log(_MOST_ZOOM)))
    sides = np.maximum(np.array([width, height]) * share, _SMALLEST_PART).astype(int)
    sides = np.minimum(sides, [width, height])
    centre = rng.uniform(0, 1, 2) * [width, height]
    if len(boxes):
        box = boxes[rng.integers(len(boxes))]
        # The whole object is to be in it where it fits.
        sides = np.minimum(np.maximum(sides, (1.1 * (box[2:] - box[:2])).astype(int)), [width, height])
        room = np.maximum(sides - (box[2:] - box[:2]), 0) / 2
        centre = (box[:2] + box[2:]) / 2 + rng.uniform(-1, 1, 2) * room
    left, top = np.clip(centre - sides / 2, 0, [width, height] - sides).astype(int).tolist()
    right, bottom = left + int(sides[0]), top + int(sides[1])
    shift = np.array([left, top] * 2, np.float32)
    inside = np.clip(boxes - shift, 0, np.array([*sides, *sides], np.float32))
    areas = [np.prod(corners[:, 2:] - corners[:, :2], axis=1) for corners in (inside, boxes)]
    stays = areas[0] > areas[1] / 2
    return np.ascontiguousarray(image[top:bottom, left:right]), inside[stays].astype(np.float32), labels[stays]
