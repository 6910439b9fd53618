"""The options that several commands of ``defectory datasets`` have."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

DatasetArgument = Annotated[
    Path, typer.Argument(metavar="DATASET", help="A stored dataset, a folder, a manifest or a CSV file.")
]
GroupOption = Annotated[
    str | None,
    typer.Option(metavar="REGEX", help=r"Images for whose path its group matches the same show one part: 'part(\d+)'."),
]
GapOption = Annotated[
    int | None,
    typer.Option(help="Numbers found by --group-pattern that follow by at most this are of one part, as frames are."),
]


class LabelChoice(StrEnum):
    """What a person says of a part."""

    normal = "normal"
    anomaly = "anomaly"


class VerdictChoice(StrEnum):
    """What the model said."""

    PASS = "PASS"
    REVIEW = "REVIEW"
    FAIL = "FAIL"
