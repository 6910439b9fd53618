"""What the gate found: values that whoever reports them needs without a model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from defectory.validation import FrozenModel


class Lift(FrozenModel):
    """One figure of merit, 0..1, a value for each seed, of models trained without and with the synthetic images.

    ``low`` and ``high`` bound the 95 % confidence interval of the mean ``difference`` (with less without).
    """

    without: tuple[float, ...]
    with_synthetic: tuple[float, ...]
    difference: float
    low: float
    high: float


class GateResult(FrozenModel):
    """What the gate found.

    ``unmeasured`` says that there are too few real defects to hold out, so that nobody knows; the images are not kept.
    ``figures`` are by name, the deciding one first: ``image AUROC``, ``pixel AUROC``, ...
    """

    decision: Literal["kept", "dropped", "unmeasured"]
    reason: str
    real_good: int = Field(ge=0)
    real_defects: int = Field(ge=0)
    synthetic: int = Field(ge=0)
    seeds: tuple[int, ...] = ()
    figures: dict[str, Lift] = Field(default_factory=dict)
