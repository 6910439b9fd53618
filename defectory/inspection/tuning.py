"""Tuning: other thresholds or rules for a model, tried on stored results before they count."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from defectory.errors import InputError
from defectory.inspection.model import Model, retune
from defectory.inspection.rules import Backtest, RuleSet, backtest
from defectory.inspection.verdicts import InspectionReply, Thresholds, parse_reply


@dataclass(frozen=True, slots=True)
class Tuning:
    """The changed model, and what its thresholds and rules would have changed in the stored results."""

    model: Model
    trial: Backtest


def tune(
    model: Model,
    results: Sequence[InspectionReply] = (),
    *,
    review: float | None = None,
    fail: float | None = None,
    rules: RuleSet | None = None,
) -> Tuning:
    """Give ``model`` other thresholds or rules; what is None stays as it is.

    Args:
        model: any; it is not changed.
        results: stored ones, to try it on.
        review: scores from here on are REVIEW.
        fail: scores from here on FAIL.
        rules: in place of all its rules.

    Raises:
        InputError: the thresholds are not ``0 <= review <= fail``.
    """
    current = model.card.thresholds
    rules = model.card.rules if rules is None else rules
    limits = Thresholds(current.review if review is None else review, current.fail if fail is None else fail)
    tuned = retune(model, limits, rules)
    judged = [
        reply.model_copy(update={"review_threshold": limits.review, "fail_threshold": limits.fail}) for reply in results
    ]
    return Tuning(tuned, backtest(rules, judged))


def read_results(path: Path) -> list[InspectionReply]:
    """The results in what `defectory inspect predict --json` printed, without photos that could not be inspected.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("results", f"a JSON file that can be read ({error})", str(path)) from None
    except ValueError as error:
        raise InputError("results", f"JSON ({error})", str(path)) from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError("results", "a list of results, as `predict --json` prints it", str(path))
    answers = [{key: value for key, value in row.items() if key != "image"} for row in rows if "error" not in row]
    return [parse_reply(json.dumps(answer)) for answer in answers]
