"""Defectory: a factory of defects for people who build inspection and monitoring for manufacturing.

What most people need is here, and loaded when it is asked for; each capability's package offers the rest of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from defectory.lazy import load_lazily

__version__ = "0.1.0"

if TYPE_CHECKING:
    from defectory.datasets import export as export
    from defectory.datasets import load_dataset as load_dataset
    from defectory.datasets import read_mask as read_mask
    from defectory.datasets import split as split
    from defectory.errors import DefectoryError as DefectoryError
    from defectory.images.balancing import balance as balance
    from defectory.images.gate import run_gate as run_gate
    from defectory.images.renderers.procedural import ProceduralRenderer as ProceduralRenderer
    from defectory.images.renderers.transplant import TransplantRenderer as TransplantRenderer
    from defectory.inspection.evaluation.evaluate import evaluate as evaluate
    from defectory.inspection.label_check import check as check
    from defectory.inspection.lookout import LookoutForVision as LookoutForVision
    from defectory.inspection.model import load_model as load_model
    from defectory.inspection.samples import write_samples as write_samples
    from defectory.inspection.training import TrainingOptions as TrainingOptions
    from defectory.inspection.training import train as train
    from defectory.sensors.contract import check_dataset as check_dataset
    from defectory.sensors.dataset import load_data as load_data
    from defectory.sensors.dataset import load_labels as load_labels
    from defectory.sensors.generate import generate_datasets as generate_datasets
    from defectory.sensors.machines import machine_slug as machine_slug
    from defectory.sensors.machines import parse_machine_list as parse_machine_list
    from defectory.sensors.policy import check_script as check_script
    from defectory.sensors.sandbox import run_script as run_script
    from defectory.sensors.scripts import extract_script as extract_script
    from defectory.sensors.signals import Machine as Machine
    from defectory.vision.images import load_image as load_image

__all__ = [
    "DefectoryError",
    "LookoutForVision",
    "Machine",
    "ProceduralRenderer",
    "TrainingOptions",
    "TransplantRenderer",
    "balance",
    "check",
    "check_dataset",
    "check_script",
    "evaluate",
    "export",
    "extract_script",
    "generate_datasets",
    "load_data",
    "load_dataset",
    "load_image",
    "load_labels",
    "load_model",
    "machine_slug",
    "parse_machine_list",
    "read_mask",
    "run_gate",
    "run_script",
    "split",
    "train",
    "write_samples",
]

__getattr__, __dir__ = load_lazily(
    __name__,
    {
        "generate_datasets": "defectory.sensors.generate",
        "Machine": "defectory.sensors.signals",
        "load_data": "defectory.sensors.dataset",
        "load_labels": "defectory.sensors.dataset",
        "check_dataset": "defectory.sensors.contract",
        "machine_slug": "defectory.sensors.machines",
        "parse_machine_list": "defectory.sensors.machines",
        "extract_script": "defectory.sensors.scripts",
        "check_script": "defectory.sensors.policy",
        "run_script": "defectory.sensors.sandbox",
        "export": "defectory.datasets",
        "load_dataset": "defectory.datasets",
        "read_mask": "defectory.datasets",
        "split": "defectory.datasets",
        "load_image": "defectory.vision.images",
        "DefectoryError": "defectory.errors",
        "ProceduralRenderer": "defectory.images.renderers.procedural",
        "TransplantRenderer": "defectory.images.renderers.transplant",
        "balance": "defectory.images.balancing",
        "run_gate": "defectory.images.gate",
        "check": "defectory.inspection.label_check",
        "TrainingOptions": "defectory.inspection.training",
        "train": "defectory.inspection.training",
        "load_model": "defectory.inspection.model",
        "evaluate": "defectory.inspection.evaluation.evaluate",
        "write_samples": "defectory.inspection.samples",
        "LookoutForVision": "defectory.inspection.lookout",
    },
)
