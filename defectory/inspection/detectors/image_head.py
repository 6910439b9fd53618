"""The image head: once defects are labelled, tell a defective image from a good one as a whole, masked or not.

A logistic regression on the mean and the deviation of an image's patches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from defectory.inspection.detectors import Patches
from defectory.inspection.detectors.signature import summarise
from defectory.metrics.logistic import fit_logistic, sigmoid

_STRENGTH = 0.05


@dataclass(frozen=True, slots=True)
class ImageHead:
    """``weights`` is float32 of shape ``(2 d + 1,)``, the last for the constant.

    ``blend_weight`` is how much the head counts: an image it is sure of scores ``exp(blend_weight)`` times as high.
    """

    weights: NDArray[np.float32]
    blend_weight: float

    @classmethod
    def fit(
        cls,
        good: Sequence[Patches],
        real: Sequence[Patches],
        synthetic: Sequence[Patches],
        valid: NDArray[np.bool_],
        *,
        blend_weight: float,
    ) -> Self:
        """Learn from good images and from defective ones, at least one.

        Good and defective images weigh the same, and of the defective the real ones as much as the synthetic.
        """
        groups = [group for group in (good, real, synthetic) if len(group)]
        summaries = np.stack([summarise(image, valid) for group in groups for image in group])
        shares = [0.5] + [0.5 / (len(groups) - 1)] * (len(groups) - 1)
        weights = np.concatenate(
            [np.full(len(group), share / len(group)) for group, share in zip(groups, shares, strict=True)]
        )
        centre, scale = summaries.mean(axis=0), summaries.std(axis=0) + 1e-4
        truth = np.arange(len(summaries)) >= len(good)
        (slopes,), (intercept,), _ = fit_logistic(
            (summaries - centre) / scale, truth, strength=_STRENGTH, weights=weights * len(summaries)
        )
        slopes = slopes / scale
        learned = np.append(slopes, intercept - slopes @ centre)
        return cls(np.asarray(learned, np.float32), blend_weight)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """Read what ``arrays`` gave."""
        weights = arrays["weights"].astype(np.float32)
        if weights.ndim != 1 or len(weights) < 3:
            raise ValueError("the image head's weights must be a vector")
        return cls(weights, float(arrays["trust"].astype(np.float64)))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The weights, and how much they count."""
        return {"weights": self.weights, "trust": np.array(self.blend_weight, np.float64)}

    def probability(self, patches: Patches, valid: NDArray[np.bool_]) -> float:
        """How likely the image shows a defect, if good and defective ones were equally frequent."""
        odds = float(summarise(patches, valid) @ self.weights[:-1] + self.weights[-1])
        return float(sigmoid(odds))

    def factor(self, patches: Patches, valid: NDArray[np.bool_]) -> float:
        """What to multiply an image's score with: 1 for a good image."""
        return float(np.exp(self.blend_weight * self.probability(patches, valid)))
