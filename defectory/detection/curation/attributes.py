"""Attributes: what can be seen of each object in its picture, so that failures are told by what they have in common.

Layouts know the conditions of composed scenes; of photos nobody wrote down any.  Attributes are found by looking:
measured on the pixels (`MeasuredAttributes`, the default, offline), or named by a model that is shown the pictures
(`defectory.detection.curation.bedrock_attributes`).  Neither is told which objects were missed: failures and
successes are described alike, and what differs is left to the test of `weak_spots`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from defectory.detection.curation.results import AttributeSource
from defectory.detection.evaluation.evaluate import Examination
from defectory.detection.labelled import FloatBox
from defectory.progress import OnProgress, ignore_progress

Attributes = Mapping[str, str]
"""Of one object: attribute by value, such as ``{"contrast": "lowest quarter"}``; empty where nothing is known."""

FIGURES = ("contrast", "brightness", "sharpness", "clutter")
"""What is measured of an object."""

QUARTERS = ("lowest quarter", "middle half", "highest quarter")


VOCABULARY: Mapping[str, tuple[str, ...]] = {
    "light on it": ("bright", "even", "dim", "backlit", "glare"),
    "against its background": ("stands out", "blends in"),
    "focus": ("sharp", "blurred"),
    "hidden": ("not", "partly", "mostly"),
    "seen from": ("front", "side", "back", "above"),
    "surroundings": ("plain", "cluttered", "others like it"),
    "state": ("ordinary", "lying or tipped over", "damaged or dirty", "unusual kind"),
}
"""What may be said of an object: each attribute with its values."""


@dataclass(frozen=True, slots=True)
class View:
    """An object to be described: its class, its box (left, top, width, height in pixels), its picture's file."""

    label: str
    box: FloatBox
    path: Path


@dataclass(frozen=True, slots=True)
class Description:
    """What was seen: the attributes of each view in its order, and where they come from."""

    attributes: Sequence[Attributes]
    source: AttributeSource


class Describer(Protocol):
    """Says what can be seen of objects."""

    def describe(self, views: Sequence[View], *, on_progress: OnProgress = ignore_progress) -> Description:
        """Describe each of ``views``, without knowing which of them a detector has found.

        Raises:
            ImageError: a picture cannot be read.
            ServiceError: a service that it needs fails.
        """


def views_of(x: Examination) -> list[View]:
    """The objects of an examination, a row each."""
    paths = [image.path for image in x.seen.images]
    rows = zip(x.items(), x.objects.images.tolist(), strict=True)
    return [View(item.label, item.box, paths[image]) for item, image in rows]
