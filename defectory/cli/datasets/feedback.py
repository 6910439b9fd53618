"""``defectory datasets confirm``, ``fetch-feedback``, ``merge`` and ``compare``: what people say becomes a version.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.datasets.options import DatasetArgument, LabelChoice, VerdictChoice
from defectory.cli.datasets.printing import describe, sentence, show_changes
from defectory.cli.options import JsonOption, OutOption, out_folder
from defectory.cli.output import complain, print_json

if TYPE_CHECKING:
    from defectory.inspection.verdicts import Verdict


def confirm(
    image: Annotated[Path, typer.Argument(help="The image somebody looked at.")],
    label: Annotated[LabelChoice, typer.Option(help="What it really is.")],
    by: Annotated[str, typer.Option(help="Who says so.")],
    feedback: Annotated[Path, typer.Option(help="File to add it to.", dir_okay=False)] = Path("feedback.jsonl"),
    classes: Annotated[list[str] | None, typer.Option("--class", help="Kind of defect; may be repeated.")] = None,
    verdict: Annotated[VerdictChoice | None, typer.Option(help="What the model had said.")] = None,
    note: Annotated[str, typer.Option(help="Anything worth keeping.")] = "",
) -> None:
    """Write down what a person says of an image, for the next version of the dataset.

    Example:

        defectory datasets confirm photos/7.png --label anomaly --class scratch --verdict PASS --by ann
    """
    from defectory.inspection.feedback import append_feedback
    from defectory.inspection.feedback import confirm as confirm_image

    model_verdict: Verdict | None = verdict.value if verdict else None
    word = confirm_image(image, label.value, by, classes=classes or (), verdict=model_verdict, note=note)
    append_feedback(feedback, [word])
    typer.echo(f"{feedback}: {image} is {label.value}{', which corrects the model' if word.corrects else ''}.")


def fetch_feedback(
    table: Annotated[str, typer.Option(help="Name of the line's results table.")],
    out: Annotated[Path, out_folder("New or empty folder.")],
    since: Annotated[str, typer.Option(help="Only what was confirmed from then on.", show_default="all")] = "",
    as_json: JsonOption = False,
) -> None:
    """Bring what people confirmed in the inspection line, with its images, to this machine.

    Exit code 1 if images are gone from their bucket; the others are there all the same.

    Example:

        defectory datasets fetch-feedback --table defectory-results --since 2026-11-01 --out confirmed
    """
    from defectory.inspection.line.confirmed_inspections import fetch_confirmed
    from defectory.inspection.line.results_table import ResultsTable

    fetched = fetch_confirmed(ResultsTable(table), out, since=since)
    corrections = sum(word.corrects for word in fetched.feedback)
    if as_json:
        counts = {"confirmed": len(fetched.feedback), "corrected": corrections}
        print_json({"file": str(fetched.file), **counts, "gone": fetched.gone})
    else:
        typer.echo(f"{fetched.file}: {len(fetched.feedback)} confirmed, {corrections} of them correct the model.")
        for reference in fetched.gone:
            complain(f"Gone from its bucket: {reference}")
    if fetched.gone:
        raise typer.Exit(1)


def merge(
    dataset: DatasetArgument,
    feedback: Annotated[
        list[Path], typer.Argument(metavar="FEEDBACK...", help="Files of `confirm`, `fetch-feedback`.")
    ],
    out: OutOption,
    images: Annotated[
        Path | None, typer.Option(help="Where new images are that are not where the feedback says.")
    ] = None,
    frozen: Annotated[
        Path | None, typer.Option(help="Dataset to compare models on: its images are never learnt from.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write DIR/dataset.json, the next version of a dataset: labels as people confirmed them, and new images.

    Example:

        defectory datasets merge split/train.json confirmed/feedback.jsonl --frozen split/test.json --out next
    """
    from defectory.datasets.sources import load_dataset
    from defectory.datasets.versions import DATASET_FILE, compare_versions, save_dataset
    from defectory.inspection.feedback import merge_feedback, read_feedback

    old = load_dataset(dataset)
    never_learnt = load_dataset(frozen) if frozen else None
    words = [word for file in feedback for word in read_feedback(file)]
    new = merge_feedback(old, words, images=images, frozen=never_learnt)
    file = save_dataset(new, out / DATASET_FILE)
    changes = compare_versions(old, new)
    if as_json:
        print_json({"file": str(file), **describe(new), "parent": new.parent, "changes": changes.lines()})
        return
    typer.echo(f"{file}: {sentence(new)}")
    show_changes(changes)


def compare(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A dataset.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another one.")],
    as_json: JsonOption = False,
) -> None:
    """Say what changed from one version of a dataset to another; files that only moved have not.

    Example:

        defectory datasets compare dataset next
    """
    from defectory.datasets.sources import load_dataset
    from defectory.datasets.versions import compare_versions

    changes = compare_versions(load_dataset(old), load_dataset(new))
    if as_json:
        print_json({"old": changes.old, "new": changes.new, "changes": changes.lines()})
        return
    show_changes(changes)
