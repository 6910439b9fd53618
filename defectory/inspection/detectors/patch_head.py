"""The patch head: once defects are masked, tell a defective patch from a good one, and its class.

A softmax regression on patches: class 0 is good, the others are the classes of defects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from defectory.inspection.detectors import DistanceMap, Patches


@dataclass(frozen=True, slots=True)
class PatchHead:
    """``weights`` is float32 of shape ``(d + 1, 1 + classes)``, the last row for the constant.

    ``trust`` is how much the head counts in the map: 0 leaves the detector's distances as they are, and only the
    classes are the head's; ``unit`` is the distance at which the detector itself is alarmed.
    """

    weights: NDArray[np.float32]
    trust: float
    unit: float

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """Read what ``arrays`` gave."""
        weights = arrays["weights"].astype(np.float32)
        trust, unit = arrays["blend"].astype(np.float64)
        if weights.ndim != 2 or weights.shape[1] < 2:
            raise ValueError("the head's weights must be a matrix")
        return cls(weights, float(trust), float(unit))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The weights in half precision, and how they blend in."""
        return {"weights": self.weights.astype(np.float16), "blend": np.array([self.trust, self.unit], np.float64)}

    def correct(self, distances: DistanceMap, patches: Patches) -> DistanceMap:
        """The detector's distances, raised where the head sees a defect."""
        if not self.trust:
            return distances
        logits = self._logits(patches)
        odds = np.logaddexp.reduce(logits[..., 1:], axis=2) - logits[..., 0]
        probability = 1 / (1 + np.exp(-np.clip(odds, -60, 60)))
        return (distances + self.trust * self.unit * probability).astype(np.float32)

    def kinds(self, patches: Patches) -> NDArray[np.uint8]:
        """The most likely class of defect of each patch, from 1 on, taken for granted that it is one."""
        return (self._logits(patches)[..., 1:].argmax(axis=2) + 1).astype(np.uint8)

    def _logits(self, patches: Patches) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = patches @ self.weights[:-1] + self.weights[-1]
        return logits
