"""The patch head: once defects are masked, tell a defective patch from a good one, and its class.

A softmax regression on patches: class 0 is good, the others are the classes of defects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from defectory.inspection.detectors import DistanceMap, Patches
from defectory.metrics.logistic import fit_logistic, sigmoid

_MOST_GOOD, _MOST_AROUND = 4000, 80
_STRENGTH = 10.0
_NEVER = -1e4


@dataclass(frozen=True, slots=True)
class PatchHead:
    """``weights`` is float32 of shape ``(d + 1, 1 + classes)``, the last row for the constant.

    ``blend_weight`` is how much the head counts in the map: 0 leaves the detector's distances as they are, and only the
    classes are the head's; ``unit`` is the distance at which the detector itself is alarmed.
    """

    weights: NDArray[np.float32]
    blend_weight: float
    unit: float

    @classmethod
    def fit(
        cls,
        good: Sequence[Patches],
        marked: Sequence[tuple[Patches, NDArray[np.uint8]]],
        valid: NDArray[np.bool_],
        classes: int,
        *,
        unit: float,
        seed: int,
        blend_weight: float = 1.0,
    ) -> Self:
        """Learn from good images and from defective ones with the class of each patch, 0 = none.

        All classes weigh the same, however many patches they have.  Patches next to a defect are left out: masks are
        drawn generously, and features reach across their edges.
        """
        rng = np.random.default_rng(seed)
        sampled = max(1, _MOST_GOOD // len(good))
        samples = [image[valid] for image in good]
        vectors = [patches[rng.permutation(len(patches))[:sampled]] for patches in samples]
        truths = [np.zeros(len(patches), np.intp) for patches in vectors]
        for patches, marks in marked:
            near = cv2.dilate((marks > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            around = patches[valid & ~near]
            around = around[rng.permutation(len(around))[:_MOST_AROUND]]
            vectors += [patches[marks > 0], around]
            truths += [marks[marks > 0].astype(np.intp), np.zeros(len(around), np.intp)]
        truth = np.concatenate(truths)
        coefficients, constants, learned = fit_logistic(
            np.concatenate(vectors).astype(np.float32), truth, strength=_STRENGTH, iterations=200
        )
        weights = np.zeros((good[0].shape[2] + 1, classes + 1), np.float32)
        # A class without a single patch stays out of reach.
        weights[-1] = _NEVER
        if len(learned) == 2:
            coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
            constants = np.array([0.0, constants[0]])
        weights[:-1, learned], weights[-1, learned] = coefficients.T, constants
        return cls(weights.astype(np.float16).astype(np.float32), blend_weight, unit)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """Read what ``arrays`` gave."""
        weights = arrays["weights"].astype(np.float32)
        blend_weight, unit = arrays["blend"].astype(np.float64)
        if weights.ndim != 2 or weights.shape[1] < 2:
            raise ValueError("the head's weights must be a matrix")
        return cls(weights, float(blend_weight), float(unit))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The weights in half precision, and how they blend in."""
        return {
            "weights": self.weights.astype(np.float16),
            "blend": np.array([self.blend_weight, self.unit], np.float64),
        }

    def correct(self, distances: DistanceMap, patches: Patches) -> DistanceMap:
        """The detector's distances, raised where the head sees a defect."""
        if not self.blend_weight:
            return distances
        logits = self._logits(patches)
        odds = np.logaddexp.reduce(logits[..., 1:], axis=2) - logits[..., 0]
        return np.asarray(distances + self.blend_weight * self.unit * sigmoid(odds), np.float32)

    def kinds(self, patches: Patches) -> NDArray[np.uint8]:
        """The most likely class of defect of each patch, from 1 on, taken for granted that it is one."""
        return np.asarray(self._logits(patches)[..., 1:].argmax(axis=2) + 1, np.uint8)

    def _logits(self, patches: Patches) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = patches @ self.weights[:-1] + self.weights[-1]
        return logits
