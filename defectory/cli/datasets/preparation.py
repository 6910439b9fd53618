"""``defectory datasets import``, ``check``, ``split`` and ``export``: from photos in folders to what others read.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.datasets.options import DatasetArgument, GapOption, GroupOption
from defectory.cli.datasets.printing import describe, sentence
from defectory.cli.options import FormChoice, JsonOption, OutOption, ValidationOption
from defectory.cli.output import counted, print_json, progress_bars, remark
from defectory.errors import InputError

if TYPE_CHECKING:
    from defectory.datasets.quality import Finding


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
    from defectory.datasets.imports import import_dataset

    _need_pattern(group_pattern, group_gap)
    imported = import_dataset(
        sources,
        out,
        images=images,
        normal=normal,
        group_pattern=group_pattern,
        group_gap=group_gap,
        synthetic=synthetic,
        skip_missing=skip_missing,
    )
    missing = [record.source_ref for record in imported.missing]
    if as_json:
        print_json({"file": str(imported.file), **describe(imported.dataset), "missing": missing})
        return
    for reference in missing:
        remark(f"Left out, not there: {reference}")
    typer.echo(f"{imported.file}: {sentence(imported.dataset)}")


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
    from defectory.datasets.sources import load_dataset
    from defectory.inspection.label_check import check as check_dataset

    loaded = load_dataset(dataset)
    with progress_bars(transient=True) as show:
        findings = check_dataset(loaded, labels=labels, on_progress=show)
    if as_json:
        print_json([_describe(finding) for finding in findings])
    else:
        for finding in findings:
            colour = typer.colors.RED if finding.is_error else typer.colors.YELLOW
            typer.secho(f"{finding.kind}: {', '.join(finding.images)}", fg=colour)
            typer.echo(f"  {finding.message}")
        typer.echo(f"{sentence(loaded, version=False)} {counted(len(findings), 'finding')}.")
    if any(finding.is_error for finding in findings):
        raise typer.Exit(1)


def _describe(finding: Finding) -> dict[str, object]:
    return {"kind": finding.kind, "error": finding.is_error, "images": finding.images, "message": finding.message}


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
    from defectory.datasets.sources import load_dataset
    from defectory.datasets.splits import split as split_dataset

    _need_pattern(group_pattern, group_gap)
    loaded = load_dataset(dataset, group_pattern=group_pattern, group_gap=group_gap)
    parts = split_dataset(loaded, test=test, seed=seed)
    parts.save(out)
    if as_json:
        content = {"of": parts.of, "seed": seed, "train": describe(parts.train), "test": describe(parts.test)}
        print_json(content | {"left_out": [loaded.name(record.path) for record in parts.left_out]})
        return
    typer.echo(f"{out / 'train.json'}: {sentence(parts.train)}")
    typer.echo(f"{out / 'test.json'}: {sentence(parts.test)}")
    if parts.left_out:
        remark(f"Left out, made from images to test on: {counted(len(parts.left_out), 'synthetic image')}.")


def export(
    dataset: DatasetArgument,
    form: Annotated[FormChoice, typer.Option("--format", help="manifest: Lookout for Vision, Ground Truth.")],
    out: OutOption,
    prefix: Annotated[
        str, typer.Option(help="What references begin with: s3://bucket/folder.", show_default="relative")
    ] = "",
    val: ValidationOption = 0.2,
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
    from defectory.datasets.exports import export as export_dataset
    from defectory.datasets.exports import fit_to_form
    from defectory.datasets.sources import load_dataset

    fitted = fit_to_form(load_dataset(dataset), form.value, validation=val, seed=seed, skip=skip_unmasked)
    exported, validation = fitted.dataset, fitted.validation
    described = export_dataset(exported, form.value, out, prefix=prefix, validation=validation)
    if as_json:
        counts = {"validation": len(validation), "left_out": fitted.left_out}
        print_json({"file": str(described), **describe(exported), **counts})
        return
    for name, reason in fitted.left_out:
        remark(f"Left out: {name} ({reason})")
    typer.echo(f"{described}: {sentence(exported)}{f' {len(validation)} to validate on.' if validation else ''}")
    if prefix:
        typer.echo(f"Upload it with: aws s3 sync {out} {prefix}")


def _need_pattern(pattern: str | None, gap: int | None) -> None:
    if gap is not None and pattern is None:
        raise InputError("--group-gap", "given with --group-pattern, which finds the numbers", gap)
