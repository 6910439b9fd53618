"""Visual inspection: train from photos of good parts, inspect, evaluate, and run as a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from defectory.lazy import load_lazily

if TYPE_CHECKING:
    from defectory.inspection.evaluation.evaluate import evaluate as evaluate
    from defectory.inspection.label_check import check as check
    from defectory.inspection.lookout import LookoutForVision as LookoutForVision
    from defectory.inspection.model import load_model as load_model
    from defectory.inspection.samples import write_samples as write_samples
    from defectory.inspection.training import TrainingOptions as TrainingOptions
    from defectory.inspection.training import train as train

__getattr__, __dir__, __all__ = load_lazily(
    __name__,
    {
        "defectory.inspection.label_check": ("check",),
        "defectory.inspection.training": (
            "TrainingOptions",
            "train",
        ),
        "defectory.inspection.model": ("load_model",),
        "defectory.inspection.evaluation.evaluate": ("evaluate",),
        "defectory.inspection.samples": ("write_samples",),
        "defectory.inspection.lookout": ("LookoutForVision",),
    },
)
