"""``defectory datasets``: import, check, split and export labelled images, and learn from what people confirm.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.errors import InputError

if TYPE_CHECKING:
    from defectory.datasets import Dataset
    from defectory.inspection.verdicts import Verdict

app = typer.Typer(no_args_is_help=True, help="Labelled images to train on and to test on.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
DatasetArgument = Annotated[
    Path, typer.Argument(metavar="DATASET", help="A stored dataset, a folder, a manifest or a CSV file.")
]
OutOption = Annotated[Path, typer.Option(help="Folder for the result.", file_okay=False)]
GroupOption = Annotated[
    str | None,
    typer.Option(metavar="REGEX", help=r"Images for whose path its group matches the same show one part: 'part(\d+)'."),
]

GapOption = Annotated[
    int | None,
    typer.Option(help="Numbers found by --group-pattern that follow by at most this are of one part, as frames are."),
]


class FormChoice(StrEnum):
    """What to export as."""

    manifest = "manifest"
    folders = "folders"
    csv = "csv"
    coco = "coco"
    yolo = "yolo"


class LabelChoice(StrEnum):
    """What a person says of a part."""

    normal = "normal"
    anomaly = "anomaly"


class VerdictChoice(StrEnum):
    """What the model said."""

    PASS = "PASS"
    REVIEW = "REVIEW"
    FAIL = "FAIL"


@app.command("import")
def import_(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="Folders, manifests, CSV or datasets.")],
    out: OutOption,
    images: Annotated[
        Path | None, typer.Option(help="Where a manifest's or table's images are.", show_default="beside it")
    ] = None,
    normal: Annotated[
        str | None, typer.Option(help="Name of the folder of good parts, where it is not called normal, good, ok...")
    ] = None,
    group_pattern: GroupOption = None,
    group_gap: GapOption = None,
    synthetic: Annotated[bool, typer.Option("--synthetic", help="The images are synthetic: never tested on.")] = False,
    skip_missing: Annotated[bool, typer.Option("--skip-missing", help="Leave out images that are not there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write DIR/dataset.json: the images' labels, classes, masks and checksums. The images stay where they are.

    Several sources become one dataset. A folder holds normal/ and anomaly/, or one folder a class; a manifest is one of
    Lookout for Vision or Ground Truth, whose s3:// references are looked for beside it.

    Examples:

        defectory datasets import parts --out parts-dataset

        defectory datasets import tiles --group-pattern 'num_(\\d+)' --group-gap 100 --out tiles-dataset

        defectory datasets import train.manifest --images photos --out dataset --json
    """
    from defectory.datasets import DATASET_FILE, group, join, load_dataset, save_dataset

    _need_pattern(group_pattern, group_gap)
    dataset = join(
        [
            # Importing a folder into itself again is to see what is new in it.
            load_dataset(source, images=images, normal=normal, stored=source.resolve() != out.resolve())
            for source in sources
        ]
    )
    if group_pattern is not None:
        dataset = group(dataset, group_pattern, gap=group_gap)
    if synthetic:
        dataset = dataset.select([replace(record, synthetic=True) for record in dataset.records])
    missing = [record for record in dataset.records if not record.path.is_file()]
    if missing and not skip_missing:
        names = ", ".join(record.source_ref or dataset.name(record.path) for record in missing[:3])
        got = f"{len(missing)} missing of {len(dataset.records)}: {names}{'...' if len(missing) > 3 else ''}"
        raise InputError("images", "all there", got, "Add them, name their folder (--images), or --skip-missing.")
    dataset = dataset.select([record for record in dataset.records if record not in missing])
    file = save_dataset(dataset, out / DATASET_FILE)
    if as_json:
        _print_json({"file": str(file), **_describe(dataset), "missing": [r.source_ref for r in missing]})
        return
    for record in missing:
        typer.secho(f"Left out, not there: {record.source_ref}", err=True, fg=typer.colors.YELLOW)
    typer.echo(f"{file}: {_sentence(dataset)}")


