"""Grounded generation: layouts in, images with true boxes out, and detectors of objects trained on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from defectory.lazy import load_lazily

if TYPE_CHECKING:
    from defectory.detection.curation.compare import compare_plans as compare_plans
    from defectory.detection.curation.plan import LayoutPlan as LayoutPlan
    from defectory.detection.curation.weak_spots import find_weak_spots as find_weak_spots
    from defectory.detection.cutouts.library import CutOut as CutOut
    from defectory.detection.cutouts.library import CutOutLibrary as CutOutLibrary
    from defectory.detection.detectors.detector import Detection as Detection
    from defectory.detection.detectors.detector import Detector as Detector
    from defectory.detection.detectors.detector import load_detector as load_detector
    from defectory.detection.detectors.ridge.training import RidgeOptions as RidgeOptions
    from defectory.detection.detectors.training import train_detector as train_detector
    from defectory.detection.evaluation.evaluate import evaluate_detector as evaluate_detector
    from defectory.detection.labelled import open_labelled as open_labelled
    from defectory.detection.layouts.class_lists import preset_of_classes as preset_of_classes
    from defectory.detection.layouts.presets import load_preset as load_preset
    from defectory.detection.layouts.records import Layout as Layout
    from defectory.detection.layouts.sampler import sample_layouts as sample_layouts
    from defectory.detection.rules import RuleWatch as RuleWatch
    from defectory.detection.rules import SafetyRules as SafetyRules
    from defectory.detection.rules import load_safety_rules as load_safety_rules
    from defectory.detection.scenes.compositor import Compositor as Compositor
    from defectory.detection.scenes.folder import read_scenes as read_scenes
    from defectory.detection.scenes.records import Scene as Scene
    from defectory.detection.scenes.records import SceneRenderer as SceneRenderer

__getattr__, __dir__, __all__ = load_lazily(
    __name__,
    {
        "defectory.detection.curation.compare": ("compare_plans",),
        "defectory.detection.curation.plan": ("LayoutPlan",),
        "defectory.detection.curation.weak_spots": ("find_weak_spots",),
        "defectory.detection.cutouts.library": ("CutOut", "CutOutLibrary"),
        "defectory.detection.detectors.detector": ("Detection", "Detector", "load_detector"),
        "defectory.detection.detectors.ridge.training": ("RidgeOptions",),
        "defectory.detection.detectors.training": ("train_detector",),
        "defectory.detection.evaluation.evaluate": ("evaluate_detector",),
        "defectory.detection.labelled": ("open_labelled",),
        "defectory.detection.layouts.class_lists": ("preset_of_classes",),
        "defectory.detection.layouts.presets": ("load_preset",),
        "defectory.detection.layouts.records": ("Layout",),
        "defectory.detection.layouts.sampler": ("sample_layouts",),
        "defectory.detection.rules": ("RuleWatch", "SafetyRules", "load_safety_rules"),
        "defectory.detection.scenes.compositor": ("Compositor",),
        "defectory.detection.scenes.folder": ("read_scenes",),
        "defectory.detection.scenes.records": ("Scene", "SceneRenderer"),
    },
)
