"""Options that several groups of commands have, and how errors name them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from defectory.errors import InputError

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
OutOption = Annotated[Path, typer.Option(help="Folder for the result.", file_okay=False)]
ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="A model's file.")]
ValidationOption = Annotated[float, typer.Option(help="For yolo: share of the real images to validate on; 0: none.")]


class FormChoice(StrEnum):
    """What a dataset is written as."""

    manifest = "manifest"
    folders = "folders"
    csv = "csv"
    coco = "coco"
    yolo = "yolo"


@contextmanager
def named_as_options(*fields: str) -> Iterator[None]:
    """Let errors call ``fields`` as they were given: ``--defect`` for ``defect``."""
    try:
        yield
    except InputError as error:
        if error.field not in fields:
            raise
        raise InputError(f"--{error.field}", error.rule, error.got, error.fix) from error
