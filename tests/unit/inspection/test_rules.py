"""Rules turn verdicts, say why, and can be tried on stored results."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from defectory.inspection.rules import Rule, RuleSet, backtest
from defectory.inspection.verdicts import DefectArea, InspectionReply

SCRATCH = DefectArea(name="scratch", area=0.002, regions=1, color="#000000")
STAINS = DefectArea(name="stain", area=0.05, regions=4, color="#ffffff")


def reply(score: float, *defects: DefectArea, verdict: str | None = None, confidence: float = 0.9) -> InspectionReply:
    return InspectionReply(
        verdict=verdict or ("FAIL" if score >= 2 else "REVIEW" if score >= 1 else "PASS"),
        score=score,
        confidence=confidence,
        review_threshold=1,
        fail_threshold=2,
        model_version="v",
        width=10,
        height=10,
        defects=defects,
    )


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        (Rule(verdict="FAIL"), True),
        (Rule(verdict="FAIL", defect="scratch", min_area=0.001), True),
        (Rule(verdict="FAIL", defect="scratch", min_area=0.003), False),
        (Rule(verdict="FAIL", defect="scratch", max_area=0.001), False),
        (Rule(verdict="FAIL", min_area=0.052), True),
        (Rule(verdict="FAIL", min_area=0.053), False),
        (Rule(verdict="FAIL", min_regions=5), True),
        (Rule(verdict="FAIL", min_regions=6), False),
        (Rule(verdict="FAIL", defect="stain", max_regions=3), False),
        (Rule(verdict="FAIL", min_types=2), True),
        (Rule(verdict="FAIL", min_types=3), False),
        (Rule(verdict="FAIL", defect="dent", min_regions=1), False),
        (Rule(verdict="FAIL", min_confidence=0.95), False),
        (Rule(verdict="FAIL", of_verdicts=("PASS",)), False),
    ],
)
def test_a_rule_holds_where_all_its_conditions_do(rule, holds):
    assert rule.holds("REVIEW", 0.9, (SCRATCH, STAINS)) is holds


def test_the_first_rule_that_holds_decides_and_says_so():
    rules = RuleSet(
        rules=(Rule(verdict="FAIL", defect="scratch", min_area=0.001), Rule(verdict="PASS", of_verdicts=("REVIEW",)))
    )

    assert rules.decide("REVIEW", 0.9, (SCRATCH,)) == ("FAIL", ("scratch: area >= 0.001 -> FAIL",))
    assert rules.decide("REVIEW", 0.9, (STAINS,))[0] == "PASS"
    assert rules.decide("FAIL", 0.9, (STAINS,)) == ("FAIL", ())
    assert rules.decide("FAIL", 0.9, (SCRATCH,)) == ("FAIL", ())


@pytest.mark.parametrize(
    "rule",
    [
        {"verdict": "MAYBE"},
        {"verdict": "FAIL", "min_area": 2},
        {"verdict": "FAIL", "min_area": 0.5, "max_area": 0.1},
        {"verdict": "FAIL", "min_regions": 5, "max_regions": 1},
        {"verdict": "FAIL", "areas": 1},
    ],
)
def test_rules_that_make_no_sense_are_refused(rule):
    with pytest.raises(ValidationError):
        RuleSet.model_validate({"rules": [rule]})


@given(st.lists(st.floats(0, 3), max_size=20))
def test_no_rules_change_nothing(scores):
    result = backtest(RuleSet(), [reply(score, SCRATCH) for score in scores])

    assert result.changes == ()
    assert result.before == result.after
    assert sum(result.after.values()) == result.results == len(scores)


def test_a_backtest_shows_escapes_and_overkill_before_and_after():
    stored = [reply(0.5, SCRATCH), reply(0.5), reply(2.5, STAINS), reply(2.5)]
    truths = ["anomaly", "normal", "normal", None]
    rules = RuleSet(
        rules=(
            Rule(verdict="FAIL", defect="scratch", min_area=0.001),
            Rule(verdict="REVIEW", defect="stain", min_regions=1),
        )
    )

    result = backtest(rules, stored, truths)

    assert [(change.index, change.before, change.after) for change in result.changes] == [
        (0, "PASS", "FAIL"),
        (2, "FAIL", "REVIEW"),
    ]
    assert (result.escapes, result.overkill) == ((1, 0), (1, 0))
    assert result.stricter == 1


def test_a_backtest_takes_back_what_other_rules_decided():
    result = backtest(RuleSet(), [reply(0.5, verdict="FAIL")])

    assert result.changes[0].after == "PASS"
    assert result.changes[0].reason == "the score alone"


def test_without_truths_escapes_are_unknown():
    assert backtest(RuleSet(), [reply(0.5)]).escapes is None
