"""The gate of detectors: which new one goes into service, and why not."""

from __future__ import annotations

from typing import Any

import pytest

from defectory.detection.gate import DetectorComparison, DetectorFigures, DetectorGateRules, judge
from defectory.detection.training_run import DETECTOR, decide
from defectory.errors import InputError


def figures(version: str = "new", *, map50: float | None = None, **classes: float | None) -> DetectorFigures:
    classes = classes or {"cone": 0.8, "pallet": 0.6}
    known = [value for value in classes.values() if value is not None]
    mean = sum(known) / len(known) if map50 is None and known else map50
    return DetectorFigures(
        model_version=version, images=40, objects=100, map50=mean, map50_95=0.4, by_class=classes
    )  # fmt: skip


def verdict(candidate: DetectorFigures, current: DetectorFigures | None = None, **changes: Any) -> tuple[bool, str]:
    rules = DetectorGateRules(**changes.pop("rules", {}))
    comparison = DetectorComparison(
        candidate=candidate, current=current, origin="real", test_digest="t", **changes
    )  # fmt: skip
    judgement = judge(comparison, rules)
    return judgement.accepted, " ".join(judgement.reasons)


def test_the_first_detector_passes_from_the_minimum_on() -> None:
    said = "New detector new: mAP@50 0.5000, mAP@50:95 0.4000 on 100 objects (real images)."
    assert verdict(figures(cone=0.5)) == (True, said)
    assert verdict(figures(cone=0.49)) == (False, "mAP@50 0.4900 is below the minimum of 0.5000.")
    assert verdict(figures(cone=0.49), rules={"minimum_map50": 0.3})[0]


def test_a_test_set_that_proves_nothing_lets_nobody_through() -> None:
    assert verdict(figures(cone=None)) == (
        False,
        "The test set has no objects of the detector's classes: it proves nothing.",
    )
    accepted, reason = verdict(figures(), trained_on_test=("a.jpg", "b.jpg"))
    assert (accepted, reason) == (
        False,
        "2 images of the test set are in the training set, such as a.jpg: it proves nothing.",
    )


@pytest.mark.parametrize(("cone", "accepted"), [(0.8, True), (0.785, True), (0.775, False)])
def test_the_mean_may_fall_by_a_hundredth_and_no_further(cone: float, accepted: bool) -> None:
    # Over two classes: the mean falls by 0, 0.0075 and 0.0125.
    assert verdict(figures(cone=cone, pallet=0.6), figures("old"))[0] is accepted


def test_a_class_may_not_fall_far_where_another_makes_up_for_it() -> None:
    accepted, reason = verdict(figures(cone=0.65, pallet=0.9), figures("old"))
    assert (accepted, reason) == (False, "AP@50 of cone falls from 0.8000 to 0.6500.")
    assert verdict(figures(cone=0.72, pallet=0.9), figures("old"))[0]


def test_means_are_compared_over_the_classes_that_both_know() -> None:
    # A new, hard class makes the detector no worse; one that it has lost does.
    assert verdict(figures(cone=0.8, pallet=0.6, spill=0.2), figures("old"))[0]
    accepted, reason = verdict(figures(cone=0.9), figures("old"))
    assert (accepted, reason) == (False, "Class pallet is not detected any more.")


def test_what_is_decided_names_both_figures_and_what_nobody_detects() -> None:
    candidate = figures().model_copy(update={"unknown_classes": {"spill": 3}})
    comparison = DetectorComparison(
        candidate=candidate, current=figures("old"), origin="synthetic", test_digest="abc"
    )  # fmt: skip
    outcome = decide(comparison.model_dump_json().encode(), {})
    assert outcome.accepted
    assert [reason.partition(":")[0] for reason in outcome.reasons] == [
        "New detector new",
        "Current detector old",
        "No class of the detector",
    ]
    assert outcome.metadata == {
        "model_version": "new",
        "test_set": "abc",
        "test_images": "40 synthetic",
        "map50": "0.700000",
        "map50_95": "0.400000",
    }


def test_what_is_no_comparison_and_rules_that_there_are_not_are_named() -> None:
    with pytest.raises(InputError, match=r"evaluation\.json, candidate"):
        decide(b"{}", {})
    for rules, field in (({"minimum_map50": 2}, "gate.minimum_map50"), ({"minimum_auroc": 0.8}, "gate.minimum_auroc")):
        with pytest.raises(InputError) as refusal:
            DETECTOR.check_rules(rules)
        assert refusal.value.field == field
