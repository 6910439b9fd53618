"""The gate before the line, with figures on both sides of each of its limits."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from defectory.inspection.gate import Figures, GateRules, ModelComparison, judge

VALUES = {"model_version": "v", "normal": 100, "anomalous": 100, "auroc": 0.9, "escapes": 2, "overkill": 3, "review": 0}


def accepted(candidate: dict, current: dict | None = None, **rules: float) -> bool:
    old = Figures(**{**VALUES, **current}) if current is not None else None
    comparison = ModelComparison(candidate=Figures(**{**VALUES, **candidate}), current=old, test_digest="t")
    return judge(comparison, GateRules(**rules)).accepted


@pytest.mark.parametrize(
    ("field", "allowed", "refused"),
    [
        ("normal", 0, -1),
        ("anomalous", 0, -1),
        ("auroc", 0, -0.01),
        ("auroc", 1, 1.01),
        ("escapes", 0, -1),
        ("overkill", 0, -1),
        ("review", 0, -1),
    ],
)
def test_figures_are_counts_and_shares(field, allowed, refused):
    assert getattr(Figures(**{**VALUES, field: allowed}), field) == allowed
    with pytest.raises(ValidationError, match=field):
        Figures(**{**VALUES, field: refused})


@pytest.mark.parametrize("rule", ["tolerance", "minimum_auroc"])
def test_rules_go_from_0_to_1(rule):
    assert [getattr(GateRules(**{rule: value}), rule) for value in (0, 1)] == [0, 1]
    for value in (-0.01, 1.01):
        with pytest.raises(ValidationError, match=rule):
            GateRules(**{rule: value})


def test_without_a_word_a_model_has_to_reach_four_fifths_and_may_lose_half_a_percent():
    assert (GateRules().minimum_auroc, GateRules().tolerance) == (0.8, 0.005)


@pytest.mark.parametrize(("auroc", "passes"), [(0.75, True), (0.749, False), (None, True)])
def test_the_minimum_itself_is_enough(auroc, passes):
    assert accepted({"auroc": auroc}, minimum_auroc=0.75) is passes


# 0.875 less a tolerance of 0.125 is 0.75, all three exact in binary.
@pytest.mark.parametrize(("auroc", "passes"), [(0.75, True), (0.7499, False), (0.9, True)])
def test_a_model_may_lose_its_tolerance_of_auroc_and_no_more(auroc, passes):
    assert accepted({"auroc": auroc}, {"auroc": 0.875}, tolerance=0.125, minimum_auroc=0.0) is passes


# The model in service misjudges 2 + 3 = 5 of 200 images; a tolerance of 0.03125 allows 6.25 more: 11.
@pytest.mark.parametrize(
    ("escapes", "overkill", "passes"), [(8, 3, True), (2, 9, True), (9, 3, False), (2, 10, False), (0, 12, False)]
)
def test_a_model_may_misjudge_its_tolerance_of_the_images_more(escapes, overkill, passes):
    assert accepted({"escapes": escapes, "overkill": overkill}, {}, tolerance=0.03125) is passes


# 200 images at 0.0625 allow 12.5 more; at 0.06 (12, in floats) exactly twelve more are still allowed.
@pytest.mark.parametrize(("misjudged", "passes"), [(17, True), (18, False)])
def test_what_the_tolerance_allows_is_inclusive(misjudged, passes):
    assert accepted({"escapes": misjudged - 3, "overkill": 3}, {}, tolerance=0.06) is passes


def test_every_rule_that_speaks_against_a_model_is_told():
    comparison = ModelComparison(
        candidate=Figures(**{**VALUES, "normal": 0, "anomalous": 0, "auroc": 0.5}),
        current=Figures(**VALUES),
        test_digest="t",
        trained_on_test=("normal/1.png", "normal/2.png"),
    )

    reasons = judge(comparison, GateRules()).reasons

    assert reasons == (
        "The test set has no images.",
        "2 images of the test set are in the training set, such as normal/1.png: it proves nothing.",
        "AUROC 0.5000 is below the minimum of 0.8000.",
        "AUROC falls from 0.9000 to 0.5000.",
    )
