"""What the commands of ``defectory datasets`` say of a dataset, in a sentence or as JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import typer

from defectory.cli.output import counted

if TYPE_CHECKING:
    from defectory.datasets.records import Dataset
    from defectory.datasets.versions import Changes


def describe(dataset: Dataset) -> dict[str, object]:
    """Its version and its counts, for programs."""
    return {
        "version": dataset.version,
        "images": len(dataset.records),
        "normal": len(dataset.normal),
        "anomaly": len(dataset.anomalous),
        "unlabelled": len(dataset.unlabelled),
        "synthetic": _count_synthetic(dataset),
        "masks": len(dataset.masks),
        "groups": _count_groups(dataset),
        "classes": dict(sorted(_count_classes(dataset).items())),
    }


def sentence(dataset: Dataset, *, version: bool = True) -> str:
    """``63 images (31 normal, 32 anomaly: 32 cracked), 32 masks, version 3590dc3f34131bbe.``"""
    named = ", ".join(f"{number} {name}" for name, number in sorted(_count_classes(dataset).items()))
    labels = [
        f"{len(dataset.normal)} normal",
        f"{len(dataset.anomalous)} anomaly{f': {named}' if named else ''}",
        *([f"{len(dataset.unlabelled)} unlabelled"] if dataset.unlabelled else []),
    ]
    parts = [f"{counted(len(dataset.records), 'image')} ({'; '.join(labels)})"]
    counts = {"synthetic image": _count_synthetic(dataset), "mask": len(dataset.masks), "group": _count_groups(dataset)}
    parts += [counted(number, noun) for noun, number in counts.items() if number]
    if version:
        parts.append(f"version {dataset.version}")
    return f"{', '.join(parts)}."


def show_changes(changes: Changes) -> None:
    """What changed from one version to another, image by image."""
    typer.echo(changes.summary())
    for line in changes.lines():
        typer.echo(f"  {line}")


def _count_classes(dataset: Dataset) -> Counter[str]:
    return Counter(name for record in dataset.records for name in record.classes)


def _count_synthetic(dataset: Dataset) -> int:
    return sum(record.synthetic for record in dataset.records)


def _count_groups(dataset: Dataset) -> int:
    return len({record.group for record in dataset.records if record.group})
