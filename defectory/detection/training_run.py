"""A run of the training machine for detectors: how what it left is judged; the rest is inspection's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from defectory.detection.gate import DetectorComparison, DetectorGateRules, judge
from defectory.inspection.gate import read_comparison
from defectory.inspection.training_run import GateOutcome, TrainedKind


def decide(content: bytes, gate: Mapping[str, Any]) -> GateOutcome:
    """What the gate says of the comparison in ``content``, by the rules in ``gate``."""
    comparison = read_comparison(DetectorComparison, content)
    candidate = comparison.candidate
    metadata = {
        "test_set": comparison.test_digest,
        "test_images": f"{candidate.images} {comparison.origin}",
        "map50": "" if candidate.map50 is None else f"{candidate.map50:.6f}",
        "map50_95": "" if candidate.map50_95 is None else f"{candidate.map50_95:.6f}",
    }
    return GateOutcome.of(judge(comparison, DetectorGateRules.parse(gate)), candidate.model_version, metadata)


DETECTOR = TrainedKind(
    upload="scenes, a YOLO folder or COCO's annotations with their images",
    check_rules=DetectorGateRules.parse,
    decide=decide,
)
"""Detectors, as their training machine sees them."""
