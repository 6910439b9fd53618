"""Defectory: a factory of defects for people who build inspection and monitoring for manufacturing.

What most people need is here, and loaded when it is asked for; each capability's package offers the rest of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from defectory.lazy import load_lazily

__version__ = "0.1.0"

if TYPE_CHECKING:
    from defectory.datasets.exports import export as export
    from defectory.datasets.masks import read_mask as read_mask
    from defectory.datasets.sources import load_dataset as load_dataset
    from defectory.datasets.splits import split as split
    from defectory.errors import DefectoryError as DefectoryError
    from defectory.images import ProceduralRenderer as ProceduralRenderer
    from defectory.images import TransplantRenderer as TransplantRenderer
    from defectory.images import balance as balance
    from defectory.images import run_gate as run_gate
    from defectory.inspection import LookoutForVision as LookoutForVision
    from defectory.inspection import TrainingOptions as TrainingOptions
    from defectory.inspection import check as check
    from defectory.inspection import evaluate as evaluate
    from defectory.inspection import load_model as load_model
    from defectory.inspection import train as train
    from defectory.inspection import write_samples as write_samples
    from defectory.sensors import Machine as Machine
    from defectory.sensors import check_dataset as check_dataset
    from defectory.sensors import check_script as check_script
    from defectory.sensors import extract_script as extract_script
    from defectory.sensors import generate_datasets as generate_datasets
    from defectory.sensors import load_data as load_data
    from defectory.sensors import load_labels as load_labels
    from defectory.sensors import machine_slug as machine_slug
    from defectory.sensors import parse_machine_list as parse_machine_list
    from defectory.sensors import run_script as run_script
    from defectory.vision.images import load_image as load_image

__getattr__, __dir__, __all__ = load_lazily(
    __name__,
    {
        "defectory.datasets": (
            "export",
            "load_dataset",
            "read_mask",
            "split",
        ),
        "defectory.errors": ("DefectoryError",),
        "defectory.images": (
            "ProceduralRenderer",
            "TransplantRenderer",
            "balance",
            "run_gate",
        ),
        "defectory.inspection": (
            "LookoutForVision",
            "TrainingOptions",
            "check",
            "evaluate",
            "load_model",
            "train",
            "write_samples",
        ),
        "defectory.sensors": (
            "Machine",
            "check_dataset",
            "check_script",
            "extract_script",
            "generate_datasets",
            "load_data",
            "load_labels",
            "machine_slug",
            "parse_machine_list",
            "run_script",
        ),
        "defectory.vision.images": ("load_image",),
    },
)
