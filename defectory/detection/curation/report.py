"""Report: the weak spots of a detector as one page, with nothing from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from defectory.detection.curation.compare import PlanComparison
from defectory.detection.curation.results import Example, WeakSpots
from defectory.detection.evaluation.pictures import ALARM_COLOUR, TRUTH_COLOUR, cut_box
from defectory.vision.images import encode_jpeg, load_image
from defectory.writing import write_whole, writing_to

REPORT = "weak-spots.html"

_MOST_ILLUSTRATED = 12


def write_weak_spots_report(
    weak: WeakSpots, paths: Mapping[str, Path], out: Path, comparison: PlanComparison | None = None
) -> Path:
    """Write ``weak-spots.html`` into the folder ``out``; the worst spots have pictures.

    Args:
        weak: what is reported.
        paths: the files of the images by their names.
        out: the folder.
        comparison: whether scenes of the plan helped, where that was tried.

    Raises:
        ImageError: an image cannot be read.
        UnwritableError: the page cannot be written.
    """

    def picture(example: Example, is_detection: bool) -> str:
        colour = ALARM_COLOUR if is_detection else TRUTH_COLOUR
        image = cut_box(load_image(paths[example.image]), example.box, example.label, colour)
        return f"data:image/jpeg;base64,{base64.b64encode(encode_jpeg(image, quality=80)).decode()}"

    spots = [
        (spot, [(item, picture(item, spot.kind == "false alarm")) for item in spot.examples])
        for spot in weak.spots[:_MOST_ILLUSTRATED]
    ]
    suspects = [(item, picture(item.example, item.reason == "detected without a label")) for item in weak.suspects]
    page = (
        _environment()
        .get_template("weak-spots.html.j2")
        .render(w=weak, illustrated=spots, suspects=suspects, comparison=comparison)
    )
    with writing_to(out):
        return write_whole(out / REPORT, page.encode())


@cache
def _environment() -> Environment:
    # The style is the evaluation's.
    loader = ChoiceLoader(
        [
            PackageLoader("defectory.detection.curation", "templates"),
            PackageLoader("defectory.detection.evaluation", "templates"),
        ]
    )
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
