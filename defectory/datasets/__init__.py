"""Datasets: labelled images from folders, manifests and tables; checked, split, versioned and exported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from defectory.lazy import load_lazily

if TYPE_CHECKING:
    from defectory.datasets.exports import Detectable as Detectable
    from defectory.datasets.exports import Form as Form
    from defectory.datasets.exports import export as export
    from defectory.datasets.exports import fit_to_form as fit_to_form
    from defectory.datasets.exports import make_detectable as make_detectable
    from defectory.datasets.imports import Imported as Imported
    from defectory.datasets.imports import import_dataset as import_dataset
    from defectory.datasets.masks import read_classes as read_classes
    from defectory.datasets.masks import read_mask as read_mask
    from defectory.datasets.quality import Finding as Finding
    from defectory.datasets.quality import Suspect as Suspect
    from defectory.datasets.quality import check_files as check_files
    from defectory.datasets.records import Dataset as Dataset
    from defectory.datasets.records import ImageRecord as ImageRecord
    from defectory.datasets.records import Label as Label
    from defectory.datasets.sources import group as group
    from defectory.datasets.sources import join as join
    from defectory.datasets.sources import load_dataset as load_dataset
    from defectory.datasets.splits import Split as Split
    from defectory.datasets.splits import load_split as load_split
    from defectory.datasets.splits import split as split
    from defectory.datasets.versions import DATASET_FILE as DATASET_FILE
    from defectory.datasets.versions import Changes as Changes
    from defectory.datasets.versions import compare_versions as compare_versions
    from defectory.datasets.versions import save_dataset as save_dataset

__getattr__, __dir__, __all__ = load_lazily(
    __name__,
    {
        "defectory.datasets.exports": (
            "Detectable",
            "Form",
            "export",
            "fit_to_form",
            "make_detectable",
        ),
        "defectory.datasets.imports": (
            "Imported",
            "import_dataset",
        ),
        "defectory.datasets.masks": (
            "read_classes",
            "read_mask",
        ),
        "defectory.datasets.quality": (
            "Finding",
            "Suspect",
            "check_files",
        ),
        "defectory.datasets.records": (
            "Dataset",
            "ImageRecord",
            "Label",
        ),
        "defectory.datasets.sources": (
            "group",
            "join",
            "load_dataset",
        ),
        "defectory.datasets.splits": (
            "Split",
            "load_split",
            "split",
        ),
        "defectory.datasets.versions": (
            "DATASET_FILE",
            "Changes",
            "compare_versions",
            "save_dataset",
        ),
    },
)
