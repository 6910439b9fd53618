"""The gate before the line: a new model against the one in service, both on the same frozen test set.

Pure figures and rules; it needs neither images nor models.
"""

from __future__ import annotations

from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from defectory.errors import InputError, shorten
from defectory.validation import FrozenModel

EVALUATION_FILE = "evaluation.json"


class Figures(FrozenModel):
    """What one model did on the test set, by its own thresholds.

    ``escapes`` are defective images that passed, ``overkill`` good images that failed; images under REVIEW are neither.
    ``auroc`` is None where the test set has images of one kind only.
    """

    model_version: str
    normal: int = Field(ge=0)
    anomalous: int = Field(ge=0)
    auroc: float | None = Field(ge=0, le=1)
    escapes: int = Field(ge=0)
    overkill: int = Field(ge=0)
    review: int = Field(ge=0)

    @property
    def images(self) -> int:
        """How many images the model saw."""
        return self.normal + self.anomalous

    def __str__(self) -> str:
        ranking = "" if self.auroc is None else f"AUROC {self.auroc:.4f}, "
        return (
            f"{ranking}{self.escapes} of {self.anomalous} defects passed, "
            f"{self.overkill} of {self.normal} good parts failed, {self.review} to review"
        )


class ModelComparison(FrozenModel):
    """The new model's figures, and those of the one in service where there is one.

    ``test_digest`` identifies the test set by its content; ``trained_on_test`` are its images that the training set has
    as well.  ``changes`` say how the training set differs from the one it was made from.
    """

    candidate: Figures
    current: Figures | None = None
    test_digest: str
    trained_on_test: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()


class ReadRules(FrozenModel):
    """Rules of a gate, each described by what it may be, and how a request gives them."""

    @classmethod
    def parse(cls, values: object) -> Self:
        """Rules as a request gives them.

        Raises:
            InputError: a rule is unknown or wrong.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0]) if first["loc"] else ""
            field = cls.model_fields.get(name)
            rule = str(field.description) if field else f"rules among {', '.join(cls.model_fields)}"
            raise InputError(".".join(["gate", *filter(None, [name])]), rule, first["input"]) from None


class GateRules(ReadRules):
    """What a new model has to reach.

    ``tolerance`` is how much worse than the current model it may be, in AUROC and in the share of images misjudged;
    ``minimum_auroc`` holds for every model, the first included.
    """

    tolerance: float = Field(default=0.005, ge=0, le=1, description="a number from 0 to 1")
    minimum_auroc: float = Field(default=0.8, ge=0, le=1, description="a number from 0 to 1")


class Judgement(BaseModel):
    """Whether the new model goes into service, and why."""

    model_config = ConfigDict(frozen=True)

    accepted: bool
    reasons: tuple[str, ...]


Comparison = TypeVar("Comparison", bound=BaseModel)


def read_comparison(kind: type[Comparison], content: bytes) -> Comparison:
    """Read what the evaluation of such a ``kind`` wrote.

    Raises:
        InputError: it wrote something else.
    """
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "content"
        raise InputError(f"{EVALUATION_FILE}, {where}", f"a comparison ({shorten(first['msg'])})") from None


def judge(comparison: ModelComparison, rules: GateRules) -> Judgement:
    """Let the new model through if no rule speaks against it; ``reasons`` has all that do, or what it achieved."""
    candidate, current = comparison.candidate, comparison.current
    against = []
    if not candidate.images:
        against.append("The test set has no images.")
    if comparison.trained_on_test:
        count, first = len(comparison.trained_on_test), comparison.trained_on_test[0]
        against.append(f"{count} images of the test set are in the training set, such as {first}: it proves nothing.")
    if candidate.auroc is not None and candidate.auroc < rules.minimum_auroc:
        against.append(f"AUROC {candidate.auroc:.4f} is below the minimum of {rules.minimum_auroc:.4f}.")
    if current:
        against += _worse_than(current, candidate, rules)
    if against:
        return Judgement(accepted=False, reasons=tuple(against))
    reasons = [f"New model {candidate.model_version}: {candidate}."]
    if current:
        reasons.append(f"Current model {current.model_version}: {current}.")
    reasons += [f"Dataset: {change}" for change in comparison.changes]
    return Judgement(accepted=True, reasons=tuple(reasons))


def _worse_than(current: Figures, candidate: Figures, rules: GateRules) -> list[str]:
    against = []
    if candidate.auroc is not None and current.auroc is not None and candidate.auroc < current.auroc - rules.tolerance:
        against.append(f"AUROC falls from {current.auroc:.4f} to {candidate.auroc:.4f}.")
    allowed = rules.tolerance * candidate.images
    misjudged = candidate.escapes + candidate.overkill
    if misjudged > current.escapes + current.overkill + allowed:
        against.append(
            f"More images are misjudged: {candidate.escapes} escapes and {candidate.overkill} false rejects, "
            f"where the current model has {current.escapes} and {current.overkill}."
        )
    return against
