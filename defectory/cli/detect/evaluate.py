"""``defectory detect evaluate``: how good a detector is on labelled images it has not seen.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.detect.labels import MapOption, SkipBadOption, open_labels, tell_problems
from defectory.cli.options import JsonOption, ModelArgument, out_folder
from defectory.cli.output import print_json, print_table, progress_bars, remark

if TYPE_CHECKING:
    from defectory.detection.evaluation.results import DetectionEvaluation


def evaluate(
    model: ModelArgument,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of scenes or YOLO labels, or a COCO file.")],
    out: Annotated[Path, out_folder("Folder for the figures and the page.")],
    iou: Annotated[
        float, typer.Option(min=0.05, max=1, help="Overlap from which on a detection counts at the operating point.")
    ] = 0.5,
    names: MapOption = None,
    only_labelled: Annotated[
        bool,
        typer.Option(
            "--only-labelled", help="Count a class only on images where it is labelled, if others lack its labels."
        ),
    ] = False,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="The images of a YOLO folder or a COCO file were made, too.")
    ] = False,
    skip_bad: SkipBadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a detector: average precision as COCO has it, and precision and recall by class and condition.

    Writes report.html, evaluation.json and pictures of the worst misses and false alarms. One folder holds real images
    or synthetic ones; figures of both are never mixed. Exit code 1 if labels or images had to be left out.

    Examples:

        defectory detect evaluate detector.tar.gz scenes/test --out evaluation

        defectory detect evaluate detector.tar.gz photos --map Hardhat=hard_hat --out evaluation --json
    """
    from defectory.detection.detectors.detector import load_detector
    from defectory.detection.evaluation.evaluate import Problems, evaluate_detector
    from defectory.detection.evaluation.report import write_report

    detector = load_detector(model)
    problems = Problems()
    labelled = open_labels(
        folder, names, problems=problems if skip_bad else None, origin="synthetic" if synthetic else None
    )
    with progress_bars(hidden=as_json) as show:
        evaluation = evaluate_detector(
            detector, labelled, out, iou=iou, only_labelled=only_labelled, problems=problems, on_progress=show
        )
    page = write_report(evaluation, out)
    tell_problems(problems)
    if as_json:
        content = evaluation.model_dump(mode="json")
        print_json({**content, "by_class": evaluation.by_class(), "report": str(page)})
    else:
        _show(evaluation, page)
    if evaluation.left_out:
        raise typer.Exit(1)


def _show(evaluation: DetectionEvaluation, page: Path) -> None:
    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    rows = [
        {
            "class": item.name,
            "objects": item.objects,
            "AP@50": number(item.ap50),
            "AP@50:95": number(item.ap50_95),
            "precision": number(item.precision.value if item.precision else None),
            "recall": number(item.recall.value if item.recall else None),
        }
        for item in evaluation.classes
    ]
    title = f"Detector {evaluation.model_version} on {evaluation.images} {evaluation.origin} images"
    print_table(title, tuple(rows[0]), rows)
    typer.echo(f"mAP@50 {number(evaluation.map50)}, mAP@50:95 {number(evaluation.map50_95)}")
    for name, count in evaluation.unknown_classes.items():
        remark(f"{count} objects of {name!r} are no class of the detector: no figure counts them.")
    typer.echo(f"See the misses and the false alarms: {page}")
