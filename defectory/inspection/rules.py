"""Rules beyond the score: which defects, how large and how many, turn a verdict; tried on stored results first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from defectory.errors import InputError
from defectory.inspection.verdicts import DefectArea, InspectionReply, Verdict
from defectory.validation import FrozenModel, explain

ANY = "*"
_SEVERITY: dict[Verdict, int] = {"PASS": 0, "REVIEW": 1, "FAIL": 2}


class Rule(FrozenModel):
    """Where all its conditions hold, the verdict becomes ``verdict``.

    ``defect`` names a class, or ``*`` all of them together (the number of types is then asked by ``min_types``).  Areas
    are shares of the image, 0..1.
    """

    verdict: Verdict
    defect: str = Field(default=ANY, min_length=1)
    min_area: float = Field(default=0.0, ge=0, le=1)
    max_area: float = Field(default=1.0, ge=0, le=1)
    min_regions: int = Field(default=0, ge=0)
    max_regions: int | None = Field(default=None, ge=0)
    min_types: int = Field(default=0, ge=0)
    min_confidence: float = Field(default=0.5, ge=0.5, le=1)
    of_verdicts: tuple[Verdict, ...] = ("PASS", "REVIEW", "FAIL")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.min_area > self.max_area or (self.max_regions is not None and self.min_regions > self.max_regions):
            raise ValueError("a minimum must not exceed its maximum")
        return self

    def holds(self, verdict: Verdict, confidence: float, defects: Sequence[DefectArea]) -> bool:
        """Whether every condition is met by what was found."""
        found = [each for each in defects if self.defect in (ANY, each.name)]
        area, regions = sum(each.area for each in found), sum(each.regions for each in found)
        return (
            verdict in self.of_verdicts
            and confidence >= self.min_confidence
            and self.min_area <= area <= self.max_area
            and self.min_regions <= regions
            and (self.max_regions is None or regions <= self.max_regions)
            and len(found) >= self.min_types
        )

    def describe(self) -> str:
        """The rule as a person reads it."""
        what = "all defects" if self.defect == ANY else self.defect
        conditions = [
            f"area >= {self.min_area:g}" if self.min_area else "",
            f"area <= {self.max_area:g}" if self.max_area < 1 else "",
            f"regions >= {self.min_regions}" if self.min_regions else "",
            f"regions <= {self.max_regions}" if self.max_regions is not None else "",
            f"types >= {self.min_types}" if self.min_types else "",
            f"confidence >= {self.min_confidence:g}" if self.min_confidence > 0.5 else "",
            f"was {' or '.join(self.of_verdicts)}" if len(self.of_verdicts) < 3 else "",
        ]
        return f"{what}: {', '.join(filter(None, conditions)) or 'always'} -> {self.verdict}"


class RuleSet(FrozenModel):
    """Rules in order: the first that holds decides; where none does, the score's verdict stays.

    Example: ``{"rules": [{"verdict": "FAIL", "defect": "scratch", "min_area": 0.001}]}``
    """

    rules: tuple[Rule, ...] = ()

    def decide(
        self, verdict: Verdict, confidence: float, defects: Sequence[DefectArea]
    ) -> tuple[Verdict, tuple[str, ...]]:
        """The verdict, and the rule that decided it, if one did and changed it."""
        for rule in self.rules:
            if rule.holds(verdict, confidence, defects):
                return rule.verdict, (rule.describe(),) if rule.verdict != verdict else ()
        return verdict, ()


def load_rules(path: Path) -> RuleSet:
    """Read a rule set from a JSON file.

    Raises:
        InputError: the file cannot be read, or holds something else; the message names the field.
    """
    try:
        return RuleSet.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise explain(error) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("rules", f"a JSON file that can be read ({error})", str(path)) from None


class Change(BaseModel):
    """A stored result whose verdict would be another."""

    model_config = ConfigDict(frozen=True)

    index: int
    before: Verdict
    after: Verdict
    reason: str


class Backtest(BaseModel):
    """What a rule set would have said of stored results, against what was said.

    ``escapes`` and ``overkill`` count, before and after, the results known to be defective that PASS and the good ones
    that FAIL; they are None where no truth was given.
    """

    model_config = ConfigDict(frozen=True)

    results: int
    before: dict[Verdict, int]
    after: dict[Verdict, int]
    changes: tuple[Change, ...]
    escapes: tuple[int, int] | None = None
    overkill: tuple[int, int] | None = None

    @property
    def stricter(self) -> int:
        """How many verdicts become more severe."""
        return sum(_SEVERITY[change.after] > _SEVERITY[change.before] for change in self.changes)


def backtest(
    rules: RuleSet,
    replies: Iterable[InspectionReply],
    truths: Sequence[Literal["normal", "anomaly"] | None] | None = None,
) -> Backtest:
    """Try ``rules`` on stored results before they are activated.

    Every result's verdict is first taken back to what its score alone says, since other rules may have decided it.

    Args:
        rules: the rule set to try.
        replies: stored results, in any order.
        truths: what each image was confirmed to be, in the same order, None where unknown.
    """
    before: dict[Verdict, int] = dict.fromkeys(_SEVERITY, 0)
    after: dict[Verdict, int] = dict.fromkeys(_SEVERITY, 0)
    changes = []
    escapes, overkill = [0, 0], [0, 0]
    count = 0
    for index, reply in enumerate(replies):
        by_score: Verdict = (
            "FAIL"
            if reply.score >= reply.fail_threshold
            else "REVIEW"
            if reply.score >= reply.review_threshold
            else "PASS"
        )
        verdict, reasons = rules.decide(by_score, reply.confidence, reply.defects)
        count += 1
        before[reply.verdict] += 1
        after[verdict] += 1
        if verdict != reply.verdict:
            reason = reasons[0] if reasons else "the score alone"
            changes.append(Change(index=index, before=reply.verdict, after=verdict, reason=reason))
        truth = truths[index] if truths is not None else None
        for position, said in enumerate((reply.verdict, verdict)):
            escapes[position] += truth == "anomaly" and said == "PASS"
            overkill[position] += truth == "normal" and said == "FAIL"
    known = truths is not None
    return Backtest(
        results=count,
        before=before,
        after=after,
        changes=tuple(changes),
        escapes=(escapes[0], escapes[1]) if known else None,
        overkill=(overkill[0], overkill[1]) if known else None,
    )
