"""Grounded generation: layouts in, images with true boxes out, and detectors of objects trained on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from defectory.lazy import load_lazily

if TYPE_CHECKING:
    from defectory.detection.cutouts.library import CutOut as CutOut
    from defectory.detection.cutouts.library import CutOutLibrary as CutOutLibrary
    from defectory.detection.detectors.detector import Detection as Detection
    from defectory.detection.detectors.detector import Detector as Detector
    from defectory.detection.detectors.detector import load_detector as load_detector
    from defectory.detection.detectors.ridge.training import RidgeOptions as RidgeOptions
    from defectory.detection.detectors.training import train_detector as train_detector
    from defectory.detection.evaluation.evaluate import evaluate_detector as evaluate_detector
    from defectory.detection.labelled import open_labelled as open_labelled

__getattr__, __dir__, __all__ = load_lazily(
    __name__,
    {
        "defectory.detection.cutouts.library": ("CutOut", "CutOutLibrary"),
        "defectory.detection.detectors.detector": ("Detection", "Detector", "load_detector"),
        "defectory.detection.detectors.ridge.training": ("RidgeOptions",),
        "defectory.detection.detectors.training": ("train_detector",),
        "defectory.detection.evaluation.evaluate": ("evaluate_detector",),
        "defectory.detection.labelled": ("open_labelled",),
    },
)
