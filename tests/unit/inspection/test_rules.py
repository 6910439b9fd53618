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
        (Rule(verdict="FAIL", min_confidence=0.9), True),
        (Rule(verdict="FAIL", defect="stain", min_area=0.05, max_area=0.05), True),
        (Rule(verdict="FAIL", defect="stain", min_regions=4, max_regions=4), True),
        (Rule(verdict="FAIL", max_regions=5), True),
        (Rule(verdict="FAIL", max_regions=4), False),
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


@pytest.mark.parametrize(
    ("field", "allowed", "refused"),
    [
        ("min_area", 0, -0.01),
        ("min_area", 1, 1.01),
        ("max_area", 0, -0.01),
        ("max_area", 1, 1.01),
        ("min_regions", 0, -1),
        ("max_regions", 0, -1),
        ("min_types", 0, -1),
        ("min_confidence", 0.5, 0.49),
        ("min_confidence", 1, 1.01),
        ("defect", "a", ""),
    ],
)
def test_conditions_go_from_one_end_of_what_there_is_to_the_other(field, allowed, refused):
    assert getattr(Rule(**{"verdict": "FAIL", field: allowed}), field) == allowed
    with pytest.raises(ValidationError, match=field):
        Rule(**{"verdict": "FAIL", field: refused})


def test_a_rule_without_conditions_holds_of_a_part_without_defects():
    assert Rule(verdict="REVIEW").holds("PASS", 0.5, ())


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


@pytest.mark.parametrize(
    ("score", "verdict"), [(0.99, "PASS"), (1.0, "REVIEW"), (1.99, "REVIEW"), (2.0, "FAIL"), (3.0, "FAIL")]
)
def test_a_backtest_starts_from_what_the_score_alone_says(score, verdict):
    stored = reply(score, verdict="PASS" if verdict != "PASS" else "FAIL")

    assert backtest(RuleSet(), [stored]).changes[0].after == verdict


@pytest.mark.parametrize(
    ("before", "after", "stricter"),
    [
        (0.5, "REVIEW", 1),
        (0.5, "FAIL", 1),
        (1.5, "FAIL", 1),
        (1.5, "PASS", 0),
        (2.5, "REVIEW", 0),
        (2.5, "PASS", 0),
    ],
)
def test_of_two_verdicts_the_one_nearer_to_fail_is_the_stricter(before, after, stricter):
    assert backtest(RuleSet(rules=(Rule(verdict=after),)), [reply(before)]).stricter == stricter


def test_a_backtest_counts_every_escape_and_every_good_part_that_fails():
    stored = [reply(0.5), reply(0.5), reply(2.5), reply(2.5), reply(2.5), reply(1.5)]
    truths = ["anomaly", "anomaly", "normal", "normal", "anomaly", "anomaly"]

    result = backtest(RuleSet(rules=(Rule(verdict="REVIEW", of_verdicts=("PASS", "FAIL")),)), stored, truths)

    assert (result.escapes, result.overkill) == ((2, 0), (2, 0))
    assert (result.before, result.after) == (
        {"PASS": 2, "REVIEW": 1, "FAIL": 3},
        {"PASS": 0, "REVIEW": 6, "FAIL": 0},
    )
