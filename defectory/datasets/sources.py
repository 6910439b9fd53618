"""Sources: load a dataset from whatever form it comes in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from defectory.datasets.folders import is_labelled_by_folders, read_folders
from defectory.datasets.manifests import read_manifest
from defectory.datasets.records import Dataset, ImageRecord
from defectory.datasets.references import FileFinder
from defectory.datasets.tables import read_table
from defectory.datasets.versions import DATASET_FILE, load_stored
from defectory.errors import InputError

_MANIFEST_SUFFIXES = (".manifest", ".jsonl")
_SUFFIXES = (*_MANIFEST_SUFFIXES, ".csv", ".json")


def load_dataset(
    path: Path,
    *,
    images: Path | None = None,
    normal: str | None = None,
    group_pattern: str | None = None,
    group_gap: int | None = None,
    stored: bool = True,
) -> Dataset:
    r"""Load a dataset.

    Args:
        path: a folder (with a stored ``dataset.json``, or with ``normal/`` and ``anomaly/`` or one folder a class, or
            with one manifest or table), a manifest of Lookout for Vision or Ground Truth (``.manifest``, ``.jsonl``), a
            table (``.csv``), or a stored dataset (``.json``).
        images: where the images of a manifest or table are; by default beside it.  ``s3://`` references are looked for
            by their key and by their file name.
        normal: the name of the folder of good parts, where it is called otherwise.
        group_pattern: a regular expression; images for whose path its first group (or all it matches) is the same show
            one part and stay together in splits: ``part(\d+)``.
        group_gap: what the pattern finds are running numbers; images whose numbers follow each other by at most this
            show one part, as a camera's frames do.
        stored: whether a ``dataset.json`` in a folder is taken for what the folder holds; else it is looked at anew.

    Returns:
        The dataset.  Images that are not there are in it all the same: `check` names them.

    Raises:
        InputError: it is none of these, says two things of one image, or none of its images is there.

    >>> dataset = load_dataset(Path("parts"))
    >>> len(dataset.normal), len(dataset.anomalous)
    (12, 6)
    """
    try:
        dataset = _load(path, images, normal, stored)
    except OSError as error:
        raise InputError(str(path), f"a dataset that can be read ({error.strerror})") from None
    if not any(record.path.is_file() for record in dataset.records):
        raise InputError(
            str(path),
            "a dataset whose images are on this machine",
            dataset.records[0].source_ref or str(dataset.records[0].path),
            "Copy them beside it (aws s3 sync), or name their folder: --images DIR.",
        )
    return dataset if group_pattern is None else group(dataset, group_pattern, gap=group_gap)


def join(datasets: Sequence[Dataset]) -> Dataset:
    """One dataset of several; what they say of one image is put together.

    Raises:
        InputError: they say different things of an image.
    """
    if len(datasets) == 1:
        return datasets[0]
    root = Path(os.path.commonpath([dataset.root.absolute() for dataset in datasets]))
    digests = {path: digest for dataset in datasets for path, digest in dataset.digests.items()}
    records = _united(record for dataset in datasets for record in dataset.records)
    return Dataset(records, root, digests=digests)


def group(dataset: Dataset, pattern: str, *, gap: int | None = None) -> Dataset:
    """``dataset`` with the groups that ``pattern`` (and ``gap``) find in the images' paths below the root.

    See `load_dataset`; an image whose path the pattern does not fit keeps the group it has.

    Raises:
        InputError: it is no regular expression, or fits no image, or finds no numbers where there is a gap.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError("group pattern", f"a regular expression ({error})", pattern) from None
    if expression.groups > 1:
        raise InputError("group pattern", "a regular expression with one group", pattern, "Write (?:...) for others.")
    matches = [expression.search(dataset.name(record.path)) for record in dataset.records]
    groups = [match[expression.groups] or "" if match else None for match in matches]
    if not any(groups):
        example = f"One is {dataset.name(dataset.records[0].path)}."
        raise InputError("group pattern", "found in the paths of images", pattern, example)
    if gap is not None:
        first_of_run = _first_of_run((text for text in groups if text), gap)
        groups = [first_of_run[text] if text else text for text in groups]
    records = [
        record if name is None else replace(record, group=name)
        for record, name in zip(dataset.records, groups, strict=True)
    ]
    return dataset.select(records)


def _first_of_run(texts: Iterable[str], gap: int) -> dict[str, str]:
    """For each number the first of those that follow each other up to it, no two farther apart than ``gap``."""
    if gap < 0:
        raise InputError("group gap", "0 or more", gap)
    try:
        numbers = {text: int(text) for text in texts}
    except ValueError:
        raise InputError("group pattern", r"one that finds whole numbers where there is a gap: (\d+)") from None
    runs: dict[str, str] = {}
    start, last = "", None
    for text, number in sorted(numbers.items(), key=lambda item: item[1]):
        if last is None or number - last > gap:
            start = text
        runs[text], last = start, number
    return runs


def _load(path: Path, images: Path | None, normal: str | None, stored: bool) -> Dataset:
    if path.is_dir():
        if stored and normal is None and (path / DATASET_FILE).is_file():
            return load_stored(path / DATASET_FILE)
        if normal is not None or is_labelled_by_folders(path):
            return Dataset(read_folders(path, normal=normal), path)
        path = _only_file(path)
    if not path.is_file():
        raise InputError(str(path), "an existing folder, manifest, table or stored dataset")
    if path.suffix.lower() == ".json":
        return load_stored(path)
    finder = FileFinder(images) if images else FileFinder(path.parent, path.parent.parent)
    if path.suffix.lower() in _MANIFEST_SUFFIXES:
        return Dataset(_united(read_manifest(path, finder)), finder.root)
    if path.suffix.lower() == ".csv":
        return Dataset(_united(read_table(path, finder)), finder.root)
    raise InputError(str(path), f"a folder or a file of {', '.join(_SUFFIXES)}", path.suffix)


def _only_file(folder: Path) -> Path:
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.suffix.lower() in _SUFFIXES)
    if len(files) != 1:
        got = ", ".join(file.name for file in files) or "no manifest, no table, no folder named like good parts"
        fix = "Name one of them, or with --normal the folder of good parts."
        raise InputError(str(folder), "a dataset", got, fix)
    return files[0]


def _united(records: Iterable[ImageRecord]) -> tuple[ImageRecord, ...]:
    """One record an image: what the later ones add is taken over."""
    united: dict[Path, ImageRecord] = {}
    for record in records:
        path = record.path.absolute()
        united[path] = _together(united[path], record) if path in united else record
    return tuple(united.values())


def _together(first: ImageRecord, second: ImageRecord) -> ImageRecord:
    for name in ("label", "group"):
        values = getattr(first, name), getattr(second, name)
        if all(values) and values[0] != values[1]:
            raise InputError(
                f"{first.path}, {name}", "said once", f"{values[0]} and {values[1]}", "Correct one of them."
            )
    marked = first if first.mask is not None else second
    return replace(
        first,
        label=first.label or second.label,
        classes=tuple(dict.fromkeys((*first.classes, *second.classes))),
        mask=marked.mask,
        colour_map=marked.colour_map,
        group=first.group or second.group,
        synthetic=first.synthetic or second.synthetic,
        source_ref=first.source_ref or second.source_ref,
    )
