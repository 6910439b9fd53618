"""The network whose features the detectors compare: an embedded one by name, or any ONNX file in its place."""

from defectory.inspection.backbone.extractor import (
    EMBEDDED,
    Backbone,
    BackboneName,
    embedded_backbone,
)
from defectory.inspection.backbone.session import BackboneError
from defectory.inspection.backbone.weights import WeightsError, load_weights

__all__ = [
    "EMBEDDED",
    "Backbone",
    "BackboneError",
    "BackboneName",
    "WeightsError",
    "embedded_backbone",
    "load_weights",
]
