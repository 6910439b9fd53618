"""Creation: the renderer of each name, with the examples it learns from."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from defectory.datasets.masks import read_classes
from defectory.datasets.records import Dataset
from defectory.errors import InputError
from defectory.images.renderers import Renderer, RendererName
from defectory.images.renderers.transplant import kind_of
from defectory.vision.arrays import Mask
from defectory.vision.images import load_image


def create_offline_renderer(name: RendererName, examples: Dataset | None = None) -> Renderer:
    """A renderer that works on this machine alone.

    Args:
        name: ``procedural`` or ``transplant``.
        examples: real defects with masks: what ``transplant`` moves, and where ``procedural`` places its own kinds.

    Raises:
        InputError: it is no such name, or transplanting lacks examples.
        ImageError: an example cannot be read.
    """
    if name == "transplant":
        from defectory.images.renderers.transplant import TransplantRenderer, donors_of

        return TransplantRenderer(donors_of(examples) if examples else ())
    if name == "procedural":
        from defectory.images.placement import learn_placement
        from defectory.images.renderers.procedural import KINDS, ProceduralRenderer

        masks = _masks_by_kind(examples, KINDS) if examples else {}
        return ProceduralRenderer({kind: learn_placement(kind_masks) for kind, kind_masks in masks.items()})
    raise InputError("renderer", "procedural or transplant", name)


def _masks_by_kind(examples: Dataset, kinds: Iterable[str]) -> dict[str, list[Mask]]:
    """The masks of each kind that is asked for, each of its photo's size; pieces too small to learn from are none."""
    sought, masks = set(kinds), dict[str, list[Mask]]()
    for record in examples.anomalous:
        kind_numbers = {number: kind_of(name) for number, name in enumerate(record.classes, 1)}
        if record.mask is None or record.synthetic or not sought.intersection(kind_numbers.values()):
            continue
        classes = read_classes(record)
        assert classes is not None  # the record has a mask
        height, width = load_image(record.path).shape[:2]
        for number, kind in kind_numbers.items():
            mask = np.where(classes == number, 255, 0).astype(np.uint8)
            if kind in sought and (mask > 0).sum() >= 6:
                mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.uint8)
                masks.setdefault(kind, []).append(mask)
    return masks
