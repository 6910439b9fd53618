"""Datasets: labelled images from folders, manifests and tables; checked, split, versioned and exported."""

from __future__ import annotations

from defectory.datasets.exports import Detectable, Form, export, fit_to_form, make_detectable
from defectory.datasets.imports import Imported, import_dataset
from defectory.datasets.masks import read_classes, read_mask
from defectory.datasets.quality import Finding, Suspect, check_files
from defectory.datasets.records import Dataset, ImageRecord, Label
from defectory.datasets.sources import group, join, load_dataset
from defectory.datasets.splits import Split, load_split, split
from defectory.datasets.versions import DATASET_FILE, Changes, compare_versions, save_dataset

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
    "Suspect",
    "check_files",
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
