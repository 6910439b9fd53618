"""Report: the evaluation of a detector as one page, with nothing from elsewhere."""

from __future__ import annotations

import base64
from functools import cache
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from defectory.detection.evaluation.pictures import picture_path
from defectory.detection.evaluation.results import DetectionEvaluation
from defectory.errors import InputError
from defectory.writing import write_whole, writing_to

REPORT = "report.html"


def write_report(evaluation: DetectionEvaluation, out: Path) -> Path:
    """Write ``report.html`` of ``evaluation`` into the folder ``out``, with the pictures that lie there.

    Raises:
        InputError: a picture of the evaluation is missing, or the page cannot be written.
    """
    groups = groupby(evaluation.groups, key=lambda group: group.condition)
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            e=evaluation,
            conditions=[(condition, list(members)) for condition, members in groups],
            misses=[(item, _picture(out, "miss", item.picture)) for item in evaluation.misses],
            alarms=[(item, _picture(out, "alarm", item.picture)) for item in evaluation.false_alarms],
        )
    )
    with writing_to(out):
        return write_whole(out / REPORT, page.encode())


@cache
def _environment() -> Environment:
    loader = PackageLoader("defectory.detection.evaluation", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _picture(folder: Path, kind: str, number: int | None) -> str:
    if number is None:
        return ""
    path = picture_path(folder, kind, number)
    try:
        return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}"
    except OSError as error:
        reason = error.strerror or str(error)
        fix = "Run `defectory detect evaluate` again."
        raise InputError(str(path), f"a picture of the evaluation that can be read ({reason})", fix=fix) from None
