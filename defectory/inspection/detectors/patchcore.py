"""PatchCore: keep a coreset of the good images' patches, and measure the distance to the nearest.

Source: Roth et al., "Towards Total Recall in Industrial Anomaly Detection" (2022), here on unit vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from defectory.inspection.detectors import DistanceMap, Patches

BANK_SIZE = 2000
_CANDIDATES = 20_000
_PROJECTED = 64


@dataclass(frozen=True, slots=True)
class PatchCore:
    """``bank`` holds unit vectors, float32 of shape ``(k, d)``, which half precision represents exactly."""

    bank: NDArray[np.float32]

    @classmethod
    def fit(cls, images: Sequence[Patches], valid: NDArray[np.bool_], *, seed: int) -> Self:
        """Choose the coreset among an even sample of every image's patches."""
        rng = np.random.default_rng(seed)
        sampled = max(1, _CANDIDATES // len(images))
        candidates = []
        for image in images:
            patches = image[valid]
            indices = rng.choice(len(patches), min(sampled, len(patches)), replace=False)
            candidates.append(patches[np.sort(indices)])
        sample = np.concatenate(candidates).astype(np.float32)
        return cls(sample[_coreset(sample, BANK_SIZE, rng)].astype(np.float16).astype(np.float32))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """Read what ``arrays`` gave."""
        bank = arrays["bank"].astype(np.float32)
        if bank.ndim != 2 or not bank.size:
            raise ValueError("the memory bank must be a matrix")
        return cls(bank)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The memory bank in half precision."""
        return {"bank": self.bank.astype(np.float16)}

    def distances(self, patches: Patches) -> DistanceMap:
        """The cosine distance of each patch to its nearest in the bank, 0..2.

        Linear in the products, unlike the Euclidean distance, whose root magnifies rounding near zero.
        """
        height, width, depth = patches.shape
        nearest: NDArray[np.float32] = (patches.reshape(-1, depth) @ self.bank.T).max(axis=1)
        return np.asarray(np.maximum(1 - nearest, 0).reshape(height, width), np.float32)


def _coreset(points: NDArray[np.float32], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Greedy k-centre: each next point is the one farthest from those chosen, measured in a random projection."""
    if len(points) <= count:
        return np.arange(len(points))
    projection = rng.standard_normal((points.shape[1], min(_PROJECTED, points.shape[1])), dtype=np.float32)
    projected = points @ projection
    squares = np.einsum("ij,ij->i", projected, projected)
    indices = np.empty(count, np.intp)
    indices[0] = rng.integers(len(points))
    remaining = np.full(len(points), np.inf, np.float32)
    for number in range(count - 1):
        last = indices[number]
        np.minimum(remaining, squares + squares[last] - 2 * (projected @ projected[last]), out=remaining)
        indices[number + 1] = remaining.argmax()
    return np.sort(indices)
