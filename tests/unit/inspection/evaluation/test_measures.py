"""What an evaluation counts, on fifteen images whose figures fit on a slip of paper."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from defectory.inspection.evaluation.results import Evaluation, ImageResult, measure, recall_by_defect


def images(label: str, *verdicts: str, score: float = 0.0, classes: tuple[str, ...] = ()) -> list[ImageResult]:
    return [
        ImageResult(name="", label=label, classes=classes, verdict=each, score=score, confidence=0.9, picture=0)
        for each in verdicts
    ]


GOOD = images("normal", *["PASS"] * 7, *["REVIEW"] * 2, "FAIL")
BAD = images("anomaly", "PASS", "REVIEW", *["FAIL"] * 3, score=1.0)


@pytest.mark.parametrize(
    ("figure", "value", "cases"),
    [
        ("precision", 3 / 4, 4),  # of 4 that fail 3 are defective
        ("recall", 3 / 5, 5),
        ("f1", 6 / 9, 6),  # 2 * 3 / (2 * 3 + 1 + 2)
        ("escapes", 1 / 5, 5),
        ("overkill", 1 / 10, 10),
        ("review", 3 / 15, 15),
        ("auroc", 1.0, 15),
        ("average_precision", 1.0, 5),
    ],
)
def test_each_figure_is_a_share_of_its_cases(figure, value, cases):
    estimate = getattr(measure([*GOOD, *BAD]), figure)

    assert (estimate.value, estimate.n) == (pytest.approx(value), cases)


def test_verdicts_are_counted_by_label():
    metrics = measure([*GOOD, *BAD])

    assert (metrics.normal.passed, metrics.normal.review, metrics.normal.failed) == (7, 2, 1)
    assert (metrics.anomaly.passed, metrics.anomaly.review, metrics.anomaly.failed) == (1, 1, 3)
    assert (metrics.normal.total, metrics.anomaly.total) == (10, 5)


def test_without_defects_only_good_parts_are_judged():
    metrics = measure(GOOD)

    assert metrics.auroc is metrics.recall is metrics.f1 is metrics.escapes is None
    assert metrics.overkill.value == pytest.approx(0.1)


def test_the_most_missed_defect_comes_first_and_caught_is_review_or_fail():
    both = images("anomaly", "PASS", classes=("dent", "scratch"))
    dents = images("anomaly", "FAIL", "REVIEW", "FAIL", classes=("dent",))
    scratches = images("anomaly", "FAIL", classes=("scratch",))
    cracks = images("anomaly", "REVIEW", classes=("crack",))

    found = recall_by_defect([*GOOD, *both, *dents, *scratches, *cracks])

    # Of 2 scratches 1 passes, of 4 dents 1, of 1 crack none.
    assert [(each.name, each.recall.value, each.caught.value) for each in found] == [
        ("scratch", 0.5, 0.5),
        ("dent", 0.5, 0.75),
        ("crack", 0.0, 1.0),
    ]


def test_an_evaluation_has_images():
    with pytest.raises(ValidationError) as caught:
        Evaluation.model_validate({"images": []})

    assert ("images",) in [error["loc"] for error in caught.value.errors()]
