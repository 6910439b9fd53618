"""``defectory detect train``: a detector from labelled images.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.detect.labels import MapOption, SkipBadOption, open_labels, tell_problems
from defectory.cli.options import JsonOption, named_as_options, out_file
from defectory.cli.output import print_json, print_table, progress_bars, remark
from defectory.errors import InputError

if TYPE_CHECKING:
    from defectory.detection.detectors.detector import Detector
    from defectory.detection.detectors.detr.options import DetrOptions
    from defectory.detection.detectors.ridge.training import RidgeOptions


class TrainerChoice(StrEnum):
    """How a detector is trained."""

    ridge = "ridge"
    dfine = "dfine"
    rfdetr = "rfdetr"


class BackboneChoice(StrEnum):
    """The embedded networks."""

    efficientnet_lite0 = "efficientnet_lite0"
    mobilenet_v2 = "mobilenet_v2"


class SizeChoice(StrEnum):
    """The networks that start at random; tiny is for trying things out."""

    tiny = "tiny"
    nano = "nano"
    small = "small"
    medium = "medium"
    large = "large"


RIDGE, DETR = "ridge", "dfine, rfdetr"

FoldersArgument = Annotated[
    list[Path], typer.Argument(metavar="DIR...", help="Folders of scenes or YOLO labels, or COCO files.")
]
TrainerOption = Annotated[
    TrainerChoice,
    typer.Option(
        help="ridge: frozen features and heads in closed form, on a CPU in a minute. dfine (served on CPUs) and rfdetr "
        "(on GPUs) learn by gradients, with the extra torch and better a GPU."
    ),
]
SideOption = Annotated[
    int | None,
    typer.Option(
        min=32,
        max=2048,
        help="Pixels of the longer side of what the detector sees; of both sides for dfine and rfdetr.",
        show_default="512, or what the network is made for",
    ),
]
PrecisionOption = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, help="Choose thresholds for this precision on held-out images.", show_default="the best F1"
    ),
]
SeedOption = Annotated[int, typer.Option(min=0, help="The same seed and images give the same detector.")]
ScalesOption = Annotated[
    str | None,
    typer.Option(
        help="Look at an image in these multiples of --side; each takes its share of time.",
        show_default="1",
        rich_help_panel=RIDGE,
    ),
]
MostImagesOption = Annotated[
    int | None,
    typer.Option(
        min=1, help="Learn from so many at most, drawn at random.", show_default="3000", rich_help_panel=RIDGE
    ),
]
BackboneOption = Annotated[
    BackboneChoice | None,
    typer.Option(help="The network.", show_default="efficientnet_lite0", rich_help_panel=RIDGE),
]
SizeOption = Annotated[
    SizeChoice | None,
    typer.Option(help="The network, if it starts at random.", show_default="small", rich_help_panel=DETR),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        help="Start from weights: a folder with config.json and model.safetensors.",
        show_default="at random",
        rich_help_panel=DETR,
    ),
]
CheckpointsOption = Annotated[
    Path | None,
    typer.Option(help="Keep checkpoints here, and go on from those that are there.", rich_help_panel=DETR),
]
EpochsOption = Annotated[
    int | None, typer.Option(min=1, help="Learn from each image so often.", show_default="50", rich_help_panel=DETR)
]
BatchOption = Annotated[int | None, typer.Option(min=1, help="Images a step.", show_default="8", rich_help_panel=DETR)]
RateOption = Annotated[
    float | None, typer.Option(help="The highest learning rate.", show_default="0.0002", rich_help_panel=DETR)
]


def train(
    folders: FoldersArgument,
    out: Annotated[Path, out_file("The detector's file, such as detector.tar.gz.")],
    trainer: TrainerOption = TrainerChoice.ridge,
    side: SideOption = None,
    precision: PrecisionOption = None,
    names: MapOption = None,
    skip_bad: SkipBadOption = False,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    scales: ScalesOption = None,
    most_images: MostImagesOption = None,
    backbone: BackboneOption = None,
    size: SizeOption = None,
    weights: WeightsOption = None,
    checkpoints: CheckpointsOption = None,
    epochs: EpochsOption = None,
    batch: BatchOption = None,
    learning_rate: RateOption = None,
) -> None:
    """Train a detector on scenes, and on photos with boxes where you have some.

    Examples:

        defectory detect train scenes --out detector.tar.gz

        defectory detect train scenes photos --map Hardhat=hard_hat --skip-bad --out detector.tar.gz

        defectory detect train scenes --trainer dfine --weights dfine-small --checkpoints kept --out detector.tar.gz
    """
    from defectory.datasets.boxes import refuse
    from defectory.detection.detectors.training import train_on
    from defectory.detection.evaluation.evaluate import Problems

    given = {
        **{"side": side, "precision": precision, "seed": seed, "most_images": most_images, "backbone": backbone},
        **{"scales": scales.split(",") if scales else None, "size": size, "epochs": epochs, "batch": batch},
        "learning_rate": learning_rate,
    }
    options = _options(trainer, {name: value for name, value in given.items() if value is not None})
    problems = Problems() if skip_bad else None
    sets = [open_labels(folder, _known(folder, names), problems=problems) for folder in folders]
    with progress_bars(hidden=as_json) as show, named_as_options("weights", "checkpoints", "size", "side"):
        detector = train_on(
            sets,
            options,
            trainer=trainer.value,
            weights=weights,
            checkpoints=checkpoints,
            on_problem=problems or refuse,
            on_progress=show,
        )
    detector.save(out)
    tell_problems(problems)
    if as_json:
        print_json({"model": str(out), "trainer": trainer.value, **detector.card.model_dump(mode="json")})
    else:
        _show(detector, out)


def _options(trainer: TrainerChoice, given: Mapping[str, object]) -> RidgeOptions | DetrOptions:
    """What the trainer is told; an option of another trainer is an error."""
    from pydantic import ValidationError

    from defectory.detection.detectors.training import OPTIONS
    from defectory.validation import explain

    kind = OPTIONS[trainer.value]
    if foreign := sorted(given.keys() - kind.model_fields.keys()):
        raise InputError(f"--{foreign[0].replace('_', '-')}", f"left out for --trainer {trainer.value}, which has none")
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise explain(error) from None


def _known(folder: Path, names: list[str] | None) -> list[str]:
    """Of the names, those that this folder has: one map serves several folders."""
    from defectory.datasets.boxes import BoxProblem
    from defectory.detection.labelled import open_labelled

    def ignore(problem: BoxProblem) -> None:
        """Told when the images are read."""

    classes = open_labelled(folder, on_problem=ignore).classes if names else ()
    return [name for name in names or () if "=" not in name or name.partition("=")[0].strip() in classes]


def _show(detector: Detector, out: Path) -> None:
    card = detector.card
    rows = [
        {"class": item.name, "objects": item.objects, "threshold": f"{item.threshold:.2f}"} for item in card.classes
    ]
    print_table(f"Detector {card.version}", ("class", "objects", "threshold"), rows)
    figures = ", ".join(f"{name} {value:.3f}" for name, value in card.metrics.items())
    typer.echo(f"On held-out images: {figures or 'nothing to measure'} ({card.calibration})")
    for warning in card.warnings:
        remark(warning)
    size = out.stat().st_size / 1e6
    typer.echo(f"The detector is in {out} ({size:.1f} MB); try `defectory detect predict {out} IMAGE`")
