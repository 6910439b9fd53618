"""The options of commands that read labelled images, and what they say of labels that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.output import remark
from defectory.errors import InputError

if TYPE_CHECKING:
    from defectory.datasets.boxes import OnProblem
    from defectory.detection.evaluation.evaluate import Problems
    from defectory.detection.labelled import LabelledSet, Origin

MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="THEIRS=OURS",
        help="What a class of the dataset is called here, such as Hardhat=hard_hat; THEIRS= leaves it out. Repeat it.",
    ),
]
SkipBadOption = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out labels and images that cannot be used, and count them.")
]


def open_labels(
    path: Path, names: Sequence[str] | None, *, problems: Problems | None, origin: Origin | None = None
) -> LabelledSet:
    """The labelled images at ``path``, classes renamed by ``names``; without ``problems`` the first one is an error.

    Raises:
        InputError: there are none, or ``names`` are not THEIRS=OURS.
    """
    from defectory.datasets.boxes import refuse
    from defectory.detection.labelled import open_labelled

    renamed = {}
    for name in names or ():
        theirs, equals, ours = name.partition("=")
        if not equals or not theirs:
            raise InputError("--map", "THEIRS=OURS, such as Hardhat=hard_hat", name)
        renamed[theirs.strip()] = ours.strip()
    on_problem: OnProblem = refuse if problems is None else problems
    return open_labelled(path, origin=origin, on_problem=on_problem).rename(renamed)


def tell_problems(problems: Problems | None) -> None:
    """Say on stderr what was left out."""
    for item in problems.left_out() if problems else ():
        remark(f"Left out: {item.count} x {item.kind}, such as {item.example}")
