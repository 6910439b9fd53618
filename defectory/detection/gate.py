"""The gate before the line: a new detector against the one in service, both on the same frozen test set.

Pure figures and rules; it needs neither images nor models.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from defectory.inspection.gate import Judgement, ReadRules
from defectory.validation import FrozenModel

Precision = float | None


class DetectorFigures(FrozenModel):
    """What one detector did on the test set.

    ``map50`` and ``map50_95`` are mean average precisions at IoU 0.5 and 0.5 to 0.95, ``by_class`` is the average
    precision at IoU 0.5 of each class that the detector and the test set both know; None where a class has no objects.
    ``unknown_classes`` are objects in the test set by their classes, of which the detector knows nothing.
    """

    model_version: str
    images: int = Field(ge=0)
    objects: int = Field(ge=0)
    map50: Precision = Field(ge=0, le=1)
    map50_95: Precision = Field(ge=0, le=1)
    by_class: dict[str, Precision] = Field(default_factory=dict)
    unknown_classes: dict[str, int] = Field(default_factory=dict)

    def __str__(self) -> str:
        return f"mAP@50 {_shown(self.map50)}, mAP@50:95 {_shown(self.map50_95)} on {self.objects} objects"


class DetectorComparison(FrozenModel):
    """The new detector's figures, and those of the one in service where there is one.

    ``origin`` says whether the test set's images are photos or were made, ``test_digest`` identifies it by its content,
    and ``trained_on_test`` are its images that the training set has as well.
    """

    candidate: DetectorFigures
    current: DetectorFigures | None = None
    origin: Literal["real", "synthetic"]
    test_digest: str
    trained_on_test: tuple[str, ...] = ()


class DetectorGateRules(ReadRules):
    """What a new detector has to reach.

    ``minimum_map50`` holds for every detector, the first included.  ``tolerance`` is how much worse than the current
    one it may be in mAP@50, over the classes that both know; ``class_tolerance`` is that of each class.
    """

    minimum_map50: float = Field(default=0.5, ge=0, le=1, description="a number from 0 to 1")
    tolerance: float = Field(default=0.01, ge=0, le=1, description="a number from 0 to 1")
    class_tolerance: float = Field(default=0.1, ge=0, le=1, description="a number from 0 to 1")


def judge(comparison: DetectorComparison, rules: DetectorGateRules) -> Judgement:
    """Let the new detector through if no rule speaks against it; ``reasons`` has all that do, or what it achieved."""
    candidate, current = comparison.candidate, comparison.current
    against = []
    if comparison.trained_on_test:
        count, first = len(comparison.trained_on_test), comparison.trained_on_test[0]
        against.append(f"{count} images of the test set are in the training set, such as {first}: it proves nothing.")
    if candidate.map50 is None:
        against.append("The test set has no objects of the detector's classes: it proves nothing.")
    elif candidate.map50 < rules.minimum_map50:
        against.append(f"mAP@50 {candidate.map50:.4f} is below the minimum of {rules.minimum_map50:.4f}.")
    if current:
        against += _worse_than(current, candidate, rules)
    if against:
        return Judgement(accepted=False, reasons=tuple(against))
    reasons = [f"New detector {candidate.model_version}: {candidate} ({comparison.origin} images)."]
    if current:
        reasons.append(f"Current detector {current.model_version}: {current}.")
    reasons += [
        f"No class of the detector: {name}, with {count} objects in the test set."
        for name, count in candidate.unknown_classes.items()
    ]
    return Judgement(accepted=True, reasons=tuple(reasons))


def _worse_than(current: DetectorFigures, candidate: DetectorFigures, rules: DetectorGateRules) -> list[str]:
    old = {name: value for name, value in current.by_class.items() if value is not None}
    new = {name: value for name, value in candidate.by_class.items() if value is not None}
    against = [f"Class {name} is not detected any more." for name in old if name not in new]
    both = [name for name in old if name in new]
    if not both:
        return against
    # Over other classes the means would say nothing of each other.
    before, after = (sum(values[name] for name in both) / len(both) for values in (old, new))
    if after < before - rules.tolerance:
        against.append(f"mAP@50 falls from {before:.4f} to {after:.4f}.")
    against += [
        f"AP@50 of {name} falls from {old[name]:.4f} to {new[name]:.4f}."
        for name in both
        if new[name] < old[name] - rules.class_tolerance
    ]
    return against


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
