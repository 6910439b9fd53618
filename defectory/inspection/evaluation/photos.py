"""Photos to evaluate a model on: those of a dataset that it has not seen."""

from __future__ import annotations

from pathlib import Path

from defectory.datasets.records import Dataset
from defectory.datasets.sources import load_dataset
from defectory.datasets.splits import SPLIT_FILE, load_split


def load_test_photos(path: Path, images: Path | None = None) -> Dataset:
    """The test part where ``path`` is the folder of a stored split, else all of the dataset there.

    Args:
        path: folder, manifest, table, stored dataset, or folder of a stored split.
        images: where the photos of a manifest or a table are.

    Raises:
        InputError: there is none of these, or it cannot be read.
    """
    if (path / SPLIT_FILE).is_file():
        return load_split(path).test
    return load_dataset(path, images=images)
