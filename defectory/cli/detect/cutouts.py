"""``defectory detect cutouts``: cut-outs from the user's own photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from defectory.cli.detect.options import SplitOption
from defectory.cli.options import JsonOption, OutOption, named_as_options
from defectory.cli.output import complain, counted, print_json, progress_bars

PhotosArgument = Annotated[
    list[Path], typer.Argument(metavar="PHOTOS...", help="Photos of one object, its views, or folders of them.")
]
LabelOption = Annotated[str, typer.Option(help="Class of the object.")]
HeightOption = Annotated[float, typer.Option(help="Height of the object in metres.")]
VariantOption = Annotated[str, typer.Option(help="Name of the object; another object of the class has another.")]
SplitChoice = Annotated[SplitOption, typer.Option(help="Train on it or test on it: all views of an object alike.")]
MasksOption = Annotated[
    Path | None,
    typer.Option(help="Folder of masks (white: the object) named as the photos; else it is found.", file_okay=False),
]
ElevationOption = Annotated[float, typer.Option(help="Degrees above the horizontal that the photos are taken from.")]
StandsOption = Annotated[
    bool | None,
    typer.Option("--stands/--lies", help="Whether it stands on the floor.", show_default="as objects of its class do"),
]
LicenseOption = Annotated[str, typer.Option(help="License of the photos, written beside each cut-out.")]


def cutouts(
    photos: PhotosArgument,
    label: LabelOption,
    height: HeightOption,
    out: OutOption,
    variant: VariantOption = "own",
    split: SplitChoice = SplitOption.train,
    masks: MasksOption = None,
    elevation: ElevationOption = 10.0,
    stands: StandsOption = None,
    license: LicenseOption = "",
    as_json: JsonOption = False,
) -> None:
    """Cut an object out of photos, so that scenes can be composed of it.

    Take them before one even surface of another colour, or give masks. A folder may take many objects, one call each;
    the same class and variant again replaces what was there.

    Exit code 1 if a photo gave no cut-out; the others are written.

    Examples:

        defectory detect cutouts photos/cone-a --label safety_cone --height 0.75 --variant cone-a --out cutouts

        defectory detect cutouts photos/cart --masks masks/cart --label go_cart --height 1.1 --split test --out cutouts
    """
    from defectory.detection.cutouts.photos import PhotoOptions, find_photos, write_cutouts

    options = PhotoOptions(label, height, variant, split.value, elevation, stands, license)
    with named_as_options("label", "variant", "elevation", "masks"), progress_bars(transient=True) as show:
        summary = write_cutouts(find_photos(photos), out, options, masks=masks, on_progress=show)
    if as_json:
        made = [record.model_dump(mode="json") for record in summary.records]
        print_json({"folder": str(out), "cutouts": made, "failures": summary.failures})
    else:
        number = counted(len(summary.records), "cut-out")
        typer.echo(f"{out}: {number} of {label} ({variant}, {split.value})")
        for photo, reason in summary.failures.items():
            complain(f"{photo}: {reason}")
    if summary.failures:
        raise typer.Exit(1)
