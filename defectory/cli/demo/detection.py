"""The demo's fourth part: scenes composed from cut-outs, a detector trained on them, and its boxes on scenes of others.

Nothing of it needs the cloud: what it takes is a processor.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from defectory.detection.detectors.detector import Detector
    from defectory.detection.evaluation.results import DetectionEvaluation
    from defectory.detection.layouts.records import Split

PRESET = "ppe"
SCENES, TEST_SCENES, SIDE, SEED = 80, 12, 320, 1
SHOWN, ACROSS = 8, 4


@dataclass(frozen=True, slots=True)
class Detected:
    """How good the detector is, and the files to look at."""

    evaluation: DetectionEvaluation
    report: Path
    picture: Path


def detect_objects(target: Path) -> Detected:
    """Compose scenes, train a detector on them, and try it on scenes whose cut-outs and places it has not seen.

    Args:
        target: folder of ``scenes``, ``detector.tar.gz``, ``evaluation`` and ``detected.png``.
    """
    from defectory.detection.detectors.ridge.training import RidgeOptions, train_ridge
    from defectory.detection.evaluation.evaluate import evaluate_detector
    from defectory.detection.evaluation.report import write_report
    from defectory.detection.labelled import open_labelled

    learned, tried = target / "scenes" / "train", target / "scenes" / "test"
    _compose(learned, "train", SCENES)
    _compose(tried, "test", TEST_SCENES)
    detector = train_ridge([open_labelled(learned)], RidgeOptions(side=SIDE, seed=SEED))
    detector.save(target / "detector.tar.gz")
    evaluation = evaluate_detector(detector, open_labelled(tried), target / "evaluation")
    report = write_report(evaluation, target / "evaluation")
    return Detected(evaluation, report, _draw_sheet(detector, tried, target / "detected.png"))


def show_detection(console: Console, detected: Detected) -> bool:
    """Say how good the detector is, and what to look at; whether it found anything at all."""
    evaluation = detected.evaluation
    precision = {name: f"{value or 0:.2f}" for name, value in evaluation.by_class().items()}
    classes = ", ".join(f"{name} {value}" for name, value in precision.items())
    sentences = (
        f"Average precision on {evaluation.images} scenes of unseen people and places: {classes}.",
        f"Look at {detected.picture}, and at {detected.report}.",
    )
    for sentence in sentences:
        console.print(sentence, markup=False, highlight=False)
    return bool(evaluation.map50)


def _compose(folder: Path, split: Split, count: int) -> None:
    from defectory.detection.layouts.presets import load_preset
    from defectory.detection.scenes.compose import SceneSources, compose_scenes
    from defectory.detection.scenes.plans import plan_preset

    plan = plan_preset(load_preset(PRESET), count, seed=SEED, split=split, size=(SIDE, SIDE))
    compose_scenes(plan, SceneSources(plan.classes, split, sizes=plan.sizes), folder, workers=1)


def _draw_sheet(detector: Detector, folder: Path, sheet: Path) -> Path:
    """Write a picture of some scenes with what the detector found on them."""
    from PIL import Image

    from defectory.detection.drawing import draw_detections
    from defectory.vision.images import load_image

    picture = Image.new("RGB", (ACROSS * SIDE, SHOWN // ACROSS * SIDE))
    for number, path in enumerate(sorted((folder / "images").iterdir())[:SHOWN]):
        image = load_image(path)
        drawn = draw_detections(image, detector.detect(image), detector.card.names)
        picture.paste(Image.fromarray(drawn), (number % ACROSS * SIDE, number // ACROSS * SIDE))
    picture.save(sheet)
    return sheet
