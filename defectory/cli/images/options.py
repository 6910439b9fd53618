"""The options of ``defectory images``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from defectory.cli.options import FormChoice, out_file, out_folder
from defectory.images.defaults import DRAWN_KINDS


class RendererOption(StrEnum):
    """What makes the pictures."""

    procedural = "procedural"
    transplant = "transplant"
    bedrock = "bedrock"


class PlannedRenderer(StrEnum):
    """What makes the pictures of a plan."""

    auto = "auto"
    procedural = "procedural"
    transplant = "transplant"
    bedrock = "bedrock"


class ModeOption(StrEnum):
    """How Bedrock makes a picture."""

    inpaint = "inpaint"
    image_to_image = "image-to-image"
    zero_shot = "zero-shot"


# What is balanced.
DatasetArgument = Annotated[
    Path, typer.Argument(metavar="DATASET", help="Real images: a stored dataset, a folder, a manifest or a CSV file.")
]
NormalOption = Annotated[
    str | None, typer.Option(help="Name of the dataset's folder of good parts, if not normal, good, ok...")
]
TargetOption = Annotated[
    int | None,
    typer.Option(help="Images that each kind is to have.", show_default="so many that defects equal good parts"),
]
KindsOption = Annotated[
    list[str] | None, typer.Option("--defect", metavar="KIND", help="A kind to make though there is none; repeatable.")
]
PlannedRendererOption = Annotated[
    PlannedRenderer, typer.Option(help="auto: transplant where a real defect is masked, else procedural.")
]
PlanOutOption = Annotated[Path | None, out_file("Write the plan to this JSON file.")]
FormOption = Annotated[FormChoice, typer.Option("--format", help="What OUT/dataset is written as.")]
KeepAllOption = Annotated[
    bool, typer.Option("--keep-all", help="Keep the synthetic images without asking whether they help.")
]
TrialsOption = Annotated[int, typer.Option(min=3, max=20, help="Seeds that the gate tries.")]
SkipUnmaskedOption = Annotated[
    bool, typer.Option("--skip-unmasked", help="For coco, yolo: leave out real defects without a mask.")
]

# What is made, and of what.
PicturesOutOption = Annotated[Path, out_folder("New folder, or one of an earlier run to add to.")]
GoodOption = Annotated[Path | None, typer.Option(help="Folder of photos of good parts.", file_okay=False)]
MadeKindsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--defect",
        metavar="KIND",
        help=f"Kind of defect, repeatable; drawn without an example: {', '.join(DRAWN_KINDS)}.",
    ),
]
CountOption = Annotated[int | None, typer.Option(min=1, help="Pictures of each kind.")]
PlanFileOption = Annotated[
    Path | None, typer.Option("--plan", help="In place of kinds and count: what `plan` wrote.", dir_okay=False)
]
RendererChoiceOption = Annotated[
    RendererOption | None, typer.Option(help="What makes the pictures.", show_default="procedural")
]
DefectsOption = Annotated[
    Path | None,
    typer.Option(help="Photos of real defects, or one folder of them a kind, to transplant.", file_okay=False),
]
MasksOption = Annotated[
    Path | None, typer.Option(help="Their masks, named as the photos: white = defect.", file_okay=False)
]
DatasetOption = Annotated[
    Path | None, typer.Option(help="In place of --good, --defects, --masks: a dataset (folder, manifest, CSV...).")
]
MaskOption = Annotated[
    Path | None, typer.Option(help="Where the defect is to be (white): one mask, or a folder named as the photos.")
]
WithinOption = Annotated[
    Path | None, typer.Option(help="Where defects may be (white), on every photo.", dir_okay=False)
]
SeedOption = Annotated[int, typer.Option(min=0, help="The same seed and photos give the same pictures.")]
WorkersOption = Annotated[
    int, typer.Option(min=1, max=64, help="Pictures made at a time.", show_default="one for each core, 4 at most")
]

# What image models are told, and may cost.
ModeChoice = Annotated[ModeOption | None, typer.Option(help="How Bedrock makes them.", show_default="inpaint")]
PromptOption = Annotated[str, typer.Option(help="What Bedrock is told.", show_default="the kind's own")]
PartOption = Annotated[
    str, typer.Option(help="What the photos show, for Bedrock: 'ceramic tile'.", show_default="manufactured part")
]
PromptsOption = Annotated[
    Path | None, typer.Option(help="YAML file of prompts and defects, for Bedrock.", dir_okay=False)
]
ModelOption = Annotated[str, typer.Option("--model", help="Bedrock's image model.", show_default="the mode's")]
RegionOption = Annotated[str, typer.Option("--region", help="AWS region of the image model.", show_default="us-west-2")]
BudgetOption = Annotated[float, typer.Option(min=0, help="US dollars that Bedrock may cost; more is not begun.")]
