"""Contact sheet: scenes with their boxes on one page that needs nothing from elsewhere."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from defectory.detection.scenes.acceptance import AcceptanceReport
from defectory.detection.scenes.folder import read_scenes
from defectory.detection.scenes.records import SceneRecord
from defectory.vision.images import encode_jpeg, load_image

CONTACT_SHEET = "contact-sheet.html"
MOST_PICTURES = 120
"""More pictures than this would make a page that opens slowly: they are taken evenly from all."""

_SIDE = 320
_COLOURS = (
    "#e6194b",
    "#3cb44b",
    "#ffe119",
    "#4363d8",
    "#f58231",
    "#42d4f4",
    "#f032e6",
    "#bfef45",
    "#fabed4",
    "#469990",
)


@dataclass(slots=True)
class _Survey:
    """What the page says of all scenes, gathered from one at a time."""

    scenes: int = 0
    empty: int = 0
    objects: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    occluded: Counter[str] = field(default_factory=Counter)
    truncated: Counter[str] = field(default_factory=Counter)
    small: Counter[str] = field(default_factory=Counter)
    conditions: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, record: SceneRecord) -> None:
        self.scenes += 1
        self.empty += not record.objects
        self.dropped.update(record.dropped)
        for item in record.objects:
            self.objects[item.label] += 1
            self.occluded[item.label] += item.visible + item.truncated < 0.9
            self.truncated[item.label] += item.truncated > 0.05
            self.small[item.label] += item.box[2] * item.box[3] < 32 * 32
        for name, value in record.conditions.model_dump().items():
            self.conditions.setdefault(name, Counter())[value or "none"] += 1


def contact_sheet(folder: Path, classes: Sequence[str], acceptance: AcceptanceReport | None = None) -> bytes:
    """The page of a folder of scenes, UTF-8: what is in them by class and condition, and some with their boxes.

    Args:
        folder: of scenes.
        classes: what is labelled.
        acceptance: of scenes that a model painted: what their check made of them.

    Raises:
        InputError: the folder cannot be read.
    """
    survey = _Survey()
    for record in read_scenes(folder):
        survey.add(record)
    colours = {name: _COLOURS[place % len(_COLOURS)] for place, name in enumerate(classes)}
    pictures = [_picture(folder, record, colours) for record in shown_on_sheet(folder, survey.scenes)]
    template = Environment(
        loader=PackageLoader("defectory.detection.scenes"), autoescape=True, undefined=StrictUndefined
    ).get_template("contact_sheet.html.j2")
    return template.render(
        survey=survey, classes=list(classes), colours=colours, pictures=pictures, acceptance=acceptance
    ).encode()


def shown_on_sheet(folder: Path, scenes: int) -> Iterator[SceneRecord]:
    """Those of the ``scenes`` of a folder that the page shows.

    Raises:
        InputError: the folder cannot be read.
    """
    return islice(read_scenes(folder), None, None, max(-(-scenes // MOST_PICTURES), 1))


def _picture(folder: Path, record: SceneRecord, colours: dict[str, str]) -> dict[str, Any]:
    scale = min(_SIDE / max(record.width, record.height), 1.0)
    size = max(round(record.width * scale), 1), max(round(record.height * scale), 1)
    small = cv2.resize(load_image(folder / record.file), size, interpolation=cv2.INTER_AREA)
    content = base64.b64encode(encode_jpeg(np.asarray(small, np.uint8), 80)).decode()
    conditions = record.conditions.model_dump()
    return {
        "id": record.image_id,
        "source": f"data:image/jpeg;base64,{content}",
        "width": record.width,
        "height": record.height,
        "place": record.layout.background,
        "conditions": [value for value in conditions.values() if value and value != "none"],
        "objects": [
            {
                "label": item.label,
                "box": item.box,
                "colour": colours.get(item.label, "#ffffff"),
                "title": f"{item.label}: {item.visible:.0%} visible, {item.truncated:.0%} beyond the picture",
            }
            for item in record.objects
        ],
        "labels": " ".join(sorted({item.label for item in record.objects})),
    }
