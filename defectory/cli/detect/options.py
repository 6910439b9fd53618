"""The options that several commands of ``defectory detect`` have."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.errors import InputError

if TYPE_CHECKING:
    from defectory.detection.layouts.presets import Preset


class SplitOption(StrEnum):
    """The sides of the split."""

    train = "train"
    test = "test"


class PictureOption(StrEnum):
    """What pictures are written as."""

    jpg = "jpg"
    png = "png"


SCENES_PER_WORKER = 64
"""Fewer are made before another process has started."""


def choose_workers(count: int) -> int:
    """Processes for so many scenes: one for each core, 4 at most, none that is not worth its start."""
    return min(os.cpu_count() or 1, 4, -(-count // SCENES_PER_WORKER))


def choose_world(preset: str | None, classes: str | None) -> Preset | None:
    """The preset, or that of the list of classes; None where neither is given.

    Raises:
        InputError: both are given, or one that is not there.
    """
    from defectory.detection.layouts.class_lists import preset_of_classes
    from defectory.detection.layouts.presets import load_preset

    if classes is None:
        return None if preset is None else load_preset(preset)
    if preset is not None:
        raise InputError("--preset and --classes", "not both")
    return preset_of_classes([name.strip() for name in classes.split(",") if name.strip()])


PresetOption = Annotated[
    str | None,
    typer.Option(help="ppe, housekeeping, floor, or a YAML file of your own.", metavar="NAME"),
]
ClassesOption = Annotated[
    str | None,
    typer.Option(help="Classes of the presets, in place of --preset: those alone are shown.", metavar="A,B,..."),
]
SplitChoice = Annotated[
    SplitOption, typer.Option(help="To train on, or to test on: nothing is shared between the two.")
]
SeedOption = Annotated[int, typer.Option(min=0, help="The same seed gives the same files.")]
CountOption = Annotated[int, typer.Option(min=1, help="How many.")]
SizeOption = Annotated[int, typer.Option(min=64, max=4096, help="Width and height of the canvas in pixels.")]
LayoutWorkersOption = Annotated[int, typer.Option(min=1, max=64, help="Processes at work.")]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, max=64, help="Processes at work.", show_default="one for each core, 4 at most")
]
