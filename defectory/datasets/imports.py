"""Imports: labelled images from several sources, as one stored dataset whose images stay where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from defectory.datasets.records import Dataset, ImageRecord
from defectory.datasets.sources import group, join, load_dataset
from defectory.datasets.versions import DATASET_FILE, save_dataset
from defectory.errors import InputError

_MOST_NAMES = 3


@dataclass(frozen=True, slots=True)
class Imported:
    """A dataset, the file that it is stored in, and the records whose images were missing and left out."""

    dataset: Dataset
    file: Path
    missing: tuple[ImageRecord, ...]


def import_dataset(
    sources: Sequence[Path],
    out: Path,
    *,
    images: Path | None = None,
    normal: str | None = None,
    group_pattern: str | None = None,
    group_gap: int | None = None,
    synthetic: bool = False,
    skip_missing: bool = False,
) -> Imported:
    """Store the images of ``sources`` as one dataset in ``out/dataset.json``: labels, classes, masks and checksums.

    Args:
        sources: folders, manifests, tables or stored datasets, as `load_dataset` takes them.
        out: folder for the file; it may be a source itself, to see what is new in it.
        images: where a manifest's or table's images are; beside it by default.
        normal: name of the folder of good parts, where it is none of the usual ones.
        group_pattern, group_gap: which images show one part, see `group`.
        synthetic: mark all images as such, so that they are never tested on.
        skip_missing: leave out images that are not there, instead of refusing them.

    Raises:
        InputError: a source cannot be read, images are missing, or the file cannot be written.
    """
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
    missing = tuple(record for record in dataset.records if not record.path.is_file())
    if missing and not skip_missing:
        names = ", ".join(record.source_ref or dataset.name(record.path) for record in missing[:_MOST_NAMES])
        more = "..." if len(missing) > _MOST_NAMES else ""
        got = f"{len(missing)} missing of {len(dataset.records)}: {names}{more}"
        raise InputError("images", "all there", got, "Add them, name their folder (--images), or --skip-missing.")
    dataset = dataset.select([record for record in dataset.records if record not in missing])
    return Imported(dataset, save_dataset(dataset, out / DATASET_FILE), missing)
