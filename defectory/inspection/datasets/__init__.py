"""Datasets: labelled images from folders, manifests and tables; checked, split, versioned and exported."""

from __future__ import annotations

from defectory.inspection.datasets.exports import Detectable, Form, export, fit_to_form, make_detectable
from defectory.inspection.datasets.imports import Imported, import_dataset
from defectory.inspection.datasets.masks import read_classes, read_mask
from defectory.inspection.datasets.quality import Finding, check
from defectory.inspection.datasets.records import Dataset, ImageRecord, Label
from defectory.inspection.datasets.sources import group, join, load_dataset
from defectory.inspection.datasets.splits import Split, load_split, split
from defectory.inspection.datasets.versions import DATASET_FILE, Changes, compare_versions, save_dataset

__all__ = [
    "DATASET_FILE",
    "Changes",
    "Dataset",
    "Detectable",
    "Finding",
    "Form",
    "ImageRecord",
    "Imported",
    "Label",
    "Split",
    "check",
    "compare_versions",
    "export",
    "fit_to_form",
    "group",
    "import_dataset",
    "join",
    "load_dataset",
    "load_split",
    "make_detectable",
    "read_classes",
    "read_mask",
    "save_dataset",
    "split",
]
