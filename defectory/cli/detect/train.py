"""``defectory detect train``: a detector from labelled images.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.detect.labels import MapOption, SkipBadOption, open_labels, tell_problems
from defectory.cli.options import JsonOption, out_file
from defectory.cli.output import print_json, print_table, progress_bars, remark

if TYPE_CHECKING:
    from defectory.detection.detectors.detector import Detector


class TrainerChoice(StrEnum):
    """How a detector is trained."""

    ridge = "ridge"


class BackboneChoice(StrEnum):
    """The embedded networks."""

    efficientnet_lite0 = "efficientnet_lite0"
    mobilenet_v2 = "mobilenet_v2"


FoldersArgument = Annotated[
    list[Path], typer.Argument(metavar="DIR...", help="Folders of scenes or YOLO labels, or COCO files.")
]
TrainerOption = Annotated[
    TrainerChoice, typer.Option(help="ridge: frozen features and heads in closed form, on a CPU in a minute.")
]
SideOption = Annotated[
    int, typer.Option(min=128, max=2048, help="Pixels of the longer side of what the detector sees.")
]
ScalesOption = Annotated[
    str, typer.Option(help="Look at an image in these multiples of --side; each takes its share of time.")
]
PrecisionOption = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, help="Choose thresholds for this precision on held-out images.", show_default="the best F1"
    ),
]
MostImagesOption = Annotated[int, typer.Option(min=1, help="Learn from so many at most, drawn at random.")]
SeedOption = Annotated[int, typer.Option(min=0, help="The same seed and images give the same detector.")]


def train(
    folders: FoldersArgument,
    out: Annotated[Path, out_file("The detector's file, such as detector.tar.gz.")],
    trainer: TrainerOption = TrainerChoice.ridge,
    side: SideOption = 512,
    scales: ScalesOption = "1",
    precision: PrecisionOption = None,
    most_images: MostImagesOption = 3000,
    backbone: Annotated[BackboneChoice, typer.Option(help="The network.")] = BackboneChoice.efficientnet_lite0,
    names: MapOption = None,
    skip_bad: SkipBadOption = False,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Train a detector on scenes, and on photos with boxes where you have some.

    Examples:

        defectory detect train scenes --out detector.tar.gz

        defectory detect train scenes photos --map Hardhat=hard_hat --skip-bad --out detector.tar.gz
    """
    from pydantic import ValidationError

    from defectory.detection.detectors.ridge.training import RidgeOptions, train_ridge
    from defectory.detection.evaluation.evaluate import Problems
    from defectory.validation import explain

    try:
        options = RidgeOptions.model_validate(
            {
                "side": side,
                "scales": scales.split(","),
                "precision": precision,
                "most_images": most_images,
                "backbone": backbone.value,
                "seed": seed,
            }
        )
    except ValidationError as error:
        raise explain(error) from None
    problems = Problems() if skip_bad else None
    sets = [open_labels(folder, _known(folder, names), problems=problems) for folder in folders]
    with progress_bars(hidden=as_json) as show:
        if problems is None:
            detector = train_ridge(sets, options, on_progress=show)
        else:
            detector = train_ridge(sets, options, on_problem=problems, on_progress=show)
    detector.save(out)
    tell_problems(problems)
    if as_json:
        print_json({"model": str(out), "trainer": trainer.value, **detector.card.model_dump(mode="json")})
    else:
        _show(detector, out)


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