@app.command()
def check(
    dataset: DatasetArgument,
    labels: Annotated[bool, typer.Option(help="Look for mislabelled images, too; it takes most of the time.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Name every image that is unreadable, there twice, or looks mislabelled.

    Exit code 1 if something has to be put right; what only looks wrong is for you to judge.

    Examples:

        defectory datasets check parts

        defectory datasets check dataset.json --no-labels --json
    """
    from defectory.datasets import load_dataset
    from defectory.inspection.label_check import check as check_dataset

    loaded = load_dataset(dataset)
    with _progress_bar("looking at images") as show:
        findings = check_dataset(loaded, labels=labels, on_progress=show)
    if as_json:
        _print_json(
            [
                {"kind": each.kind, "error": each.is_error, "images": each.images, "message": each.message}
                for each in findings
            ]
        )
    else:
        for finding in findings:
            colour = typer.colors.RED if finding.is_error else typer.colors.YELLOW
            typer.secho(f"{finding.kind}: {', '.join(finding.images)}", fg=colour)
            typer.echo(f"  {finding.message}")
        typer.echo(f"{_sentence(loaded, version=False)} {_count(len(findings), 'finding')}.")
    if any(finding.is_error for finding in findings):
        raise typer.Exit(1)


@app.command()
def split(
    dataset: DatasetArgument,
    out: OutOption,
    test: Annotated[float, typer.Option(help="Share to test on.")] = 0.3,
    seed: Annotated[int, typer.Option(help="Another seed, another split.")] = 0,
    group_pattern: GroupOption = None,
    group_gap: GapOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write DIR/train.json and DIR/test.json, which share no image and no part; both are datasets to go on with.

    Every label and class gives its share. Synthetic images are never in the test set. The same content and seed give
    the same split.

    Examples:

        defectory datasets split dataset --out split

        defectory datasets split tiles --group-pattern 'part(\\d+)' --test 0.5 --seed 1 --out split
    """
    from defectory.datasets import load_dataset
    from defectory.datasets import split as split_dataset

    _need_pattern(group_pattern, group_gap)
    loaded = load_dataset(dataset, group_pattern=group_pattern, group_gap=group_gap)
    parts = split_dataset(loaded, test=test, seed=seed)
    parts.save(out)
    if as_json:
        content = {"of": parts.of, "seed": seed, "train": _describe(parts.train), "test": _describe(parts.test)}
        _print_json(content | {"left_out": [loaded.name(record.path) for record in parts.left_out]})
        return
    typer.echo(f"{out / 'train.json'}: {_sentence(parts.train)}")
    typer.echo(f"{out / 'test.json'}: {_sentence(parts.test)}")
    if parts.left_out:
        count = _count(len(parts.left_out), "synthetic image")
        typer.secho(f"Left out, made from images to test on: {count}.", err=True, fg=typer.colors.YELLOW)


@app.command()
def export(
    dataset: DatasetArgument,
    form: Annotated[FormChoice, typer.Option("--format", help="manifest: Lookout for Vision, Ground Truth.")],
    out: OutOption,
    prefix: Annotated[
        str, typer.Option(help="What references begin with: s3://bucket/folder.", show_default="relative")
    ] = "",
    val: Annotated[float, typer.Option(help="For yolo: share of the real images to validate on; 0: none.")] = 0.2,
    seed: Annotated[int, typer.Option(help="For yolo: another seed, others to validate on.")] = 0,
    skip_unmasked: Annotated[
        bool,
        typer.Option("--skip-unmasked", help="For coco, yolo: leave out unlabelled images and defects without a mask."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy the images and masks into a new folder, described in a form that other tools read.

    Detectors (coco, yolo) take an image without boxes for a good part, so every defect needs a mask. Synthetic images
    are never validated on, nor trained on if they were made from an image that is.

    Examples:

        defectory datasets export dataset --format manifest --prefix s3://my-bucket/parts --out parts

        defectory datasets export split/train.json --format folders --out train

        defectory datasets export dataset --format yolo --val 0.2 --skip-unmasked --out parts-yolo
    """
    from defectory.datasets import export as export_dataset
    from defectory.datasets import load_dataset, make_detectable

    loaded = load_dataset(dataset)
    validation: Collection[Path] = ()
    left_out: Sequence[tuple[str, str]] = ()
    if form in (FormChoice.coco, FormChoice.yolo):
        share = val if form is FormChoice.yolo else 0.0
        detectable = make_detectable(loaded, validation=share, seed=seed, skip=skip_unmasked)
        loaded, validation, left_out = detectable.dataset, detectable.validation, detectable.left_out
    described = export_dataset(loaded, form.value, out, prefix=prefix, validation=validation)
    if as_json:
        content = {"file": str(described), **_describe(loaded), "validation": len(validation), "left_out": left_out}
        _print_json(content)
        return
    for name, reason in left_out:
        typer.secho(f"Left out: {name} ({reason})", err=True, fg=typer.colors.YELLOW)
    typer.echo(f"{described}: {_sentence(loaded)}{f' {len(validation)} to validate on.' if validation else ''}")
    if prefix:
        typer.echo(f"Upload it with: aws s3 sync {out} {prefix}")


@app.command()
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
    from defectory.inspection.feedback import Feedback, append_feedback

    if not image.is_file():
        raise InputError("image", "an existing file", str(image))
    if not by.strip():
        raise InputError("by", "a name", by)
    if classes and label is LabelChoice.normal:
        raise InputError("class", "left out for a normal part", classes)
    said: Verdict | None = verdict.value if verdict else None
    word = Feedback(
        image=str(image.absolute()),
        verdict=said,
        confirmed=label.value,
        classes=tuple(classes or ()),
        who=by.strip(),
        when=datetime.now(UTC),
        note=note,
    )
    append_feedback(feedback, [word])
    typer.echo(f"{feedback}: {image} is {label.value}{', which corrects the model' if word.corrects else ''}.")


@app.command("fetch-feedback")
def fetch_feedback(
    table: Annotated[str, typer.Option(help="Name of the line's results table.")],
    out: Annotated[Path, typer.Option(help="New or empty folder.", file_okay=False)],
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
        _print_json({"file": str(fetched.file), **counts, "gone": fetched.gone})
    else:
        typer.echo(f"{fetched.file}: {len(fetched.feedback)} confirmed, {corrections} of them correct the model.")
        for reference in fetched.gone:
            typer.secho(f"Gone from its bucket: {reference}", err=True, fg=typer.colors.RED)
    if fetched.gone:
        raise typer.Exit(1)


@app.command()
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
    from defectory.datasets import DATASET_FILE, compare_versions, load_dataset, save_dataset
    from defectory.inspection.feedback import merge_feedback, read_feedback

    old = load_dataset(dataset)
    kept = load_dataset(frozen) if frozen else None
    words = [word for file in feedback for word in read_feedback(file)]
    new = merge_feedback(old, words, images=images, frozen=kept)
    file = save_dataset(new, out / DATASET_FILE)
    changes = compare_versions(old, new)
    if as_json:
        _print_json({"file": str(file), **_describe(new), "parent": new.parent, "changes": changes.lines()})
        return
    typer.echo(f"{file}: {_sentence(new)}")
    typer.echo(changes.summary())
    for line in changes.lines():
        typer.echo(f"  {line}")


@app.command()
def compare(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A dataset.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another one.")],
    as_json: JsonOption = False,
) -> None:
    """Say what changed from one version of a dataset to another; files that only moved have not.

    Example:

        defectory datasets compare dataset next
    """
    from defectory.datasets import compare_versions, load_dataset

    changes = compare_versions(load_dataset(old), load_dataset(new))
    if as_json:
        _print_json({"old": changes.old, "new": changes.new, "changes": changes.lines()})
        return
    typer.echo(changes.summary())
    for line in changes.lines():
        typer.echo(f"  {line}")


def _need_pattern(pattern: str | None, gap: int | None) -> None:
    if gap is not None and pattern is None:
        raise InputError("--group-gap", "given with --group-pattern, which finds the numbers", gap)


@contextmanager
def _progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=None)

        def show(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total)

        yield show


def _describe(dataset: Dataset) -> dict[str, object]:
    classes = Counter(name for record in dataset.records for name in record.classes)
    return {
        "version": dataset.version,
        "images": len(dataset.records),
        "normal": len(dataset.normal),
        "anomaly": len(dataset.anomalous),
        "unlabelled": len(dataset.unlabelled),
        "synthetic": sum(record.synthetic for record in dataset.records),
        "masks": len(dataset.masks),
        "groups": len({record.group for record in dataset.records if record.group}),
        "classes": dict(sorted(classes.items())),
    }


def _sentence(dataset: Dataset, *, version: bool = True) -> str:
    """``63 images (31 normal, 32 anomaly: 32 cracked), 32 masks, version 3590dc3f34131bbe.``"""
    classes = Counter(name for record in dataset.records for name in record.classes)
    named = ", ".join(f"{count} {name}" for name, count in sorted(classes.items()))
    labels = [
        f"{len(dataset.normal)} normal",
        f"{len(dataset.anomalous)} anomaly{f': {named}' if named else ''}",
        *([f"{len(dataset.unlabelled)} unlabelled"] if dataset.unlabelled else []),
    ]
    parts = [f"{_count(len(dataset.records), 'image')} ({'; '.join(labels)})"]
    synthetic = sum(record.synthetic for record in dataset.records)
    groups = len({record.group for record in dataset.records if record.group})
    for number, noun in ((synthetic, "synthetic image"), (len(dataset.masks), "mask"), (groups, "group")):
        if number:
            parts.append(_count(number, noun))
    if version:
        parts.append(f"version {dataset.version}")
    return f"{', '.join(parts)}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _print_json(content: object) -> None:
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
