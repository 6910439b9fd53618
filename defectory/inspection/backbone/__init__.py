"""The network whose features the detectors compare: the embedded MobileNetV2, or any ONNX file in its place."""

from defectory.inspection.backbone.extractor import Backbone, BackboneError, embedded_backbone
from defectory.inspection.backbone.weights import WeightsError, load_weights

__all__ = ["Backbone", "BackboneError", "WeightsError", "embedded_backbone", "load_weights"]
