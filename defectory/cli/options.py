"""Options that several groups of commands have, and how errors name them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from defectory.errors import InputError
from defectory.writing import try_file, try_folder

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]


def out_folder(description: str) -> Any:  # noqa: ANN401 - as typer has it
    """The option --out of a command that writes a folder, which is tried before any work begins."""
    return typer.Option(help=description, metavar="DIRECTORY", callback=_tried(try_folder))


def out_file(description: str) -> Any:  # noqa: ANN401 - as typer has it
    """The option --out of a command that writes a file, which is tried before any work begins."""
    return typer.Option(help=description, metavar="FILE", callback=_tried(try_file))


def _tried(attempt: Callable[[Path], Path]) -> Callable[[Path | None], Path | None]:
    return lambda place: None if place is None else attempt(place)


OutOption = Annotated[Path, out_folder("Folder for the result.")]
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
