"""``defectory inspect evaluate`` and ``report``: how good a model is on photos it has not seen.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.options import JsonOption, ModelArgument, out_folder
from defectory.cli.output import progress_bars, remark

if TYPE_CHECKING:
    from defectory.inspection.evaluation.results import Evaluation
    from defectory.metrics.estimates import Estimate


def evaluate(
    model: ModelArgument,
    dataset: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET",
            help="Folder with normal/ and anomaly/ (or one folder a class), manifest, CSV, dataset.json, or the folder "
            "of a stored split, of which the test part is taken.",
        ),
    ],
    out: Annotated[Path, out_folder("Folder for the figures, Lookout's files and the page.")],
    images: Annotated[
        Path | None, typer.Option(help="Where the photos of a manifest or a CSV are.", file_okay=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a model on labelled photos it was not trained on, and write a page on which the threshold can be moved.

    Writes report.html, evaluation.json, and EvaluationResult.json and EvaluationManifest.json as Amazon Lookout for
    Vision did. Exit code 1 if photos or masks could not be read; the others are evaluated.

    Examples:

        defectory inspect evaluate model.tar.gz photos/test --out evaluation

        defectory inspect evaluate model.tar.gz test.manifest --out evaluation --json
    """
    from defectory.inspection.evaluation.evaluate import evaluate as evaluate_model
    from defectory.inspection.evaluation.photos import load_test_photos
    from defectory.inspection.evaluation.report import write_report
    from defectory.inspection.model import load_model

    inspector, photos = load_model(model), load_test_photos(dataset, images)
    card = inspector.card
    with progress_bars() as show:
        evaluation = evaluate_model(
            inspector,
            photos,
            out,
            training_images=card.good_images + card.defect_images,
            project=model.name.split(".")[0],
            on_progress=show,
        )
    page = write_report(evaluation, out)
    if as_json:
        typer.echo(evaluation.model_dump_json(indent=1))
    else:
        _show(evaluation, page)
    if evaluation.is_partial:
        raise typer.Exit(1)


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="What evaluate wrote (--out).", exists=True, file_okay=False)
    ],
) -> None:
    """Write the page of an evaluation again, from the evaluation's own files; the photos and the model are not needed.

    Example:

        defectory inspect report evaluation
    """
    from defectory.inspection.evaluation.report import write_report
    from defectory.inspection.evaluation.results import read_evaluation

    typer.echo(write_report(read_evaluation(folder), folder))


def _show(evaluation: Evaluation, page: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    metrics = evaluation.metrics
    table = Table(title=f"Model {evaluation.model_version}, {len(evaluation.images)} images", title_justify="left")
    for column in ("figure", "value", "95 % interval", "of"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    pixels = evaluation.pixels
    figures: dict[str, Estimate | None] = {
        "AUROC": metrics.auroc,
        "average precision": metrics.average_precision,
        "precision of FAIL": metrics.precision,
        "recall of FAIL": metrics.recall,
        "F1 of FAIL": metrics.f1,
        "escapes (defective, PASS)": metrics.escapes,
        "overkill (good, FAIL)": metrics.overkill,
        "for a person (REVIEW)": metrics.review,
        **({"pixel AUROC": pixels.auroc, "mean IoU": pixels.iou} if pixels else {}),
        **{f"caught: {defect.name}": defect.caught for defect in evaluation.defects},
    }
    for name, figure in figures.items():
        value = (
            (f"{figure.value:.3f}", f"{figure.low:.3f} – {figure.high:.3f}", str(figure.n)) if figure else ("–",) * 3
        )
        table.add_row(Text(name), *value)
    Console().print(table)
    for image in evaluation.left_out:
        remark(f"Left out: {image.name}: {image.reason}")
    typer.echo(f"Move the threshold and see the misses: {page}")
