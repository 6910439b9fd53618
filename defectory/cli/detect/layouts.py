"""``defectory detect layouts``: what scenes are to show, sampled from a preset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from defectory.cli.detect import options as given
from defectory.cli.options import JsonOption, out_file, out_folder
from defectory.cli.output import print_json, progress_bars
from defectory.errors import InputError

FileOption = Annotated[Path | None, out_file("File to write, a JSON object a line.")]
CocoOption = Annotated[Path | None, out_file("Write the boxes that are asked for to this file of COCO.")]
YoloOption = Annotated[Path | None, out_folder("Write the boxes that are asked for to this folder of YOLO.")]
SchemaOption = Annotated[bool, typer.Option("--schema", help="Print the JSON schema of a line, and do nothing else.")]


def layouts(
    preset: given.PresetOption = None,
    classes: given.ClassesOption = None,
    out: FileOption = None,
    count: given.CountOption = 100,
    split: given.SplitChoice = given.SplitOption.train,
    seed: given.SeedOption = 0,
    size: given.SizeOption = 512,
    coco: CocoOption = None,
    yolo: YoloOption = None,
    workers: given.LayoutWorkersOption = 1,
    schema: SchemaOption = False,
    as_json: JsonOption = False,
) -> None:
    """Sample layouts: which objects a scene is to show, where, how large, in which light.

    `defectory detect compose` makes scenes of them, and so may you of lines of your own.

    Examples:

        defectory detect layouts --preset housekeeping --count 1000 --out layouts.jsonl

        defectory detect layouts --schema
    """
    from defectory.detection.layouts.files import LabelFiles, write_layouts
    from defectory.detection.layouts.records import layout_schema

    if schema:
        print_json(layout_schema())
        return
    world = given.choose_world(preset, classes)
    if world is None or out is None:
        raise InputError("layouts", "given --out and one of --preset and --classes, or --schema")
    with progress_bars(transient=True, hidden=as_json) as show:
        write_layouts(
            out,
            world,
            count,
            seed=seed,
            split=split.value,
            size=(size, size),
            labels=LabelFiles(coco, yolo),
            workers=workers,
            on_progress=show,
        )
    if as_json:
        print_json({"file": str(out), "layouts": count, "classes": list(world.labels)})
    else:
        typer.echo(f"{out}: {count} layouts of {', '.join(world.labels)}")
