"""Contact sheet: the pictures of a synthetic dataset on one page that needs nothing from elsewhere."""

from __future__ import annotations

import base64
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice, zip_longest
from statistics import median
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from defectory.datasets.annotations import decode_runs
from defectory.images.filters import window_of
from defectory.images.gate_result import GateResult
from defectory.images.items import ItemOutcome, ItemRecord

CONTACT_SHEET = "contact-sheet.html"
MOST_PICTURES = 300
"""More pictures than this would make a page that opens slowly: as many of each kind are shown as of any other."""

MOST_NAMED = 200
OUTLINE_SIDE = 800
"""Outlines are drawn as for a picture of this longest side, which is as large as they are shown."""

_OUTCOMES: dict[ItemOutcome, tuple[str, str]] = {
    "made": ("Made", "Made"),
    "duplicate": ("Near-duplicates, left out", "Duplicate"),
    "invisible": ("Invisible, left out", "Invisible"),
    "filtered": ("Withheld by a content filter", "Withheld"),
    "failed": ("Failed", "Failed"),
}


def contact_sheet(
    records: Sequence[ItemRecord], read: Callable[[str], bytes], *, title: str, gate: GateResult | None = None
) -> bytes:
    """The page, UTF-8: the pictures that were made, what became of the other items, and what the gate found.

    Its state can be given in its address: ``#kind=scratch&order=faint&view=closeup&outline=0&open=<id>``.

    Args:
        records: of all items; those without a picture are counted and named.
        read: gives the content of a small picture by its name.
        title: what the page is called.
        gate: what the gate found, where it was asked.
    """
    survey = _Survey()
    for place, record in enumerate(records):
        survey.add(place, record)
    pictured = survey.even_choice()
    counts = sum((kind.counts for kind in survey.kinds.values()), Counter[str]())
    page = (
        _environment()
        .get_template("contact_sheet.html.j2")
        .render(
            title=title,
            made=counts["made"],
            asked=len(records),
            outcomes=[(name, *words, counts[name]) for name, words in _OUTCOMES.items() if counts[name]],
            kinds=[kind.summary(name) for name, kind in sorted(survey.kinds.items())],
            renderers=sorted(survey.renderers.items()),
            photos=len(survey.photos),
            gate=gate,
            unmade=survey.unmade,
            unnamed=len(records) - counts["made"] - len(survey.unmade),
            without_picture=counts["made"] - len(pictured),
            pictures=[_picture(records[place], read) for place in pictured],
        )
    )
    return page.encode()


@dataclass(slots=True)
class _Kind:
    """What came of one kind of defect; ``places`` are those of its first pictures among all records."""

    counts: Counter[str] = field(default_factory=Counter)
    places: list[int] = field(default_factory=list)
    severities: array[float] = field(default_factory=lambda: array("d"))
    areas: array[float] = field(default_factory=lambda: array("d"))

    def summary(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "counts": self.counts,
            "severity": median(self.severities) if self.severities else None,
            "area": median(self.areas) if self.areas else None,
        }


@dataclass(slots=True)
class _Survey:
    """What the page says of all records, gathered from one at a time."""

    kinds: dict[str, _Kind] = field(default_factory=dict)
    renderers: Counter[str] = field(default_factory=Counter)
    photos: set[str] = field(default_factory=set)
    unmade: list[ItemRecord] = field(default_factory=list)

    def add(self, place: int, record: ItemRecord) -> None:
        kind = self.kinds.setdefault(record.item.defect, _Kind())
        kind.counts[record.outcome] += 1
        if record.outcome != "made":
            if len(self.unmade) < MOST_NAMED:
                self.unmade.append(record)
            return
        self.renderers[record.item.renderer] += 1
        if record.item.source:
            self.photos.add(record.item.source)
        if len(kind.places) < MOST_PICTURES:
            kind.places.append(place)
        if record.mask is not None:
            kind.severities.append(record.severity)
            kind.areas.append(record.area)

    def even_choice(self) -> list[int]:
        """The places of the pictures that are shown."""
        laps = zip_longest(*(kind.places for kind in self.kinds.values()))
        turns = (place for lap in laps for place in lap if place is not None)
        return sorted(islice(turns, MOST_PICTURES))


@cache
def _environment() -> Environment:
    loader = PackageLoader("defectory.images", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _picture(record: ItemRecord, read: Callable[[str], bytes]) -> dict[str, Any]:
    picture: dict[str, Any] = {
        "id": record.id,
        "kind": record.item.defect,
        "renderer": record.item.renderer,
        "source": record.item.source,
        "severity": record.severity if record.mask is not None else None,
        "area": record.area,
        "box": record.box,
        "size": [record.width, record.height],
        "parameters": record.parameters,
        "prompt": record.item.prompt,
        "thumbnail": _data_uri(read(record.thumbnail)),
    }
    if record.closeup:
        picture["closeup"] = _data_uri(read(record.closeup))
        if record.box:
            picture["window"] = window_of(record.box, record.width, record.height)
    if record.box and record.runs:
        picture["outline"] = "".join(_outline(record))
    return picture


def _outline(record: ItemRecord) -> Iterator[str]:
    """Lines around the mask as an SVG path, in pixels of the picture; a little outside, to cover nothing of it."""
    assert record.box is not None
    scale = OUTLINE_SIDE / max(record.width, record.height)
    left, top, width, height = record.box
    mask = decode_runs(record.runs, record.width, record.height)[top : top + height, left : left + width]
    small = cv2.resize(
        mask,
        (max(1, round(width * scale)), max(1, round(height * scale))),
        interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST,
    )
    margin = 6
    # Averaged, then cut at a low level: a scratch thinner than a pixel still gets its line.
    marked = np.pad((small > 40).astype(np.uint8), margin)
    marked = cv2.dilate(marked, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))).astype(np.uint8)
    contours, _ = cv2.findContours(marked, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        points = cv2.approxPolyDP(contour, 0.6, closed=True)[:, 0, :]
        places = [f"{left + (x + 0.5 - margin) / scale:.1f} {top + (y + 0.5 - margin) / scale:.1f}" for x, y in points]
        yield f"M{'L'.join(places)}Z"


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
